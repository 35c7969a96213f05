"""A look at the server of a storm, past all faults; and work done side by side, in both flavours."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from holdfast.embedded import Server, admin
from tests.locks.storm.record import Judgement

# What stands there only while somebody holds it or waits: the lock, its readers, its queues.
STANDING = ("", ":r", ":q", ":i")


class Look:
    """What stands on the server after a storm."""

    def __init__(self, server: Server, namespace: str) -> None:
        self._server, self.namespace = server, namespace
        self.held: dict[str, int] = {}
        self.timeless: list[str] = []

    def ask(self, *words: str | int) -> Any:
        return admin.ask(self._server.socket_path, self._server.password, *words, wait=10)

    def now(self) -> None:
        """Note the locks that are held, though nobody is left, and keys that never end."""
        for raw in sorted(self.ask("KEYS", f"{self.namespace}:*")):
            key = raw.decode() if isinstance(raw, bytes) else raw
            left = self.ask("PTTL", key)
            if key[key.index("}") + 1 :] in STANDING:
                self.held[key] = left
            if left == -1:
                self.timeless.append(key)

    def faults(self, seen: Judgement) -> list[str]:
        """Orphans: who is told in time that his lease is lost gives nothing back, and its rest has to end by
        itself; nothing else may be left.
        """
        return [f"{key} never ends" for key in self.timeless] + [
            f"{key} is held by nobody for {left} ms"
            for key, left in self.held.items()
            if key[key.index("{") + 1 : key.index("}")] not in seen.ended_by_time
        ]


class AsyncTogether:
    """Tasks."""

    @staticmethod
    async def run(calls: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        """Return when all have ended."""
        await asyncio.gather(*(call() for call in calls), return_exceptions=True)


class Together:
    """Threads."""

    @staticmethod
    def run(calls: Sequence[Callable[[], None]]) -> None:
        """Return when all have ended."""
        threads = [threading.Thread(target=call) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
