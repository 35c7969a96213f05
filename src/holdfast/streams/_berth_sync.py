# Generated from _berth_async.py by tools/unasync.py. Do not edit.
"""Berth: one partition as one member of a group sees it: its membership, and what it has taken there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from holdfast._compat import Signal, boottime, monotonic
from holdfast._wire.transport import Arg
from holdfast.errors import Refused, Unavailable
from holdfast.streams import rules
from holdfast.streams._desk_sync import Desk, Turn, shortened
from holdfast.streams._membership_sync import Membership
from holdfast.streams.layout import Partition
from holdfast.streams.seat import Seat

if TYPE_CHECKING:
    from holdfast.streams._message_sync import Message

Mode = Literal["", "apart", "count", "part"]


class Berth:
    """See the file's docstring. Only its consumer's reader calls what asks the server."""

    def __init__(
        self,
        desk: Desk,
        partition: Partition,
        seat: Seat,
        make: Callable[[Berth, str, int, Any], Message[Any]],
        wake: Signal,
    ) -> None:
        self.desk = desk
        self.partition = partition
        self.group, self.member = seat.group, seat.member
        self.keys = partition.group(seat.group)
        self._seat = seat
        self._make = make
        self._wake = wake
        self._turns = itertools.count(1)
        self._membership: Membership | None = None
        self.epoch = 0  # of the membership; 0 none
        self.clock = 0.0  # what has to be added to `monotonic` for the server's time, in seconds
        self.in_flight: dict[str, Message[Any]] = {}
        self.acks: list[Message[Any]] = []
        self.acks_since = 0.0
        self.verdicts: list[tuple[str, Message[Any], float, str]] = []
        self.is_rung = True
        self.is_in_doubt = False  # may the server have delivered what we do not know of?
        self._losses = 0
        self.has_lost = False  # were messages lost that the server may still take for ours?
        self.is_leaving = False
        self.is_busy = False  # was there as much as was asked for the last time?
        self.is_drained = False  # was something finished without a turn?
        self.is_quiet = False  # was there nothing at all the last time?
        self.next_at = 0.0  # monotonic time of the next look
        self.count_at = 0.0  # and of the next count of what is pending
        self.outbox = 0
        self.suspect: Message[Any] | None = None  # perhaps what killed those who had it: alone
        self._rest = 0

    # --- told from elsewhere --------------------------------------------------------------------------------

    def fire(self) -> bool:
        """There may be something new; from any thread."""
        self.is_rung = True
        return self._wake.fire()

    def lost(self, cause: str) -> None:
        """The membership has ended, and with it the right to all that is in flight; from any thread."""
        self._losses += 1  # first: whoever makes messages at this moment looks at it afterwards
        self.has_lost = True
        self.is_quiet = False
        for message in list(self.in_flight.values()):
            message.lose(cause)
        self.next_at = 0.0
        self._wake.fire()

    # --- asking the server ----------------------------------------------------------------------------------

    def turn(self, limit: int, mode: Mode = "") -> list[tuple[Message[Any], float]]:
        """Acknowledge what is done, and take `limit` messages: each with the seconds it has to rest.

        `mode`: as turn.lua is told it.

        Raises: Unavailable, Refused, OutOfMemory, Closed.
        """
        acks, self.acks = self.acks, []
        self.is_rung = self.is_drained = False
        asked = boottime()
        args = (*self._seat.args(limit), mode, next(self._turns))
        told = [one for message in acks for one in (message.id, message.deliveries)]
        apart = mode == "apart"
        try:
            answer = self.desk.turn(self.partition, self.keys, args, told, read=apart)
        except BaseException as error:
            self.acks = acks + self.acks
            self.is_in_doubt = self.is_rung = True
            self.is_busy = False
            if apart and isinstance(error, Refused):
                return []  # the script, or the group, is unknown to the server now: the next turn heals that
            raise
        self.clock = answer.now / 1000 - monotonic()
        self._confirm(acks, answer)
        if mode == "part":
            return []
        self._joined(answer, asked)
        self._heard(answer)
        losses = self._losses
        if self.has_lost:
            # Told by the thread that renews, in the middle of this: `recover` brings all of it, in order.
            self.is_rung = True
            return []
        found = [
            (self._known(id, count, flat), wait / 1000)
            for id, count, wait, flat in answer.taken
            if self._is_new(id, count)
        ]
        if answer.suspect and found:
            self.suspect = found[0][0]
        found += [(self._known(id, 1, flat), 0.0) for id, flat in answer.fresh if self._is_new(id, 1)]
        self._rest = answer.rest
        self.is_quiet = not found and answer.pending == 0 and not answer.outbox
        self.is_busy = not self._seat.alone and 0 < limit <= len(found)
        # More is ours than we know of: a request that was given up came through after all.
        self.is_in_doubt = answer.own > len(self.in_flight)
        if self._losses != losses:
            for message, _ in found:
                message.lose("lost")
            self.is_rung = True
            return []
        return found

    def recover(self) -> list[Message[Any]]:
        """What the server takes for ours and we do not know of, in order. Raises: as `turn`."""
        again, self.has_lost, self.is_in_doubt = self.has_lost, False, False
        losses, start, unknown, listed = self._losses, "-", [], set()
        told = {one.id for one in self.acks} | {one[1].id for one in self.verdicts}
        for message in list(self.in_flight.values()):
            if message.is_over and message.id not in told:
                self.in_flight.pop(message.id, None)
        turn = next(self._turns)
        rows: list[Any] = []
        try:
            while not rows or len(rows) % rules.PAGE == 0:
                page = self.desk.mine(
                    self.partition, self.keys, self._seat.who, start, again=again, turn=turn
                )
                rows += page
                if not page:
                    break
                start = f"({page[-1][0].decode()}"
        except BaseException:
            self.has_lost = self.has_lost or again
            self.is_in_doubt = True
            raise
        for id, deliveries, flat in rows:
            name = id.decode()
            listed.add(name)
            if name in self.in_flight:
                self.in_flight[name].deliveries = deliveries
            else:
                unknown.append(self._known(id, deliveries, flat))
                if not flat:
                    self.ack(unknown.pop())
        # Whatever is not pending any more was acknowledged by the turn whose reply was lost.
        acks, self.acks = self.acks, []
        self.acks = [one for one in acks if one.id in listed]
        for message in acks:
            if message.id not in listed and not again:
                self._settled(message)
            elif message.id not in listed:
                self._forget(message, "lost")
        if self._losses != losses:  # once more, in the middle of this
            for message in unknown:
                message.lose("lost")
            return []
        return unknown

    def settle(self) -> list[tuple[Message[Any], bool]]:
        """Tell the server the verdicts; returns those messages that wait here, and whether they are still
        ours. Raises: as `turn`.
        """
        verdicts, self.verdicts = self.verdicts, []
        items: list[Arg] = []
        for what, message, pause, why in verdicts:
            items += (what, message.id, message.deliveries, round(pause * 1000), shortened(why))
        try:
            answers = self.desk.settle(
                self.partition, self.keys, (self.group, self.member), next(self._turns), items
            )
        except BaseException:
            self.verdicts = verdicts + self.verdicts
            raise
        waiting = []
        for (what, message, _, why), answer in zip(verdicts, answers, strict=True):
            if answer != rules.DONE:
                self._forget(message, "fenced" if answer == rules.FENCED else "gone")
                waiting.append((message, False))
            elif what == "again":
                message.deliveries += 1
                waiting.append((message, True))
            elif what != "wait":
                message.is_over = self.is_drained = True
                self.in_flight.pop(message.id, None)
                if what == "dead":
                    self._died(message.id, message.deliveries, why)
        return waiting

    def leave(self) -> None:
        """End the membership; what is not done is free for others. Raises: as `turn`."""
        self._end_membership()
        if self.epoch:
            self.desk.leave(self.partition, self.keys, self.group, self.member)
            self.epoch = 0
            if self._seat.alone:
                self._moved("given up")

    # --- what was handled -----------------------------------------------------------------------------------

    def ack(self, message: Message[Any]) -> None:
        """It is done; the server is told with the next turn."""
        if not self.acks:
            self.acks_since = monotonic()
        self.acks.append(message)

    def judge(self, what: str, message: Message[Any], pause: float = 0.0, why: str = "") -> None:
        """What becomes of a message, as settle.lua is told it; it is told with the next settle."""
        self.verdicts.append((what, message, pause, why))

    def dismiss(self, message: Message[Any]) -> None:
        """It was lost, and its handler has ended."""
        if self.in_flight.get(message.id) is message:
            del self.in_flight[message.id]

    def done_by_effects(self, message: Message[Any]) -> None:
        """It was acknowledged by its effects."""
        self._settled(message)
        self.is_drained = True

    def _settled(self, message: Message[Any]) -> None:
        message.is_over = True
        self.in_flight.pop(message.id, None)
        self._seat.counters.handled += 1

    # --- how it stands --------------------------------------------------------------------------------------

    @property
    def is_working(self) -> bool:
        """Is anything in flight that still counts?"""
        return any(not one.is_over for one in list(self.in_flight.values()))

    @property
    def has_suspect(self) -> bool:
        """Is a message in work that may kill its process? Then nothing else is to be taken."""
        if self.suspect is not None and self.suspect.is_over:
            self.suspect = None
        return self.suspect is not None

    def due(self, now: float) -> bool:
        """Is there something to ask for?"""
        return self.is_rung or now >= self.next_at or (self.is_drained and not self.in_flight)

    def park(self, dice: float) -> float:
        """Seconds until the next look, if nobody rings."""
        return rules.park(self._rest, dice)

    def _is_new(self, id: bytes, deliveries: int) -> bool:
        """False if it is in work here already: a failover has forgotten that it was delivered."""
        message = self.in_flight.get(id.decode())
        if message is None or message.is_over:
            return True
        message.deliveries = deliveries
        return False

    def _known(self, id: bytes, deliveries: int, flat: Sequence[Any]) -> Message[Any]:
        name = id.decode()
        self.in_flight[name] = message = self._make(self, name, deliveries, flat)
        return message

    def _confirm(self, acks: Sequence[Message[Any]], answer: Turn) -> None:
        refused = {id.decode(): "fenced" for id in answer.fenced} | {
            id.decode(): "gone" for id in answer.gone
        }
        for message in acks:
            if message.id in refused:
                self._forget(message, refused[message.id])
            else:
                self._settled(message)

    def _forget(self, message: Message[Any], cause: str) -> None:
        self.in_flight.pop(message.id, None)
        self._refused(message, cause)

    def _refused(self, message: Message[Any], cause: str) -> None:
        message.lose(cause)
        self._seat.counters.lost += 1
        lost = rules.MessageLost(stream=self.desk.name, group=self.group, id=message.id, cause=cause)
        self.desk.notify(lost)

    def _joined(self, answer: Turn, asked: float) -> None:
        """Take notice of the membership that `answer` tells of."""
        epoch, before = answer.epoch, self.epoch
        if epoch != before:
            if before:
                self.lost("replaced")
                self.in_flight, self.has_lost = {}, False  # whoever replaced us has it all
            self._end_membership()
            self.epoch = epoch
            if self._seat.alone and (epoch or before):
                self._moved("" if epoch else "taken")
        if epoch and (self._membership is None or self._membership.is_over):
            try:
                self._membership = Membership(self, self._seat.lease, asked)
            except Unavailable:  # no thread can be started: this turn's lease has to do
                self._membership = None

    def _end_membership(self) -> None:
        membership, self._membership = self._membership, None
        if membership is not None:
            membership.close()

    def _heard(self, answer: Turn) -> None:
        """Tell what `answer` tells of."""
        self.outbox = answer.outbox
        if answer.healed and self._seat.has_begun:
            healed = rules.GroupHealed(
                stream=self.desk.name, group=self.group, partition=self.partition.number
            )
            self.desk.notify(healed)
        self._seat.begin()
        for id, deliveries, why in answer.buried:
            self._died(id.decode(), deliveries, why.decode("utf-8", "replace"))
        self._seat.counters.taken_over += sum(1 for one in answer.taken if one[1] > 1)

    def _died(self, id: str, deliveries: int, why: str) -> None:
        self._seat.counters.died += 1
        died = rules.MessageDied(
            stream=self.desk.name, group=self.group, id=id, deliveries=deliveries, error=why
        )
        self.desk.notify(died)

    def _moved(self, cause: str) -> None:
        moved = rules.PartitionMoved(
            stream=self.desk.name,
            group=self.group,
            partition=self.partition.number,
            taken=not cause,
            cause=cause,
        )
        self.desk.notify(moved)
