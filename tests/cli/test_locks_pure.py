"""What `holdfast locks` decides without a server: whose a key is, what happened, what to say about it."""

from __future__ import annotations

import fnmatch
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast._wire.keys import Keys
from holdfast.cli.locks import hints, rooms
from holdfast.cli.locks.changes import changes
from holdfast.cli.locks.live import Objects
from holdfast.cli.locks.rooms import Named
from holdfast.cli.locks.sight import Sight, Ticket, by_age
from holdfast.locks.holder import Holder

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def sight(owner: str = "", *, age: float | None = 0.0, at: float = 0.0, **more: Any) -> Sight:
    """The lock `a` at `at` seconds after NOW, held by `owner` for `age` seconds."""
    when = NOW + timedelta(seconds=at)
    since = None if age is None else when - timedelta(seconds=age)
    details = {key: more.pop(key) for key in ("host", "pid", "wanted") if key in more}
    who = Holder(
        name="a", owner=owner, since=since, ttl=more.pop("ttl", 30.0), value=f"{owner}{since}", **details
    )
    holders = [who] if owner else []
    return Sight(
        named=Named("lock", "a"), key="k", at=when.timestamp(), raw=who.value.encode() if owner else b"",
        holders=holders, count=len(holders), listeners=0, **more,
    )  # fmt: skip


def test_what_happened_between_two_looks():
    """Without it a change could be told twice, or not at all."""
    free, one, later_ = sight(), sight("x:1", age=1, at=0), sight("x:1", age=3, at=2)
    other = sight("y:2", age=0.5, at=2)
    assert [c.event for c in changes(None, free)] == []
    assert [c.event for c in changes(None, one)] == ["held"]
    assert [c.event for c in changes(free, one)] == ["held"]
    assert [c.event for c in changes(one, later_)] == []
    (handed,) = changes(one, other)
    assert (handed.event, round(handed.lasted or 0, 6)) == ("handed", 2.5)
    (ended,) = changes(one, sight(at=2))
    assert (ended.event, round(ended.lasted or 0, 6)) == ("free", 3)
    assert ended.text() == "a is free; x:1 had it for 3.0 s at most"
    assert handed.text() == "a went from x:1 to y:2 after 2.5 s"
    (foreign,) = changes(sight("p", age=None), sight(at=1))
    assert foreign.text() == "a is free; p had it until now"


def test_a_request_is_told_once():
    """Without it each look would repeat that somebody waits for it."""
    plain, wanted = sight("x:1", age=1), sight("x:1", age=2, at=1, wanted="why")
    assert [c.event for c in changes(None, wanted)] == ["held", "wanted"]
    (told,) = changes(plain, wanted)
    assert told.text() == "a: x:1 is asked for it back: why"
    assert [*changes(wanted, sight("x:1", age=3, at=2, wanted="why"))] == []


def test_hints_say_what_can_be_done():
    """Without it an operator would have to know what we know."""
    here: dict[str, Any] = {"here": "web", "lives": lambda pid: pid == 1}
    assert hints.hints(sight(), **here) == []
    assert hints.hints(sight("w", host="web", pid=1), **here) == []
    assert hints.hints(sight("w", host="other", pid=7), **here) == []
    assert "seems to be gone" in hints.hints(sight("w", host="web", pid=7), **here)[0]
    assert "never ends" in hints.hints(sight("w", ttl=None), **here)[0]
    assert "--ask REASON" in hints.hints(sight("w", age=700), **here)[0]
    assert "cannot be asked" in hints.hints(sight("another program", age=None), **here)[0]
    dead = Ticket(token="t", age=1.0, alive=False)
    assert "1 waiter is silent" in hints.hints(sight("w", tickets=[dead], queued=1), **here)[0]
    assert "UNLINK k" in hints.hints(sight(kind="hash"), **here)[1]


def test_the_longest_held_comes_first_and_the_unknown_last():
    """Without it what hurts would not be at the top."""
    young, old, unknown = sight("a", age=1), sight("b", age=9), sight("c", age=None)
    assert by_age([unknown, young, old]) == [old, young, unknown]


@given(st.text(min_size=1, max_size=20), st.sampled_from(rooms.ROOMS), st.text(min_size=1, max_size=10))
def test_every_key_says_whose_it_is(name: str, room: str, namespace: str):
    """Without it a lock with an odd name would be shown under another one, or not at all."""
    try:
        name.encode()
        keys = Keys(namespace)
        namespace.encode()
    except UnicodeEncodeError:
        return
    prefix = rooms.namespace(keys)
    for part in ("", ":f", ":q", ":r", ":x:" + "0" * 32):
        key = keys.tagged(room, name, part)
        assert key.startswith(prefix)
        assert rooms.named(key, prefix) == (Named(room, name), part)
    assert rooms.named(keys.make("cache", room, name), prefix) is None
    assert rooms.named(keys.user(name), prefix) is None


def test_one_walk_finds_all_rooms_and_passes_over_the_others():
    """Without it a walk would fetch every session there is."""
    keys = Keys("shop")
    glob = rooms.match(keys).replace("\\", "")
    for room in rooms.ROOMS:
        assert fnmatch.fnmatchcase(keys.tagged(room, "a", ":f"), glob)
    for room in (
        "limits",
        "sessions",
        "streams",
        "leaderboard",
        "latch",
        "ops",
        "analytics",
        "topics",
        "events",
    ):
        assert not fnmatch.fnmatchcase(keys.make(room, "x", "a"), glob)
        assert not fnmatch.fnmatchcase(keys.tagged(room, "a"), glob)


def test_a_view_says_nothing_twice(capsys: pytest.CaptureFixture[str]):
    """Without it every round of a dead server would be a line."""
    view = Objects()
    for _ in range(3):
        view.away(RuntimeError("x"))
    view.back()
    view.back()
    told = [json.loads(line)["text"] for line in io.StringIO(capsys.readouterr().out)]
    assert told == ["the server does not answer; still trying", "the server answers again"]
