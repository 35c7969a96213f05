# Generated from _line_async.py by tools/unasync.py. Do not edit.
"""Waiting in a line: everybody has a ticket on the server, and is woken when it is his turn."""

from __future__ import annotations

import random
from typing import Any, Protocol

from holdfast._compat import Signal, monotonic
from holdfast._coord._wait_sync import LATE, LEAST, LONGEST, SAFETY, Busy
from holdfast._coord.backoff import rest
from holdfast._coord.line import Lines
from holdfast._wire._sync import Wire
from holdfast.errors import Closed, NotDurable, Unavailable


class Ticket(Protocol):
    """One attempt, with all its repetitions under one token."""

    token: str
    others: list[str]  # for whom this one speaks too

    def __call__(self, timeout: float) -> Any:
        """What it is about, or Busy."""

    def timed_out(self, busy: Busy | None) -> Exception:
        """What says that it took too long."""


def obtain_in_line(
    wire: Wire, lines: Lines, ticket: Ticket, *, key: str, channel: str, give_up: float
) -> Any:
    """What `ticket(timeout)` returns, once that is not Busy; the first time it is asked it takes its place.

    `key`: the line, in this process. `channel`: where one is told that it is this ticket's turn.
    Raises: what `timed_out` returns; Unavailable if the server was away at the end; what `ticket` raises.
    """
    found = _ask(wire, ticket, give_up)
    if not isinstance(found, Busy | Unavailable):
        return found
    signal = Signal()
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
                fired = signal.wait(min(LONGEST, left, pause))
                signal.clear()
                others = lines.others(key, ticket.token)
                if not fired and others is None and watch.pushing and isinstance(found, Busy):
                    continue  # somebody else of this process speaks for us
                ticket.others = others or []
                found = _ask(wire, ticket, give_up)
                if not isinstance(found, Busy | Unavailable):
                    return found
                failures += 1
    finally:
        lines.leave(key, ticket.token)


def _ask(wire: Wire, ticket: Ticket, give_up: float) -> Any:
    """What `ticket` returns; or why the server did not answer, if it makes sense to ask again."""
    try:
        return ticket(min(wire.timeout, max(give_up - monotonic(), LEAST)))
    except (Closed, NotDurable):
        raise
    except Unavailable as error:
        return error
