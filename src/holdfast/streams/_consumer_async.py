# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncConsumer: takes messages for one subscriber and hands them to its handler, in the background.

One reader asks the server, for all partitions and with all acknowledgements; `concurrency` workers run the
handler. Between them stand the lanes, which know what may run.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from holdfast._compat import ASignal, monotonic
from holdfast._coord import tracing
from holdfast._coord.background import AsyncBackground
from holdfast._coord.owner import owner, token
from holdfast._wire.mutex import MUTEX
from holdfast.durations import seconds
from holdfast.errors import Closed, ConfigurationError, Unavailable
from holdfast.streams import record, rules
from holdfast.streams._berth_async import AsyncBerth, Mode
from holdfast.streams._books_async import AsyncGroup
from holdfast.streams._desk_async import AsyncDesk
from holdfast.streams._message_async import AsyncMessage
from holdfast.streams._relay_async import relay
from holdfast.streams._sharing_async import AsyncSharing
from holdfast.streams._tidy_async import AsyncCaretaker
from holdfast.streams._worker_async import AsyncWorker
from holdfast.streams.counters import Counters, SubscriberStats
from holdfast.streams.lanes import Lanes
from holdfast.streams.options import Order, SubscriberOptions
from holdfast.streams.seat import Seat

log = logging.getLogger("holdfast.streams")


class AsyncConsumer:
    """See the file's docstring. Made by `stream.subscriber(...)`; started by `hf.run()`."""

    def __init__(
        self,
        desk: AsyncDesk,
        group: str,
        handler: Callable[..., Any],
        options: SubscriberOptions,
        order: Order,
        counters: Counters,
    ) -> None:
        self.desk = desk
        self.group = group
        self.handler = handler
        self.options = options
        self.order = order
        self.counters = counters
        self.name = f"{desk.name}/{group}"
        self.takes_message = rules.takes(handler, options.batch is not None)
        self.failure: Exception | None = None
        self.average = 0.0  # seconds that a handler takes
        self.low = 0  # the reader wants to know when so few are left
        self.caretaker = AsyncCaretaker(desk, group, options, alone=order != "none")
        self.lanes = Lanes()
        self._berths: list[AsyncBerth] = []
        self._reader: AsyncBackground | None = None
        self._workers: list[AsyncWorker] = []
        self._idle: deque[ASignal] = deque()
        self._closing = self._draining = self._over = True
        self._waiting: list[ASignal] = []

    # --- life -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin. Raises: RuntimeError if no event loop is running, or no thread can be started."""
        self._closing = self._draining = self._over = False
        self.failure = None
        self.is_traced = tracing.is_on()
        self.lanes = Lanes()
        self._wake = ASignal()
        self._is_awake = False
        self._member = f"{owner()}{token()[:8]}"
        seat = Seat(
            self.group,
            self._member,
            lease=seconds(self.options.lease),
            alone=self.order != "none",
            start="0" if self.options.start == "first" else "$",
            most=self.options.max_deliveries or 0,
            deletes=self.desk.deletes,
            counters=self.counters,
        )
        parts = self.desk.layout.parts
        self._berths = [AsyncBerth(self.desk, one, seat, AsyncMessage, self._wake) for one in parts]
        random.shuffle(self._berths)  # members that begin together shall not all stand at the same door
        self._sharing = AsyncSharing(self, self._member, self._berths)
        self._workers = [AsyncWorker(self, number) for number in range(self.options.concurrency)]
        self._reader = AsyncBackground(f"holdfast-stream-{self.name}", self._run)

    @property
    def alive(self) -> bool:
        """Is it at work? Not once it is closed, and not in the child of a fork."""
        return not self._over and self._reader is not None and self._reader.alive

    def stats(self) -> SubscriberStats:
        """What this process has done."""
        counters = self.counters
        counters.running, counters.in_flight = self.running, self.in_flight
        return counters.snapshot()

    @property
    def in_flight(self) -> int:
        """Messages taken and not finished."""
        return sum([len(one.in_flight) for one in self._berths])

    async def is_idle(self) -> bool:
        """Is there nothing unread, nothing in work, and nothing that waits for a retry? By the last look; of
        partitions that another process has, by what the server says.
        """
        own = [one for one in self._berths if one.epoch]
        if not self.alive or self.in_flight or not all(one.is_quiet and not one.is_rung for one in own):
            return False
        if len(own) == len(self._berths):
            return True
        lag = await AsyncGroup(self.desk, self.group).lag()
        return not lag.entries and not lag.pending

    async def close(self, drain: float = 10.0) -> None:
        """Take nothing more, wait for the handlers at most `drain` seconds, give back what has not begun, and
        leave. May be repeated. Then handlers that are tasks are cancelled; their messages come again.
        """
        give_up = monotonic() + drain
        self._draining = True
        if self._reader is None or self._over:
            return
        self._wake.fire()
        if not await self._until(give_up, lambda: not self.running):
            for worker in self._workers:
                worker.cancel()
            await self._until(monotonic() + rules.LAST_WORDS, lambda: not self.running)
        self._closing = True
        self._wake.fire()
        self._wake_workers(len(self._idle))
        await self._until(monotonic() + self.desk.wire.timeout * 2, lambda: not self.alive)

    @property
    def running(self) -> int:
        """Handlers at this moment."""
        return sum(1 for one in self._workers if one.is_busy)

    async def _until(self, give_up: float, is_so: Callable[[], bool]) -> bool:
        signal = ASignal()
        with MUTEX:
            self._waiting.append(signal)
        try:
            while not is_so():
                left = give_up - monotonic()
                if left <= 0:
                    return False
                signal.clear()
                if not is_so():
                    await signal.wait(min(left, 0.2))
            return True
        finally:
            with MUTEX:
                self._waiting.remove(signal)

    def tell(self) -> None:
        """Something has ended: whoever waits for that looks."""
        with MUTEX:
            waiting = list(self._waiting)
        for signal in waiting:
            signal.fire()

    # --- between the reader and the workers -----------------------------------------------------------------

    @property
    def is_draining(self) -> bool:
        """Shall workers begin nothing more?"""
        return self._draining

    @property
    def is_closing(self) -> bool:
        """Shall workers end?"""
        return self._closing

    def failed(self, message: AsyncMessage[Any], why: str, pause: float) -> None:
        """Tell that a message comes again."""
        self.desk.notify(
            rules.MessageFailed(
                stream=self.desk.name,
                group=self.group,
                id=message.id,
                deliveries=message.deliveries,
                error=why,
                rest=pause,
            )
        )

    def wake(self) -> bool:
        """The reader has something to do; False if it knows already."""
        if self._is_awake:
            return False
        self._is_awake = True
        self._wake.fire()
        return True

    def ring(self) -> None:
        """Something else has happened that the reader has to look at."""
        self._wake.fire()

    def wait_for_work(self, signal: ASignal) -> None:
        """Have `signal` fired when there is something to run."""
        self._idle.append(signal)

    def _wake_workers(self, count: int) -> None:
        for _ in range(min(count, len(self._idle))):
            try:
                self._idle.popleft().fire()
            except IndexError:  # another one was quicker
                return

    # --- the reader -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while not self._closing:
                try:
                    await self.desk.check()
                    await self._read()
                except Closed:
                    return
                except ConfigurationError as error:  # of no use to go on: whoever runs it is told
                    self.failure = error
                    return
                except Unavailable as error:
                    log.debug("stream %s: %s", self.name, error)
                    await self._wake.wait(rules.AWAY)
                except Exception as error:  # noqa: BLE001 (nobody else would notice)
                    self._stumbled(error)
                    await self._wake.wait(rules.STUMBLE)
        finally:
            self._closing = self._draining = True
            self._over = True
            self._wake_workers(len(self._idle))
            for berth in self._berths:
                berth._end_membership()
            self.tell()

    def _stumbled(self, error: Exception) -> None:
        log.error("a consumer stumbled", exc_info=error)
        self.desk.notify(
            rules.ConsumerStumbled(stream=self.desk.name, group=self.group, cause=rules.described(error))
        )

    async def _read(self) -> None:
        with ExitStack() as stack:
            hub = self.desk.wire.hub
            for berth in self._berths:
                stack.enter_context(hub.watch(berth.partition.stream, berth))
            if self.order != "none":
                stack.enter_context(hub.watch(self.desk.layout.consumers(self.group), self._sharing))
            while not self._closing:
                self._wake.clear()
                self._is_awake = False  # before it looks: so nothing is missed
                await self._look()
                if not self._closing and not self._has_more():
                    await self._wake.wait(self._park())
            await self._part()

    async def _look(self) -> None:
        """Ask wherever there is something to ask for."""
        now = monotonic()
        if not self._draining:
            await self._sharing.look(now)
            await self.caretaker.look([one.partition for one in self._berths if one.epoch])
        for message in self.lanes.rested(now):
            message.part.judge("again", message)
        room = self._room()
        for berth in self._berths:
            if berth.verdicts:
                for message, is_ours in await berth.settle():
                    (self.lanes.again if is_ours else self.lanes.over)(message)
            if not self._wants(berth, room):
                continue
            if berth.has_lost or berth.is_in_doubt:
                await self._recover(berth)
            await self._turn(berth)
            room = self._room()
        if not self._draining:
            self._wake_workers(self.lanes.ready)

    async def _recover(self, berth: AsyncBerth) -> None:
        """Queue what is ours and was not known, before what is younger."""
        self.lanes.drop(lambda one: bool(one.is_over))
        found = await berth.recover()
        if found:
            found += self.lanes.drop(lambda one: one.part is berth and not one.rests_until)
            found.sort(key=lambda one: record.place(one.id))
            self._queue([(message, 0.0) for message in found])

    def _wants(self, berth: AsyncBerth, room: int) -> bool:
        """Is it time to ask at `berth`?"""
        if berth.acks and (
            not self.lanes.ready or monotonic() >= berth.acks_since + rules.ACK_WITHIN or self._draining
        ):
            return True
        if self._draining or berth.is_leaving or not berth.due(monotonic()):
            return False
        if not berth.epoch and berth._seat.alone:
            return self._sharing.wants_more
        return room > 0

    def _room(self) -> int:
        """How many messages may be taken now."""
        batch = self.options.batch or 1
        target = rules.ahead(self.average, self.options.concurrency, batch, self.options.max_in_flight)
        self.low = target // 2
        ready = self.lanes.ready
        if ready > self.low or any(one.has_suspect for one in self._berths):
            return 0
        return max(0, min(target - ready, self.options.max_in_flight - self.in_flight))

    async def _turn(self, berth: AsyncBerth) -> None:
        takes = not self._draining and not berth.is_leaving
        limit = self._room() if takes else 0
        found = await berth.turn(limit, self._mode(berth, limit, takes))
        self._queue(found)
        full = limit > 0 and len(found) >= limit
        # What is left when the limit was reached is read as soon as there is room.
        berth.next_at = 0.0 if full or (takes and not limit) else monotonic() + berth.park(random.random())
        if berth.outbox and takes:
            await relay(self.desk, berth.partition)
            berth.next_at = 0.0

    def _mode(self, berth: AsyncBerth, limit: int, takes: bool) -> Mode:
        if not takes:
            return "part"
        now = monotonic()
        if now >= berth.count_at:
            berth.count_at = now + seconds(self.options.lease) / 3
            return "count"
        return "apart" if berth.is_busy and limit else ""

    def _queue(self, found: list[tuple[AsyncMessage[Any], float]]) -> None:
        now = monotonic()
        for message, rest in found:
            if self.order == "key":
                message.lane = (message.partition, message.partition_key or message.id)
            elif self.order == "partition":
                message.lane = message.partition
            if rest:
                self.lanes.add_resting(message, now + rest)
            else:
                self.lanes.add(message)

    def _has_more(self) -> bool:
        """Is there something to ask for at once?"""
        room = self._room()
        return any(one.verdicts or self._wants(one, room) for one in self._berths)

    def _park(self) -> float:
        now = monotonic()
        until = min(now + rules.SAFETY_POLL, self.lanes.next_rested)
        if self.options.timeout is not None:
            limit = seconds(self.options.timeout)
            until = min([until, *(one.expire(now, limit) for one in self._workers)])
        room = self._room()
        for berth in self._berths:
            if berth.acks:
                until = min(until, berth.acks_since + rules.ACK_WITHIN)
            if room and not self._draining and (berth.epoch or not berth._seat.alone):
                until = min(until, berth.next_at)
        return max(0.0, until - now)

    # --- giving back ----------------------------------------------------------------------------------------

    def give_back(self, berth: AsyncBerth | None = None) -> None:
        """Free what has not begun, of one partition or of all. What rests after a failure goes on resting."""
        now = monotonic()
        for message in self.lanes.drop(lambda one: berth is None or one.part is berth):
            if not message.is_over:
                message.is_over = True
                rests = message.rests_until
                what, pause = ("later", max(0.0, rests - now)) if rests else ("free", 0.0)
                message.part.judge(what, message, pause)

    async def _part(self) -> None:
        """Give back what has not begun, tell what is done, and leave."""
        self.give_back()
        for berth in self._berths:
            if berth.verdicts:
                await berth.settle()
            if berth.acks:
                await berth.turn(0, "part")
            await berth.leave()
        await self._sharing.leave()
