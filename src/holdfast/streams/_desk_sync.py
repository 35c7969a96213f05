# Generated from _desk_async.py by tools/unasync.py. Do not edit.
"""Desk: the scripts of one stream. No decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from holdfast._coord._safety_sync import require_keeping
from holdfast._coord.requests import Requester, Requests
from holdfast._signals import Signal
from holdfast._values.evolution import Evolution
from holdfast._wire._sync import Wire
from holdfast._wire.transport import Arg
from holdfast.durations import seconds
from holdfast.streams import rules
from holdfast.streams.layout import GroupKeys, Layout, Partition
from holdfast.streams.options import LONGEST_ERROR, StreamOptions
from holdfast.streams.record import Item


class Turn(NamedTuple):
    """What turn.lua answers; told there."""

    now: int
    rest: int
    epoch: int
    suspect: int
    outbox: int
    pending: int
    own: int
    healed: int
    fenced: list[bytes]
    gone: list[bytes]
    taken: list[Any]
    fresh: list[Any]
    buried: list[Any]


class Desk:
    """See the file's docstring. Times with `_ms` are milliseconds, as the server counts."""

    def __init__(self, wire: Wire, name: str, options: StreamOptions) -> None:
        """Raises: ConfigurationError for a type that cannot be stored."""
        self.wire = wire
        self.name = name
        self.options = options
        self.layout = Layout(wire.keys, name, options.partitions)
        self.values: Evolution[Any] = Evolution(
            options.version, options.upcast, type=options.type, format=options.codec
        )
        self.deletes = int(options.deletes)
        self.window_ms = max(1, round(seconds(options.dedup) * 1000))
        self._requests = Requests()
        self._is_cluster: bool | None = None
        self._checked = False

    def notify(self, signal: Signal) -> None:
        """Tell whoever wants to know."""
        self.wire.observer.notify(signal)

    def check(self) -> None:
        """Make sure, once, that everybody counts the same partitions, and that no server of this stream
        throws away what it alone has.

        Raises: ConfigurationError, UnsafeServer, Unavailable, Refused.
        """
        if self._checked:
            return
        wanted = self.options.partitions
        found = self.wire.execute("SET", self.layout.meta, wanted, "NX", "GET", retry="safe")
        rules.check_count(self.name, wanted, found)
        keys = [part.stream for part in self.layout.parts]
        what, accept_loss = f"stream {self.name!r}", self.options.accept_loss
        require_keeping(self.wire, keys, what, rules.no_aof(self.name), accept_loss=accept_loss)
        self._checked = True

    def is_cluster(self) -> bool:
        """Must the keys of a script share a slot? Raises: Unavailable, Refused."""
        if self._is_cluster is None:
            self._is_cluster = (self.wire.facts()).mode == "cluster"
        return self._is_cluster

    def requester(self) -> Requester:
        """Who asks now, and counts his requests in books of which the last 1000 are remembered."""
        return self._requests.requester()

    # --- publishing -----------------------------------------------------------------------------------------

    def publish(
        self, part: Partition, items: Sequence[Item], window_ms: int | None = None
    ) -> list[bytes]:
        """Add entries; of each its id, as publish.lua answers it. `window_ms`: for which dedup ids are kept.

        Raises: Unavailable (they may have been added), NotDurable (they have), OutOfMemory, Refused, Closed.
        """
        dedups = [part.seen(one.dedup) for one in items if one.dedup is not None]
        requester = self.requester()
        requests = part.requests(requester.name)
        keys = (part.stream, part.bell, part.at, part.later, requests, *dedups)
        window = window_ms or self.window_ms
        args: list[Arg] = [requester.number(requests), requester.name, window, rules.REQUESTS_MS]
        for when, dedup, fields in items:
            args += (when, 0 if dedup is None else 1, len(fields))
            args += fields
        answer: list[bytes] = self.wire.run(
            rules.PUBLISH, keys, args, durability=self.options.durability
        )
        return answer

    # --- consuming ------------------------------------------------------------------------------------------

    def turn(
        self, part: Partition, group: GroupKeys, args: Sequence[Arg], acks: Sequence[Arg], *, read: bool
    ) -> Turn:
        """A member's turn; `args` as turn.lua is told them. `read`: with what is new, by XREADGROUP.

        Raises: Unavailable (what was taken has to be looked for by `mine`), OutOfMemory, Refused, Closed.
        """
        keys = (
            part.stream, group.members, group.retries, group.errors, group.dead, part.bell, part.at,
            part.later, group.saved, group.turns, part.outbox,
        )  # fmt: skip
        if not read:
            return Turn(*self.wire.run(rules.TURN, keys, (*args, *acks)))
        # What is new is read by a command of its own, in the same write: a script would make tables of all
        # of it, and lists again, which costs as much as everything else.
        who, limit = args[:2], args[3]
        first, second = self.wire.execute_many(
            (
                ("EVALSHA", rules.TURN.digest, len(keys), *keys, *args, *acks),
                ("XREADGROUP", "GROUP", *who, "COUNT", limit, "STREAMS", part.stream, ">"),
            )
        )
        return Turn(*first)._replace(fresh=entries(second))

    def mine(
        self,
        part: Partition,
        keys: GroupKeys,
        who: tuple[str, str, int],
        start: str,
        *,
        again: bool,
        turn: int,
    ) -> list[Any]:
        """A page of what a member has pending: id, deliveries, fields. `who`: group, member, lease.

        Raises: Unavailable, Refused, Closed.
        """
        group, member, lease_ms = who
        args = (group, member, start, rules.PAGE, int(again), lease_ms, turn)
        names = (part.stream, keys.turns, keys.members)
        found: list[Any] = self.wire.run(rules.MINE, names, args)
        return found

    def settle(
        self, part: Partition, keys: GroupKeys, who: tuple[str, str], turn: int, items: Sequence[Arg]
    ) -> list[int]:
        """What settle.lua answers to `items`; `who`: group and member.

        Raises: Unavailable, Refused, Closed.
        """
        names = (part.stream, keys.retries, keys.errors, keys.dead, part.bell, keys.turns, keys.members)
        args = (*who, self.deletes, turn, *items)
        answers: list[int] = self.wire.run(rules.SETTLE, names, args)
        return answers

    def effects(
        self,
        part: Partition,
        keys: GroupKeys,
        who: tuple[str, str, str, int],
        written: Sequence[str],
        commands: Sequence[Arg],
    ) -> Any:
        """What effects.lua answers; `who`: group, member, message and deliveries.

        Raises: Unavailable (it may have happened), NotDurable (it has), OutOfMemory, Refused, Closed.
        """
        group, member, id, deliveries = who
        requester = self.requester()
        done = keys.done(f"{member}.{requester.name}")
        names = (part.stream, keys.retries, keys.errors, done, part.outbox, *written)
        args = (group, member, id, deliveries, self.deletes, requester.number(done), rules.REQUESTS_MS)
        return self.wire.run(
            rules.EFFECTS, names, (*args, *commands), durability=self.options.durability
        )

    def leave(self, part: Partition, keys: GroupKeys, group: str, member: str) -> int:
        """End a membership; how many entries it leaves pending. Raises: Unavailable, Refused, Closed."""
        names = (part.stream, keys.members, part.bell, keys.turns)
        return int(self.wire.run(rules.LEAVE, names, (group, member)))

    def share(self, group: str, member: str, lease_ms: int) -> tuple[int, int]:
        """Which of them `member` is, from 0, and how many consume for `group`.

        Raises: Unavailable, Refused, Closed.
        """
        rank, count = self.wire.run(rules.SHARE, (self.layout.consumers(group),), (member, lease_ms))
        return rank, count


def entries(reply: Any) -> list[Any]:
    """The entries in the reply to XREADGROUP of one stream."""
    if not reply:
        return []
    found: list[Any] = next(iter(reply.values())) if isinstance(reply, dict) else reply[0][1]
    return found


def shortened(error: str) -> str:
    """An error, as much of it as is kept."""
    return error[:LONGEST_ERROR]
