"""Every order in which a few can run the scripts of a lock, with lost and late requests, crashes, and ends of
leases; explorer.py says how. Every guard of the scripts is removed once, and must be missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.locks.explorer import Explorer, Mutant
from tests.locks.lock_model import model

PLAIN: dict[str, Any] = {
    "lost and late": lambda: model("ab", paused="a", lost=1, late=1),
    "two late": lambda: model("ab", late=2),
    "kept": lambda: model("ab", keeps="a", paused="a", late=1, crashes=1),
    "three": lambda: model("abc", paused="a", crashes=1),
    "broken": lambda: model("ab", keeps="a", operator=True, lost=1),
    "flushed": lambda: model("ab", keeps="a", flush=True, lost=1),
}
FAIR: dict[str, Any] = {
    "lost": lambda: model("ab", fair=True, paused="a", lost=1),
    "late": lambda: model("ab", fair=True, late=1),
    "crashed": lambda: model("ab", fair=True, paused="a", crashes=1),
    "three": lambda: model("abc", fair=True),
    "lost and late": lambda: model("ab", fair=True, paused="a", lost=1, late=1),
    "broken": lambda: model("ab", fair=True, operator=True),
    "flushed": lambda: model("ab", fair=True, flush=True),
}
RELEASED = "redis.pcall('SPUBLISH', KEYS[1], 'free')"
NEXT = "if first then redis.pcall('SPUBLISH', KEYS[3] .. ':w:' .. first, 'free') end"

PLAIN_MUTANTS = [
    Mutant("acquire", "if held then", "if false then"),
    Mutant("acquire", "if string.sub(held, 1, 33) == ARGV[1] .. ':' then", "if false then"),
    Mutant("acquire", "if redis.call('EXISTS', KEYS[3]) == 1 then return {-1} end", ""),
    Mutant("acquire", "math.max(tonumber(last or 0) + 1, now)", "math.max(tonumber(last or 0), now)"),
    Mutant("acquire", "math.max(tonumber(last or 0) + 1, now)", "tonumber(last or 0) + 1"),
    Mutant(
        "acquire", "redis.call('SET', KEYS[2], written, 'PX', ARGV[4])", "redis.call('SET', KEYS[2], written)"
    ),
    Mutant("acquire", "ARGV[3], 'PX', ARGV[2])", "ARGV[3])"),
    Mutant("release", "if not held or string.sub(held, 1, 33) ~= ARGV[1] .. ':' then return 0 end", ""),
    Mutant("release", RELEASED, ""),
    Mutant("abandon", "redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])", ""),
    Mutant("abandon", "local ours = held and string.sub(held, 1, 33) == ARGV[1] .. ':'", "local ours = held"),
    Mutant("abandon", "  redis.call('DEL', KEYS[1])", ""),
    Mutant("abandon", "  " + RELEASED, ""),
    Mutant("keep", "if not held then return 0 end", "held = held or ARGV[1] .. ':'"),
    Mutant("keep", "if string.sub(held, 1, 33) ~= ARGV[1] .. ':' then return -1 end", ""),
    Mutant("break", RELEASED, ""),
]
FAIR_MUTANTS = [
    Mutant("fair", "if held and string.sub(held, 1, 33) == ARGV[1] .. ':' then", "if false then"),
    Mutant("fair", "if redis.call('EXISTS', KEYS[3]) == 1 then return {-1} end", ""),
    Mutant("fair", "redis.call('ZADD', KEYS[6], 'NX',", "redis.call('ZADD', KEYS[6],"),
    Mutant("fair", "math.max(now, tonumber(latest or 0) + 1)", "now"),
    Mutant("fair", "  redis.call('ZREM', KEYS[7], dead)", ""),
    Mutant("fair", "if held or (first and first ~= ARGV[1]) then", "if held then"),
    Mutant("fair", "if held or (first and first ~= ARGV[1]) then", "if first and first ~= ARGV[1] then"),
    Mutant("fair", "redis.call('ZREM', KEYS[6], ARGV[1])\n", "\n"),
    Mutant("fair", "redis.call('ZREM', KEYS[7], ARGV[1])\nlocal", "local"),
    Mutant("fair", "redis.call('PEXPIRE', KEYS[6], patience * 4)", ""),
    Mutant("fair", "redis.call('PEXPIRE', KEYS[7], patience * 4)", ""),
    Mutant("fair", "math.max(tonumber(last or 0) + 1, now)", "tonumber(last or 0) + 1"),
    Mutant("release", NEXT, ""),
    Mutant("abandon", "redis.call('ZREM', KEYS[3], ARGV[1])", ""),
    Mutant("abandon", "redis.call('ZREM', KEYS[4], ARGV[1])", ""),
    Mutant("abandon", NEXT, ""),
    Mutant("break", NEXT, ""),
]


@pytest.fixture(scope="module")
def explorer(server_of_module: Any) -> Iterator[Explorer]:
    with Explorer(server_of_module.url) as one:
        yield one


@pytest.fixture(scope="module")
def server_of_module() -> Iterator[Any]:
    from holdfast.testing.servers import start, wanted

    with start(wanted()[0]) as own:
        yield own


@pytest.mark.parametrize("name", PLAIN)
def test_every_order_of_a_plain_lock_ends_well(explorer: Explorer, name: str):
    report = explorer.check(PLAIN[name]())
    assert report.states > 100


@pytest.mark.parametrize("name", FAIR)
def test_every_order_of_a_fair_lock_ends_well(explorer: Explorer, name: str):
    report = explorer.check(FAIR[name]())
    assert report.states > 100


def scenes(all_of_them: dict[str, Any], mutant: Mutant) -> list[Any]:
    """The models, those first that are likely to notice."""
    first = {"break": "broken", "keep": "kept"}.get(mutant.script, "")
    if mutant.new == "tonumber(last or 0) + 1":
        first = "flushed"
    return [make() for name, make in sorted(all_of_them.items(), key=lambda one: one[0] != first)]


@pytest.mark.parametrize("mutant", PLAIN_MUTANTS, ids=lambda one: f"{one.script}: {one.old[:40]}")
def test_every_guard_of_a_plain_lock_is_missed(explorer: Explorer, mutant: Mutant):
    assert explorer.must_find(scenes(PLAIN, mutant), [mutant])


@pytest.mark.parametrize("mutant", FAIR_MUTANTS, ids=lambda one: f"{one.script}: {one.old[:40]}")
def test_every_guard_of_a_fair_lock_is_missed(explorer: Explorer, mutant: Mutant):
    assert explorer.must_find(scenes(FAIR, mutant), [mutant])
