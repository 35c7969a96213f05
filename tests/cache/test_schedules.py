"""The real cache in every order of its steps: tags, versions, holds, epochs, throttles, on a real server.

Rows only grow, so one rule says it all: a read whose first step comes after an invalidation has returned
gets what the row was then, or something newer, or nothing; and so does whoever reads when all is over. The
check is checked: without any one of the guards it finds a schedule that goes wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from holdfast import L1, MISSING, Holdfast, current_load
from holdfast._wire.script import Script
from holdfast._wire.transport import Command
from holdfast.cache import rules
from holdfast.cache import tags as tagging
from holdfast.cache._async import AsyncCache
from holdfast.cache._fly_async import AsyncFlying
from holdfast.cache._reach_async import AsyncReach
from holdfast.cache._read_async import AsyncReader
from holdfast.cache._store_async import AsyncStore
from holdfast.cache._tags_async import AsyncTags
from holdfast.cache.near import Near
from holdfast.cache.options import CacheOptions
from holdfast.durations import seconds
from tests.cache.schedules import Loop, Stage, every_order, wire_to

TAG = "t"


class Failed(Exception):
    """The database is away."""


class Scene:
    """One key in one schedule: its row in the database, and who uses it."""

    def __init__(self, team: Team, stage: Stage) -> None:
        self.stage = stage
        self.row = 1
        self.floor = 1  # the row when the last invalidation returned
        self.floors: dict[int, int] = {}  # the same when an actor took its first step
        self.wrong: list[str] = []
        self.team = team
        stage.on_first_step = lambda who: self.floors.update({who: self.floor})

    def cache(self) -> AsyncCache[Any]:
        """A process of its own."""
        return self.team.cache()

    async def begin(self) -> AsyncCache[Any]:
        """The cache; first a turn where a copy or a flight of the same process may spare every other step."""
        if self.team.alone:
            await self.stage.turn("begin")
        return self.cache()

    async def write(self) -> int:
        await self.stage.turn("write")
        self.row += 1
        return self.row

    async def read(self) -> int:
        await self.stage.turn("read")
        return self.row

    def invalidated(self, row: int) -> None:
        self.floor = max(self.floor, row)

    def got(self, who: int, value: Any) -> None:
        self.team.served += value is not MISSING
        if value is not MISSING and value < self.floors[who]:
            self.wrong.append(f"{who} got {value}, not {self.floors[who]}")


Actor = Callable[[Scene, int], Coroutine[Any, Any, None]]


class Team:
    """The processes of one test."""

    def __init__(
        self,
        hf: Holdfast,
        loop: Loop,
        before: str,
        *,
        alone: bool = False,
        source: bool = False,
        **options: Any,
    ) -> None:
        self.hf = hf
        self.loop = loop
        self.before = before
        self.wire, self.transport = wire_to(hf)
        self.alone = alone  # all are callers of one process
        self.scene: Scene | None = None
        if source:
            options |= {"source": self, "write": "through"}
        self.options = CacheOptions(**{"ttl": "1h", "jitter": 0.0, **options})
        self.shared: AsyncCache[Any] | None = None
        self.reader = self.cache()
        store = self.reader._store
        self.entry, self.tag, self.epochs = store.entry("k"), store.tags.key(TAG), store.epochs
        fixed = [part for key in (*self.epochs, *store.tags._guards) for part in (key, b"fixed..8")]
        gone = [self.entry, f"{self.entry}:f", f"{self.entry}:v", self.tag, store._switch]
        self.commands: list[Command] = [("UNLINK", *gone), ("MSET", *fixed)]
        loop.run_until_complete(self.prepare())
        self.hits = 0  # schedules that left an entry
        self.served = 0  # reads that got a value

    def cache(self) -> AsyncCache[Any]:
        if self.shared is not None:
            return self.shared
        made: AsyncCache[Any] = AsyncCache(self.wire, "schedules", self.options)
        made._store.unusual.clear()
        if made._store.near is not None:
            made._store.near.listen(self.wire.hub)
        return made

    async def load_many(self, keys: Iterable[str]) -> dict[str, int]:
        value = 1 if self.scene is None else await self.scene.read()
        return dict.fromkeys(keys, value)

    async def save_many(self, mapping: dict[str, int]) -> None:
        assert self.scene is not None
        await self.scene.stage.turn("save")
        self.scene.row = max(self.scene.row, *mapping.values())

    async def delete_many(self, keys: Iterable[str]) -> None:
        raise NotImplementedError

    async def prepare(self) -> None:
        """Find out what makes it as it was before: "empty", or the entry "filled", "expired" or "stale"."""
        self.hf._wire.execute_many(self.commands)
        if self.before == "empty":
            return

        async def row() -> int:
            return 1

        await self.reader.get_or_set("k", row, tags=[TAG])
        if self.before == "expired":
            await self.reader.expire("k")
        raw, version = self.hf.execute("MGET", self.entry, self.tag)
        life = (
            500 * int(seconds(self.options.stale)) if self.before == "stale" and self.options.stale else 10**7
        )
        self.commands += [("SET", self.entry, raw, "PX", life), ("SET", self.tag, version)]

    async def reset(self) -> None:
        """As it was before."""
        self.shared = self.scene = None
        self.hf._wire.execute_many(self.commands)
        if self.alone:
            self.shared = self.cache()
            await self.shared.get("k")  # and a copy of it in this process

    async def play(self, cast: Sequence[Actor], stage: Stage) -> list[str]:
        """What went wrong in one schedule."""
        await self.reset()
        scene = self.scene = Scene(self, stage)
        self.transport.stage = stage
        try:
            await stage.play(*(actor(scene, who) for who, actor in enumerate(cast)))
        finally:
            self.transport.stage = None
        self.scene = None
        last = await (self.shared or self.reader).get("k")
        self.hits += last is not MISSING
        if {off_and_on, off_clear_and_on} & {*cast} and rules.OFF in self.hf.execute("MGET", *self.epochs):
            scene.wrong.append("it is off for ever")
        if last is not MISSING and last < scene.floor:
            scene.wrong.append(f"{last} is left, not {scene.floor}")
        return scene.wrong and [*scene.wrong, *stage.story()]


# --- who takes part -----------------------------------------------------------------------------------------


async def look(scene: Scene, who: int) -> None:
    cache = await scene.begin()
    scene.got(who, await cache.get("k"))


async def look_at_many(scene: Scene, who: int) -> None:
    cache = await scene.begin()
    found = await cache.get_many(["k"])
    scene.got(who, found.get("k", MISSING))


async def load(scene: Scene, who: int) -> None:
    cache = await scene.begin()
    scene.got(who, await cache.get_or_set("k", scene.read))


async def load_tagged(scene: Scene, who: int) -> None:
    cache = await scene.begin()
    scene.got(who, await cache.get_or_set("k", scene.read, tags=[TAG]))


async def load_tagged_late(scene: Scene, who: int) -> None:
    """Only what was loaded tells the tag."""

    async def loader() -> int:
        value = await scene.read()
        current_load().add_tags(TAG)
        return value

    scene.got(who, await scene.cache().get_or_set("k", loader))


async def load_many_tagged(scene: Scene, who: int) -> None:
    async def loader(keys: list[Any]) -> Mapping[Any, Any]:
        value = await scene.read()
        return dict.fromkeys(keys, value)

    cache = await scene.begin()
    found = await cache.get_or_set_many(["k"], loader, tags=[TAG])
    scene.got(who, found["k"])


async def load_many_tagged_late(scene: Scene, who: int) -> None:
    async def loader(keys: list[Any]) -> Mapping[Any, Any]:
        value = await scene.read()
        current_load().add_tags(TAG)
        return dict.fromkeys(keys, value)

    found = await scene.cache().get_or_set_many(["k"], loader)
    scene.got(who, found["k"])


async def load_versioned(scene: Scene, who: int) -> None:
    async def loader() -> int:
        value = current_load().version = await scene.read()
        return value

    scene.got(who, await scene.cache().get_or_set("k", loader))


async def load_from_replica(scene: Scene, who: int) -> None:
    """The replica has not seen the write, and will not for the time of this test."""

    async def loader() -> int:
        await scene.stage.turn("read")
        return 1

    await scene.cache().get_or_set("k", loader)


async def load_versioned_from_replica(scene: Scene, who: int) -> None:
    async def loader() -> int:
        await scene.stage.turn("read")
        current_load().version = 1
        return 1

    await scene.cache().get_or_set("k", loader)


async def load_in_vain(scene: Scene, who: int) -> None:
    async def loader() -> int:
        await scene.stage.turn("fail")
        raise Failed

    try:
        value = await scene.cache().get_or_set("k", loader)
    except Failed:
        return
    scene.got(who, value)


async def invalidate(scene: Scene, who: int) -> None:
    row = await scene.write()
    assert await scene.cache().invalidate("k")
    scene.invalidated(row)


async def invalidate_tags(scene: Scene, who: int) -> None:
    row = await scene.write()
    assert await scene.cache().invalidate_tags(TAG)
    scene.invalidated(row)


async def invalidate_version(scene: Scene, who: int) -> None:
    row = await scene.write()
    assert await scene.cache().invalidate("k", version=row)
    scene.invalidated(row)


async def invalidate_and_hold(scene: Scene, who: int) -> None:
    row = await scene.write()
    assert await scene.cache().invalidate("k", version=row, hold="5s")
    scene.invalidated(row)


async def expire(scene: Scene, who: int) -> None:
    row = await scene.write()
    assert await scene.cache().expire("k")
    scene.invalidated(row)


async def clear(scene: Scene, who: int) -> None:
    row = await scene.write()
    await scene.cache().clear()
    scene.invalidated(row)


async def set_row(scene: Scene, who: int) -> None:
    row = await scene.write()
    assert await scene.cache().set("k", row)
    scene.invalidated(row)


async def set_version(scene: Scene, who: int) -> None:
    row = await scene.write()
    await scene.cache().set("k", row, version=row)
    scene.invalidated(row)


async def put(scene: Scene, who: int) -> None:
    row = scene.row + 1
    await scene.cache().put("k", row)
    scene.invalidated(row)


async def read_and_set_version(scene: Scene, who: int) -> None:
    """Not fenced, but for its version."""
    row = await scene.read()
    await scene.cache().set("k", row, version=row)


async def off_and_on(scene: Scene, who: int) -> None:
    """While the cache is off, nobody needs to invalidate."""
    cache = scene.cache()
    await cache.switch_off()
    scene.invalidated(await scene.write())
    await cache.switch_on()


async def off_clear_and_on(scene: Scene, who: int) -> None:
    cache = scene.cache()
    await cache.switch_off()
    await cache.clear()  # as if the epochs were evicted
    scene.invalidated(await scene.write())
    await cache.switch_on()


CASTS: list[tuple[str, tuple[Actor, ...], dict[str, Any], int | None]] = [
    ("empty", (load, invalidate, look), {}, None),
    ("filled", (load_tagged, invalidate_tags, look), {}, None),
    ("empty", (load_tagged, invalidate_tags, look), {}, None),
    ("empty", (load_tagged_late, invalidate_tags, look), {}, None),
    ("expired", (load_tagged_late, invalidate_tags), {}, None),
    ("empty", (load_tagged_late, load_tagged, invalidate_tags), {}, 2),
    ("filled", (load_tagged, load_tagged, invalidate_tags), {}, 2),
    ("empty", (load_many_tagged, invalidate_tags), {}, None),
    ("empty", (load_many_tagged_late, invalidate_tags), {}, None),
    ("empty", (load_many_tagged, load, invalidate), {}, 2),
    ("empty", (load, set_row), {}, None),
    ("empty", (load, set_row, look), {}, 2),
    ("empty", (load_versioned, invalidate_version, look), {}, None),
    ("empty", (load_versioned, set_version), {}, None),
    ("filled", (read_and_set_version, set_version), {}, None),
    ("empty", (read_and_set_version, invalidate_version), {}, None),
    ("empty", (load_versioned, read_and_set_version, invalidate_version), {}, 2),
    ("filled", (load_from_replica, invalidate_and_hold, look), {}, None),
    ("filled", (load_versioned_from_replica, invalidate_and_hold, look), {}, None),
    ("filled", (load_from_replica, load_versioned, invalidate_and_hold), {}, 2),
    ("empty", (load_versioned_from_replica, load_versioned, invalidate_and_hold), {}, 2),
    ("filled", (load, clear, look), {}, None),
    ("empty", (load, clear, load), {}, 2),
    ("filled", (load, expire, look), {}, None),
    ("empty", (load, expire), {}, None),
    ("expired", (load_in_vain, load, invalidate), {"stale": "1h"}, 2),
    ("stale", (load_in_vain, load, invalidate), {"stale": "1h"}, 2),
    ("stale", (load, invalidate), {"stale": "1h"}, None),
    ("filled", (load, off_and_on, look), {}, 2),
    ("empty", (load, off_and_on), {}, None),
    ("empty", (load, off_clear_and_on), {}, 3),
]


NEAR = {"alone": True, "l1": L1(max_staleness="1h")}  # one process, which hears nothing of what it changes
ALONE: list[tuple[str, tuple[Actor, ...], dict[str, Any], int | None]] = [
    ("filled", (look, invalidate, look), NEAR, None),
    ("empty", (load, invalidate, look), NEAR, 3),
    ("filled", (look_at_many, invalidate), NEAR, None),
    ("filled", (look, set_row, look), NEAR, None),
    ("filled", (look, expire, look), NEAR, None),
    ("filled", (look, invalidate_version, look), NEAR, None),
    ("filled", (look, clear, look), NEAR, None),
    ("filled", (load_tagged, invalidate_tags, look), NEAR, 3),
    ("empty", (load_tagged, invalidate_tags, look), NEAR, 2),
    ("empty", (look, put, look), {**NEAR, "source": True}, 2),
    ("empty", (load, load, invalidate), {"alone": True}, 3),
    ("empty", (load, load_many_tagged, invalidate), {"alone": True}, 2),
    ("expired", (load, load, expire), {"alone": True}, 2),
]


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def named(case: Any) -> str | None:
    if isinstance(case, tuple):
        return "+".join(actor.__name__ for actor in case)
    return case if isinstance(case, str) else ""


def mistakes(team: Team, cast: Sequence[Actor], switches: int | None) -> Iterator[list[str]]:
    for _, wrong in every_order(team.loop, lambda stage: team.play(cast, stage), switches):
        yield wrong


@pytest.mark.parametrize(("before", "cast", "options", "switches"), CASTS + ALONE, ids=named)
def test_every_order_ends_well(
    hf: Holdfast,
    loop: Loop,
    before: str,
    cast: tuple[Actor, ...],
    options: dict[str, Any],
    switches: int | None,
):
    team = Team(hf, loop, before, **options)
    for wrong in mistakes(team, cast, switches):
        assert not wrong
    assert team.hits or team.served  # it is no cache that stores nothing


# --- the check is checked -----------------------------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]


def without(name: str, guard: str, instead: str) -> Patch:
    """The script `name` with a guard removed."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        script: Script = getattr(rules, name)
        assert guard in script.text
        monkeypatch.setattr(rules, name, Script.parse("planted", script.text.replace(guard, instead)))

    return patch


def tags_after_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tags and guards are read when the value is there already."""
    look_at, fill = AsyncStore.look_at_tags, AsyncFlying.fill

    async def nothing(self: AsyncStore, looks: Any) -> None:
        return

    async def late(self: AsyncFlying, look: Any, *rest: Any) -> None:
        await look_at(self.store, [look])
        await fill(self, look, *rest)

    monkeypatch.setattr(AsyncStore, "look_at_tags", nothing)
    monkeypatch.setattr(AsyncFlying, "fill", late)


def late_tags_without_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    async def claim(self: AsyncTags, names: Any, guards: Any, timeout: float) -> Any:
        return await self.ensure(list(names), timeout)

    monkeypatch.setattr(AsyncTags, "claim", claim)


def guards_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def removal(self: AsyncTags, names: Any) -> Any:
        return [("UNLINK", *map(self.key, mine)) for mine in tagging.by_shard(names).values()]

    monkeypatch.setattr(AsyncTags, "removal", removal)


def tags_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def removal(self: AsyncTags, names: Any) -> Any:
        return [("UNLINK", self._guards[shard]) for shard in tagging.by_shard(names)]

    monkeypatch.setattr(AsyncTags, "removal", removal)


def tags_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "is_current", lambda tags, versions: True)


def epoch_after_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    fill = AsyncFlying.fill

    async def late(self: AsyncFlying, look: Any, *rest: Any) -> None:
        (look.epoch,) = await self.store.wire.mget((look.epoch_key,))
        look.epoch = look.epoch or await self.store.make_epoch(look.epoch_key)
        await fill(self, look, *rest)

    monkeypatch.setattr(AsyncFlying, "fill", late)


def epochs_that_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever switches on again finds what was stored before."""

    async def clear(self: AsyncReach) -> None:
        await self.wire.execute_many([("SET", epoch, b"fixed..8") for epoch in self.epochs])

    monkeypatch.setattr(AsyncReach, "clear", clear)


def off_that_readers_store(monkeypatch: pytest.MonkeyPatch) -> None:
    async def make_epoch(self: AsyncReader, epoch_key: str) -> bytes:
        made = await self.first_epoch()
        there: bytes | None = await self.wire.execute("SET", epoch_key, made, "NX", "GET", retry="safe")
        return there or made

    monkeypatch.setattr(AsyncReader, "make_epoch", make_epoch)


def a_removal_that_leaves_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unlink(self: AsyncStore, tags: Any) -> bool:
        await self.wire.execute_many([("UNLINK", self.entry(tag)) for tag in tags])
        return True

    monkeypatch.setattr(AsyncStore, "unlink", unlink)


def a_tag_made_before_the_guards_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards are read at the end, so that they are always what they are."""
    versions = AsyncStore.tag_versions

    async def tag_versions(self: AsyncStore, look: Any, found: Any) -> Any:
        look.guards = await self.tags.guards(self.timeout)
        return await versions(self, look, found)

    monkeypatch.setattr(AsyncStore, "tag_versions", tag_versions)


def copies_forgotten_only_before(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def changing(self: AsyncStore, tags: Iterable[str]) -> Iterator[None]:
        assert self.near is not None
        for tag in tags:
            self.near.forget(tag)
        yield

    monkeypatch.setattr(AsyncStore, "changing", changing)


def own_tags_forgotten_only_before(monkeypatch: pytest.MonkeyPatch) -> None:
    forget = AsyncStore._forget_tags
    told: set[int] = set()

    def once(self: AsyncStore, names: Any) -> None:
        if id(self) not in told:
            forget(self, names)
        told.add(id(self))

    monkeypatch.setattr(AsyncStore, "_forget_tags", once)


def tickets_that_outlive_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Near, "forget", lambda self, key: self.shelf.discard(key))


def flights_shared_with_whoever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "may_share", lambda arrived, began: True)


COMPARED = "redis.call('GET', KEYS[2]) == ARGV[1]"
SIGNED = "return high < other_high or (high == other_high and low < other_low)"
THERE = " and is_older(version, there)"

PLANTED: list[tuple[Patch, str, tuple[Actor, ...], dict[str, Any]]] = [
    # loads
    (without("FILL", COMPARED, "true"), "empty", (load, invalidate), {}),
    (a_removal_that_leaves_the_lease, "empty", (load, invalidate), {}),
    (a_removal_that_leaves_the_lease, "empty", (load_many_tagged, invalidate), {}),
    (without("SET", "redis.call('DEL', KEYS[2])", ""), "empty", (load, set_row), {}),
    (without("EXPIRE", "redis.call('DEL', KEYS[2])", ""), "empty", (load, expire), {}),
    (without("EXPIRE", "bit.bor(flags, 2)", "flags"), "filled", (load, expire, look), {}),
    (without("INVALIDATE", "redis.call('DEL', KEYS[2])", ""), "empty", (load, invalidate_version), {}),
    # tags
    (tags_after_the_load, "empty", (load_tagged, invalidate_tags), {}),
    (tags_after_the_load, "empty", (load_tagged_late, invalidate_tags), {}),
    (tags_after_the_load, "empty", (load_many_tagged, invalidate_tags), {}),
    (a_tag_made_before_the_guards_are_read, "empty", (load_tagged_late, invalidate_tags), {}),
    (late_tags_without_guards, "empty", (load_tagged_late, invalidate_tags), {}),
    (late_tags_without_guards, "empty", (load_many_tagged_late, invalidate_tags), {}),
    (guards_that_stay, "empty", (load_tagged_late, invalidate_tags), {}),
    (tags_that_stay, "filled", (load_tagged, invalidate_tags), {}),
    (tags_not_compared, "filled", (load_tagged, invalidate_tags), {}),
    (
        without("CLAIM", "redis.call('GET', KEYS[1]) ~= ARGV[1]", "false"),
        "empty",
        (load_tagged_late, invalidate_tags),
        {},
    ),
    (
        without(
            "CLAIM",
            "redis.call('GET', KEYS[1]) ~= ARGV[1]",
            "(redis.call('GET', KEYS[1]) or ARGV[1]) ~= ARGV[1]",
        ),
        "empty",
        (load_tagged_late, invalidate_tags),
        {},
    ),
    # epochs
    (epoch_after_the_load, "empty", (load, clear), {}),
    (epochs_that_come_back, "filled", (load, off_and_on), {}),
    (off_that_readers_store, "empty", (load, off_and_on), {}),
    # versions
    (
        without("INVALIDATE", "not is_older(there, ARGV[1])", "is_older(there, ARGV[1])"),
        "empty",
        (load_versioned, invalidate_version),
        {},
    ),
    (
        without("INVALIDATE", "if ttl > 0 then", "if false then"),
        "empty",
        (read_and_set_version, invalidate_version),
        {},
    ),
    (
        without("SET", "least ~= NONE and is_older(version, least)", "false"),
        "empty",
        (read_and_set_version, invalidate_version),
        {},
    ),
    (without("SET", THERE, " and false"), "empty", (read_and_set_version, set_version), {}),
    (
        without("SET", SIGNED, "return not (high < other_high or (high == other_high and low < other_low))"),
        "empty",
        (read_and_set_version, set_version),
        {},
    ),
    (
        without("SET", "local version = string.sub(ARGV[1], 41, 48)", "local version = NONE"),
        "empty",
        (read_and_set_version, set_version),
        {},
    ),
    # one process
    (copies_forgotten_only_before, "filled", (look, invalidate, look), NEAR),
    (copies_forgotten_only_before, "filled", (look, invalidate_version, look), NEAR),
    (copies_forgotten_only_before, "filled", (look, set_row, look), NEAR),
    (copies_forgotten_only_before, "filled", (look, expire, look), NEAR),
    (tickets_that_outlive_a_change, "filled", (look, invalidate, look), NEAR),
    (own_tags_forgotten_only_before, "filled", (look, invalidate_tags, look), NEAR),
    (flights_shared_with_whoever_comes, "empty", (load, load, invalidate), {"alone": True}),
    # lagging replicas
    (
        without("INVALIDATE", "(strict and '!' or '')", "''"),
        "empty",
        (load_from_replica, invalidate_and_hold),
        {},
    ),
    (
        without("FILL", "string.sub(hold, 9) == '!'", "false"),
        "empty",
        (load_from_replica, invalidate_and_hold),
        {},
    ),
    (
        without("FILL", "least ~= NONE and is_older(version, least)", "false"),
        "empty",
        (load_versioned_from_replica, invalidate_and_hold),
        {},
    ),
]


def label(case: Any) -> str | None:
    return case.__name__ if callable(case) else named(case)


@pytest.mark.parametrize(("patch", "before", "cast", "options"), PLANTED, ids=label)
def test_the_check_finds_a_missing_guard(
    hf: Holdfast,
    loop: Loop,
    monkeypatch: pytest.MonkeyPatch,
    patch: Patch,
    before: str,
    cast: tuple[Actor, ...],
    options: dict[str, Any],
):
    patch(monkeypatch)
    team = Team(hf, loop, before, **options)
    found = next((wrong for wrong in mistakes(team, cast, None) if wrong), None)
    assert found
