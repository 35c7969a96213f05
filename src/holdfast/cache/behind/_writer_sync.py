# Generated from _writer_async.py by tools/unasync.py. Do not edit.
"""Writer: brings the records of one partition to the source, while the lease is ours.

Take what is due, call the source, tell the server what it took: until that last step, nothing has left the
journal. A record that the source refuses is found by halving the batch, and held back while the others go on.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast._compat import Semaphore, Signal, monotonic
from holdfast.cache.behind import rules
from holdfast.cache.behind._desk_sync import Desk
from holdfast.cache.behind.flavour import Background
from holdfast.cache.behind.hold import Closing, Hold
from holdfast.cache.behind.journal import LONGEST_ERROR, Record, record
from holdfast.cache.behind.rules import Blame
from holdfast.cache.flavour import Flavour
from holdfast.errors import Closed, ConflictError, HoldfastError, LockLost

STUMBLE = 1.0  # seconds of rest after an unexpected error


@dataclass
class _Outcome:
    """What the source did with a batch. `stopped`: the rest was not tried, because the lease runs out."""

    size: int
    took: list[Record] = field(default_factory=list)
    refused: list[tuple[Record, Exception]] = field(default_factory=list)
    failures: int = 0
    last: Exception | None = None
    gave_up: bool = False
    stopped: bool = False
    reads: bool | None = None  # does the source answer reads?


class Writer:
    """See the file's docstring. Made in the place where it runs."""

    def __init__(self, desk: Desk, hold: Hold, closing: Closing, ended: Callable[[], object]) -> None:
        self._desk = desk
        self._hold = hold
        self._part = hold.partition
        self._closing = closing
        self._ended = ended
        self._failures = 0  # in a row, of whole batches
        self._silences = 0  # in a row, of the server
        self._strain = 0
        self._doubt = False  # a call of the source has failed, and may take effect all the same
        self.over = False
        self.turn = Semaphore(1)  # to ask for the lease: answers shall come in the order of the questions
        self.wake = Signal()

    def run(self) -> None:
        """Work until the lease is lost, or the crew is to end."""
        try:
            with self._desk.wire.hub.watch(self._part.pending, self.wake):
                while True:
                    self.wake.clear()  # before looking: what is put from now on fires again
                    rest = self._step()
                    if rest is None:
                        return
                    left = self._closing.left(monotonic())
                    self.wake.wait(rest if left is None else min(rest, left))
        except HoldfastError:
            return  # the hub is closed, or cannot work: the crew sees to it
        finally:
            self.over = True
            self._desk.evidence.forget(self._is_mine)
            self._ended()

    def _left(self) -> float:
        return self._hold.left(monotonic())

    def _is_mine(self, name: Any) -> bool:
        return bool(name[0] == self._part.number)

    def _step(self) -> float | None:
        """Do what there is to do; seconds until it is worth looking again, None: never."""
        if self._hold.lost or self._closing.left(monotonic()) == 0:
            return None
        try:
            return self._turn()
        except Closed:
            return None
        except HoldfastError:  # Redis is away, or takes no writes just now
            self._silences += 1
            pace = self._desk.pace
            return rules.rest(self._silences, pace.first, pace.longest, random.random())
        except Exception as error:  # noqa: BLE001 (nobody else would notice)
            self._desk.notify(rules.WriterStumbled(cache=self._desk.name, cause=rules.described(error)))
            return STUMBLE

    def _turn(self) -> float | None:
        desk, part, draining = self._desk, self._part, self._closing.by is not None
        if self._doubt and not self._take_new_fence():
            return None
        keys = (part.pending, part.order, part.state, part.lease, part.tries)
        delay = 0 if draining else desk.pace.micros(desk.pace.delay)
        longest = desk.pace.micros(desk.pace.longest)
        args = (self._hold.text, desk.options.batch, delay, longest, rules.BATCH_BYTES)
        rest, found = desk.wire.run(rules.TAKE, keys, args)
        self._silences = 0
        if rest == rules.NOT_OURS:
            self._hold.lost = True
            return None
        if found:
            return self._apply(list(zip(found[::2], found[1::2], strict=True)))
        if draining and rest < 0:
            return None
        return rules.SAFETY_POLL if rest < 0 else min(rules.SAFETY_POLL, rest / 1_000_000)

    def _take_new_fence(self) -> bool:
        """What is in the air shall not be able to come after what we do next; False: the lease is lost."""
        lease = self._desk.pace.lease
        args = (self._hold.holder, int(lease * 1000), 1)
        if not self.turn.acquire(self._left()):
            return False
        try:
            asked = monotonic()
            fence, _ = self._desk.wire.run(rules.CLAIM, (self._part.lease, self._part.state), args)
            if fence:
                self._hold.renew(fence, asked + lease)
                self._doubt = False
            else:
                self._hold.lost = True
            return bool(fence)
        finally:
            self.turn.release()

    # --- one batch ------------------------------------------------------------------------------------------

    def _apply(self, found: list[tuple[bytes, bytes]]) -> float | None:
        """Bring a batch to the source, and tell the server; seconds to rest."""
        outcome = _Outcome(len(found))
        puts: list[tuple[Record, Any]] = []
        removals: list[tuple[Record, Any]] = []
        for tag, raw in found:
            try:
                one = record(tag, raw)
                entry = self._part.entry(tag.decode())
                value = None if one.removed else self._desk.read(one.envelope, entry)
                (removals if one.removed else puts).append((one, value))
            except Exception as error:  # noqa: BLE001 (also from the value's own code)
                self._fail(tag, raw[:16], error, Blame.RECORD.value)
        for group in (*_apart(puts), *_apart(removals)):
            self._divide(group, outcome)
            if outcome.stopped or outcome.gave_up:
                break
        self._doubt = outcome.failures > 0
        if outcome.took:
            self._acknowledge(outcome.took)
        return self._settle(outcome)

    def _divide(self, group: list[tuple[Record, Any]], outcome: _Outcome) -> None:
        """Have the source take `group`, or the parts of it that it takes."""
        random.shuffle(group)  # wherever the refused ones stand, some part without them is soon found
        parts = [group]
        while parts:
            part = parts.pop()
            if not self._hold.allows(monotonic(), self._desk.pace.lease):
                outcome.stopped = True
                return
            error = self._call(part)
            if error is None:
                outcome.took += [one for one, _ in part]
                continue
            outcome.failures += 1
            outcome.last = error
            # It may be that the source has seen a later fence.
            if isinstance(error, LockLost | ConflictError) and not self._take_new_fence():
                outcome.stopped = True
                return
            if len(part) == 1:
                outcome.refused.append((part[0][0], error))
            else:
                parts += [part[len(part) // 2 :], part[: len(part) // 2]]
            limit = rules.budget(outcome.size, self._strain, away=rules.is_away(error))
            if not outcome.took and len(parts) > 0 and outcome.failures >= limit:
                outcome.gave_up = True
                return

    def _call(self, part: list[tuple[Record, Any]]) -> Exception | None:
        """Call the source for `part`; what it raised. Puts and removals do not mix."""
        source, removed = self._desk.source, part[0][0].removed
        method, takes = (
            (source.delete_many, self._desk.delete_takes)
            if removed
            else (source.save_many, self._desk.save_takes)
        )
        told: dict[str, Any] = {}
        if "fence" in takes:
            told["fence"] = self._hold.fence
        if "partition" in takes:
            told["partition"] = f"{self._desk.name}:{self._part.number}"
        what: Any = [one.key for one, _ in part] if removed else {one.key: value for one, value in part}
        try:
            Background.within(self._left, Flavour.outcome(method(what, **told), method))
        except Exception as error:  # noqa: BLE001 (whatever it is, the source has refused)
            return error
        return None

    def _acknowledge(self, took: list[Record]) -> None:
        part = self._part
        entries = [part.entry(one.tag.decode()) for one in took]
        args = [text for one in took for text in (one.tag, one.seq)]
        keys = (part.pending, part.order, part.lease, part.tries, *entries)
        answer = self._desk.wire.run(rules.ACK, keys, (self._hold.text, *args))
        self._hold.lost = self._hold.lost or answer == rules.GONE
        for one in took:
            self._desk.evidence.took((part.number, one.tag), int(one.seq))

    # --- what was not taken ---------------------------------------------------------------------------------

    def _settle(self, outcome: _Outcome) -> float | None:
        """Hold back what was refused; or leave the source alone for a while, if it takes nothing at all."""
        if outcome.took:
            self._failures = self._strain = 0
        outage = outcome.gave_up
        for one, error in outcome.refused:
            counts = self._counts(one, error, outcome)
            if not (counts or outcome.took) or not self._fail(one.tag, one.seq, error, counts):
                outage = outage or not outcome.took
        if self._hold.lost:
            return None
        if outcome.stopped:  # the crew renews the lease, or loses it
            return self._desk.pace.lease / 10
        if not outage:
            return 0.0
        self._failures += 1
        self._strain += outcome.gave_up
        pace = self._desk.pace
        rest = rules.rest(self._failures, pace.first, pace.longest, random.random())
        why = rules.described(outcome.last) if outcome.last else ""
        self._desk.notify(
            rules.SourceFailed(cache=self._desk.name, partition=self._part.number, error=why, rest=rest)
        )
        return rest

    def _counts(self, one: Record, error: Exception, outcome: _Outcome) -> int:
        """What fail.lua is told: is it the record's fault (see Blame), or is the source away (0)?"""
        name, took = (self._part.number, one.tag), bool(outcome.took)
        blame, certain = self._desk.evidence.failed(name, int(one.seq), batch=outcome.size, took=took)
        if rules.is_away(error):
            return 0
        if not certain and outcome.reads is None:
            outcome.reads = self._answers_reads(one.key)
        return blame.value if certain or outcome.reads else 0

    def _answers_reads(self, key: Any) -> bool:
        load = self._desk.source.load_many
        try:
            Background.within(self._left, Flavour.outcome(load([key]), load))
        except Exception:  # noqa: BLE001 (it does not answer: that is all that was asked)
            return False
        return True

    def _fail(self, tag: bytes, seq: bytes, error: Exception, counts: int) -> bool:
        """Hold a record back, or bury it; was it to blame?"""
        desk, part, text = self._desk, self._part, tag.decode()
        entry = part.entry(text)
        keys = (part.pending, part.order, part.lease, part.tries, part.dead, entry, f"{entry}:f")
        why = rules.described(error)[:LONGEST_ERROR]
        pace = (desk.pace.micros(desk.pace.first), desk.pace.micros(desk.pace.longest), random.random())
        args = (self._hold.text, tag, seq, counts, desk.options.attempts, *pace, os.urandom(8).hex(), why)
        answer = desk.wire.run(rules.FAIL, keys, args)
        if answer == rules.GONE:
            self._hold.lost = True
        elif answer == rules.DEAD:
            desk.evidence.forget(lambda name: name == (part.number, tag))
            desk.notify(rules.DeadLettered(cache=desk.name, key=text, error=why))
        return bool(answer)


def _apart(records: list[tuple[Record, Any]]) -> list[list[tuple[Record, Any]]]:
    """`records` in groups without equal keys: 1, 1.0 and True are three entries, but one key of a mapping."""
    groups: list[dict[Any, tuple[Record, Any]]] = []
    for one in records:
        for group in groups:
            if one[0].key not in group:
                group[one[0].key] = one
                break
        else:
            groups.append({one[0].key: one})
    return [list(group.values()) for group in groups]
