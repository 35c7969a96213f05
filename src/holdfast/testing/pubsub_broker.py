"""What an adapter offers to the cases of pubsub_cases.py, and what it tells of its broker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Protocol, Self, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Note:
    """A message to publish. `delay`: seconds before which it must not arrive."""

    text: str
    _: KW_ONLY
    key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message, as a handler gets it. `deliveries`: which attempt this is, from 1; None if nobody knows."""

    text: str
    key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    deliveries: int | None = None


Handler = Callable[[Delivery], None]


class Subscription(Protocol):
    """A subscriber at work."""

    def close(self) -> None:
        """Take nothing more, and return when no handler runs. May be repeated, from any thread."""

    def abandon(self) -> None:
        """Be gone without a word, as a process that was killed; its handlers may go on. For `abandons`."""


class Broker(Protocol):
    """One client of the broker under test. Its methods may be called from several threads."""

    def publish(self, topic: str, notes: Sequence[Note]) -> None:
        """Publish them in this order, and return once the broker has them. Raises when it is closed."""

    def subscribe(self, topic: str, group: str, handler: Handler) -> Subscription:
        """Hand the topic's messages to `handler`, in the background: what returns is acknowledged, what
        raises comes again soon. Members of one group share the messages, if the broker has groups.
        """

    def connect(self) -> Broker:
        """Another client of the same broker, as in another process."""

    def close(self) -> None:
        """Close it and its subscriptions; may be repeated, from any thread."""

    def interrupt(self) -> None:
        """Cut this client's connections; new ones are welcome. For `interrupts`."""

    def dead_letters(self, topic: str, group: str) -> Sequence[str]:
        """The texts of the dead letters. For `dead_letters`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a broker promises besides at-least-once delivery to who listens.

    ordered        messages of a key are handled one after the other, in the order of their publishing
    persistent     a new group gets what was published before
    groups         members of a group share its messages; each group gets all
    counts         a handler is told which delivery it has
    headers        and gets what was published beside the text
    delayed        Note.delay
    dead_letters   what fails for ever ends there, after `attempts` deliveries; None: of no known number
    abandons       what a dead subscriber had is handled by others
    interrupts     clients find back after their connections were cut
    """

    ordered: bool = False
    persistent: bool = False
    groups: bool = False
    counts: bool = False
    headers: bool = False
    delayed: bool = False
    dead_letters: bool = False
    attempts: int | None = None
    abandons: bool = False
    interrupts: bool = False


class LoopThread:
    """An event loop in a thread of its own, for adapters of brokers of asyncio."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pubsub-cases", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 60.0) -> T:
        """What `work` comes to, on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def close(self) -> None:
        """End the loop, and the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
