"""Two machines that play a team: loads under way and lost replies; and everything that a cache can do.

One rule is held at all times: a read that begins after an invalidation has returned never gets an older
value. Versions of a row only grow, so it is enough to know, for every read, the least version it may see.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from holdfast import L1, MISSING, Cache, Holdfast, Unavailable, current_load
from holdfast.testing.proxy import FaultProxy
from tests.cache.crowd import Job

ROWS = ("a", "b")
WHO = st.integers(0, 2)
ROW = st.sampled_from(["a", "a", "a", "b"])


class Database:
    """Rows whose values are their versions; also the source of the write-through client."""

    def __init__(self) -> None:
        self.rows = dict.fromkeys(ROWS, 0)

    def load_many(self, keys: Iterable[str]) -> dict[str, int]:
        return {key: self.rows[key] for key in keys}

    def save_many(self, mapping: dict[str, int]) -> None:
        self.rows.update(mapping)

    def delete_many(self, keys: Iterable[str]) -> None:
        raise AssertionError("rows are not deleted here")


class Load:
    """A `get_or_set` whose loader has read the row and waits to be let go."""

    def __init__(self, cache: Cache[Any], row: str, database: Database, floor: int) -> None:
        self.row, self.floor = row, floor
        self.go = threading.Event()
        self.reading = threading.Event()

        def loader() -> int:
            version = database.rows[row]
            self.reading.set()
            assert self.go.wait(30)
            return version

        self.job = Job(lambda: cache.get_or_set(row, loader))


class Team(RuleBasedStateMachine):
    """See the file's docstring."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        namespace = f"model{secrets.token_hex(6)}"
        self.faults = FaultProxy(self.url)
        self.database = Database()
        urls = (self.url, self.faults.url, self.url)
        self.clients = [Holdfast(url, namespace=namespace, timeout="5s") for url in urls]
        self.caches: list[Cache[Any]] = [client.cache("rows", ttl="1h") for client in self.clients[:2]]
        self.caches.append(self.clients[2].cache("rows", ttl="1h", source=self.database, write="through"))
        self.floor = dict.fromkeys(ROWS, 0)
        self.entry = {row: f"{namespace}:1:cache:rows:{{{row}}}" for row in ROWS}
        self.loads: list[Load] = []  # not let go yet: what rules depend on must not depend on timing
        self.ending: list[Load] = []

    def check(self, row: str, floor: int, value: Any) -> None:
        assert value is MISSING or floor <= value <= self.database.rows[row], (row, floor, value)

    # --- reads ---

    @rule(who=st.integers(0, 1), row=ROW)
    def look(self, who: int, row: str) -> None:
        self.check(row, self.floor[row], self.caches[who].get(row))
        found = self.caches[who].peek(row)
        if found and not found.stale:
            self.check(row, self.floor[row], found.value)

    @rule(who=WHO, row=ROW)
    @precondition(lambda self: len(self.loads) < 4)
    def begin_load(self, who: int, row: str) -> None:
        self.clients[0].execute("DEL", self.entry[row])  # evicted
        load = Load(self.caches[who], row, self.database, self.floor[row])
        self.loads.append(load)
        for _ in range(20):  # it may have to wait for another one
            if load.reading.wait(0.002) or load.job.done:
                break

    @rule(place=st.integers(0, 3))
    @precondition(lambda self: self.loads)
    def end_load(self, place: int) -> None:
        load = self.loads.pop(place % len(self.loads))
        self.ending.append(load)
        load.go.set()
        load.job.thread.join(0.05)

    @invariant()
    def loads_that_ended_saw_nothing_older(self) -> None:
        for load in [one for one in self.ending if one.job.done]:
            self.check(load.row, load.floor, load.job.result())
            self.ending.remove(load)

    @invariant()
    def readers_see_nothing_older(self) -> None:
        for row in ROWS:
            self.check(row, self.floor[row], self.caches[0].get(row))

    # --- writes ---

    @rule(
        who=st.integers(0, 1),
        row=ROW,
        how=st.sampled_from(["invalidate", "set", "expire", "put", "unlink", "clear"]),
    )
    def write(self, who: int, row: str, how: str) -> None:
        version = self.database.rows[row] + 1
        cache = self.caches[who]
        if how == "put":
            self.caches[2].put(row, version)
        self.database.rows[row] = version
        if how == "unlink":
            self.clients[0].execute("UNLINK", self.entry[row], f"{self.entry[row]}:f")
        elif how == "clear":
            self.faults.heal()  # it alone may raise Unavailable
            cache.clear()
        elif how == "set":
            cache.set(row, version)
        elif how != "put":
            getattr(cache, how)(row)
        for _ in range(2000):  # a lost link may have made it False: then it is delivered
            if not any(one.stats().undelivered for one in self.caches):
                break
            time.sleep(0.005)
        else:
            raise AssertionError("never delivered")
        self.floor[row] = version

    @rule(row=ROW)
    def write_without_a_word(self, row: str) -> None:
        self.database.rows[row] += 1

    # --- trouble ---

    @rule(what=st.sampled_from(["lease", "scripts", "cut", "EVALSHA", "UNLINK", "MGET"]), row=ROW)
    def trouble(self, what: str, row: str) -> None:
        if what == "lease":
            self.clients[0].execute("PEXPIRE", f"{self.entry[row]}:f", 1)
        elif what == "scripts":
            self.clients[0].execute("SCRIPT", "FLUSH")
        elif what == "cut":
            self.faults.cut()
        else:
            self.faults.drop_replies(match=what.encode())

    def teardown(self) -> None:
        for load in self.loads:
            load.go.set()
        try:
            for load in self.loads + self.ending:
                self.check(load.row, load.floor, load.job.result())
        finally:
            for client in self.clients:
                client.close(drain=0)
            self.faults.close()


def test_a_team(server):
    """Planted and found: fills without a lease, may_share() always true, `set` that leaves the lease alone,
    an epoch that is not compared.
    """
    Team.url = server.url
    run_state_machine_as_test(
        Team,
        settings=settings(
            max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.soak
def test_a_team_for_long(server):
    Team.url = server.url
    run_state_machine_as_test(
        Team,
        settings=settings(
            max_examples=2000, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


# --- everything that a cache can do -------------------------------------------------------------------------

PLAIN, VERSIONED, SOURCED = "plain", "versioned", "sourced"
TAGS = {"one": ("org",), "two": ("org", "user")}
CACHED = (*TAGS, PLAIN, VERSIONED)
NAME = st.sampled_from(CACHED)
STALENESS = 0.05  # seconds
HELD = 8.0  # seconds for which older versions are certainly kept out, of the 10 that they are


class Row:
    """Its version only grows. What may be read, is told by when whose invalidation returned."""

    def __init__(self) -> None:
        self.version = 1
        self.floors: list[tuple[float, int, int]] = [(0.0, 0, 1)]  # when, who, at least
        self.held, self.held_until = 0, 0.0  # until then, versions below that are refused; 0: none are

    def floor(self, who: int, at: float, staleness: float) -> int:
        """The least version that `who` may get from a read that began `at`."""
        return max(least for when, whose, least in self.floors if when <= at - staleness * (whose != who))


class Fleet(RuleBasedStateMachine):
    """Three processes with other settings each, and a database of rows whose values are their versions.

    Number 0 has a near cache; 1 has none, serves what is stale and loads early; 2 has a near cache, and its
    links are cut now and then. What another process invalidated, those with a near cache may see for
    `max_staleness` longer.
    """

    server: Any = None
    seen: Counter[str] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.namespace = f"fleet{secrets.token_hex(6)}"
        self.faults = FaultProxy(self.server)
        urls = (self.server.url, self.server.url, self.faults.url)
        self.clients = [Holdfast(url, namespace=self.namespace, timeout="5s") for url in urls]
        near = {"l1": L1(max_staleness=STALENESS, max_entries=4)}
        chosen: list[dict[str, Any]] = [near, {"stale": "1h", "early": 1.0}, near]
        both = list(zip(self.clients, chosen, strict=True))
        self.caches: list[Cache[Any]] = [hf.cache("rows", ttl="1h", jitter=0, **more) for hf, more in both]
        self.sources: list[Cache[Any]] = [
            hf.cache("sourced", ttl="1h", source=self, write="through", **more) for hf, more in both
        ]
        self.functions = [cache.cached("{name}")(self.function) for cache in self.caches]
        self.rows = {name: Row() for name in (*CACHED, SOURCED)}
        for cache in self.caches + self.sources:
            cache.get(SOURCED)  # begins to listen
        for client in (0, 2):
            while not self.caches[client]._store.near.hears:  # type: ignore[union-attr]
                time.sleep(0.001)

    # --- the database ---

    def load_many(self, keys: Iterable[str]) -> dict[str, int]:
        return {key: self.rows[key].version if hasattr(self, "rows") else 1 for key in keys}

    def save_many(self, mapping: dict[str, int]) -> None:
        for key, version in mapping.items():
            self.rows[key].version = version

    def delete_many(self, keys: Iterable[str]) -> None:
        raise AssertionError("rows are not deleted here")

    def function(self, name: str) -> tuple[int, str]:
        """Of another type than what the caches hold, so that its entries stand beside theirs."""
        return self.rows[name].version, name

    def loader(self, name: str, tags: tuple[str, ...] = (), lag: int = 0) -> Callable[[], int]:
        def load() -> int:
            version = self.rows[name].version - lag
            if tags:
                current_load().add_tags(*tags)
            if name == VERSIONED:
                current_load().version = version
            return version

        return load

    # --- reads ---

    def check(self, who: int, name: str, began: float, value: Any, how: str) -> None:
        value = value[0] if isinstance(value, list | tuple) else value  # the function's
        self.seen[f"{how}: {'nothing' if value is MISSING else 'something'}"] += 1
        row = self.rows[name]
        least = row.floor(who, began, STALENESS if who != 1 else 0.0)
        assert value is MISSING or least <= value <= row.version, (who, name, how, value, least, row.version)

    @invariant()
    def nobody_sees_anything_older(self) -> None:
        for who, cache in enumerate(self.caches):
            began = time.monotonic()
            for name, value in cache.get_many(CACHED).items():
                self.check(who, name, began, value, "get_many")

    @rule(who=WHO, name=NAME)
    def look(self, who: int, name: str) -> None:
        cache, began = self.caches[who], time.monotonic()
        self.check(who, name, began, cache.get(name), "get")
        found = cache.peek(name)
        if found and not found.stale:
            self.check(who, name, began, found.value, "peek")

    @rule(who=WHO, name=NAME, late=st.booleans())
    def load(self, who: int, name: str, late: bool) -> None:
        tags, cache = TAGS.get(name, ()), self.caches[who]
        for _ in range(2):  # the second time out of the near cache, if there is one
            began = time.monotonic()
            if late:
                value = cache.get_or_set(name, self.loader(name, tags))
            else:
                value = cache.get_or_set(name, self.loader(name), tags=tags)
            self.check(who, name, began, value, "get_or_set")

    @rule(who=WHO, names=st.sampled_from([tuple(TAGS), (PLAIN,)]))
    def load_some(self, who: int, names: tuple[str, ...]) -> None:
        began = time.monotonic()
        tags = ("org", "user") if names != (PLAIN,) else ()
        for name, value in self.caches[who].get_or_set_many(names, self.load_many, tags=tags).items():
            self.check(who, name, began, value, "get_or_set_many")

    @rule(who=WHO, refresh=st.booleans())
    def call(self, who: int, refresh: bool) -> None:
        function, began = self.functions[who], time.monotonic()
        value = function.refresh(PLAIN) if refresh else function(PLAIN)
        self.check(who, PLAIN, began, value, "refresh" if refresh else "call")

    @rule(who=WHO)
    def read_through(self, who: int) -> None:
        for _ in range(2):
            began = time.monotonic()
            self.check(who, SOURCED, began, self.sources[who].get(SOURCED), "read through")

    @rule(who=WHO)
    @precondition(lambda self: self.rows[VERSIONED].held)
    def what_lags_is_not_stored(self, who: int) -> None:
        """A load from a replica that is behind, and somebody who wants to store what he read long ago."""
        row, cache = self.rows[VERSIONED], self.caches[who]
        old = row.held - 1
        if time.monotonic() > row.held_until - 1:
            return
        cache.get_or_set(VERSIONED, self.loader(VERSIONED, lag=row.version - old))
        assert not cache.set(VERSIONED, old, version=old)

    # --- writes ---

    def settle(self, who: int, *names: str) -> None:
        """What `who` did is done, or will be: then from now on nobody may see less than is there now."""
        for _ in range(2000):  # a lost link may have made it False: then it is delivered
            if not any(one.stats().undelivered for one in self.caches + self.sources):
                break
            time.sleep(0.005)
        else:
            raise AssertionError("never delivered")
        for name in names:
            self.rows[name].floors.append((time.monotonic(), who, self.rows[name].version))

    def write(self, *names: str) -> None:
        for name in names:
            self.rows[name].version += 1

    @rule(who=WHO, name=NAME, how=st.sampled_from(["invalidate", "set", "expire", "unlink", "set_many"]))
    def change(self, who: int, name: str, how: str) -> None:
        self.write(name)
        cache, row = self.caches[who], self.rows[name]
        version = row.version if name == VERSIONED else None
        if how == "set":
            cache.set(name, row.version, tags=TAGS.get(name, ()), version=version)
        elif how == "set_many" and name != VERSIONED:
            cache.set_many({name: row.version}, tags=TAGS.get(name, ()))
        elif how == "unlink":
            entry = cache._store.entry(name)
            self.clients[1].execute("UNLINK", entry, f"{entry}:f")
            who = -1  # somebody else's doing to everybody
        elif how == "expire":
            cache.expire(name)
        else:
            cache.invalidate(name)
        self.settle(who, name)

    @rule(who=WHO, hold=st.sampled_from([None, "10s"]))
    def change_version(self, who: int, hold: str | None) -> None:
        self.write(VERSIONED)
        row = self.rows[VERSIONED]
        began = time.monotonic()
        self.caches[who].invalidate(VERSIONED, version=row.version, hold=hold)
        self.settle(who, VERSIONED)
        row.held, row.held_until = row.version, began + HELD

    @rule(who=WHO, tag=st.sampled_from(["org", "user"]))
    def change_tag(self, who: int, tag: str) -> None:
        names = [name for name, tags in TAGS.items() if tag in tags]
        self.write(*names)
        self.caches[who].invalidate_tags(tag)
        self.settle(who, *names)

    @rule(who=WHO)
    def put(self, who: int) -> None:
        self.sources[who].put(SOURCED, self.rows[SOURCED].version + 1)
        self.settle(who, SOURCED)

    @rule(who=WHO, off=st.booleans())
    def clear(self, who: int, off: bool) -> None:
        cache = self.caches[who]
        if off:
            self.until_confirmed(cache.switch_off)
            assert self.caches[1].get(PLAIN) is MISSING
        self.write(*CACHED)
        self.until_confirmed(cache.switch_on if off else cache.clear)
        self.settle(who, *CACHED)

    @staticmethod
    def until_confirmed(work: Callable[[], None]) -> None:
        for _ in range(50):
            try:
                return work()
            except Unavailable:  # the link was cut
                time.sleep(0.01)
        raise AssertionError("never confirmed")

    @rule(name=st.sampled_from([*CACHED, SOURCED]))
    def write_without_a_word(self, name: str) -> None:
        self.write(name)

    # --- trouble ---

    @rule()
    def rest(self) -> None:
        """Nobody may see any more what was changed before."""
        time.sleep(STALENESS)

    @rule(what=st.sampled_from(["FLUSHALL", "SCRIPT", "cut"]))
    def trouble(self, what: str) -> None:
        if what == "FLUSHALL":
            self.clients[0].execute("FLUSHALL")
            self.rows[VERSIONED].held = 0
        elif what == "SCRIPT":
            self.clients[0].execute("SCRIPT", "FLUSH")
        else:
            self.faults.cut()

    @rule(parts=st.sets(st.sampled_from([":t:", ":e", ":g", ":f", ":v", "}"]), min_size=1))
    def evict(self, parts: set[str]) -> None:
        """What has to go when memory is short: versions of tags, epochs, guards, leases, holds, entries."""
        found = [key.decode() for key in self.clients[1].execute("KEYS", f"{self.namespace}:*")]
        gone = [
            key for key in found for part in parts if f"}}{part}" in key or (part == "}" and key[-1] == part)
        ]
        if gone:
            self.clients[1].execute("UNLINK", *gone)
        if ":v" in parts:
            self.rows[VERSIONED].held = 0

    @rule(name=NAME, stale=st.booleans())
    def age(self, name: str, stale: bool) -> None:
        """The whole of its life is over, or its ttl."""
        self.load(1, name, True)
        entry = self.caches[1]._store.entry(name)
        self.clients[1].execute("PEXPIRE", entry, 1_800_000 if stale else 1)
        self.load(1, name, True)

    def teardown(self) -> None:
        try:
            self.seen["l1 hits"] += sum(cache.stats().l1_hits for cache in self.caches + self.sources)
            self.seen["stale hits"] += sum(cache.stats().stale_hits for cache in self.caches)
        finally:
            for client in self.clients:
                client.close(drain=0)
            self.faults.close()


def play_fleet(server: Any, examples: int, steps: int) -> None:
    Fleet.server = server
    Fleet.seen.clear()
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Fleet, settings=chosen)
    assert Fleet.seen["l1 hits"] and Fleet.seen["stale hits"]


def test_a_fleet(own_server):
    """Planted and found: news of tags or epochs passed over, copies left by `forget` or `set_many`, tags or
    epochs not compared, a hold that neither `fill` nor `set` looks at, a variant that outlives its entry.
    """
    play_fleet(own_server, 25, 40)


@pytest.mark.soak
def test_a_fleet_for_long(own_server):
    play_fleet(own_server, 1000, 80)
