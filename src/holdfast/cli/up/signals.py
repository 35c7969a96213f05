"""SIGTERM and a closed terminal, as exceptions like the one that Ctrl-C has always been."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, Self

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """Somebody asked this process to end, politely. `number`: the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Ears:
    """Listens to signals while it is entered; a context manager.

    What this process was told to ignore when it was started (by nohup, or a script's `&`) stays ignored.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (*_ENDING, signal.SIGINT):
            self._before[number] = signal.getsignal(number)
        for number in _ENDING:
            if self._before[number] != signal.SIG_IGN:
                signal.signal(number, _end)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def close(self) -> None:
        """Hear nothing more: the end has begun, and a second Ctrl-C must not leave it half done."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)


def _end(number: int, _: FrameType | None) -> None:
    raise Ended(number)
