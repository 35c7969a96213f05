# Generated from _worker_async.py by tools/unasync.py. Do not edit.
"""Worker: runs the handler of a subscriber, one message or batch after the other."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from holdfast._compat import Signal, sleep, monotonic
from holdfast._coord import tracing
from holdfast._coord.background import Background
from holdfast._coord.flavour import Flavour
from holdfast._coord.section import Section
from holdfast.durations import seconds
from holdfast.errors import CodecError, HoldfastError
from holdfast.streams import record, rules
from holdfast.streams._message_sync import Message

if TYPE_CHECKING:
    from holdfast.streams._consumer_sync import Consumer

log = logging.getLogger("holdfast.streams")

BREATH = 100  # messages after which others may run, if no handler awaits


class Worker:
    """See the file's docstring."""

    def __init__(self, consumer: Consumer, number: int) -> None:
        """Raises: RuntimeError if no thread is running, or no thread can be started."""
        self._consumer = consumer
        self._read = consumer.desk.values.codec.read
        self._version = consumer.desk.values.version
        self._only = consumer.group.encode()
        self._jobs: list[Message[Any]] = []  # what the handler has
        self._begun = 0.0
        self._count = 0
        self._background = Background(f"holdfast-handler-{consumer.name}-{number}", self._run)

    @property
    def is_busy(self) -> bool:
        """Is its handler running? Not in the child of a fork."""
        return bool(self._jobs) and self._background.alive

    def cancel(self) -> None:
        """Stop its handler in the middle, if that can be."""
        if self._jobs:
            self._background.cancel()

    def expire(self, now: float, timeout: float) -> float:
        """Tell its handler if that has had more than `timeout` seconds; monotonic time of its end."""
        jobs, end = self._jobs, self._begun + timeout
        if not jobs:
            return float("inf")
        if now >= end and not jobs[0].is_late:
            for message in jobs:
                message.expire()
        return end if now < end else float("inf")

    def _run(self) -> None:
        consumer, signal = self._consumer, Signal()
        self._section = Section()
        limit = consumer.options.batch or 1
        try:
            while not consumer.is_closing:
                jobs = [] if consumer.is_draining else consumer.lanes.take(limit)
                if jobs:
                    self._begun = monotonic()
                    self._jobs = jobs
                    self._do(jobs)
                    self._jobs = []
                    if consumer.is_draining:
                        consumer.tell()
                    continue
                signal.clear()
                consumer.wait_for_work(signal)
                if not consumer.lanes.ready or consumer.is_draining:
                    consumer.wake()
                    signal.wait(rules.SAFETY_POLL)
        finally:
            # Cancelled in the middle: its messages come again, with this delivery counted.
            for message in self._jobs:
                if not message.is_over and not message.is_acked:
                    message.part.judge("later", message, 0.0, "cancelled: its worker was stopped")
            self._jobs = []
            consumer.tell()
            consumer.wake()

    def _do(self, jobs: list[Message[Any]]) -> None:
        consumer = self._consumer
        error = (self._one(jobs[0]) if consumer.options.batch is None else self._many(jobs))
        now = monotonic()
        took = now - self._begun
        consumer.average = rules.smooth(consumer.average, took, len(jobs))
        consumer.counters.seconds += took
        if error is None:
            for message in jobs:
                self._done(message)
            consumer.lanes.done(jobs)
        else:
            self._failed(jobs, error, now)
        # The reader is woken where it has something to tell or to fetch, and not for each quick message.
        ready = consumer.lanes.ready
        if (
            ready < 2
            or took > rules.SLOW
            or error is not None
            or ready == consumer.low
            or now > jobs[0].part.acks_since + rules.ACK_WITHIN
        ) and consumer.wake():
            sleep(0)  # it shall ask while the next handlers run
        self._count += 1
        if not self._count % BREATH:
            sleep(0)

    def _one(self, message: Message[Any]) -> BaseException | None:
        """Hand a message to the handler; what that raised."""
        consumer = self._consumer
        try:
            if not self._prepare(message):
                return None
        except CodecError as unreadable:
            return unreadable
        section = self._section
        section.enter()
        message.enter(section)
        error: BaseException | None = None
        try:
            with self._span(message):
                if consumer.takes_message:
                    Flavour.outcome(consumer.handler(message.value, message))
                else:
                    Flavour.outcome(consumer.handler(message.value))
        except BaseException as caught:  # noqa: BLE001 (it is judged, or raised again below)
            error = caught
        return self._judged([message], error)

    def _many(self, jobs: list[Message[Any]]) -> BaseException | None:
        """Hand a batch to the handler; what that raised. What cannot be read is left out."""
        consumer = self._consumer
        ready = []
        for message in jobs:
            try:
                if self._prepare(message):
                    ready.append(message)
            except CodecError as unreadable:
                self._failed([message], unreadable, monotonic(), of_many=True)
        if not ready:
            return None
        section = self._section
        section.enter()
        for message in ready:
            message.enter(section)
        error: BaseException | None = None
        try:
            values = [message.value for message in ready]
            with self._span(ready[0]):
                if consumer.takes_message:
                    Flavour.outcome(consumer.handler(values, ready))
                else:
                    Flavour.outcome(consumer.handler(values))
        except BaseException as caught:  # noqa: BLE001 (it is judged, or raised again below)
            error = caught
        return self._judged(ready, error)

    def _span(self, message: Message[Any]) -> AbstractContextManager[object]:
        if not self._consumer.is_traced:
            return tracing.SILENT
        return tracing.handling(message.stream, message.group, message.id, message.headers)

    def _judged(self, jobs: list[Message[Any]], error: BaseException | None) -> BaseException | None:
        """What a handler raised, as it counts. Raises: what means that this worker is to end."""
        ours = self._section.leave(None if error is None else type(error))
        if self._section.is_touched:
            self._section = Section()  # the messages keep the other one
        else:
            for message in jobs:
                message.leave()
        if jobs[0].is_late:
            return TimeoutError(f"the handler took longer than {self._consumer.options.timeout:g} s")
        if error is not None and not ours and Flavour.ends(error):
            raise error
        return error

    def _prepare(self, message: Message[Any]) -> bool:
        """Read its value; False if it is not meant for this group. Raises: CodecError."""
        fields = message.fields
        if len(fields) == 2 and fields[0] == b"data":
            data, version = fields[1], 1
        else:
            found = record.named(fields)
            if found.get(b"only", self._only) != self._only:
                return False
            data, version = found.get(b"data", b""), record.version_of(found.get(b"version"))
        if version == self._version:
            try:
                message.value = self._read(data)
                return True
            except Exception:  # noqa: BLE001, S110 (decode says what it is)
                pass
        message.value = self._consumer.desk.values.decode(data, version)
        return True

    # --- what becomes of it ---------------------------------------------------------------------------------

    def _done(self, message: Message[Any]) -> None:
        if message.is_acked:
            message.part.done_by_effects(message)
        elif message.is_over:
            message.part.dismiss(message)
        else:
            message.part.ack(message)

    def _failed(
        self, jobs: list[Message[Any]], error: BaseException, now: float, *, of_many: bool = False
    ) -> None:
        """The handler raised: dead letters, or another try after a pause."""
        consumer = self._consumer
        options, lanes = consumer.options, consumer.lanes
        consumer.counters.failed += 1
        for message in [one for one in jobs if one.is_acked or one.is_over]:
            self._done(message)
        left = [one for one in jobs if not one.is_over]
        why = rules.described(error)
        if left and not isinstance(error, rules.Retry | rules.Reject):
            log.warning("%r failed", left[0], exc_info=error)
        staying = []
        for message in left:
            if rules.is_hopeless(error, message.deliveries, options.max_deliveries):
                message.is_over = True  # it has its verdict
                message.part.judge("dead", message, 0.0, why)
                continue
            pause = _pause(error, options.retry.after(message.deliveries))
            consumer.failed(message, why, pause)
            if message.lane is None or message.part.is_leaving or consumer.is_draining or of_many:
                message.is_over = True
                message.part.judge("later", message, pause, why)
            else:
                message.part.judge("wait", message, pause, why)
                staying.append((message, now + pause))
        if of_many:
            return
        if staying:
            lanes.rest([one for one, _ in staying], max(until for _, until in staying))
        else:
            lanes.done(jobs)


def _pause(error: BaseException, usual: float) -> float:
    if isinstance(error, rules.Retry) and error.after is not None:
        try:
            return seconds(error.after, "after", zero=True)
        except HoldfastError:  # a bug of the handler must not lose the message
            log.exception("Retry(after=%r)", error.after)
    return usual
