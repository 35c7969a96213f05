# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncFlusher: brings what was gathered to the server, in the background and when it is asked to.

What is taken out of the buffer goes through three places, and is in exactly one of them: `_taken`, until the
server has said which series may be kept; `_calls`, numbered and in order, until each has been answered. The
next call of a metric leaves when the one before it was answered, so that one number tells the server which
it has seen. Whoever is cut off in the middle (an event loop that ends, a cancellation) leaves things where
they are, and the next flush goes on.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

from holdfast._compat import ASemaphore, ASignal, asleep, boottime, monotonic
from holdfast._coord.backoff import rest
from holdfast._coord.owner import token
from holdfast._wire._async import AsyncWire
from holdfast._wire.transport import Command
from holdfast.analytics import rules
from holdfast.analytics._series_async import AsyncSeries, ask
from holdfast.analytics.buckets import Calendar
from holdfast.analytics.counters import COUNTER
from holdfast.analytics.kinds import Base, Call, Gathered, Kind
from holdfast.analytics.layout import Layout, Place
from holdfast.analytics.options import AnalyticsOptions, Counters
from holdfast.analytics.pending import Pending
from holdfast.durations import seconds
from holdfast.errors import Closed, HoldfastError, Unavailable

TAKEN = 2000  # entries turned into calls at once
IDLE = 60.0  # seconds between two looks of somebody who has nothing to do
SURE = 0.05  # seconds by which a measurement of the clock may be wrong
LONGEST_REST = 5.0  # seconds between two attempts while the server is away


@dataclass(slots=True)
class _Sent:
    """A call with its number; `weight`: entries that are done with it; `since`: when it first left."""

    call: Call
    weight: int
    since: float = 0.0


class AsyncFlusher:
    """See the file's docstring."""

    def __init__(
        self, wire: AsyncWire, name: str, options: AnalyticsOptions, calendar: Calendar, pending: Pending
    ) -> None:
        self.wire = wire
        self.name = name
        self.options = options
        self.calendar = calendar
        self.pending = pending
        self.counters = Counters()
        self.layout = Layout(wire.keys, name)
        self.closing = False
        # What is noted once an hour has to last until it is noted again, however short anything is kept.
        self.keep = max(one.keeps for one in calendar.resolutions) + int(rules.NOTED)
        self._waiting: list[ASignal] = []  # for room
        self._signal: ASignal | None = None
        self._is_delayed = False
        self._begin()

    def _begin(self) -> None:
        """With nothing: what the parent of a fork has taken, it writes itself."""
        self._generation = self.pending.generation
        self._client = token()[:16]
        self._taken: dict[Base, list[Gathered]] = {}
        self._calls: dict[Base, deque[_Sent]] = {}
        self._number = 0  # of the last call, whatever its metric: so nothing grows with the metrics
        self._noted: dict[Base, float] = {}
        self._most = rules.FEW
        self._born: Any = None
        self._series = AsyncSeries(self.wire, self.name, self.options, self.keep, self.place)
        self._turn = ASemaphore(1)
        self._holder: ASignal | None = None

    def place(self, metric: str) -> Place:
        """Where a metric lives."""
        return self.layout.place(metric, self._client)

    # --- in the background ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Flush what is gathered, until the client is closed."""
        signal = self._signal = ASignal()
        interval, failures = seconds(self.options.flush), 0
        while not self.closing:
            signal.clear()  # before looking: what is gathered from now on fires again
            if not self.pending.size:
                await signal.wait(IDLE)
                continue
            if not self._is_urgent():
                await signal.wait(interval)
            try:
                await self.flush()
                failures = 0
            except Closed:
                return
            except Exception as error:  # noqa: BLE001 (nobody else would notice)
                if not isinstance(error, HoldfastError):
                    self._failed(error)
                failures += 1
                signal.clear()
                await signal.wait(rest(failures, random.random(), first=0.1, longest=LONGEST_REST))

    def _is_urgent(self) -> bool:
        """Is there no time to gather more?"""
        return self.closing or bool(self._waiting) or self.pending.size >= self.options.max_pending // 2

    def hurry(self) -> None:
        """Have the background look at once: there is something, or much, or an end."""
        signal = self._signal
        if signal is not None:
            signal.fire()

    async def room(self, timeout: float) -> None:
        """Wait until something was written, at most `timeout` seconds."""
        signal = ASignal()
        self._waiting.append(signal)
        self.hurry()
        try:
            await signal.wait(timeout)
        finally:
            if signal in self._waiting:
                self._waiting.remove(signal)

    async def rest(self, delay: float) -> None:
        """Wait a moment before the next attempt."""
        await asleep(delay)

    def end(self) -> None:
        """Let the background end."""
        self.closing = True
        self.hurry()

    def kind_of(self, metric: str) -> Kind | None:
        """What kind of figures this process has written of a metric; counters, if it were several."""
        found = [one.kind for one in self._noted if one.metric == metric]
        return found[0] if len(found) == 1 else COUNTER if found else None

    def forget(self, metric: str) -> None:
        """A metric was dropped: what was noted of it has to be noted again."""
        for base in [one for one in self._noted if one.metric == metric]:
            del self._noted[base]
        self._series.forget(metric)

    def dropped(self, entries: int) -> None:
        """Entries made room for newer ones."""
        first = not self.counters.dropped
        self.counters.dropped += entries
        if first:
            self.lost("full", entries)

    def lost(self, reason: str, entries: int) -> None:
        """Tell that entries were given up."""
        self._notify(rules.AnalyticsLost(analytics=self.name, reason=reason, entries=entries))

    # --- a flush --------------------------------------------------------------------------------------------

    async def flush(self, timeout: float | None = None) -> None:
        """Write everything that was gathered before this call.

        Raises: Unavailable, Refused, Closed; then it is kept.
        """
        patience = self.wire.timeout if timeout is None else timeout
        with self.pending.lock:  # in the child of a fork several threads may flush first
            if self._generation != self.pending.generation:
                self._begin()
        turn = await self._take_turn(patience)
        try:
            await self._measure(patience)
            trouble = await self._send(patience)
            for _ in range(1 + self.pending.size // TAKEN):
                trouble = await self._pass(patience) or trouble
                if not self.pending.size:
                    break
        except HoldfastError as error:
            trouble = error
        finally:
            self._holder = None
            turn.release()
        if trouble is not None:
            self._failed(trouble)
            raise trouble
        self._is_delayed = False

    async def _take_turn(self, patience: float) -> ASemaphore:
        """One at a time. Raises: Unavailable."""
        holder = self._holder
        if holder is not None and holder.is_over:  # its event loop ended in the middle of a flush
            self._turn = ASemaphore(1)
        turn = self._turn
        if not await turn.acquire(patience):
            raise Unavailable(f"analytics {self.name!r}: another flush is under way for {patience:g} s")
        self._holder = ASignal()
        return turn

    async def _pass(self, patience: float) -> HoldfastError | None:
        """Write some of it, so much at once that nobody else of this process waits long for it; what trouble
        there was.
        """
        with self.pending.lock:
            taken = self.pending.take(lambda base: base in self._calls or base in self._taken, TAKEN)
        self._taken.update(taken)
        if not self._taken:
            return None
        await self._note(patience)
        undecided, refused = await self._series.admit(self._taken, patience)
        self._fold(undecided)
        trouble = await self._send(patience)
        self.counters.flushes += 1
        return trouble or refused

    async def _measure(self, patience: float) -> None:
        """How far the server's clock is ahead of ours."""
        asked = boottime()
        whole, micros = await self.wire.execute("TIME", timeout=patience)
        answered = boottime()
        ahead = int(whole) + int(micros) / 1e6 - (asked + answered) / 2
        doubt = (answered - asked) / 2  # what a slow answer says is less certain than what we know
        with self.pending.lock:
            known = self.pending.ahead
            if known is None or doubt < SURE or abs(ahead - known) > doubt:
                self.pending.measured(ahead)

    def now(self) -> float:
        """The server's time, as far as we know."""
        return boottime() + (self.pending.ahead or 0.0)

    async def _note(self, patience: float) -> None:
        """Note in the index that these metrics are in use."""
        await self._find_loss(patience)
        now = monotonic()
        news = [one for one in self._taken if now - self._noted.get(one, float("-inf")) > rules.NOTED]
        if news:
            ms = int(self.now() * 1000)
            commands: list[Command] = [
                ("ZADD", self.layout.index, "GT", ms, f"{one.metric}\0{one.kind.name}") for one in news
            ]
            told = rules.settings(self.options)
            commands.append(("SET", self.layout.settings, told, "EX", self.keep))
            await self.wire.execute_many(commands, timeout=patience, retry="safe")
            self._noted.update(dict.fromkeys(news, now))
            if len(self._noted) > self._most:  # it is not to fill the memory, with a metric for each user
                for base in [one for one, at in self._noted.items() if now - at > rules.NOTED]:
                    del self._noted[base]
                self._series.forget_old(now)
                self._most = max(rules.FEW, 2 * len(self._noted))

    async def _find_loss(self, patience: float) -> None:
        """A server that has lost what it knew is told the metrics and their series again."""
        key = self.layout.born
        born = await self.wire.execute("GET", key, timeout=patience)
        if born is None:
            fresh: Command = ("SET", key, token()[:16], "NX", "EX", self.keep)
            _, born = await self.wire.execute_many([fresh, ("GET", key)], timeout=patience, retry="safe")
        if born != self._born:
            self._born = born
            self._noted.clear()
            self._series.forget_all()

    def _fold(self, undecided: set[Base]) -> None:
        """Number the calls for everything that may be written."""
        now = self.now()
        for base in [one for one in self._taken if one not in undecided]:
            events = self._taken[base]
            cells, late = rules.fold(self.calendar, self._series.named(base, events), now)
            calls = base.kind.calls(self.place(base.metric), cells, self._following) if cells else []
            weight = sum(one.weight for one in events)
            del self._taken[base]
            if calls:
                self._calls[base] = deque(_Sent(call, 0) for call in calls)
                self._calls[base][-1].weight = weight
            else:
                self._done(weight)
            if late:
                self.counters.late += late
                self.lost("late", late)

    def _following(self) -> int:
        self._number += 1
        return self._number

    # --- sending --------------------------------------------------------------------------------------------

    async def _send(self, patience: float) -> HoldfastError | None:
        """Send the calls of all metrics, of each one after the other; the trouble that some have."""
        trouble: HoldfastError | None = None
        stuck: set[Base] = set()
        while True:
            self._abandon()
            heads = {base: calls[0] for base, calls in self._calls.items() if base not in stuck}
            if not heads:
                return trouble
            now = boottime()
            for sent in heads.values():
                sent.since = sent.since or now
            calls = {base: one.call for base, one in heads.items()}
            replies, refused = await ask(self.wire, calls, patience)
            trouble = refused or trouble
            stuck.update(base for base in heads if base not in replies)
            for base, reply in replies.items():
                self._answered(base, reply)

    def _answered(self, base: Base, reply: Any) -> None:
        """The first call of a metric is done."""
        self.counters.calls += 1
        counted = reply[0] if isinstance(reply, list) else reply
        if counted == 0:
            self.counters.repeated += 1
        elif isinstance(reply, list) and reply[1]:
            self.lost("refused", int(reply[1]))
        self._remove(base)

    def _remove(self, base: Base) -> None:
        calls = self._calls[base]
        self._done(calls.popleft().weight)
        if not calls:
            del self._calls[base]

    def _abandon(self) -> None:
        """Give up what is in doubt for so long that the server would not recognise it."""
        now, gone = boottime(), 0
        for base, calls in list(self._calls.items()):
            if calls[0].since and now - calls[0].since > rules.DOUBT:
                gone += 1
                self._remove(base)
        if gone:
            self.counters.abandoned += gone
            self.lost("doubt", gone)

    def _done(self, weight: int) -> None:
        with self.pending.lock:
            self.pending.done(weight)
            waiting, self._waiting = self._waiting, []
        for signal in waiting:
            signal.fire()

    def _failed(self, error: Exception) -> None:
        self.counters.failures += 1
        if not self._is_delayed:
            self._is_delayed = True
            self._notify(
                rules.AnalyticsDelayed(analytics=self.name, cause=repr(error), pending=self.pending.size)
            )

    def _notify(self, signal: Any) -> None:
        self.wire.observer.notify(signal)
