"""What may run next: messages in order, one at a time of each lane. For threads and tasks alike, no I/O.

A lane is what has to be done one after the other: the messages of a key, or of a partition. It exists from
its first message until its last one is done. At each moment it is ready (its first message could run), at
work (that was handed out), at rest (its first messages have failed, and wait), or asking (they have rested,
and the server is asked whether they are still ours). Messages without a lane run as they come.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal, Protocol


class Job(Protocol):
    """A message, as far as lanes know it."""

    lane: Hashable
    deliveries: int
    is_over: bool
    rests_until: float


class _Lane:
    __slots__ = ("asking", "name", "queue", "state")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.queue: deque[Any] = deque()  # what has not begun; who rests or asks is in here, at the front
        self.state: Literal["ready", "work", "rest", "ask", "gone"] = "gone"
        self.asking = 0  # messages that the server was asked about and has not answered yet


class Lanes:
    """See the file's docstring."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._ready: deque[Any] = deque()  # messages without a lane, and lanes
        self._lanes: dict[Hashable, _Lane] = {}
        # A heap: monotonic time, number, messages, and whether the server has to be asked about them.
        self._resting: list[tuple[float, int, list[Any], bool]] = []
        self._numbers = itertools.count()

    @property
    def ready(self) -> int:
        """Messages that could run now."""
        return len(self._ready)

    @property
    def next_rested(self) -> float:
        """Monotonic time at which somebody has rested; infinite if nobody rests."""
        resting = self._resting
        return resting[0][0] if resting else float("inf")

    def add(self, job: Job) -> None:
        """Queue `job`."""
        with self._mutex:
            if job.lane is None:
                self._ready.append(job)
                return
            lane = self._lanes.get(job.lane) or self._lanes.setdefault(job.lane, _Lane(job.lane))
            lane.queue.append(job)
            if lane.state == "gone":
                self._set_ready(lane)

    def add_resting(self, job: Job, until: float) -> None:
        """Queue `job`, which may not run before `until` (monotonic), but is ours; its lane waits for it."""
        with self._mutex:
            if job.lane is None:
                self._rest([job], until, ask=False)
                return
            lane = self._lanes.get(job.lane) or self._lanes.setdefault(job.lane, _Lane(job.lane))
            job.rests_until = until
            lane.queue.append(job)
            if lane.state == "gone":
                self._go_on(lane)

    def take(self, limit: int = 1) -> list[Any]:
        """At most `limit` messages to run now: of one lane, or of none. Who has failed before comes alone."""
        with self._mutex:
            while self._ready:
                first = self._ready.popleft()
                if type(first) is _Lane:
                    if first.state != "ready":
                        continue
                    taken = self._together(first.queue, limit)
                    first.state = "work"
                    if not taken:
                        self._go_on(first)
                elif limit == 1:
                    taken = [] if first.is_over else [first]
                else:
                    self._ready.appendleft(first)
                    taken = self._together(self._ready, limit)
                if taken:
                    return taken
            return []

    @staticmethod
    def _together(queue: deque[Any], limit: int) -> list[Any]:
        taken: list[Any] = []
        while len(taken) < limit and queue and type(queue[0]) is not _Lane:
            job = queue.popleft()
            if job.is_over:
                continue
            if job.rests_until or (taken and job.deliveries > 1):
                queue.appendleft(job)
                break
            taken.append(job)
            if job.deliveries > 1:
                break
        return taken

    def done(self, jobs: Sequence[Job]) -> None:
        """These, taken together, have ended: their lane goes on."""
        if jobs[0].lane is not None:
            with self._mutex:
                self._go_on(self._lanes[jobs[0].lane])

    def rest(self, jobs: Sequence[Job], until: float) -> None:
        """These, of those taken together, have to run again, not before `until` (monotonic); their lane
        waits.
        """
        with self._mutex:
            lane = self._lanes[jobs[0].lane]
            lane.queue.extendleft(reversed(jobs))
            lane.state = "rest"
            self._rest(list(jobs), until, ask=True)

    def rested(self, now: float) -> list[Any]:
        """Those whose rest is over, and about whom the server has to be asked: then `again` or `over`."""
        found: list[Any] = []
        with self._mutex:
            while self._resting and self._resting[0][0] <= now:
                _, _, jobs, ask = heapq.heappop(self._resting)
                if jobs[0].lane is None:
                    for job in jobs:
                        job.rests_until = 0.0
                    self._ready.extend(jobs)
                    continue
                lane = self._lanes.get(jobs[0].lane)
                if lane is None or lane.state != "rest" or lane.queue[0] is not jobs[0]:
                    continue  # dropped meanwhile
                for job in jobs:
                    job.rests_until = 0.0
                if ask:
                    lane.state, lane.asking = "ask", len(jobs)
                    found += jobs
                else:
                    self._go_on(lane)
            return found

    def again(self, job: Job) -> None:
        """`job` has rested, and is still ours: it may run."""
        with self._mutex:
            self._answered(self._lanes.get(job.lane))

    def over(self, job: Job) -> None:
        """`job`, which was queued or has rested, is not ours any more."""
        if job.lane is None:
            return  # `take` passes it over
        with self._mutex:
            lane = self._lanes.get(job.lane)
            if lane is None or job not in lane.queue:
                return
            first = lane.queue[0]
            lane.queue.remove(job)
            if lane.state == "ask":
                self._answered(lane)
            elif lane.state == "rest" and job is first:
                self._rouse(job, lane)

    def drop(self, which: Callable[[Any], bool]) -> list[Any]:
        """Take out those that have not begun and for which `which` is true, in order."""
        with self._mutex:
            dropped = [one for one in self._ready if type(one) is not _Lane and which(one)]
            gone = set(map(id, dropped))
            kept = [one for one in self._ready if id(one) not in gone]
            self._ready.clear()
            self._ready.extend(kept)
            for _, _, jobs, _ in self._resting:
                dropped += [one for one in jobs if one.lane is None and which(one)]
            for lane in list(self._lanes.values()):
                out = [one for one in lane.queue if which(one)]
                if out:
                    first = lane.queue[0]
                    left = [one for one in lane.queue if not which(one)]
                    lane.queue.clear()
                    lane.queue.extend(left)
                    dropped += out
                    if lane.state != "work" and (not left or left[0] is not first):
                        self._go_on(lane)
            gone = set(map(id, dropped))
            resting = [
                (at, number, [one for one in jobs if id(one) not in gone], ask)
                for at, number, jobs, ask in self._resting
            ]
            self._resting = [one for one in resting if one[2]]
            heapq.heapify(self._resting)
            return dropped

    # --- with the mutex ---------------------------------------------------------------------------------

    def _rest(self, jobs: list[Any], until: float, *, ask: bool) -> None:
        for job in jobs:
            job.rests_until = until
        heapq.heappush(self._resting, (until, next(self._numbers), jobs, ask))

    def _rouse(self, job: Job, lane: _Lane) -> None:
        """`job`, for which `lane` rests, is not there any more: those that rest with it do so without it."""
        for _, _, jobs, _ in self._resting:
            if jobs[0] is job:
                del jobs[0]
                if jobs:
                    return
                self._resting = [one for one in self._resting if one[2]]
                heapq.heapify(self._resting)
                self._go_on(lane)
                return

    def _set_ready(self, lane: _Lane) -> None:
        lane.state = "ready"
        self._ready.append(lane)

    def _answered(self, lane: _Lane | None) -> None:
        if lane is not None and lane.state == "ask":
            lane.asking -= 1
            if lane.asking <= 0:
                self._go_on(lane)

    def _go_on(self, lane: _Lane) -> None:
        """The first message of `lane` may run, if there is one."""
        if lane.queue:
            first = lane.queue[0]
            if first.rests_until:
                lane.state = "rest"
                self._rest([first], first.rests_until, ask=False)
            else:
                self._set_ready(lane)
            return
        lane.state = "gone"
        self._lanes.pop(lane.name, None)
