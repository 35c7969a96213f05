# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Waiting in a line: everybody has a ticket on the server, and is woken when it is his turn."""

from __future__ import annotations

import random
from typing import Any, Protocol

from holdfast._compat import ASignal, monotonic
from holdfast._coord._wait_async import LATE, LEAST, LONGEST, SAFETY, Busy
from holdfast._coord.backoff import rest
from holdfast._coord.line import Lines
from holdfast._wire._async import AsyncWire
from holdfast.errors import Closed, NotDurable, Unavailable


class AsyncTicket(Protocol):
    """One attempt, with all its repetitions under one token."""

    token: str
    others: list[str]  # for whom this one speaks too

    async def __call__(self, timeout: float) -> Any:
        """What it is about, or Busy."""

    def timed_out(self, busy: Busy | None) -> Exception:
        """What says that it took too long."""


async def obtain_in_line(
    wire: AsyncWire, lines: Lines, ticket: AsyncTicket, *, key: str, channel: str, give_up: float
) -> Any:
    """What `ticket(timeout)` returns, once that is not Busy; the first time it is asked it takes its place.

    `key`: the line, in this process. `channel`: where one is told that it is this ticket's turn.
    Raises: what `timed_out` returns; Unavailable if the server was away at the end; what `ticket` raises.
    """
    found = await _ask(wire, ticket, give_up)
    if not isinstance(found, Busy | Unavailable):
        return found
    signal = ASignal()
    lines.join(key, ticket.token, signal)
    try:
        with wire.hub.watch(channel, signal) as watch:
            failures = 0
            while True:
                left = give_up - monotonic()
                if left <= 0:
                    raise found if isinstance(found, Unavailable) else ticket.timed_out(found)
                others = lines.others(key, ticket.token)
                pause = SAFETY
                if not watch.pushing or not isinstance(found, Busy) or found.silent:
                    pause = rest(failures, random.random())
                elif others is not None and found.ttl + LATE < SAFETY:
                    pause = found.ttl + LATE
                fired = await signal.wait(min(LONGEST, left, pause))
                signal.clear()
                others = lines.others(key, ticket.token)
                if not fired and others is None and watch.pushing and isinstance(found, Busy):
                    continue  # somebody else of this process speaks for us
                ticket.others = others or []
                found = await _ask(wire, ticket, give_up)
                if not isinstance(found, Busy | Unavailable):
                    return found
                failures += 1
    finally:
        lines.leave(key, ticket.token)


async def _ask(wire: AsyncWire, ticket: AsyncTicket, give_up: float) -> Any:
    """What `ticket` returns; or why the server did not answer, if it makes sense to ask again."""
    try:
        return await ticket(min(wire.timeout, max(give_up - monotonic(), LEAST)))
    except (Closed, NotDurable):
        raise
    except Unavailable as error:
        return error
