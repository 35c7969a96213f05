"""A machine that plays a team: three clients, loads under way, invalidations of every kind, lost replies.

One rule is held at all times: a read that begins after an invalidation has returned never gets an older
value. Versions of a row only grow, so it is enough to know, for every read, the least version it may see.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable
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

from holdfast import MISSING, Cache, Holdfast
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
