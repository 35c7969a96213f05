# Generated from _desk_async.py by tools/unasync.py. Do not edit.
"""Desk: what all slots of one concurrency limiter share."""

from __future__ import annotations

import contextlib

from holdfast._compat import spawn, monotonic
from holdfast._coord.breaker import Breaker
from holdfast._coord.line import Lines
from holdfast._signals import BreakerChanged
from holdfast._wire._sync import Wire
from holdfast._wire.transport import Command
from holdfast.durations import seconds
from holdfast.errors import HoldfastError, Unconfirmed
from holdfast.limits.concurrency import rules
from holdfast.limits.concurrency.counters import Counters, LocalSlots
from holdfast.limits.concurrency.options import ConcurrencyOptions
from holdfast.limits.concurrency.rules import Names


class Desk:
    """See the file's docstring."""

    def __init__(self, wire: Wire, name: str, options: ConcurrencyOptions) -> None:
        self.wire = wire
        self.name = name
        self.what = f"concurrency limiter {name!r}"
        self.options = options
        self.ttl = seconds(options.ttl)
        self.ttl_ms = rules.milliseconds(self.ttl)
        self.deadline = seconds(options.deadline)
        self.lines = Lines()
        self.local = LocalSlots()
        self.counters = Counters()
        self.breaker = Breaker(options.breaker)
        self._connecting = False
        self._has_met = False  # the server, if only in vain

    @property
    def timeout(self) -> float:
        """Seconds for a question: the deadline, but for the first, which may have to connect."""
        return self.deadline if self._has_met else max(self.deadline, self.wire.timeout)

    def answered(self) -> None:
        """The server has answered."""
        self._has_met = True
        if self.breaker.success():
            self.wire.observer.notify(BreakerChanged(name=self.what, state="closed"))

    def failed(self, error: HoldfastError, names: Names) -> None:
        """The server has not answered in time."""
        self._has_met = True
        if self.breaker.failure(monotonic()):
            self.wire.observer.notify(BreakerChanged(name=self.what, state="open"))
        if not isinstance(error, Unconfirmed) and not self._connecting and not self.wire.is_closed:
            self._connecting = True
            spawn("slots-connect", lambda: self._connect(names.slots))

    def _connect(self, key: str) -> None:
        """Have a connection made to where `key` is; however long that may take.

        So a handshake that takes longer than the deadline is no reason to be away for ever.
        """
        try:
            self.wire.execute("EXISTS", key)
            self.answered()
        except HoldfastError:
            return
        finally:
            self._connecting = False

    def abandon(self, names: Names, token: str) -> None:
        """Have the hub undo what nobody will learn the outcome of, however often the server is away."""
        hub, free, keys = self.wire.hub, rules.FREE, names.attempt(token)
        if hub.undelivered() < rules.MANY_STRAYS:
            with contextlib.suppress(HoldfastError):  # closed: its ttl has to do
                command: Command = ("EVAL", free.text, len(keys), *keys, token, rules.STRAY_MS)
                hub.deliver((names.slots, token), command, lambda: None)
