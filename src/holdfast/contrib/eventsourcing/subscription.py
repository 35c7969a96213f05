"""What follows a log: first what is there, then what comes, in the caller's thread."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from eventsourcing.persistence import Notification, OperationalError, Subscription

from holdfast._compat import Signal
from holdfast._wire.hub_ledger import AnyWatch
from holdfast.contrib.ledger import backoff

if TYPE_CHECKING:
    from holdfast.contrib.eventsourcing.recorders import HoldfastApplicationRecorder

T = TypeVar("T")

BATCH: Final = 500  # read at once
_SAFETY: Final = 2.0  # seconds after which it looks, although nothing was heard


class Follower:
    """Looks whenever something may be new, until it is stopped; a server that is away is waited for."""

    def __init__(self, watch: Callable[[Signal], AnyWatch]) -> None:
        self._signal = Signal()
        self._watch = watch(self._signal)
        self._stopped = False

    def stop(self) -> None:
        """End; any thread may call it, and again."""
        self._stopped = True
        self._watch.close()
        self._signal.fire()

    def follow(self, look: Callable[[], Sequence[T]]) -> Iterator[T]:
        """What `look()` returns each time, one by one; an empty list means that there is nothing new."""
        failures = 0
        while True:
            self._signal.clear()
            if self._stopped:  # after `clear`: a `stop` before it must not be overheard
                return
            rest = _SAFETY
            try:
                found = look()
                failures = 0
            except OperationalError:
                failures += 1
                found, rest = (), backoff(failures, random.random())
            for one in found:
                yield one
                if self._stopped:
                    return
            if not found:
                self._signal.wait(rest)


class HoldfastSubscription(Subscription["HoldfastApplicationRecorder"]):
    """Iterates over the notifications of an application, and waits for those to come.

    While the server is away it waits too. Leave its `with` block, or call `stop()`, to end it.
    """

    def __init__(
        self, recorder: HoldfastApplicationRecorder, gt: int | None = None, topics: Sequence[str] = ()
    ) -> None:
        super().__init__(recorder, gt, topics)
        self._next = (gt or 0) + 1
        self._follower = Follower(recorder.watch)
        self._items = self._follower.follow(self._look)

    def __next__(self) -> Notification:
        return next(self._items)

    def stop(self) -> None:
        """End the iteration; any thread may call it, and again."""
        super().stop()
        self._follower.stop()

    def _look(self) -> list[Notification]:
        for seen, page in self._recorder.pages(self._next, BATCH, topics=self._topics):
            self._next = seen + 1
            if page:
                return page
        return []
