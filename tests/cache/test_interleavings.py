"""Every order in which loads, invalidations, sets and puts of one key can interleave, on a real server.

Whatever the order: once all of them are over, the cache holds what the database holds, or nothing. The check
itself is checked: with a script that lacks one of its guards it must find a schedule that goes wrong.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast._values.envelope import EPOCH, HEADER, STAMP
from holdfast._wire.script import Script
from holdfast.cache import rules

SHAPE = rules.Shape(int)
LONG = 60_000  # ms


@dataclasses.dataclass
class World:
    """One key: its row in the database, its entry and its lease on the server."""

    hf: Holdfast
    lease_script: Script = rules.LEASE
    fill_script: Script = rules.FILL
    set_script: Script = rules.SET
    begin_script: Script = rules.BEGIN
    finish_script: Script = rules.FINISH
    row: int = 0
    ids: Any = dataclasses.field(default_factory=lambda: itertools.count(1))
    stored: int = 0

    def __post_init__(self) -> None:
        self.entry = self.hf._wire.keys.make("cache", "interleaved", "k")
        self.keys = (self.entry, f"{self.entry}:f")

    def run(self, script: Script, *args: Any) -> Any:
        return self.hf._wire.run(script, self.keys, args)

    def envelope(self, value: int) -> bytes:
        stamp = next(self.ids).to_bytes(8, "big")
        body = rules.payload(value, SHAPE)
        return rules.envelope(value, body, SHAPE, stamp=stamp, epoch=b"e" * 8, loaded_at=0, ttl=LONG)

    def cached(self) -> int | None:
        raw = self.hf.execute("GET", self.entry)
        assert raw is None or raw[EPOCH] == b"e" * 8 and len(raw[STAMP]) == 8
        return None if raw is None else SHAPE.codec.decode(raw[HEADER:])

    def unlink(self) -> None:
        self.hf.execute("UNLINK", *self.keys)


Actor = Callable[[World, int], Iterator[None]]


def load(world: World, number: int) -> Iterator[None]:
    """Miss and lease; read the row; fill."""
    token = f"F:{number:x}"
    raw = world.hf.execute("GET", world.entry)
    granted = raw is None and world.run(world.lease_script, token, LONG, b"", 0)[0] == 2
    yield
    value = world.row
    yield
    if granted:
        data = world.envelope(value)
        world.stored += world.hf._wire.run(
            world.fill_script, (*world.keys, world.entry), (token, data, LONG, b"")
        )
    yield


def write_and_invalidate(world: World, number: int) -> Iterator[None]:
    world.row = number
    yield
    world.unlink()
    yield


def write_and_set(world: World, number: int) -> Iterator[None]:
    world.row = number
    yield
    world.run(world.set_script, world.envelope(number), LONG, 1 << 52)
    yield


def put(world: World, number: int) -> Iterator[None]:
    mark = world.run(world.begin_script, f"{number:x}", LONG, 1 << 52)
    yield
    world.row = number
    yield
    data = world.envelope(number)
    done = mark and world.hf._wire.run(world.fill_script, (*world.keys, world.entry), (mark, data, LONG, b""))
    world.stored += bool(done)
    if not done:
        world.run(world.finish_script, f"{number:x}")
    yield


def put_that_dies(world: World, number: int) -> Iterator[None]:
    """Killed after the row was written, before the cache heard of it."""
    world.run(world.begin_script, f"{number:x}", LONG, 1 << 52)
    yield
    world.row = number
    yield


STEPS: dict[Actor, int] = {load: 3, write_and_invalidate: 2, write_and_set: 2, put: 3, put_that_dies: 2}

CASTS: list[tuple[Actor, ...]] = [
    (load, load, write_and_invalidate),
    (load, write_and_set),
    (load, write_and_invalidate, write_and_invalidate),
    (load, put),
    (load, put, put),
    (load, put, write_and_invalidate),
    (put, put, put_that_dies),
    (load, put, put_that_dies),
]


def schedules(cast: tuple[Actor, ...]) -> Iterator[tuple[int, ...]]:
    """Every order of the actors' steps, as the number of the actor whose turn it is."""

    def rest(left: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if not any(left):
            yield ()
        for who, steps in enumerate(left):
            if steps:
                for tail in rest((*left[:who], steps - 1, *left[who + 1 :])):
                    yield (who, *tail)

    return rest(tuple(STEPS[actor] for actor in cast))


def play(world: World, cast: tuple[Actor, ...], schedule: tuple[int, ...]) -> bool:
    """Is the cache right in the end?"""
    world.unlink()
    world.row = 0
    actors = [actor(world, who + 1) for who, actor in enumerate(cast)]
    for who in schedule:
        next(actors[who])
    return world.cached() in (None, world.row)


@pytest.mark.everywhere
@pytest.mark.parametrize("cast", CASTS, ids=lambda cast: "+".join(actor.__name__ for actor in cast))
def test_every_order_ends_well(hf: Holdfast, cast: tuple[Actor, ...]):
    world = World(hf)
    wrong = [schedule for schedule in schedules(cast) if not play(world, cast, schedule)]
    assert wrong == []
    assert (
        world.stored or put_that_dies in cast or write_and_set in cast
    )  # it is no cache that stores nothing


def without(script: Script, guard: str, instead: str) -> Script:
    """`script` with a guard removed."""
    assert guard in script.text
    return Script.parse("planted", script.text.replace(guard, instead))


PLANTED: list[tuple[str, Script, tuple[Actor, ...]]] = [
    # the textbook: whoever has loaded stores
    ("fill_script", without(rules.FILL, "redis.call('GET', KEYS[2]) == ARGV[1]", "true"), CASTS[0]),
    # a lease that says only that somebody loads, not who (rueidisaside's hole)
    (
        "fill_script",
        without(rules.FILL, "redis.call('GET', KEYS[2]) == ARGV[1]", "redis.call('GET', KEYS[2])"),
        CASTS[0],
    ),
    # a set that leaves the lease alone
    ("set_script", without(rules.SET, "redis.call('DEL', KEYS[2])", ""), CASTS[1]),
    # a put that does not notice another one
    ("begin_script", without(rules.BEGIN, "#marks == 1 and value or ''", "value"), CASTS[7]),
    # a put that does not stop loads
    ("begin_script", without(rules.BEGIN, "redis.call('SET', KEYS[2], value, 'PX', ARGV[2])", ""), CASTS[7]),
    # a put that leaves the older value for the time of its writing
    ("begin_script", without(rules.BEGIN, "redis.call('UNLINK', KEYS[1])", ""), CASTS[7]),
    # a put that removes the other's mark together with its own
    ("finish_script", without(rules.FINISH, "if #marks > 0 then", "if false then"), CASTS[6]),
]


@pytest.mark.parametrize(("which", "script", "cast"), PLANTED, ids=[str(n) for n in range(len(PLANTED))])
def test_the_check_finds_a_missing_guard(hf: Holdfast, which: str, script: Script, cast: tuple[Actor, ...]):
    world = World(hf)
    setattr(world, which, script)
    assert any(not play(world, cast, schedule) for schedule in schedules(cast))


def test_what_lease_lua_answers(hf: Holdfast):
    world = World(hf)
    first = world.run(rules.LEASE, "F:1", LONG, b"", 0)
    assert first[0] == 2
    assert world.run(rules.LEASE, "F:1", LONG, b"", 0)[0] == 2  # its reply was lost
    busy, pttl = world.run(rules.LEASE, "F:2", LONG, b"", 0)
    assert busy == 3 and 0 < pttl <= LONG
    data = world.envelope(7)
    assert hf._wire.run(rules.FILL, (*world.keys, world.entry), ("F:1", data, LONG, b""))
    assert world.run(rules.LEASE, "F:2", LONG, b"", 0)[0] == 1  # filled since the reader looked
    assert world.run(rules.LEASE, "F:2", LONG, rules.seen(data), 0)[0] == 2  # it is unusable to this reader


def test_what_comes_too_late_does_nothing(hf: Holdfast):
    """As when the server was frozen, and the caller has long given up."""
    world = World(hf)
    world.run(rules.SET, world.envelope(7), LONG, 1 << 52)
    assert world.run(rules.LEASE, "F:1", LONG, b"", 1)[0] == 0
    assert world.run(rules.SET, world.envelope(8), LONG, 1) == 0
    assert world.run(rules.BEGIN, "1", LONG, 1) == b""
    assert world.cached() == 7
    assert hf.execute("EXISTS", world.keys[1]) == 0


def test_a_put_whose_reply_was_lost_keeps_its_mark(hf: Holdfast):
    world = World(hf)
    mark = world.run(rules.BEGIN, "a1", LONG, 1 << 52)
    assert mark.startswith(b"P:a1@")
    assert world.run(rules.BEGIN, "a1", LONG, 1 << 52) == mark
    assert world.run(rules.BEGIN, "b2", LONG, 1 << 52) == b""
    assert world.run(rules.BEGIN, "a1", LONG, 1 << 52) == b""
    world.run(rules.FINISH, "a1")
    world.run(rules.FINISH, "a1")
    assert hf.execute("GET", world.keys[1]).startswith(b"X:b2@")
    world.run(rules.FINISH, "b2")
    assert hf.execute("EXISTS", *world.keys) == 0
