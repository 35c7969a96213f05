# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Waiting for a fair lock: everybody has a ticket on the server, and is woken when it is his turn."""

from __future__ import annotations

import random
from typing import Any

from holdfast._compat import ASignal, monotonic
from holdfast._coord._wait_async import LATE, LEAST, LONGEST, SAFETY, Busy
from holdfast._coord.backoff import rest
from holdfast.errors import Closed, NotDurable, Unavailable
from holdfast.locks._attempt_async import AsyncAttempt
from holdfast.locks._place_async import AsyncPlace
from holdfast.locks.rules import Names


async def obtain_fair(place: AsyncPlace, attempt: AsyncAttempt, names: Names, give_up: float) -> Any:
    """What `attempt(timeout)` returns, once that is not Busy; the first attempt takes a ticket.

    Raises: LockTimeout; Unavailable if the server was away at the end; what `attempt` raises.
    """
    found = await _ask(place, attempt, give_up)
    if not isinstance(found, Busy | Unavailable):
        return found
    signal = ASignal()
    place.lines.join(names.key, attempt.token, signal)
    try:
        with place.wire.hub.watch(names.channel(attempt.token), signal) as watch:
            failures = 0
            while True:
                left = give_up - monotonic()
                if left <= 0:
                    raise found if isinstance(found, Unavailable) else attempt.timed_out(found)
                others = place.lines.others(names.key, attempt.token)
                pause = SAFETY
                if not watch.pushing or not isinstance(found, Busy) or found.silent:
                    pause = rest(failures, random.random())
                elif others is not None and found.ttl + LATE < SAFETY:
                    pause = found.ttl + LATE
                fired = await signal.wait(min(LONGEST, left, pause))
                signal.clear()
                others = place.lines.others(names.key, attempt.token)
                if not fired and others is None and watch.pushing and isinstance(found, Busy):
                    continue  # somebody else of this process speaks for us
                attempt.others = others or []
                found = await _ask(place, attempt, give_up)
                if not isinstance(found, Busy | Unavailable):
                    return found
                failures += 1
    finally:
        place.lines.leave(names.key, attempt.token)


async def _ask(place: AsyncPlace, attempt: AsyncAttempt, give_up: float) -> Any:
    """What `attempt` returns; or why the server did not answer, if it makes sense to ask again."""
    try:
        return await attempt(min(place.wire.timeout, max(give_up - monotonic(), LEAST)))
    except (Closed, NotDurable):
        raise
    except Unavailable as error:
        return error
