"""What the tests of analytics share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from holdfast._signals import Signal
from holdfast.analytics._analytics_sync import Analytics
from holdfast.analytics.options import AnalyticsOptions

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


@contextmanager
def analytics(hf: Any, name: str = "shop", **options: Any) -> Iterator[Analytics]:
    """Analytics for threads; not the client's own, so that a test can have several with one name."""
    hits = Analytics(hf._wire, name, AnalyticsOptions(**options))
    try:
        yield hits
    finally:
        hits._aclose(10.0)


class Elsewhere:
    """A wire whose server has another time of day: TIME is `ahead` seconds off."""

    def __init__(self, wire: Any, ahead: int) -> None:
        self._wire = wire
        self.ahead = ahead

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    def execute(self, *command: Any, **options: Any) -> Any:
        reply = self._wire.execute(*command, **options)
        return [int(reply[0]) + self.ahead, reply[1]] if command[0] == "TIME" else reply


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until `true()`, at most `seconds`."""
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it did not come true"
        time.sleep(0.005)


def values(points: Any) -> list[float]:
    """What the points hold."""
    return [one.value for one in points]
