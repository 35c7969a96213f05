"""The same questions to several servers at once, so that one that is frozen costs nothing.

Each server is asked in a thread of its own, on a connection of its own, and answers are handed over as they
come. Surveys are rare (somebody moved, or seems to have), so threads and connections are not kept.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic

from holdfast._wire.connection import Connection, connect, pack
from holdfast._wire.mutex import MUTEX
from holdfast._wire.transport import Command, Reply, WireFailure
from holdfast._wire.url import Target
from holdfast.errors import HoldfastError

log = logging.getLogger("holdfast.survey")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one server said, or why it said nothing."""

    target: Target
    replies: list[Reply] = field(default_factory=list)
    failure: Exception | None = None


def _came(answer: Answer) -> bool:
    return answer.failure is None


def survey(
    targets: Sequence[Target],
    commands: Sequence[Command],
    *,
    timeout: float,
    grace: float,
    is_good: Callable[[Answer], bool] = _came,
) -> Iterator[Answer]:
    """The answers to `commands`, in the order of their arrival.

    No more are waited for `timeout` seconds after the beginning, nor `grace` seconds after the first good
    one. Who has not answered by then is hung up on.
    """
    came: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    give_up = monotonic() + timeout
    packed = b"".join(map(pack, commands))
    begun: list[Connection] = []

    def ask(target: Target) -> None:
        try:
            connection = connect(target, timeout, begun.append)
            try:
                came.put(Answer(target, connection.ask(packed, len(commands), give_up)))
            finally:
                connection.close()
        except (WireFailure, HoldfastError) as failure:
            came.put(Answer(target, failure=failure))

    for target in targets:
        try:
            threading.Thread(target=ask, args=(target,), name="holdfast-survey", daemon=True).start()
        except RuntimeError as error:  # the interpreter is ending, or there are too many threads
            came.put(Answer(target, failure=WireFailure(f"cannot be asked: {error}", sent=False)))
    try:
        yield from _collected(came, targets, give_up, grace, is_good)
    finally:
        for connection in begun:  # a thread that waits for one that is frozen shall not outlive its purpose
            connection.doom("nobody waits for the answer any more")


def _collected(
    came: queue.SimpleQueue[Answer],
    targets: Sequence[Target],
    give_up: float,
    grace: float,
    is_good: Callable[[Answer], bool],
) -> Iterator[Answer]:
    silent = list(targets)
    patience = give_up + 0.05  # who asks keeps the same time, and shall be able to say what was wrong
    while silent:
        try:
            answer = came.get(timeout=max(0.0, patience - monotonic()))
        except queue.Empty:
            break
        if is_good(answer):
            patience = min(patience, monotonic() + grace)
        silent.remove(answer.target)
        yield answer
    for target in silent:
        yield Answer(target, failure=WireFailure("no answer in time", sent=False))


class Errand:
    """Work done in the background by one thread at a time; asked for while it is under way, it runs once
    more.
    """

    def __init__(self, name: str, work: Callable[[], None], gap: float) -> None:
        self._name = name
        self._work = work
        self._gap = gap  # seconds between two runs, however often it is asked for
        self.after_fork()

    def after_fork(self) -> None:
        """In the child of a fork: the thread is in the parent."""
        self._running = False
        self._again = False
        self._rest = threading.Event()

    def ask_for(self) -> None:
        """Have it run, now or as soon as the gap allows. Never waits."""
        with MUTEX:
            self._again = True
            if self._running:
                return
            self._running = True
        try:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        except RuntimeError:  # the interpreter is ending, or there are too many threads
            self._running = False

    def _run(self) -> None:
        while True:
            self._again = False
            try:
                self._work()
            except Exception:
                log.exception("a bug, in the background")  # it must not stop the next run
            self._rest.wait(self._gap)
            with MUTEX:
                if not self._again:
                    self._running = False
                    return
