"""Every order in which parties can arrive, wait and reset, with lost, late and repeated requests.
tests/locks/explorer.py says how; every guard of the scripts is removed once and missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import pytest

from holdfast.locks.latch.rules import LatchState, opened_since
from tests.locks.explorer import Event, Explorer, Memory, Model, Move, Mutant, Park, Step, View

LATCH, PARTIES, BEFORE = "k", "k:p", "k:o"
COUNT, TTL = 2, 3_600_000

SCRIPTS = {
    name: files("holdfast.locks.latch").joinpath(f"{name}.lua").read_text()
    for name in ("arrive", "reset", "look")
}


def party(name: str, request: str = "", count: int = COUNT) -> list[Step]:
    """Arrives once; whether it hears of it or not."""
    return [Step("arrive", [LATCH, PARTIES, BEFORE], [name[0], request or f"request of {name}", count, TTL])]


def waiter() -> list[Step]:
    """What AsyncLatch.wait does."""

    def look(memory: Memory, reply: tuple) -> Park | None:
        count, generation, opened, arrived = reply
        memory.setdefault("since", generation)
        now = LatchState(count=count or COUNT, arrived=arrived, generation=generation, opened=opened)
        return None if opened_since(memory["since"], now) else Park(LATCH)

    return [Step("look", [LATCH, PARTIES], then=look)]


def resetter(name: str) -> list[Step]:
    return [Step("reset", [LATCH, PARTIES, BEFORE], [f"reset by {name}", TTL])]


def gone(view: View, memories: dict[str, Memory]) -> Sequence[Sequence[object]] | None:
    """The ttl has passed, or it was flushed; and so has a second."""
    keys = [key for key in view.store if key != "~clock"]
    return [("DEL", *keys), ("INCRBY", "~clock", 1)] if keys else None


def part_gone(view: View, memories: dict[str, Memory]) -> Sequence[Sequence[object]] | None:
    """The latch alone was evicted."""
    return [("DEL", LATCH), ("INCRBY", "~clock", 1)] if view.get(LATCH) else None


def every_key_ends(view: View) -> str | None:
    endless = [key for key, value in view.store.items() if not value.ends and key != "~clock"]
    return f"{endless} would stay for ever" if endless else None


def watch(history: Memory, before: View, move: Move, after: View) -> str | None:
    """Rounds, as they should be: who has arrived in this one, how many have opened, since when one waits."""
    if move.kind == "event":
        history["arrived"], history["is open"] = (), False
        for began in [name for name in history if name.endswith(" began")]:
            history[began] = history.get("openings", 0)  # who waits, waits for another round
        return None
    if move.kind not in {"step", "lost", "late"}:
        return None
    return {"arrive": arrived, "reset": reset, "look": looked}[move.step](history, before, move, after)


def arrived(history: Memory, before: View, move: Move, after: View) -> str | None:
    who, request, count, _ = move.args
    if count != str(COUNT):
        return None if move.reply == (-1, COUNT) and after.store == before.store else f"{move}: another count"
    there, counted = history.get("arrived", ()), history.get("counted", ())
    if request not in counted:
        history["counted"] = tuple(sorted((*counted, request)))
        there = tuple(sorted({*there, who}))
        history["arrived"] = there
        if move.reply[0] != max(0, COUNT - len(there)):
            return f"{move}: but {there} have arrived"
    if set(after.get(PARTIES) or {}) != set(there):
        return f"{sorted(after.get(PARTIES) or {})} are counted, but {there} have arrived"
    if len(there) >= COUNT and not history.get("is open"):
        history["is open"] = True
        history["openings"] = history.get("openings", 0) + 1
    return None


def reset(history: Memory, before: View, move: Move, after: View) -> str | None:
    if move.reply == 0 or move.args[0] in history.get("resets", ()):
        unchanged = before.get(PARTIES) == after.get(PARTIES)
        return None if unchanged else f"{move} takes away what has arrived"
    history["resets"] = (*history.get("resets", ()), move.args[0])
    history.update(arrived=())
    history["is open"] = False
    grows = move.reply > int((before.get(LATCH) or {}).get("g", 0))
    return None if grows else f"{move}: the generation does not grow"


def looked(history: Memory, before: View, move: Move, after: View) -> str | None:
    if move.kind != "step":
        return None
    openings = history.get("openings", 0)
    if f"{move.actor} began" not in history:
        history[f"{move.actor} began"] = openings - bool(history.get("is open"))
    opened = openings > history[f"{move.actor} began"]
    returns = move.actor in after.ended
    return (
        None
        if opened == returns
        else f"{move.actor} {'returns' if returns else 'waits'}, after {openings} openings"
    )


def model(actors: dict[str, list[Step]], **more) -> Model:
    return Model(scripts=SCRIPTS, actors=actors, always=[every_key_ends], watch=watch, **more)


GONE = Event("it is gone", gone, times=1)

CASES = {
    "two arrive, one waits": model({"a": party("a"), "b": party("b"), "w": waiter()}, lost=1, late=1),
    "one arrives twice": model(
        {"a": party("a"), "a again": party("a again"), "b": party("b"), "w": waiter()},
    ),
    "another count": model(
        {"a": party("a"), "b": party("b"), "c": party("c", count=3)},
        start=[("HSET", LATCH, "n", COUNT, "g", 1), ("PEXPIRE", LATCH, TTL)],
    ),
    "a round more": model(
        {
            "a": party("a"),
            "b": party("b"),
            "r": resetter("r"),
            "c": party("c"),
            "d": party("d"),
            "w": waiter(),
        },
        lost=1,
        stuck=False,
    ),
    "a late reset": model({"a": party("a"), "r": resetter("r"), "b": party("b")}, lost=1, late=1),
    "two resets": model({"a": party("a"), "r": resetter("r"), "s": resetter("s")}, lost=1),
    "it ends": model(
        {"a": party("a"), "b": party("b"), "r": resetter("r"), "c": party("c"), "w": waiter()},
        events=[GONE],
        stuck=False,
    ),
    "half of it is evicted": model(
        {"a": party("a"), "b": party("b"), "c": party("c")},
        events=[Event("half of it is gone", part_gone, times=1)],
    ),
}


@pytest.fixture
def explorer(own_server):
    with Explorer(own_server.url) as one:
        yield one


@pytest.mark.parametrize("case", CASES)
def test_nothing_can_go_wrong(explorer: Explorer, case: str):
    assert explorer.check(CASES[case]).states > 5


MUTANTS = [
    Mutant("arrive", "if count and count ~= ARGV[3] then return {-1, tonumber(count)} end", ""),
    Mutant("arrive", "if count and redis.call('HGET', KEYS[3], ARGV[1]) == ARGV[2] then", "if false then"),
    Mutant("arrive", "  redis.call('DEL', KEYS[2], KEYS[3])\n", ""),
    Mutant(
        "arrive",
        "math.max(0, ARGV[3] - redis.call('HLEN', KEYS[2]))",
        "ARGV[3] - redis.call('HLEN', KEYS[2])",
    ),
    Mutant("arrive", "  redis.call('HSET', KEYS[1], 'o', string.format('%.0f', generation))\n", ""),
    Mutant("arrive", "  redis.pcall('SPUBLISH', KEYS[1], 'open')\n", ""),
    Mutant("arrive", "redis.call('PEXPIRE', KEYS[1], ARGV[4])\n", ""),
    Mutant("arrive", "redis.call('PEXPIRE', KEYS[2], ARGV[4])\n", ""),
    Mutant("arrive", "  generation = time[1] * 1000000 + time[2]\n", "  generation = 1\n"),
    Mutant(
        "reset", "if redis.call('HGET', KEYS[1], 'r') == ARGV[1] then return tonumber(generation) end", ""
    ),
    Mutant("reset", "math.max(generation + 1, ", "math.max(generation + 0, "),
    Mutant("reset", "  redis.call('RENAME', KEYS[2], KEYS[3])\n", "  redis.call('DEL', KEYS[2])\n"),
    Mutant("reset", "  redis.call('PEXPIRE', KEYS[3], ARGV[2])\n", "  redis.call('PERSIST', KEYS[3])\n"),
]


@pytest.mark.parametrize("script", sorted({one.script for one in MUTANTS}))
def test_every_guard_is_missed(explorer: Explorer, script: str):
    """Each line without which something would go wrong does go wrong somewhere without it."""
    explorer.must_find([*CASES.values()], [one for one in MUTANTS if one.script == script])
