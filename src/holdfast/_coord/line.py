"""Who of this process stands in a queue on the server, first come, first served. By hand, for both flavours.

Every waiter has a ticket of his own there, so that the order holds across the fleet. The first of this
process also says for all the others that they are alive, so that a thousand waiters cost no more than one.
"""

from __future__ import annotations

import os
import weakref

from holdfast._coord.queue import AnySignal
from holdfast._wire.mutex import MUTEX


class Lines:
    """The waiters of one client, by lock and token."""

    def __init__(self) -> None:
        self._all: dict[str, dict[str, AnySignal]] = {}
        with MUTEX:
            _LINES.add(self)

    def join(self, key: str, token: str, signal: AnySignal) -> None:
        """Stand at the end."""
        with MUTEX:
            self._all.setdefault(key, {})[token] = signal

    def leave(self, key: str, token: str) -> None:
        """Stand there no more; whoever is first now is woken, for he speaks for the others."""
        with MUTEX:
            line = self._all.get(key, {})
            was_first = next(iter(line), None) == token
            line.pop(token, None)
            if not line:
                self._all.pop(key, None)
            following = next(iter(line.values()), None) if was_first else None
        if following is not None:
            following.fire()

    def others(self, key: str, token: str) -> list[str] | None:
        """For whom the one with `token` speaks too; None if somebody else speaks for him."""
        with MUTEX:
            line = self._all.get(key, {})
            # Those that a closed event loop has left behind speak for nobody.
            for dead in [one for one, signal in line.items() if signal.is_over]:
                del line[dead]
            tokens = list(line)
        return tokens[1:] if tokens[:1] == [token] else None

    def forget(self) -> None:
        """In the child of a fork: who waits is in the parent."""
        self._all.clear()


_LINES: weakref.WeakSet[Lines] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for lines in list(_LINES):
        lines.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
