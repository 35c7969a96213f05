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
from holdfast.cache.answers import BUSY, CHANGED, GRANTED, LATE, OUTDATED, REFUSED, STORED, THROTTLED
from holdfast.cache.options import CacheOptions
from holdfast.cache.rules import Draft
from holdfast.cache.shape import Shape

SHAPE = Shape(int, CacheOptions(ttl="1h"))
LONG = 60_000  # ms
NEVER = 1 << 52  # server ms, of a caller who does not give up
NONE = rules.version_bytes(None)


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
        self.hold = f"{self.entry}:v"

    def run(self, script: Script, *args: Any) -> Any:
        return self.hf._wire.run(script, self.keys, args)

    def run_held(self, script: Script, *args: Any) -> Any:
        """Run a script that looks at the hold as well."""
        return self.hf._wire.run(script, (*self.keys, self.hold), args)

    def lease(self, token: str, seen: bytes = b"", until: int = 0, *, bare: bool = False) -> Any:
        return self.run(self.lease_script, token, LONG, seen, until, int(bare))

    def fill(self, token: str | bytes, data: bytes, stamp: bytes = b"", target: str = "") -> Any:
        keys = (*self.keys, target or self.entry, self.hold)
        return self.hf._wire.run(self.fill_script, keys, (token, data, LONG, stamp))

    def set(self, data: bytes, until: int = NEVER) -> Any:
        return self.run_held(self.set_script, data, LONG, until)

    def begin(self, number: int | str, until: int = NEVER, version: int | None = None) -> Any:
        put = number if isinstance(number, str) else f"{number:x}"
        return self.run_held(self.begin_script, put, LONG, until, rules.version_bytes(version))

    def invalidate(self, version: int | None, hold: int, *, strict: bool = False) -> Any:
        return self.run_held(rules.INVALIDATE, rules.version_bytes(version), hold, int(strict))

    def envelope(self, value: int, version: int | None = None) -> bytes:
        draft = Draft(next(self.ids).to_bytes(8, "big"), b"e" * 8, loaded_at=0, ttl=LONG, version=version)
        return rules.envelope(draft, *rules.payload(value, SHAPE, self.entry), SHAPE)

    def cached(self) -> int | None:
        raw = self.hf.execute("GET", self.entry)
        assert raw is None or raw[EPOCH] == b"e" * 8 and len(raw[STAMP]) == 8
        return None if raw is None else SHAPE.codec.decode(raw[HEADER:])

    def unlink(self) -> None:
        self.hf.execute("UNLINK", *self.keys)

    def reset(self) -> None:
        self.hf.execute("UNLINK", *self.keys, self.hold)


Actor = Callable[[World, int], Iterator[None]]


def load(world: World, number: int) -> Iterator[None]:
    """Miss and lease; read the row; fill."""
    token = f"F:{number:x}"
    raw = world.hf.execute("GET", world.entry)
    granted = raw is None and world.lease(token)[0] == GRANTED
    yield
    value = world.row
    yield
    if granted:
        world.stored += world.fill(token, world.envelope(value)) == STORED
    yield


def write_and_invalidate(world: World, number: int) -> Iterator[None]:
    world.row = number
    yield
    world.unlink()
    yield


def write_and_set(world: World, number: int) -> Iterator[None]:
    world.row = number
    yield
    world.set(world.envelope(number))
    yield


def put(world: World, number: int) -> Iterator[None]:
    mark = world.begin(number)
    yield
    world.row = number
    yield
    done = mark and world.fill(mark, world.envelope(number)) == STORED
    world.stored += bool(done)
    if not done:
        world.run(world.finish_script, f"{number:x}")
    yield


def put_that_dies(world: World, number: int) -> Iterator[None]:
    """Killed after the row was written, before the cache heard of it."""
    world.begin(number)
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
SHORT: list[tuple[Actor, ...]] = [
    (load, write_and_invalidate),
    (load, write_and_set),
    (load, put),
    (put, write_and_invalidate),
]


def schedules(cast: tuple[Actor, ...]) -> Iterator[tuple[int, ...]]:
    """Every order of the actors' steps, as the number of the actor whose turn it is."""

    def rest(left: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if not any(left):
            yield ()
        for who, steps in enumerate(left):
            # Of two who do the same, the second begins second: the other half of the orders is the same.
            twin = who > 0 and cast[who - 1] is cast[who] and left[who - 1] == STEPS[cast[who]] == steps
            if steps and not twin:
                for tail in rest((*left[:who], steps - 1, *left[who + 1 :])):
                    yield (who, *tail)

    return rest(tuple(STEPS[actor] for actor in cast))


def play(world: World, cast: tuple[Actor, ...], schedule: tuple[int, ...]) -> bool:
    """Is the cache right in the end?"""
    world.reset()
    world.row = 0
    actors = [actor(world, who + 1) for who, actor in enumerate(cast)]
    for who in schedule:
        next(actors[who])
    return world.cached() in (None, world.row)


def named(cast: tuple[Any, ...]) -> str:
    return "+".join(actor.__name__ for actor in cast)


@pytest.mark.everywhere
@pytest.mark.parametrize("cast", SHORT, ids=named)
def test_the_scripts_mean_the_same_everywhere(hf: Holdfast, cast: tuple[Actor, ...]):
    world = World(hf)
    assert [schedule for schedule in schedules(cast) if not play(world, cast, schedule)] == []
    assert world.stored or write_and_set in cast


@pytest.mark.parametrize("cast", CASTS, ids=named)
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


# --- the scripts alone --------------------------------------------------------------------------------------


def test_what_lease_lua_answers(hf: Holdfast):
    world = World(hf)
    first = world.lease("F:1")
    assert first[0] == GRANTED
    assert world.lease("F:1")[0] == GRANTED  # its reply was lost
    busy, pttl = world.lease("F:2")
    assert busy == BUSY and 0 < pttl <= LONG
    data = world.envelope(7)
    assert world.fill("F:1", data) == STORED
    assert world.lease("F:2")[0] == CHANGED  # filled since the reader looked
    assert world.lease("F:2", rules.seen(data))[0] == GRANTED  # unusable to this reader


def test_a_lease_that_failed_keeps_others_from_trying_for_a_while(hf: Holdfast):
    """found: a throttle that anybody could set; one that outlived an invalidation (planted)."""
    world = World(hf)
    lease = world.keys[1]

    def abandon(token: str, throttle: int) -> Any:
        return hf._wire.run(rules.ABANDON, (lease,), (token, throttle))

    assert abandon("F:1", LONG) == 0  # was not ours
    assert hf.execute("EXISTS", lease) == 0
    world.lease("F:1")
    assert abandon("F:2", LONG) == 0 and hf.execute("GET", lease) == b"F:1"
    assert abandon("F:1", LONG) == 1
    throttled, pttl = world.lease("F:2")
    assert throttled == THROTTLED and 0 < pttl <= LONG
    assert world.fill("F:1", world.envelope(7)) == REFUSED  # whoever gave it back has no right any more
    assert abandon("F:1", 0) == 0 and hf.execute("GET", lease) == b"T:F:1"
    for end in (world.unlink, lambda: world.invalidate(None, 0), lambda: world.run(rules.EXPIRE)):
        world.lease("F:3")
        abandon("F:3", LONG)
        end()
        assert world.lease("F:3")[0] == GRANTED
        abandon("F:3", 0)
    world.lease("F:3")
    abandon("F:3", LONG)
    assert world.lease("F:4", bare=True)[0] == GRANTED  # there is nothing stale that this reader could serve
    assert world.lease("F:5", bare=True)[0] == BUSY
    assert abandon("F:4", 0) == 1 and hf.execute("EXISTS", lease) == 0


def test_a_put_ends_a_throttle_and_a_throttle_is_no_mark_of_a_put(hf: Holdfast):
    world = World(hf)
    world.lease("F:a1")
    hf._wire.run(rules.ABANDON, (world.keys[1],), ("F:a1", LONG))
    mark = world.begin("b2")
    assert mark.startswith(b"P:b2@")
    assert world.fill(mark, world.envelope(7)) == STORED


def test_what_comes_too_late_does_nothing(hf: Holdfast):
    """As when the server was frozen, and the caller has long given up."""
    world = World(hf)
    world.set(world.envelope(7))
    assert world.lease("F:1", until=1)[0] == LATE
    assert world.set(world.envelope(8), until=1) == REFUSED
    assert world.begin("1", until=1) == b""
    assert world.cached() == 7
    assert hf.execute("EXISTS", world.keys[1]) == 0


def test_a_put_whose_reply_was_lost_keeps_its_mark(hf: Holdfast):
    world = World(hf)
    mark = world.begin("a1")
    assert mark.startswith(b"P:a1@")
    assert world.begin("a1") == mark
    assert world.begin("b2") == b""
    assert world.begin("a1") == b""
    world.run(rules.FINISH, "a1")
    world.run(rules.FINISH, "a1")
    assert hf.execute("GET", world.keys[1]).startswith(b"X:b2@")
    world.run(rules.FINISH, "b2")
    assert hf.execute("EXISTS", *world.keys) == 0


# --- versions -----------------------------------------------------------------------------------------------

LOW, HIGH = -(2**63) + 1, 2**63 - 1
VERSIONS = [LOW, -(2**40), -257, -256, -1, None, 1, 255, 256, 2**32 - 1, 2**32, 2**53 + 1, HIGH]


def is_older(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one < other


@pytest.mark.parametrize("how", ["set", "fill", "hold+set", "hold+fill", "begin+fill"])
def test_nothing_older_replaces_what_is_newer(hf: Holdfast, how: str):
    """For every pair of versions. found: unsigned or big-endian comparison, one of low halves (planted)."""
    world = World(hf)
    for there, new in itertools.product(VERSIONS, VERSIONS):
        world.reset()
        token: str | bytes = "F:1"
        if how.startswith("hold"):
            world.invalidate(there, LONG)
        else:
            world.set(world.envelope(1, there))
        if how == "begin+fill":
            token = world.begin("a1", version=new)
        elif how.endswith("fill"):
            hf.execute("SET", world.keys[1], token)
        data = world.envelope(2, new)
        answer = world.set(data) if how.endswith("set") else world.fill(token, data)
        older = is_older(new, there)
        assert answer == (OUTDATED if older else STORED), (there, new)
        gone = how.startswith("hold") or how == "begin+fill"
        assert world.cached() == ((None if gone else 1) if older else 2), (there, new)
        assert hf.execute("EXISTS", world.keys[1]) == 0


def test_an_invalidation_removes_what_is_older_and_keeps_it_out(hf: Holdfast):
    """found: an entry of the same version removed, one without a version left (planted)."""
    world = World(hf)
    for there, version in itertools.product(VERSIONS, VERSIONS):
        world.reset()
        world.set(world.envelope(1, there))
        hf.execute("SET", world.keys[1], "F:1")
        stays = version is not None and there is not None and there >= version
        assert world.invalidate(version, LONG) == (0 if stays else 1)
        assert world.cached() == (1 if stays else None), (there, version)
        assert hf.execute("EXISTS", world.keys[1]) == 0
        assert hf.execute("GET", world.hold) == rules.version_bytes(version)
        assert 0 < hf.execute("PTTL", world.hold) <= LONG


def test_a_strict_hold_keeps_out_what_has_no_version(hf: Holdfast):
    world = World(hf)
    for strict, version in itertools.product([False, True], [None, 5]):
        world.reset()
        world.invalidate(version, LONG, strict=strict)
        hf.execute("SET", world.keys[1], "F:1")
        assert world.fill("F:1", world.envelope(1)) == (OUTDATED if strict else STORED)
        assert world.set(world.envelope(2)) == STORED  # the caller says what is right
        hf.execute("SET", world.keys[1], "F:1")
        assert world.fill("F:1", world.envelope(3, 5)) == STORED


def test_a_second_hold_never_weakens_the_first(hf: Holdfast):
    """The newer version, the stricter rule, the later end, whatever comes first."""
    world = World(hf)
    holds = [(None, 1000, False), (5, LONG, True), (9, 2000, False), (7, 3000, True), (LOW, 0, False)]
    for one, two in itertools.permutations(holds, 2):
        world.reset()
        for version, ttl, strict in (one, two):
            world.invalidate(version, ttl, strict=strict)
        held = [two] if one[1] == 0 else [one, two]  # for no time: it was none
        newest = max((version for version, _, _ in held if version is not None), default=None)
        strict = any(strict for _, _, strict in held)
        assert hf.execute("GET", world.hold) == rules.version_bytes(newest) + b"!" * strict, (one, two)
        longest = max(ttl for _, ttl, _ in held)
        assert longest / 2 < hf.execute("PTTL", world.hold) <= longest


def test_a_put_remembers_the_version_that_it_removes(hf: Holdfast):
    """Otherwise a put of an older version, whose begin removed the newer one, could be stored after it."""
    world = World(hf)
    world.set(world.envelope(1, 7))
    world.begin("a1", version=5)
    world.run(rules.FINISH, "a1")
    assert world.set(world.envelope(2, 6)) == OUTDATED
    assert world.set(world.envelope(2, 7)) == STORED
    world.invalidate(9, 2 * LONG, strict=True)
    world.set(world.envelope(3, 12))
    world.begin("a1", version=13)
    assert hf.execute("GET", world.hold) == rules.version_bytes(12) + b"!"
    assert hf.execute("PTTL", world.hold) > LONG  # no shorter than it was
    world.reset()
    world.invalidate(None, LONG)
    world.set(world.envelope(3, -5))
    world.begin("a1", version=13)
    assert hf.execute("GET", world.hold) == rules.version_bytes(-5)


def test_keys_of_another_type_are_no_holds_and_no_entries(hf: Holdfast):
    world = World(hf)
    hf.execute("LPUSH", world.hold, "x")
    assert world.set(world.envelope(1, 5)) == STORED
    hf.execute("SET", world.keys[1], "F:1")
    assert world.fill("F:1", world.envelope(2, 4)) == OUTDATED
    hf.execute("UNLINK", world.entry)
    hf.execute("LPUSH", world.entry, "x")
    hf.execute("SET", world.keys[1], "F:1")
    assert world.fill("F:1", world.envelope(2, 4)) == STORED
    assert world.begin("a1", version=9).startswith(b"P:a1@")
    world.reset()
    for key in (world.entry, world.hold):
        hf.execute("LPUSH", key, "x")
    assert world.invalidate(5, LONG, strict=True) == 1
    assert hf.execute("GET", world.hold) == rules.version_bytes(5) + b"!"


def test_a_repeated_fill_says_what_the_first_one_said(hf: Holdfast):
    world = World(hf)
    hf.execute("SET", world.keys[1], "F:1")
    data = world.envelope(1, 5)
    assert world.fill("F:1", data) == world.fill("F:1", data) == STORED
    assert world.fill("F:1", world.envelope(1, 5)) == REFUSED
