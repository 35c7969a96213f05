# Generated from _subscription_async.py by tools/unasync.py. Do not edit.
"""Subscription: what was appended and what is appended, in order, without an end."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from holdfast._compat import Signal
from holdfast.errors import Closed, ConfigurationError, Unavailable
from holdfast.events import rules
from holdfast.events._desk_sync import Desk
from holdfast.events.flavour import Iteration
from holdfast.events.layout import Partition
from holdfast.events.options import StoredEvent
from holdfast.events.record import Ref

T = TypeVar("T")


class Subscription(Iteration[StoredEvent[T]]):
    """See `EventLog.subscribe`; for one thread at a time. `positions`: up to where each partition was
    read; as `after` of a later subscription they go on there.
    """

    def __init__(
        self, desk: Desk, parts: Sequence[Partition], after: int | Mapping[int, int] | None
    ) -> None:
        """Raises: ConfigurationError."""
        self.positions: dict[int, int] = {}
        self._desk = desk
        self._parts = parts
        self._after = _beginnings(parts, after)
        self._ready: deque[tuple[Partition, Ref]] = deque()
        self._signal: Signal | None = None
        self._watches = ExitStack()
        self._closed = False

    def _next(self) -> StoredEvent[T] | None:
        signal = self._listen()
        while not self._closed:
            if self._ready:
                part, ref = self._ready.popleft()
                event = self._desk.event(part, ref)
                self.positions[part.number] = ref.position
                return event
            signal.clear()  # before looking: what is told from now on fires again
            try:
                self._look()
            except Closed:
                raise
            except Unavailable:
                signal.wait(rules.AWAY)
                continue
            if not self._ready and not self._closed:
                signal.wait(rules.SAFETY_POLL)
        return None

    def _listen(self) -> Signal:
        if self._signal is None:
            self._signal = Signal()
            for part in self._parts:
                self._watches.enter_context(self._desk.wire.hub.watch(part.log, self._signal))
        return self._signal

    def _look(self) -> None:
        self._desk.agree()
        for part in self._parts:
            if part.number not in self.positions:
                after = self._after[part.number]
                self.positions[part.number] = self._desk.last(part) if after is None else after
            page = self._desk.page(part, self.positions[part.number], rules.SIZE)
            self.positions[part.number] = page.after
            self._ready.extend((part, ref) for ref in page.refs)

    def close(self) -> None:
        """End it; whoever iterates over it comes to its end. From anywhere; may be repeated."""
        self._closed = True
        self._watches.close()
        if self._signal is not None:
            self._signal.fire()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _beginnings(parts: Sequence[Partition], after: Any) -> dict[int, int | None]:
    """Where each partition begins; None: with what comes next."""
    if isinstance(after, Mapping):
        strange = [number for number in after if number not in {part.number for part in parts}]
        if strange:
            raise ConfigurationError(f"after= names partition {strange[0]!r}, which is not read")
        told: dict[int, Any] = {part.number: after.get(part.number, 0) for part in parts}
    elif after and len(parts) > 1:
        raise ConfigurationError(
            f"after={after!r}: each of the {len(parts)} partitions has positions of its own; give a mapping, "
            f"such as `subscription.positions`, or say partition="
        )
    else:
        told = {part.number: after for part in parts}
    for one in told.values():
        if one is not None:
            rules.check_position(one)
    return told
