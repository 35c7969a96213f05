"""Does the explorer find what is wrong? On a lock of three lines, with each mistake that it is there for."""

from __future__ import annotations

import dataclasses

import pytest

from tests.locks.explorer import Broken, Event, Explorer, Memory, Model, Mutant, Park, Step, View

KEY = "lock"
ACQUIRE = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', 1000)
return 1
"""
RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.pcall('SPUBLISH', KEYS[1], 'free')
return 1
"""


def granted(memory: Memory, reply: int) -> Park | None:
    return None if reply == 1 else Park(KEY)


def actor(token: str) -> list[Step]:
    return [
        Step("acquire", [KEY], [token], then=granted, instead=["release"]),
        Step(name="work"),
        Step("release", [KEY], [token]),
    ]


def ended(view: View, memories: dict[str, Memory]) -> list[tuple[str, str]] | None:
    """The lease ends; whoever works under it notices first, by its own clock."""
    if view.get(KEY) is None:
        return None
    memories[view.get(KEY).decode()]["lost"] = True
    return [("DEL", KEY)]


def one_at_work(view: View) -> str | None:
    at_work = [name for name in view.memory if view.at(name) == "work" and not view.memory[name].get("lost")]
    return f"{at_work} work at once" if len(at_work) > 1 else None


MODEL = Model(
    scripts={"acquire": ACQUIRE, "release": RELEASE},
    actors={name: actor(name) for name in "abc"},
    events=[Event("the lease ends", ended, fair=True)],
    always=[one_at_work],
    lost=1,
    late=1,
    crashes=1,
)


@pytest.fixture
def explorer(own_server):
    with Explorer(own_server.url) as one:
        yield one


def test_a_lock_that_is_right_passes(explorer: Explorer):
    assert explorer.check(MODEL).states > 1000


def test_every_mistake_is_found(explorer: Explorer):
    found = explorer.must_find(
        [MODEL],
        [
            Mutant("acquire", "if held and held ~= ARGV[1] then return 0 end", ""),
            Mutant("release", "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end", ""),
            Mutant("release", "redis.pcall('SPUBLISH', KEYS[1], 'free')", ""),
        ],
    )
    assert [next(iter(one.split()[-2:])) for one in found.values()] == ["at", "at", "get"], found


def test_who_is_stuck_is_found(explorer: Explorer):
    """Without an end of leases, a crash is for ever."""
    with pytest.raises(Broken, match="stuck for ever"):
        explorer.check(dataclasses.replace(MODEL, events=[]))


def test_a_retry_that_meets_itself_is_found(explorer: Explorer):
    """The reply to the acquire is lost, and the retry finds its own token. That ends with the lease."""
    mutant = Mutant("acquire", "if held and held ~= ARGV[1] then", "if held then").of(MODEL)
    with pytest.raises(Broken, match=r"stuck for ever: a(.|\n)*acquire a \(lost\)"):
        explorer.check(dataclasses.replace(mutant, events=[], crashes=0))


def test_a_survivor_is_told(explorer: Explorer):
    with pytest.raises(AssertionError, match="not found: release: 'return 1"):
        explorer.must_find(
            [dataclasses.replace(MODEL, late=0, crashes=0)], [Mutant("release", "return 1", "return 2")]
        )
