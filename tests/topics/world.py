"""What the tests of topics share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from holdfast._signals import Signal
from holdfast.topics._topic_async import AsyncTopic
from holdfast.topics._topic_sync import Topic
from holdfast.topics.options import Gap, TopicOptions

S = TypeVar("S", bound=Signal)


class Observer:
    """Remembers every signal of a client."""

    def __init__(self, hf: Any) -> None:
        self.seen: list[Signal] = []
        hf.observers.add(self)

    def notify(self, signal: Signal) -> None:
        self.seen.append(signal)

    def of(self, kind: type[S]) -> list[S]:
        return [one for one in self.seen if isinstance(one, kind)]


def topic_of(hf: Any, name: str = "prices", **options: Any) -> Topic[Any]:
    """A topic for threads; not the client's own, so that a test can have several with one name."""
    return Topic(hf._wire, name, TopicOptions(**options))


def atopic_of(ahf: Any, name: str = "prices", **options: Any) -> AsyncTopic[Any]:
    """A topic for asyncio."""
    return AsyncTopic(ahf._wire, name, TopicOptions(**options))


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until `true()`, at most `seconds`."""
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it did not come true"
        time.sleep(0.005)


def shown(items: Any) -> list[Any]:
    """Messages as their values, gaps as (reason, missed)."""
    return [(one.reason, one.missed) if isinstance(one, Gap) else one.value for one in items]
