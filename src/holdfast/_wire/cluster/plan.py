"""What to ask which node, and how the answers become replies to what was asked of the Cluster. Pure.

* A command with a key goes to the node of its slot, one without goes with the others, or anywhere.
* MGET, DEL, UNLINK, EXISTS and TOUCH about several slots are taken apart, and their answers put together.
* What is meant for the whole database (FLUSHALL, DBSIZE, KEYS, SCRIPT LOAD, ...) is asked of every primary.
* SCAN walks one node after the other; its cursors say which. One older than a move of slots is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast._wire.cluster import slots
from holdfast._wire.cluster.layout import Address, Layout
from holdfast._wire.transport import Command, Reply, ReplyError, WireFailure
from holdfast._wire.verdict import of_reply, word

STALE_WALK = "ERR the slots have moved since this SCAN began, or it never did; begin again with the cursor 0"


class Plan:
    """The questions to nodes that `commands` stand for. Raises: WireFailure if a slot has no node."""

    def __init__(self, commands: Sequence[Command], layout: Layout, anywhere: Address) -> None:
        self.questions: list[Command] = []
        self.addresses: list[Address] = []
        self._layout = layout
        self._shares: list[
            tuple[Command, int, slots.Join | None]
        ] = []  # which begin where, and how they join
        indifferent: list[int] = []
        for command in commands:
            begun = len(self.questions)
            join: slots.Join | None = None
            if slots.may_be_apart(command):
                join = self._apart(command)
            elif (key := slots.first_key(command)) is not None:
                self._add(command, self._serving(slots.slot_of(key)))
            elif (join := self._to_all(command)) is None:
                indifferent.append(begun)
                self._add(command, anywhere)
            self._shares.append((command, begun, join))
        if indifferent and len(indifferent) < len(self.addresses):  # then one write less
            free = set(indifferent)
            with_others = next(one for place, one in enumerate(self.addresses) if place not in free)
            for place in indifferent:
                self.addresses[place] = with_others

    def replies(self, told: Sequence[Reply]) -> list[Reply]:
        """The replies to the commands, made of what the nodes `told`.

        Raises: WireFailure where some nodes did their part of a command and others refused theirs for now, so
        that it must not be taken for one that nobody has executed.
        """
        if len(self._shares) == 1:  # by far the most frequent: a cache reads an entry and its epoch
            command, _, join = self._shares[0]
            return [told[0] if join is None else _joined(command, told, join)]
        ends = [begun for _, begun, _ in self._shares[1:]] + [len(told)]
        return [
            told[begun] if join is None else _joined(command, told[begun:end], join)
            for (command, begun, join), end in zip(self._shares, ends, strict=True)
        ]

    def _add(self, command: Command, address: Address) -> None:
        self.questions.append(command)
        self.addresses.append(address)

    def _serving(self, slot: int) -> Address:
        address = self._layout.table[slot]
        if address is None:
            raise unserved(slot)
        return address

    def _apart(self, command: Command) -> slots.Join | None:
        """Take `command` apart, unless all its keys are in one slot."""
        places = slots.by_slot(command)
        if len(places) == 1:
            self._add(command, self._serving(next(iter(places))))
            return None
        for slot, mine in places.items():
            self._add((command[0], *[command[place] for place in mine]), self._serving(slot))
        join = slots.SPREAD[word(command[0])]
        if len(places) == len(command) - 1:
            return join  # one key each: they are in order already

        def in_order(replies: Sequence[Reply]) -> Reply:
            joined = join(replies)
            if not isinstance(joined, list):
                return joined
            values: list[Reply] = [None] * len(joined)
            for place, value in zip((one for mine in places.values() for one in mine), joined, strict=True):
                values[place - 1] = value
            return values

        return in_order

    def _to_all(self, command: Command) -> slots.Join | None:
        """Ask every primary; None if `command` is no matter of all."""
        if word(command[0]) == "SCAN" and len(command) > 1:
            return self._walk(command)
        join = slots.everywhere(command)
        if join is not None:
            for address in self._layout.primaries:
                self._add(command, address)
        return join

    def _walk(self, command: Command) -> slots.Join:
        nodes, mark = self._layout.primaries, self._layout.mark
        found = slots.to_walk(command[1], len(nodes), mark)
        if found is None:
            return lambda _: ReplyError(STALE_WALK)
        node, own = found
        self._add((command[0], own, *command[2:]), nodes[node])

        def with_cursor(replies: Sequence[Reply]) -> Reply:
            own, *page = replies[0]
            return [slots.to_be_continued(int(own), node, len(nodes), mark), *page]

        return with_cursor


def unserved(slot: int) -> WireFailure:
    """Nobody can be asked about `slot`."""
    return WireFailure(f"cannot connect: no node serves slot {slot}", sent=False)


def _joined(command: Command, replies: Sequence[Reply], join: slots.Join) -> Reply:
    if ReplyError not in map(type, replies) or slots.takes_refusals(join):
        return join(replies)
    refused = [reply for reply in replies if type(reply) is ReplyError]
    for reply in refused:
        if not _for_now(reply):
            return reply
    if len(refused) == len(replies):
        return refused[0]
    raise WireFailure(f"{word(command[0])} was done in part only: {refused[0]}", sent=True)


def _for_now(reply: ReplyError) -> bool:
    """May the same be asked again, perhaps elsewhere?"""
    return of_reply(str(reply), "", "").may_repeat("never", elsewhere=True)
