"""The place where the primary is, asked of all sentinels at once.

Promise
* A sentinel that is frozen or gone costs no time as long as another one answers.
* A server that does not call itself a primary is refused, whatever a sentinel said (by its HELLO reply, so
  without a round trip).
* When the first sentinel publishes that the primary has moved, every connection to the older one is dropped,
  idle or in use: no write goes to a server that was frozen or cut off and comes back believing in itself.
* Where nothing is published (no right to subscribe, all connections cut) the sentinels are asked again after
  0.3 s of silence of the primary, after every lost connection, and every two seconds anyway.

Not promised: that no write is lost that the older primary acknowledged before the sentinels had decided.
That is the server's to promise (min-replicas-to-write), or WAIT's.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Any

from holdfast import _signals
from holdfast._wire.endpoint import Endpoint
from holdfast._wire.sentinel import rules
from holdfast._wire.sentinel.rules import Address, Event, Opinion, Shrug
from holdfast._wire.sentinel.watch import Watch
from holdfast._wire.survey import Answer, Errand, survey
from holdfast._wire.transport import WireFailure
from holdfast._wire.url import Target, sentinel_of, with_address
from holdfast.errors import HoldfastError

GRACE = 0.03  # seconds after the first answer for which others are waited for: a stale one may be the fastest
DISPUTE = 0.3  # the same where a sentinel contradicts what we believe: the one that knows may be far away
LATE = 0.05  # seconds by which a survey may overrun
FRESH = 0.05  # seconds for which an answer is not asked for again
MEMORY = 10.0  # seconds after a move for which sentinels that have not heard of it are not believed

Notify = Callable[[_signals.Signal], None]


class SentinelEndpoint(Endpoint):
    """See the file's docstring."""

    suspicious_after = 0.3

    def __init__(self, target: Target, *, notify: Notify, connect_timeout: float) -> None:
        super().__init__(str(target), None)
        self._spec = target
        self._notify = notify
        self._patience = connect_timeout
        self._sentinels: dict[Address, None] = dict.fromkeys(target.nodes)
        self._primary: Target | None = None  # the last one known; `target` is None while that is in doubt
        self._epoch = 0  # of the configuration in which it is the primary
        self._moved_at = float("-inf")
        self._left: Address | None = None  # where it was before
        self._asked_at = float("-inf")
        self._shrugs: list[Shrug] | None = None  # what came of it, if nothing good
        self._is_disputed = False
        self._stopped = False
        self._mutex = threading.Lock()
        self._check = Errand("holdfast-sentinel-check", self._look_again, gap=0.1)
        self._watch = Watch(target, weakref.ref(self), connect_timeout)
        # Whoever forgets the client instead of closing it shall not be left with our threads.
        weakref.finalize(self, self._watch.stop)
        _ENDPOINTS.add(self)

    # --- for whoever connects -------------------------------------------------------------

    def resolve(self, timeout: float = float("inf")) -> Target:
        """The primary's address; asks the sentinels, for `timeout` seconds at most.

        Raises: WireFailure; ConfigurationError, NoPermission where all of them say that asking is vain.
        """
        patience = min(timeout, self._patience)
        give_up = monotonic() + patience
        # Who asks now keeps the same time at most, and shall be able to say what was wrong.
        if not self._mutex.acquire(timeout=patience + 2 * LATE):
            raise WireFailure("cannot connect: no sentinel has answered yet", sent=False)
        try:
            if self.target is None:
                # Whoever waited while others asked takes their answer: in a queue, each with a survey of its
                # own, the last would wait for all of them.
                if monotonic() - self._asked_at > FRESH:
                    self._ask(give_up)
                elif self._shrugs is not None:
                    raise self._nobody(self._shrugs)
                self.target = self._primary
            assert self.target is not None
            return self.target
        finally:
            self._mutex.release()

    def is_current(self, target: Target | None) -> bool:
        """Is a connection to `target` one to the primary?"""
        return target is self._primary

    def failed(self, target: Target) -> None:
        """A connection to `target` could not be made, or was lost: ask again before the next one is made."""
        if target is self.target:
            self.target = None

    def quiet(self) -> None:
        """The primary owes an answer and says nothing: see whether it still is the primary."""
        self._check.ask_for()

    def doubt(self) -> bool:
        """It refuses what a primary does not refuse: see whether there is another one."""
        self._check.ask_for()
        return True

    def trouble(self) -> str:
        """What the sentinels said when they were last asked, if that was of no help and it matters."""
        shrugs = self._shrugs
        return "" if self.target is not None or shrugs is None else rules.no_help(shrugs)

    def about(self) -> dict[str, Any]:
        """Where the primary is, and how many sentinels are listened to."""
        known = self._primary
        return {
            "primary": None if known is None else f"{known.host}:{known.port}",
            "sentinels": len(self._sentinels),
            "sentinels_heard": self._watch.heard,
        }

    def stop(self) -> None:
        """Listen to the sentinels no more."""
        self._stopped = True
        self._watch.stop()

    # --- asking -------------------------------------------------------------

    def _look_again(self) -> None:
        if not self._stopped:
            try:
                with self._mutex:
                    self._ask(monotonic() + self._patience)
            except (WireFailure, HoldfastError):
                return  # nobody answers: whoever needs a new connection will hear of it

    def _ask(self, give_up: float) -> None:
        """Learn where the primary is. Raises: as `resolve`. Called with the mutex held."""
        opinions, shrugs = self._survey(give_up)
        self._asked_at = monotonic()
        believed = rules.believed(opinions)
        self._shrugs = shrugs if believed is None else None
        if believed is None:
            raise self._nobody(shrugs)
        self._watch.follow(self._sentinels)
        self._settle(*believed)

    def _nobody(self, shrugs: list[Shrug]) -> Exception:
        return rules.nobody(shrugs, self._spec.service, before=self._primary is not None)

    def _survey(self, give_up: float) -> tuple[list[Opinion], list[Shrug]]:
        """What the sentinels say, and why those do not that do not."""
        targets = [sentinel_of(self._spec, *address) for address in self._sentinels]
        grace, self._is_disputed = (DISPUTE if self._is_disputed else GRACE), False
        opinions: list[Opinion] = []
        shrugs: list[Shrug] = []
        for answer in survey(
            targets,
            rules.questions(self._spec.service),
            timeout=max(0.001, give_up - monotonic()),
            grace=grace,
            is_good=_is_opinion,
        ):
            opinion = None if answer.failure else rules.opinion(answer.replies)
            if opinion is not None:
                opinions.append(opinion)
                self._learn(opinion)
            else:
                where = f"{answer.target.host}:{answer.target.port}"
                shrugs.append(rules.shrug(where, answer.failure, answer.replies, self._spec.service))
        return opinions, shrugs

    def _learn(self, opinion: Opinion) -> None:
        for other in opinion.others:
            if len(self._sentinels) < 2 * len(self._spec.nodes) + 3:
                self._sentinels.setdefault(other)

    def _settle(self, epoch: int | None, address: Address) -> None:
        """Believe that the primary is at `address`, unless we know better."""
        known = self._primary
        if known is not None and (known.host, known.port) == address:
            self._epoch = max(self._epoch, epoch or 0)
            self.target = known
        elif known is None or not self._moved_lately or self._is_news(epoch, address):
            self._move(address, epoch or 0)

    @property
    def _moved_lately(self) -> bool:
        return monotonic() - self._moved_at <= MEMORY

    def _is_news(self, epoch: int | None, address: Address) -> bool:
        """Is it more than the opinion of those who have not heard of the last move?"""
        return address != self._left if epoch is None else epoch >= self._epoch

    def _move(self, address: Address, epoch: int) -> None:
        old, new = self._primary, with_address(self._spec, *address, role="primary")
        self._primary = self.target = new
        if old is None:
            self._epoch = epoch
            return
        self._left = (old.host, old.port)
        # Whoever has not heard of this move answers with the epoch of the time before it.
        self._epoch = max(epoch, self._epoch + 1)
        self._moved_at = monotonic()
        was, now = f"{old.host}:{old.port}", f"{new.host}:{new.port}"
        self.tell_moved(f"the primary has moved from {was} to {now}")
        self._notify(_signals.PrimaryMoved(server=self.name, old=was, new=now))

    # --- what the listeners hear -------------------------------------------------------------

    def heard(self, sentinel: str, event: Event) -> None:
        """A sentinel published something."""
        told = _signals.SentinelEvent(
            server=self.name, sentinel=sentinel, channel=event.name, instance=event.instance
        )
        self._notify(told)
        if event.name == "+sentinel":
            self._check.ask_for()
        elif event.new is not None:
            with self._mutex:
                known = self._primary
                came_from = known is not None and (known.host, known.port) == event.old
                # Where it moved a moment ago and moved back, the message may be about the first time.
                if came_from and not (self._moved_lately and event.new == self._left):
                    self._move(event.new, self._epoch + 1)
                elif known is None or (known.host, known.port) != event.new:
                    self._check.ask_for()  # we are behind, or it is: let all of them say

    def told(self, address: Address) -> None:
        """A sentinel says where the primary is, as it does every other second."""
        known = self._primary
        if known is None or (known.host, known.port) == address:
            return
        if not (self._moved_lately and address == self._left):  # then it has not heard of it yet
            self._is_disputed = True
            self._check.ask_for()

    def after_fork(self) -> None:
        """In the child: the threads are in the parent."""
        self._mutex = threading.Lock()
        self._making = set()  # to doom one of the parent's would end it there too
        self._asked_at = float("-inf")
        self._check.after_fork()
        self._watch.after_fork()
        self.target = None  # the next connection asks, and so begins to listen


def _is_opinion(answer: Answer) -> bool:
    """Is it one that may end the waiting for others?"""
    return answer.failure is None and rules.opinion(answer.replies) is not None


_ENDPOINTS: weakref.WeakSet[SentinelEndpoint] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for endpoint in list(_ENDPOINTS):
        endpoint.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
