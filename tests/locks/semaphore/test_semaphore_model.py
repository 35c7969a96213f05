"""Every order in which several can take permits, with lost, late and repeated requests, crashes, permits that
end, and limits that differ. tests/locks/explorer.py says how; every guard of the scripts is removed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files

import pytest

from tests.locks.explorer import (
    AGAIN,
    CLOCK,
    END,
    Event,
    Explorer,
    Memory,
    Model,
    Move,
    Mutant,
    Park,
    Step,
    View,
)

PERMITS, FENCE, HOLDERS, LIMIT, ALARM = (f"k{part}" for part in ("", *(":f :h :m :a".split())))
NOW = CLOCK * 1000
TTL, HISTORY, KEEP = 30_000, 86_400_000, 60_000

SCRIPTS = {
    name: files("holdfast.locks.semaphore").joinpath(f"{name}.lua").read_text()
    for name in ("take", "release", "abandon", "keep")
}


def token(name: str) -> str:
    return f"{name.encode().hex():0>32}"


def live(view: View) -> set[str]:
    """The tokens whose permit has not ended."""
    return {name for name, score in (view.get(PERMITS) or {}).items() if score > NOW}


def park(memory: Memory, reply: tuple) -> str | Park | None:
    return {1: None, 0: Park(PERMITS), -1: END}[reply[0]]


def kept(memory: Memory, reply: int) -> None:
    if reply != 1:
        memory["lost"] = True


def actor(name: str, limit: int, keeps: bool = False) -> list[Step]:
    one = token(name)
    take = [one, TTL, f"host:1:{name}", HISTORY, limit]
    tomb = f"x:{one}"
    keeping = [Step("keep", [ALARM, PERMITS, HOLDERS], [one, TTL], then=kept)]
    return [
        Step(
            "take",
            [PERMITS, FENCE, HOLDERS, LIMIT, tomb],
            take,
            then=park,
            unanswered=(AGAIN, "abandon"),
            instead=["abandon"],
        ),
        *(keeping if keeps else []),
        Step(name="work"),
        Step("release", [PERMITS, HOLDERS], [one], then=lambda memory, reply: END),
        Step("abandon", [PERMITS, HOLDERS, tomb], [one, KEEP]),
    ]


def ends(name: str, crashed: bool) -> Event:
    """A permit ends on the server; an actor that is alive has known it before, by its own clock."""

    def happen(view: View, memories: dict[str, Memory]) -> Sequence[Sequence[object]] | None:
        memories[name]["lost"] = True
        right = (name in view.ended) == crashed and token(name) in live(view)
        return [("ZADD", PERMITS, NOW, token(name))] if right else None

    return Event(f"the permit of {name} ends", happen, fair=crashed, times=None if crashed else 1)


def flushed(view: View, memories: dict[str, Memory]) -> Sequence[Sequence[object]] | None:
    """Everything is gone, and a second has passed. Whoever had a permit knows."""
    if view.get(FENCE) is None:
        return None
    for name, memory in memories.items():
        memory["lost"] = memory.get("lost", False) or token(name) in live(view)
    return [("DEL", *(key for key in view.store if key != "~clock")), ("INCRBY", "~clock", 1)]


def every_key_ends(view: View) -> str | None:
    endless = [key for key, value in view.store.items() if not value.ends and key != "~clock"]
    return f"{endless} would stay for ever" if endless else None


def only_holders_are_described(view: View) -> str | None:
    left = set(view.get(HOLDERS) or {}) - set(view.get(PERMITS) or {})
    return f"{sorted(left)} are described, but not out" if left else None


def watching(limits: dict[str, int]) -> Callable[[Memory, View, Move, View], str | None]:
    def watch(history: Memory, before: View, move: Move, after: View) -> str | None:
        ran = move.kind in {"step", "lost", "late"}
        if move.step == "abandon" and ran:
            history[f"{move.actor} gave up"] = True
        for name in after.memory:
            if history.get(f"{name} gave up") and token(name) in (after.get(PERMITS) or {}):
                return f"{name} gave up, but it has a permit"
        if move.step in {"keep", "release"} and ran:
            had, has = token(move.actor) in live(before), token(move.actor) in live(after)
            right = (move.reply == 1) == had and has == (had and move.step == "keep")
            return None if right else f"{move} is not true"
        if move.step == "take" and ran and move.reply[0] == 0:
            full = len(live(before)) >= limits[move.actor]
            return None if full else f"{move.actor} is refused, though a permit is free"
        if move.step == "take" and ran and move.reply[0] == 1:
            return granted(history, before, move, after)
        return None

    def granted(history: Memory, before: View, move: Move, after: View) -> str | None:
        fence, name = move.reply[1], move.actor
        if token(name) in live(before):
            same = history[f"fence of {name}"] == fence
            return (
                None if same and live(after) == live(before) else f"{name} is granted again, but not the same"
            )
        inside = [
            one for one in before.memory if before.at(one) == "work" and not before.memory[one].get("lost")
        ]
        if len(live(before)) >= limits[name] or len(inside) >= limits[name]:
            return f"{name} gets a permit, beyond its limit of {limits[name]}"
        if move.reply[2] != max(0, limits[name] - len(live(after))):
            return f"{move.reply[2]} are left, says {name}"
        last = history.get("fence", 0)
        history["fence"] = history[f"fence of {name}"] = fence
        return f"the fence of {name} is {fence}, after {last}" if fence <= last else None

    return watch


def model(limits: dict[str, int], *, keeps: str = "", events: Sequence[Event] = (), **more) -> Model:
    """Those who are named in `limits`, each with its own."""
    permits_end = [ends(name, crashed) for name in limits for crashed in (True, False)]
    return Model(
        scripts=SCRIPTS,
        actors={name: actor(name, limit, name in keeps) for name, limit in limits.items()},
        events=[*events, *permits_end],
        always=[every_key_ends, only_holders_are_described],
        watch=watching(limits),
        **more,
    )


CASES = {
    "one, trouble": model({"a": 1}, keeps="a", lost=1, late=1, crashes=1),
    "FLUSHALL": model({"a": 1, "b": 1}, events=[Event("FLUSHALL", flushed, times=1)]),
    "two for one, trouble": model({"a": 1, "b": 1}, keeps="a", lost=1, crashes=1),
    "three for one": model({"a": 1, "b": 1, "c": 1}),
    "three for two": model({"a": 2, "b": 2, "c": 2}, crashes=1),
    "two for two and one for one": model({"a": 2, "b": 2, "c": 1}),
}
LARGE = {"three for two, trouble": model({"a": 2, "b": 2, "c": 2}, lost=1)}


@pytest.fixture
def explorer(own_server):
    with Explorer(own_server.url) as one:
        yield one


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(case, marks=pytest.mark.soak) for case in LARGE)])
def test_nothing_can_go_wrong(explorer: Explorer, case: str):
    assert explorer.check({**CASES, **LARGE}[case]).states > 100


OWN = "if mine and tonumber(mine) > now then"
MUTANTS = [
    Mutant("take", OWN, "if false then"),
    Mutant("take", OWN, "if mine then"),
    Mutant("take", "  if redis.call('EXISTS', KEYS[5]) == 1 then return {-1} end\n", ""),
    Mutant("take", "    redis.call('ZREM', KEYS[1], dead)\n", ""),
    Mutant("take", "    redis.call('HDEL', KEYS[3], dead)\n", ""),
    Mutant("take", "if over >= 0 then", "if over > 0 then"),
    Mutant("take", "if over >= 0 then", "if over >= -1 then"),
    Mutant(
        "take", "redis.call('GET', KEYS[2]) or 0) + 1, micros)", "redis.call('GET', KEYS[2]) or 0), micros)"
    ),
    Mutant("take", "+ 1, micros)", "+ 1)"),
    Mutant("take", "fence, 'PX', ARGV[4])", "fence)"),
    Mutant("take", "ARGV[5], 'PX', ARGV[4])", "ARGV[5])"),
    Mutant("take", "redis.call('PEXPIREAT', KEYS[1], latest)\n", ""),
    Mutant("take", "redis.call('PEXPIREAT', KEYS[3], latest)\n", ""),
    Mutant("take", "ARGV[5] - redis.call('ZCARD', KEYS[1])", "0"),
    Mutant("release", "redis.pcall('SPUBLISH', KEYS[1], 'free')\n", ""),
    Mutant("release", "redis.call('ZREM', KEYS[1], ARGV[1])\n", ""),
    Mutant("release", "redis.call('HDEL', KEYS[2], ARGV[1])\n", ""),
    Mutant("release", "tonumber(mine) > time[1] * 1000 + math.floor(time[2] / 1000) and 1 or 0", "1"),
    Mutant("abandon", "redis.call('SET', KEYS[3], '1', 'PX', ARGV[2])", ""),
    Mutant("abandon", "redis.call('SET', KEYS[3], '1', 'PX', ARGV[2])", "redis.call('SET', KEYS[3], '1')"),
    Mutant("abandon", "redis.call('HDEL', KEYS[2], ARGV[1])\n", ""),
    Mutant("abandon", "redis.call('ZREM', KEYS[1], ARGV[1])", "1"),
    Mutant("abandon", "redis.pcall('SPUBLISH', KEYS[1], 'free')", ""),
    Mutant("keep", "or tonumber(mine) <= now then", "then"),
    Mutant("keep", "not mine or", ""),
]


@pytest.mark.parametrize("script", sorted({one.script for one in MUTANTS}))
def test_every_guard_is_missed(explorer: Explorer, script: str):
    """Each line without which something would go wrong does go wrong somewhere without it."""
    explorer.must_find([*CASES.values()], [one for one in MUTANTS if one.script == script])
