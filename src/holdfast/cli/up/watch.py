"""The thread that looks at the nodes several times a second and tells what happens to them."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from types import TracebackType
from typing import Self

from holdfast.cli.up.sights import Sight, State, changes
from holdfast.cli.up.topology import Roles, Topology
from holdfast.embedded import Node
from holdfast.errors import HoldfastError

_PAUSE = 0.2  # seconds between two looks
_SILENCE = 1.0  # seconds without an answer that are worth a word
_WHOLE = 1.0  # seconds between two questions whether all is well again: each asks every node several things


class Watch:
    """Looks while it is entered; a context manager. `frozen`: the names of nodes that we froze.

    It is a thread, because a look takes its time when nodes do not answer, and orders must not wait for it.
    """

    def __init__(self, topology: Topology) -> None:
        self.frozen: set[str] = set()
        self._topology = topology
        self._said: queue.SimpleQueue[str | Exception] = queue.SimpleQueue()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="holdfast-up-watch", daemon=True)
        self._roles: Roles = {node.name: "" for node in topology.nodes}
        self.sights = self._look()

    def news(self) -> list[str]:
        """What happened since the last call. Raises: what the thread failed with."""
        found: list[str] = []
        while not self._said.empty():
            said = self._said.get()
            if isinstance(said, Exception):
                raise said
            found.append(said)
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not waited for: a look at nodes that do not answer takes its time, and ends with them.
        self._over.set()

    # --- the thread ---

    def _live(self) -> None:
        try:
            self._watch()
        except Exception as error:  # noqa: BLE001 (a watch that dies in silence would say that all is well)
            self._said.put(error)

    def _watch(self) -> None:
        hurt, ask_at = False, 0.0
        while not self._over.wait(_PAUSE):
            before, self.sights = self.sights, self._look()
            sentences = changes(before, self.sights)
            for sentence in sentences:
                self._said.put(sentence)
            hurt = hurt or bool(sentences)
            if hurt and time.monotonic() >= ask_at and self._is_whole():
                hurt = False
                self._said.put("all is well again")
            elif hurt and time.monotonic() >= ask_at:
                ask_at = time.monotonic() + _WHOLE

    def _is_whole(self) -> bool:
        if any(sight.state != "up" for sight in self.sights.values()):
            return False  # asking would mean waiting for nodes that do not answer
        try:
            return not self._topology.lacks()
        except HoldfastError:
            return False

    def _look(self) -> dict[str, Sight]:
        states = {node.name: self._state(node) for node in self._topology.nodes}
        with contextlib.suppress(HoldfastError):  # nobody can say: they are what they were
            self._roles = {**self._roles, **self._topology.roles()}
        return {
            node.name: Sight(f"{node.host}:{node.port}", self._roles[node.name], *states[node.name])
            for node in self._topology.nodes
        }

    def _state(self, node: Node) -> tuple[int | None, State]:
        try:
            pid = node.pid
        except HoldfastError:
            return None, "gone"  # its guardian is gone, and it dies with that
        if pid is None:
            return None, "gone"
        if node.name in self.frozen:
            return pid, "frozen"
        try:
            node.ask("PING", wait=_SILENCE)
        except HoldfastError:
            return pid, "silent"
        return pid, "up"
