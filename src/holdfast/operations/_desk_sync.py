# Generated from _desk_async.py by tools/unasync.py. Do not edit.
"""Desk: the scripts of one set of operations, and what is said about them. No decisions."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from holdfast._coord._safety_sync import require_keeping
from holdfast._coord.owner import owner, token
from holdfast._signals import Signal
from holdfast._values.codecs import Codec, codec_for
from holdfast._wire._sync import Wire
from holdfast._wire.durability import Durability
from holdfast._wire.script import Script
from holdfast.durations import seconds
from holdfast.errors import HoldfastError
from holdfast.operations import record, rules
from holdfast.operations.layout import Layout, Partition, Place
from holdfast.operations.options import LONGEST_ERROR, Counters, OperationsOptions
from holdfast.operations.record import Begun, Buried, Grant

MOST_ABANDONED = 10_000  # begun and given up while the server was away; beyond it, leases have to end


class Desk:
    """See the file's docstring. Times with `_ms` are milliseconds, as the server counts."""

    def __init__(self, wire: Wire, name: str, options: OperationsOptions) -> None:
        self.wire = wire
        self.name = name
        self.options = options
        self.layout = Layout(wire.keys, name, options.partitions)
        self.data: Codec[Any] = codec_for(options.type)
        self.result: Codec[Any] = codec_for(options.result)
        self.plain: Codec[Any] = codec_for(Any)
        self.counters = Counters()
        self.lease = seconds(options.lease)
        self.lease_ms = max(1, round(self.lease * 1000))
        self.ttl_ms = max(1, round(seconds(options.ttl) * 1000))
        self.keep_ms = 0 if options.keep is None else round(seconds(options.keep) * 1000)
        first, longest = options.rests
        self.first_ms, self.longest_ms = round(first * 1000), round(longest * 1000)
        self.max_hold = None if options.max_hold is None else seconds(options.max_hold)
        self._life = (0, "")
        self._ended = ""
        self._kept = self._agreed = False

    def notify(self, signal: Signal) -> None:
        """Tell whoever wants to know."""
        self.wire.observer.notify(signal)

    @property
    def who(self) -> tuple[str, str, str]:
        """Holder, slot and life of this process, as the scripts are told them.

        The child of a fork has another life.
        """
        if self._life[0] != os.getpid():
            self._life = (os.getpid(), token())
        return owner(self.options.label), self.options.slot, self._life[1]

    # --- the server's settings ------------------------------------------------------------------------------

    def agree(self) -> None:
        """Make sure, once, that everybody counts the same partitions.

        Raises: ConfigurationError if not; Unavailable, Refused.
        """
        if not self._agreed:
            wanted = self.options.partitions
            found = self.wire.execute("SET", self.layout.count, wanted, "NX", "GET", retry="safe")
            rules.check_count(self.name, wanted, found)
            self._agreed = True

    def check(self) -> None:
        """As `agree`, and that no server of these operations throws away what it alone has.

        Raises: as `agree`; UnsafeServer.
        """
        if self._kept:
            return
        self.agree()
        keys = [part.due for part in self.layout.parts()]
        what = f"operations {self.name!r}"
        accept_loss = self.options.accept_loss
        require_keeping(self.wire, keys, what, rules.no_aof(self.name), accept_loss=accept_loss)
        self._kept = True

    # --- one operation --------------------------------------------------------------------------------------

    def begin(
        self, place: Place, asked: str, data: bytes, fingerprint: str, *, again: bool, timeout: float
    ) -> Begun:
        """Begin it, or say why not; `asked` is the token of this request.

        Raises: Unavailable (it may have begun), NotDurable (it has), OutOfMemory, Refused, Closed.
        """
        part, options = place.part, self.options
        keys = (place.record, part.due, part.names, part.dead, part.fence, part.gone + asked)
        sizes = (self.lease_ms, options.max_attempts, self.keep_ms)
        args = (place.name, asked, *self.who, *sizes, fingerprint, data, int(again))
        reply = self.wire.run(rules.BEGIN, keys, args, timeout, options.durability)
        answer = record.begun(reply, place, data)
        if isinstance(answer, Grant) and answer.interrupted:
            self.interrupted(answer)
        if isinstance(answer, Buried) and answer.fresh:
            self.died(place, answer.attempts, answer.error)
        return answer

    def abandon(self, place: Place, asked: str) -> None:
        """Have the hub undo what `asked` may have begun, and nobody will hear of."""
        part = place.part
        keys = (place.record, part.due, part.names, part.gone + asked)
        self._deliver(("operation", asked), rules.ABANDON, keys, (place.name, asked, rules.STRAY_MS))

    def checkpoint(self, place: Place, fence: int, name: str, number: int, data: bytes) -> int:
        """Keep `data`; 1 kept, 0 vanished, -1 taken. Raises: Unavailable, NotDurable, Refused."""
        args = (fence, f"c:{name}", record.numbered(number), data)
        return int(self._write(rules.CHECKPOINT, (place.record,), args))

    def complete(self, place: Place, fence: int, result: bytes) -> int:
        """Settle it as done; 1, 0 or -1 as above. Raises: Unavailable, NotDurable, Refused."""
        return int(self._write(*self._completion(place, fence, result)))

    def complete_later(self, place: Place, fence: int, result: bytes) -> None:
        """Have the hub settle it as done, as soon as the server answers."""
        self._deliver(("operation", place.record, fence), *self._completion(place, fence, result))

    def _completion(self, place: Place, fence: int, result: bytes) -> tuple[Script, Any, Any]:
        part = place.part
        keys = (place.record, part.due, part.names, part.done)
        return rules.COMPLETE, keys, (place.name, fence, result, self.ttl_ms)

    def fail(
        self, place: Place, fence: int, error: str, dice: float, *, again: bool
    ) -> tuple[int, float]:
        """Tell that the attempt failed: (1, seconds of rest), (BURIED, 0), (0, 0) or (-1, 0).

        Raises: Unavailable, NotDurable, Refused.
        """
        part = place.part
        keys = (place.record, part.due, part.names, part.dead)
        rests = (self.first_ms, self.longest_ms, rules.dice(dice))
        args = (
            place.name,
            fence,
            error[:LONGEST_ERROR],
            int(again),
            self.options.max_attempts,
            *rests,
            self.keep_ms,
        )
        answer, rest = self._write(rules.FAIL, keys, args)
        return answer, rest / 1000

    def claim(self, part: Partition, limit: int, before: int) -> tuple[int, int, list[Grant]]:
        """Take at most `limit` of what is due: (server ms, ms until something is due or -1, what was taken).

        Raises: Unavailable, NotDurable, Refused, Closed.
        """
        asked = token()
        keys = (part.due, part.names, part.dead, part.done, part.fence, part.memos + asked, part.records)
        sizes = (self.lease_ms, self.options.max_attempts, limit, before, self.longest_ms, self.keep_ms)
        args = (asked, *self.who, *sizes)
        now, rest, taken, buried = self._write(rules.CLAIM, keys, args)
        for name, attempts, error in buried:
            self.died(self.layout.found(part, name), attempts, error.decode("utf-8", "replace"))
        grants = [record.grant(self.layout.found(part, one[0]), *one[1:]) for one in taken]
        for grant in grants:
            if grant.interrupted:
                self.interrupted(grant)
        return now, rest, grants

    def end_orphans(self) -> None:
        """Once in the life of this process: end what an earlier life of its slot left. Raises: as `claim`."""
        _, slot, life = self.who
        if slot and self._ended != life:
            for part in self.layout.parts():
                self._write(rules.ORPHANS, (part.due, part.records), (slot, life))
            self._ended = life

    def _write(self, script: Script, keys: Any, args: Any, durability: Durability | None = None) -> Any:
        return self.wire.run(script, keys, args, durability=durability or self.options.durability)

    def _deliver(self, name: Any, script: Script, keys: Any, args: Any) -> None:
        hub = self.wire.hub
        with contextlib.suppress(HoldfastError):  # closed: the lease has to end by itself
            if hub.undelivered() < MOST_ABANDONED:
                hub.deliver(name, ("EVAL", script.text, len(keys), *keys, *args), _nothing)

    # --- what is said ---------------------------------------------------------------------------------------

    def interrupted(self, grant: Grant) -> None:
        """An attempt had ended without a word."""
        self.counters.interrupted += 1
        who, number = grant.interrupted, grant.attempt
        self.notify(rules.OperationInterrupted(**self.named(grant.place), holder=who, attempt=number))

    def died(self, place: Place, attempts: int, error: str) -> None:
        """An operation had its last attempt."""
        self.counters.died += 1
        self.notify(rules.OperationDied(**self.named(place), attempts=attempts, error=error))

    def rejected(self, place: Place, fence: int, what: str) -> None:
        """The server refused a write of an older fence."""
        self.counters.rejected += 1
        self.notify(rules.WriteRejected(**self.named(place), fence=fence, what=what))

    def named(self, place: Place) -> dict[str, str]:
        """What every signal says."""
        return {"operations": self.name, "resource": str(place.resource), "id": str(place.id)}


def _nothing() -> None:
    """What is to be done when it was delivered."""
