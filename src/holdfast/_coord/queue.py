"""Who of this process waits for what. Only the first of them talks to the server.

A thousand tasks that wait for one lock would ask a thousand times whenever it changes hands, and all but one
in vain. So those of one client stand in a queue of their own, first come, first served: its first watches the
channel and asks, and when it has what it wanted, or gives up, the next takes its place. What the first has
learned (`until` when it is taken at least, and whether there was news since) stays with the queue, so that
the next need not ask for it again.

For threads and for tasks of any event loop; after a fork the child starts with empty queues.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from holdfast._wire.hub_ledger import AnyHub, AnyWatch, Waker
from holdfast._wire.mutex import MUTEX


class AnySignal(Waker, Protocol):
    """A Signal or an ASignal."""

    @property
    def is_over(self) -> bool: ...


class Queue:
    """Those who wait for one key. As the waker of a watch it hears of every change."""

    __slots__ = ("_front", "_watch", "busy", "news", "turn", "until", "waiting")

    def __init__(self, turn: Any) -> None:
        self.turn = turn  # a Semaphore or an ASemaphore with one permit
        self.waiting = 0
        self.news = False  # has something happened since somebody asked?
        self.until = 0.0  # monotonic: no need to ask before, if nothing happens
        self.busy: Any = None  # who has it, as far as we know
        self._front: AnySignal | None = None
        self._watch: AnyWatch | None = None

    def fire(self) -> None:
        """Something has happened: whoever is first looks."""
        with MUTEX:
            self.news = True
            front = self._front
        if front is not None:
            front.fire()

    def take_front(self, signal: AnySignal) -> None:
        """Wake `signal` from now on: that of whoever has the turn."""
        with MUTEX:
            self._front = signal

    def leave_front(self, signal: AnySignal | None) -> None:
        """Give the turn back, unless it was taken away from `signal` meanwhile."""
        with MUTEX:
            mine = signal is None or self._front is signal
            if mine:
                self._front = None
        if mine:
            self.turn.release()

    def look_for_the_dead(self) -> None:
        """Pass the turn on if whoever has it was left behind by an event loop that was closed."""
        with MUTEX:
            front = self._front
            dead = front is not None and front.is_over
            if dead:
                self._front = None
                self.news = True
        if dead:
            self.turn.release()

    def watch(self, hub: AnyHub, channel: str) -> AnyWatch:
        """The watch of this queue, opened with its first waiter. Raises: Closed, Unavailable."""
        if self._watch is None:
            self._watch = hub.watch(channel, self)
        return self._watch

    def unwatch(self) -> None:
        """Nobody waits any more."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()


class Queues:
    """The queues of one client. `turn` makes a semaphore with one permit."""

    def __init__(self, turn: Callable[[], Any]) -> None:
        self._turn = turn
        self._all: dict[str, Queue] = {}
        with MUTEX:
            _QUEUES.add(self)

    def busy(self, key: str) -> bool:
        """Does anybody of this process wait for `key`?"""
        return key in self._all

    def join(self, key: str) -> Queue:
        """The queue for `key`, with one more in it."""
        with MUTEX:
            queue = self._all.get(key)
            if queue is None:
                queue = self._all[key] = Queue(self._turn())
            queue.waiting += 1
        queue.look_for_the_dead()
        return queue

    def leave(self, key: str, queue: Queue) -> None:
        """One less."""
        with MUTEX:
            queue.waiting -= 1
            last = queue.waiting == 0
            if last and self._all.get(key) is queue:
                del self._all[key]
        if last:
            queue.unwatch()

    def forget(self) -> None:
        """In the child of a fork: who waited is in the parent."""
        self._all.clear()


_QUEUES: weakref.WeakSet[Queues] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for queues in list(_QUEUES):
        queues.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
