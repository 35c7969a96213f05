# Generated from test_scripts_async.py by tools/unasync.py. Do not edit.
"""The scripts of a partition, called by hand: what members may do to what others have."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Holdfast
from holdfast.streams import rules
from holdfast.streams._desk_sync import Desk, Turn
from tests.cache.crowd import Crowd

LEASE = 60_000


class Member:
    """One member of the group `g`, who asks what he wants to."""

    def __init__(self, hf: Holdfast, name: str, *, alone: bool = False, most: int = 0) -> None:
        self.name = name
        self.desk: Desk = hf.stream("numbers")._desk
        self.part = self.desk.layout.parts[0]
        self.keys = self.part.group("g")
        self._how = (int(alone), "0", most, 0)
        self.number = 0

    def turn(self, limit: int, *acks: Any, lease: int = LEASE, number: int | None = None) -> Turn:
        self.number += 1
        args = ("g", self.name, lease, limit, *self._how, "count", number or self.number)
        return self.desk.turn(self.part, self.keys, args, acks, read=False)

    def mine(self, *, again: bool = False, number: int | None = None) -> list[Any]:
        self.number += 1
        return self.desk.mine(
            self.part, self.keys, ("g", self.name, LEASE), "-", again=again, turn=number or self.number
        )

    def settle(self, *items: Any) -> list[int]:
        self.number += 1
        return self.desk.settle(self.part, self.keys, ("g", self.name), self.number, items)

    def effects(self, id: str, deliveries: int) -> Any:
        command = ("INCRBY", 1, 1, 1)
        who = ("g", self.name, id, deliveries)
        return self.desk.effects(self.part, self.keys, who, [self.part.user("x")], command)

    def leave(self) -> int:
        return self.desk.leave(self.part, self.keys, "g", self.name)


def published(hf: Holdfast, count: int) -> list[str]:
    return [one.id for one in hf.stream("numbers").publish_many(range(count))]


def ended(hf: Holdfast, member: Member) -> None:
    """Its lease is over, and nobody has told it."""
    hf.execute("ZADD", member.keys.members, "XX", 1, member.name)


def ids(found: list[Any]) -> list[str]:
    return [one[0].decode() for one in found]


@pytest.mark.everywhere
@pytest.mark.parametrize("alone", [False, True])
def test_only_whoever_has_a_message_can_do_something_about_it(hf: Holdfast, alone: bool):
    """Without the checks a worker that was given up took what its successor was doing."""
    first, second = Member(hf, "a", alone=alone), Member(hf, "b", alone=alone)
    one, two, three = published(hf, 3)
    assert ids((first.turn(3)).fresh) == [one, two, three]
    ended(hf, first)
    assert ids((second.turn(2)).taken) == [one, two]
    for what in ("later", "wait", "again", "dead", "free"):
        assert first.settle(what, one, 1, 0, "x") == [0]
    assert (first.turn(0, one, 1)).fenced == [one.encode()]
    assert first.effects(one, 1) == 0
    assert second.effects(one, 1) == 0  # its delivery is the second one
    assert (second.turn(0, two, 1)).fenced == [two.encode()]
    assert second.effects(one, 2) == 1
    assert (second.turn(0, two, 2, three, 1)).fenced == [three.encode()]
    left = hf.execute("XPENDING", first.part.stream, "g", "-", "+", 9)
    assert [row[0] if isinstance(row, list) else row[b"message_id"] for row in left] == [three.encode()]
    assert hf.execute("GET", first.part.user("x")) == b"1"
    assert hf.execute("EXISTS", first.keys.dead) == 0


def test_what_a_dead_member_had_is_taken_over_bit_by_bit(hf: Holdfast):
    """Without the look at what is left, its consumer was deleted, and what it had pending with it."""
    first, second = Member(hf, "a"), Member(hf, "b")
    all_of_it = published(hf, 5)
    assert len((first.turn(5)).fresh) == 5
    ended(hf, first)
    found = []
    for _ in range(4):
        found += ids((second.turn(2)).taken)
    assert found == all_of_it
    names = [one[b"name"] for one in hf.execute("XINFO", "CONSUMERS", first.part.stream, "g")]
    assert names == [b"b"]


def test_a_successor_has_what_was_pending_before_anything_new(hf: Holdfast):
    """Also if the reply to its joining is lost. Without the cursor on the server new ones overtook it."""
    first, second = Member(hf, "a", alone=True), Member(hf, "b", alone=True)
    old = published(hf, 5)
    first.turn(4)
    assert (second.turn(9)).epoch == 0
    ended(hf, first)
    second.turn(1)  # the reply is lost
    found = [one[0].decode() for one in second.mine()]
    for _ in range(5):
        answer = second.turn(2)
        found += ids(answer.taken) + ids(answer.fresh)
    assert found == old
    assert (first.turn(9)).epoch == 0
    names = [one[b"name"] for one in hf.execute("XINFO", "CONSUMERS", first.part.stream, "g")]
    assert names == [b"b"]


def test_a_predecessor_who_wakes_up_has_nothing_any_more(hf: Holdfast):
    """Without the look at the membership he went on with what his successor had not come to yet."""
    first, second = Member(hf, "a", alone=True), Member(hf, "b", alone=True)
    published(hf, 3)
    first.turn(3)
    ended(hf, first)
    second.turn(1)
    assert first.mine(again=True) == []
    assert len((second.turn(2)).taken) == 2
    assert hf.execute("ZRANGE", first.keys.members, 0, -1) == [b"b"]


def test_questions_that_arrive_late_change_nothing(hf: Holdfast):
    """Without their numbers a turn took messages for one who does not know, and a `mine` their deliveries."""
    one = Member(hf, "a")
    (id,) = published(hf, 1)
    one.turn(0)
    late = one.number
    one.turn(0)
    assert (one.turn(5, number=late)).fresh == []
    assert ids((one.turn(5)).fresh) == [id]
    assert one.mine(again=True, number=late) == []
    assert one.effects(id, 1) == 1


def test_what_waits_for_a_retry_is_nobody_s_and_due_only_then(hf: Holdfast):
    one = Member(hf, "a")
    (id,) = published(hf, 1)
    one.turn(1)
    assert one.settle("later", id, 1, 300, "why") == [1]
    answer = one.turn(1)
    assert answer.taken == [] and 0 < answer.rest <= 300
    assert hf.execute("HGET", one.keys.errors, id) == b"why"
    with Crowd() as crowd:

        def taken() -> list[Any]:
            return [(found[0].decode(), found[1], found[2]) for found in (one.turn(1)).taken]

        crowd.until(taken, [(id, 2, 0)])
    assert hf.execute("EXISTS", one.keys.retries) == 0
    assert (one.turn(0, id, 2)).fenced == []
    assert hf.execute("EXISTS", one.keys.errors) == 0


def test_a_verdict_that_is_told_again_is_answered_again(hf: Holdfast):
    """Under a new number, since the first request was given up. Without it the lane of a message that has
    rested went on without it.
    """
    one = Member(hf, "a", alone=True)
    (id,) = published(hf, 1)
    one.turn(1)
    for _ in range(2):
        assert one.settle("wait", id, 1, 0, "why", "again", id, 1, 0, "") == [1, 1]
    assert (one.turn(0, id, 2)).fenced == []
    assert hf.execute("EXISTS", one.keys.retries, one.keys.errors) == 0


def test_whoever_leaves_with_something_pending_is_remembered_until_others_have_it(hf: Holdfast):
    """Without it what he had would have been nobody's for ever."""
    first, second = Member(hf, "a"), Member(hf, "b")
    (id,) = published(hf, 1)
    first.turn(1)
    assert first.leave() == 1
    assert first.mine() == []
    assert ids((second.turn(1)).taken) == [id]
    assert second.turn(0, id, 2) and second.leave() == 0
    assert hf.execute("EXISTS", first.keys.members, first.keys.turns) == 0
    assert hf.execute("XINFO", "CONSUMERS", first.part.stream, "g") == []


def test_whoever_died_with_it_for_the_last_time_takes_nobody_with_him(hf: Holdfast):
    """Suspects are handed out alone; at the limit they become dead letters without being handed out."""
    names = [Member(hf, name, most=3) for name in "abcde"]
    one, two, three = published(hf, 3)
    assert len((names[0].turn(9)).fresh) == 3
    ended(hf, names[0])
    assert len((names[1].turn(9)).taken) == 3  # the second time: not suspected yet
    ended(hf, names[1])
    answer = names[2].turn(9)
    assert (ids(answer.taken), answer.suspect) == ([one], 1)
    ended(hf, names[2])
    for other in (two, three):
        answer = names[3].turn(9)
        assert (ids(answer.taken), answer.suspect) == ([other], 1)
        assert (names[3].turn(0, other, 3)).fenced == []
    answer = names[3].turn(9)
    assert ids(answer.buried) == [one] and answer.taken == []
    (letter,) = hf.execute("XRANGE", names[0].keys.dead, "-", "+")
    named = dict(zip(letter[1][::2], letter[1][1::2], strict=True))
    assert (named[b"~id"], named[b"~deliveries"]) == (one.encode(), b"3")
    assert rules.described(ValueError("x")) == "ValueError: x"


def test_a_beat_renews_a_member_and_nobody_else(hf: Holdfast):
    one = Member(hf, "a")
    hf._wire.run(rules.BEAT, (one.keys.members,), ("a", LEASE))
    assert hf.execute("EXISTS", one.keys.members) == 0
    one.turn(0, lease=1_000)
    before = hf.execute("ZSCORE", one.keys.members, "a")
    assert hf._wire.run(rules.BEAT, (one.keys.members,), ("a", LEASE)) == 1
    assert float(hf.execute("ZSCORE", one.keys.members, "a")) > float(before) + 50_000
