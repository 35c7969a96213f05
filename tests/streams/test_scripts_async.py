# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""The scripts of a partition, called by hand: what members may do to what others have."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import AsyncHoldfast
from holdfast.streams import rules
from holdfast.streams._desk_async import AsyncDesk, Turn
from tests.cache.crowd import AsyncCrowd

LEASE = 60_000


class AsyncMember:
    """One member of the group `g`, who asks what he wants to."""

    def __init__(self, ahf: AsyncHoldfast, name: str, *, alone: bool = False, most: int = 0) -> None:
        self.name = name
        self.desk: AsyncDesk = ahf.stream("numbers")._desk
        self.part = self.desk.layout.parts[0]
        self.keys = self.part.group("g")
        self._how = (int(alone), "0", most, 0)
        self.number = 0

    async def turn(self, limit: int, *acks: Any, lease: int = LEASE, number: int | None = None) -> Turn:
        self.number += 1
        args = ("g", self.name, lease, limit, *self._how, "count", number or self.number)
        return await self.desk.turn(self.part, self.keys, args, acks, read=False)

    async def mine(self, *, again: bool = False, number: int | None = None) -> list[Any]:
        self.number += 1
        return await self.desk.mine(
            self.part, self.keys, ("g", self.name, LEASE), "-", again=again, turn=number or self.number
        )

    async def settle(self, *items: Any) -> list[int]:
        self.number += 1
        return await self.desk.settle(self.part, self.keys, ("g", self.name), self.number, items)

    async def effects(self, id: str, deliveries: int) -> Any:
        command = ("INCRBY", 1, 1, 1)
        who = ("g", self.name, id, deliveries)
        return await self.desk.effects(self.part, self.keys, who, [self.part.user("x")], command)

    async def leave(self) -> int:
        return await self.desk.leave(self.part, self.keys, "g", self.name)


async def published(ahf: AsyncHoldfast, count: int) -> list[str]:
    return [one.id for one in await ahf.stream("numbers").publish_many(range(count))]


async def ended(ahf: AsyncHoldfast, member: AsyncMember) -> None:
    """Its lease is over, and nobody has told it."""
    await ahf.execute("ZADD", member.keys.members, "XX", 1, member.name)


def ids(found: list[Any]) -> list[str]:
    return [one[0].decode() for one in found]


@pytest.mark.everywhere
@pytest.mark.parametrize("alone", [False, True])
async def test_only_whoever_has_a_message_can_do_something_about_it(ahf: AsyncHoldfast, alone: bool):
    """Without the checks a worker that was given up took what its successor was doing."""
    first, second = AsyncMember(ahf, "a", alone=alone), AsyncMember(ahf, "b", alone=alone)
    one, two, three = await published(ahf, 3)
    assert ids((await first.turn(3)).fresh) == [one, two, three]
    await ended(ahf, first)
    assert ids((await second.turn(2)).taken) == [one, two]
    for what in ("later", "wait", "again", "dead", "free"):
        assert await first.settle(what, one, 1, 0, "x") == [0]
    assert (await first.turn(0, one, 1)).fenced == [one.encode()]
    assert await first.effects(one, 1) == 0
    assert await second.effects(one, 1) == 0  # its delivery is the second one
    assert (await second.turn(0, two, 1)).fenced == [two.encode()]
    assert await second.effects(one, 2) == 1
    assert (await second.turn(0, two, 2, three, 1)).fenced == [three.encode()]
    left = await ahf.execute("XPENDING", first.part.stream, "g", "-", "+", 9)
    assert [row[0] if isinstance(row, list) else row[b"message_id"] for row in left] == [three.encode()]
    assert await ahf.execute("GET", first.part.user("x")) == b"1"
    assert await ahf.execute("EXISTS", first.keys.dead) == 0


async def test_what_a_dead_member_had_is_taken_over_bit_by_bit(ahf: AsyncHoldfast):
    """Without the look at what is left, its consumer was deleted, and what it had pending with it."""
    first, second = AsyncMember(ahf, "a"), AsyncMember(ahf, "b")
    all_of_it = await published(ahf, 5)
    assert len((await first.turn(5)).fresh) == 5
    await ended(ahf, first)
    found = []
    for _ in range(4):
        found += ids((await second.turn(2)).taken)
    assert found == all_of_it
    names = [one[b"name"] for one in await ahf.execute("XINFO", "CONSUMERS", first.part.stream, "g")]
    assert names == [b"b"]


async def test_a_successor_has_what_was_pending_before_anything_new(ahf: AsyncHoldfast):
    """Also if the reply to its joining is lost. Without the cursor on the server new ones overtook it."""
    first, second = AsyncMember(ahf, "a", alone=True), AsyncMember(ahf, "b", alone=True)
    old = await published(ahf, 5)
    await first.turn(4)
    assert (await second.turn(9)).epoch == 0
    await ended(ahf, first)
    await second.turn(1)  # the reply is lost
    found = [one[0].decode() for one in await second.mine()]
    for _ in range(5):
        answer = await second.turn(2)
        found += ids(answer.taken) + ids(answer.fresh)
    assert found == old
    assert (await first.turn(9)).epoch == 0
    names = [one[b"name"] for one in await ahf.execute("XINFO", "CONSUMERS", first.part.stream, "g")]
    assert names == [b"b"]


async def test_a_predecessor_who_wakes_up_has_nothing_any_more(ahf: AsyncHoldfast):
    """Without the look at the membership he went on with what his successor had not come to yet."""
    first, second = AsyncMember(ahf, "a", alone=True), AsyncMember(ahf, "b", alone=True)
    await published(ahf, 3)
    await first.turn(3)
    await ended(ahf, first)
    await second.turn(1)
    assert await first.mine(again=True) == []
    assert len((await second.turn(2)).taken) == 2
    assert await ahf.execute("ZRANGE", first.keys.members, 0, -1) == [b"b"]


async def test_questions_that_arrive_late_change_nothing(ahf: AsyncHoldfast):
    """Without their numbers a turn took messages for one who does not know, and a `mine` their deliveries."""
    one = AsyncMember(ahf, "a")
    (id,) = await published(ahf, 1)
    await one.turn(0)
    late = one.number
    await one.turn(0)
    assert (await one.turn(5, number=late)).fresh == []
    assert ids((await one.turn(5)).fresh) == [id]
    assert await one.mine(again=True, number=late) == []
    assert await one.effects(id, 1) == 1


async def test_what_waits_for_a_retry_is_nobody_s_and_due_only_then(ahf: AsyncHoldfast):
    one = AsyncMember(ahf, "a")
    (id,) = await published(ahf, 1)
    await one.turn(1)
    assert await one.settle("later", id, 1, 300, "why") == [1]
    answer = await one.turn(1)
    assert answer.taken == [] and 0 < answer.rest <= 300
    assert await ahf.execute("HGET", one.keys.errors, id) == b"why"
    async with AsyncCrowd() as crowd:

        async def taken() -> list[Any]:
            return [(found[0].decode(), found[1], found[2]) for found in (await one.turn(1)).taken]

        await crowd.until(taken, [(id, 2, 0)])
    assert await ahf.execute("EXISTS", one.keys.retries) == 0
    assert (await one.turn(0, id, 2)).fenced == []
    assert await ahf.execute("EXISTS", one.keys.errors) == 0


async def test_a_verdict_that_is_told_again_is_answered_again(ahf: AsyncHoldfast):
    """Under a new number, since the first request was given up. Without it the lane of a message that has
    rested went on without it.
    """
    one = AsyncMember(ahf, "a", alone=True)
    (id,) = await published(ahf, 1)
    await one.turn(1)
    for _ in range(2):
        assert await one.settle("wait", id, 1, 0, "why", "again", id, 1, 0, "") == [1, 1]
    assert (await one.turn(0, id, 2)).fenced == []
    assert await ahf.execute("EXISTS", one.keys.retries, one.keys.errors) == 0


async def test_whoever_leaves_with_something_pending_is_remembered_until_others_have_it(ahf: AsyncHoldfast):
    """Without it what he had would have been nobody's for ever."""
    first, second = AsyncMember(ahf, "a"), AsyncMember(ahf, "b")
    (id,) = await published(ahf, 1)
    await first.turn(1)
    assert await first.leave() == 1
    assert await first.mine() == []
    assert ids((await second.turn(1)).taken) == [id]
    assert await second.turn(0, id, 2) and await second.leave() == 0
    assert await ahf.execute("EXISTS", first.keys.members, first.keys.turns) == 0
    assert await ahf.execute("XINFO", "CONSUMERS", first.part.stream, "g") == []


async def test_whoever_died_with_it_for_the_last_time_takes_nobody_with_him(ahf: AsyncHoldfast):
    """Suspects are handed out alone; at the limit they become dead letters without being handed out."""
    names = [AsyncMember(ahf, name, most=3) for name in "abcde"]
    one, two, three = await published(ahf, 3)
    assert len((await names[0].turn(9)).fresh) == 3
    await ended(ahf, names[0])
    assert len((await names[1].turn(9)).taken) == 3  # the second time: not suspected yet
    await ended(ahf, names[1])
    answer = await names[2].turn(9)
    assert (ids(answer.taken), answer.suspect) == ([one], 1)
    await ended(ahf, names[2])
    for other in (two, three):
        answer = await names[3].turn(9)
        assert (ids(answer.taken), answer.suspect) == ([other], 1)
        assert (await names[3].turn(0, other, 3)).fenced == []
    answer = await names[3].turn(9)
    assert ids(answer.buried) == [one] and answer.taken == []
    (letter,) = await ahf.execute("XRANGE", names[0].keys.dead, "-", "+")
    named = dict(zip(letter[1][::2], letter[1][1::2], strict=True))
    assert (named[b"~id"], named[b"~deliveries"]) == (one.encode(), b"3")
    assert rules.described(ValueError("x")) == "ValueError: x"


async def test_a_beat_renews_a_member_and_nobody_else(ahf: AsyncHoldfast):
    one = AsyncMember(ahf, "a")
    await ahf._wire.run(rules.BEAT, (one.keys.members,), ("a", LEASE))
    assert await ahf.execute("EXISTS", one.keys.members) == 0
    await one.turn(0, lease=1_000)
    before = await ahf.execute("ZSCORE", one.keys.members, "a")
    assert await ahf._wire.run(rules.BEAT, (one.keys.members,), ("a", LEASE)) == 1
    assert float(await ahf.execute("ZSCORE", one.keys.members, "a")) > float(before) + 50_000
