"""Every order in which readers and writers can run the scripts, with lost, late and repeated requests,
crashes, and leases that end. tests/locks/explorer.py says how; every guard of the scripts is removed once and
missed.
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

WRITER, FENCE, READERS, HOLDERS, INTENTS, CLAIMS, BEATS = (
    f"k{part}" for part in ("", *(":f :r :h :i :q :b".split()))
)
NOW = CLOCK * 1000
TTL, HISTORY, PATIENCE, KEEP = 30_000, 86_400_000, 5_000, 60_000

SCRIPTS = {
    name: files("holdfast.locks.rwlock").joinpath(f"{name}.lua").read_text()
    for name in ("read", "write", "release", "abandon", "keep")
}


def token(name: str) -> str:
    """32 digits, and readable: the actor's name is its last."""
    return f"{name.encode().hex():0>32}"


def live(view: View, key: str) -> set[str]:
    """The tokens whose deadline has not passed."""
    return {name for name, score in (view.get(key) or {}).items() if score > NOW}


def writer(view: View) -> str | None:
    held = view.get(WRITER)
    return None if held is None else held.decode()[:32]


def has(view: View, one: str) -> bool:
    """Has `one` a lease?"""
    return writer(view) == one or one in live(view, READERS)


def trace(view: View, one: str) -> list[str]:
    """Where it stands."""
    return [key for key in (READERS, INTENTS, CLAIMS, BEATS) if one in (view.get(key) or {})] + [WRITER] * (
        writer(view) == one
    )


# --- the actors
# -----------------------------------------------------------------------------------------------------


def waiter(channel: str) -> Callable[[Memory, tuple], str | Park | None]:
    return lambda memory, reply: {1: None, 0: Park(channel), -1: END}[reply[0]]


def once(memory: Memory, reply: tuple) -> str | None:
    """What try_acquire makes of it."""
    return None if reply[0] == 1 else END


def kept(memory: Memory, reply: int) -> None:
    if reply != 1:
        memory["lost"] = True


def actor(name: str, keeps: bool = False, tries: bool = False) -> list[Step]:
    """One acquire, work, and the release. Capital letters write, the others read."""
    one = token(name)
    script = "write" if name.isupper() else "read"
    keys = [WRITER, FENCE, READERS, HOLDERS, INTENTS, CLAIMS, BEATS, f"x:{one}"]
    args = [one, TTL, f"host:1:{name}", HISTORY, 0 if tries else PATIENCE]
    if script == "read":
        args.append("")
    keeping = [Step("keep", [WRITER, READERS, HOLDERS], [one, TTL], then=kept)]
    return [
        Step(
            script,
            keys,
            args,
            then=once if tries else waiter(f"{WRITER}:w:{script}"),
            unanswered=(AGAIN, "abandon"),
            instead=["abandon"],
        ),
        *(keeping if keeps else []),
        Step(name="work"),
        Step("release", [WRITER, READERS, HOLDERS], [one], then=lambda memory, reply: END),
        Step("abandon", [WRITER, READERS, HOLDERS, INTENTS, CLAIMS, BEATS, f"x:{one}"], [one, KEEP]),
    ]


def nested(name: str) -> list[Step]:
    """A reader who reads once more while he reads."""
    first, *_ = actor(name)
    outer, inner = token(name), token("inner")
    again = [inner, TTL, f"host:1:{name}", HISTORY, PATIENCE, outer]
    return [
        Step("read", first.keys, first.args, then=first.then),
        Step("read", [*first.keys[:-1], f"x:{inner}"], again, then=first.then, name="read again"),
        Step(name="work"),
        Step("release", [WRITER, READERS, HOLDERS], [inner], name="release the inner"),
        Step("release", [WRITER, READERS, HOLDERS], [outer]),
    ]


# --- what can happen
# ------------------------------------------------------------------------------------------------


def lease_ends(name: str, crashed: bool) -> Event:
    """The lease ends on the server; an actor that is alive has known it before, by its own clock."""
    one = token(name)

    def happen(view: View, memories: dict[str, Memory]) -> Sequence[Sequence[object]] | None:
        if (name in view.ended) != crashed:
            return None
        memories[name]["lost"] = True
        if writer(view) == one:
            return [("DEL", WRITER)]
        return [("ZADD", READERS, NOW, one)] if one in live(view, READERS) else None

    return Event(f"the lease of {name} ends", happen, fair=crashed, times=None if crashed else 1)


def place_ends(name: str, crashed: bool) -> Event:
    """The intent or the claim of one who waits ends: it has crashed, or was paused."""
    one = token(name)

    def happen(view: View, memories: dict[str, Memory]) -> Sequence[Sequence[object]] | None:
        keys = [key for key in (INTENTS, BEATS) if one in live(view, key)]
        return [("ZADD", key, NOW, one) for key in keys] if keys and (name in view.ended) == crashed else None

    return Event(f"the place of {name} ends", happen, fair=crashed, times=None if crashed else 1)


def flushed(view: View, memories: dict[str, Memory]) -> Sequence[Sequence[object]] | None:
    """Everything is gone, and a second has passed. Whoever had a lease is told (CLIENT TRACKING)."""
    if view.get(FENCE) is None:
        return None
    for name, memory in memories.items():
        memory["lost"] = memory.get("lost", False) or has(view, token(name))
    return [("DEL", *(key for key in view.store if key != "~clock")), ("INCRBY", "~clock", 1)]


# --- what must hold
# -------------------------------------------------------------------------------------------------


def nobody_beside_a_writer(view: View) -> str | None:
    inside = [name for name in view.memory if view.at(name) == "work" and not view.memory[name].get("lost")]
    if len(inside) > 1 and any(name.isupper() for name in inside):
        return f"{' and '.join(inside)} are in at once"
    return None


def every_key_ends(view: View) -> str | None:
    endless = [key for key, value in view.store.items() if not value.ends and key != "~clock"]
    return f"{endless} would stay for ever" if endless else None


def waits_or_is_in(view: View) -> str | None:
    both = ({writer(view) or ""} & live(view, INTENTS)) | (live(view, READERS) & live(view, BEATS))
    return f"{sorted(both)} wait, and are in" if both else None


def only_readers_are_described(view: View) -> str | None:
    left = set(view.get(HOLDERS) or {}) - set(view.get(READERS) or {})
    return f"{sorted(left)} are described, but not in" if left else None


def watch(history: Memory, before: View, move: Move, after: View) -> str | None:
    """Grants, in order: fences grow, nobody is refused without a reason, and nobody is overtaken for long."""
    if move.kind == "event":
        forget(history, after)
    ran = move.kind in {"step", "lost", "late"}
    if move.step == "abandon" and ran:
        history.pop(move.actor, None)
        history[f"{move.actor} gave up"] = True
    if left := [
        name for name in after.memory if history.get(f"{name} gave up") and trace(after, token(name))
    ]:
        return f"{left[0]} gave up, but it is in {trace(after, token(left[0]))}"
    if not ran or move.step == "abandon":
        return None
    if move.step in {"keep", "release"}:
        had = has(before, move.args[0])
        right = (move.reply == 1) == had and has(after, move.args[0]) == (had and move.step == "keep")
        return None if right else f"{move} is not true"
    if move.step in {"read", "read again", "write"} and move.reply[0] == 0:
        return refused(history, before, move)
    if move.step in {"read", "read again", "write"} and move.reply[0] == 1:
        return granted(history, before, move, move.reply[1])
    return None


def forget(history: Memory, after: View) -> None:
    """Whose place has ended does not wait any more, as far as the others can know."""
    for name in after.memory:
        if token(name) not in live(after, INTENTS) | live(after, BEATS):
            history.pop(name, None)


def refused(history: Memory, before: View, move: Move) -> str | None:
    one = move.args[0]
    others = (live(before, READERS) | live(before, INTENTS) | live(before, BEATS)) - {one}
    if writer(before) is None and not others:
        return f"{move.actor} is refused, though nobody is in and nobody waits"
    if move.args[4] != "0":  # the number of writers after whom it goes before any other
        history.setdefault(move.actor, history.get("writers", 0) + (writer(before) is None))
    return None


def granted(history: Memory, before: View, move: Move, fence: int) -> str | None:
    again = history.get(f"fence of {move.actor}")
    writes, writers = move.actor.isupper(), history.get("writers", 0)
    inside = (writer(before) == move.args[0]) if writes else move.args[0] in live(before, READERS)
    turn = history.pop(move.actor, None)
    if inside and again is not None:
        return None if again == fence else f"{move.actor} is granted again, with another fence"
    last = history.get("fence", 0)
    history[f"fence of {move.actor}"] = fence
    history["fence"] = max(last, fence)
    if (fence <= last) if writes else (fence < last):
        return f"the fence of {move.actor} is {fence}, after {last}"
    waiting = [name for name in before.memory if name in history and name.isupper() != writes]
    if writes:
        history["writers"] = writers + 1
        overtaken = [name for name in waiting if history[name] <= writers]
        return f"{move.actor} goes before {overtaken[0]}, whose turn it is" if overtaken else None
    inside_already = not writes and move.args[5] in live(before, READERS)
    if waiting and (turn is None or turn > writers) and not inside_already:
        return f"{move.actor} goes before {waiting[0]}, who waits, without a turn of its own"
    return None


def model(names: str, *, keeps: str = "", tries: str = "", events: Sequence[Event] = (), **more) -> Model:
    ends = [
        event(name, crashed)
        for event in (lease_ends, place_ends)
        for name in names
        for crashed in (True, False)
    ]
    return Model(
        scripts=SCRIPTS,
        actors={
            name: nested(name) if name == "n" else actor(name, name in keeps, name in tries) for name in names
        },
        events=[*events, *ends],
        always=[nobody_beside_a_writer, waits_or_is_in, only_readers_are_described, every_key_ends],
        watch=watch,
        **more,
    )


FLUSHALL = Event("FLUSHALL", flushed, times=1)

CASES = {
    "a writer, trouble": model("W", keeps="W", lost=1, late=1, crashes=1),
    "a reader, trouble": model("r", keeps="r", lost=1, late=1, crashes=1),
    "FLUSHALL": model("Wr", events=[FLUSHALL]),
    "a writer and a reader, crashes": model("Wr", crashes=1),
    "two writers, lost replies": model("WX", keeps="W", lost=1),
    "a writer and a reader, lost replies": model("Wr", lost=1),
    "a writer, and a reader who reads twice": model("Wn"),
    "a writer and a reader, late": model("Wr", late=1),
    "a writer and two readers": model("Wrs"),
    "two writers and a reader": model("WXr"),
}
LARGE = {
    "two who only try": model("WXr", tries="Xr", crashes=1),
    "two writers, trouble": model("WX", lost=1, late=1, crashes=1),
    "a writer and a reader, trouble": model("Wr", lost=1, late=1),
}


@pytest.fixture
def explorer(own_server):
    with Explorer(own_server.url) as one:
        yield one


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(case, marks=pytest.mark.soak) for case in LARGE)])
def test_nothing_can_go_wrong(explorer: Explorer, case: str):
    assert explorer.check({**CASES, **LARGE}[case]).states > 100


MUTANTS = [
    Mutant("read", "if mine and tonumber(mine) > now then", "if false then"),
    Mutant("read", "if redis.call('EXISTS', KEYS[8]) == 1 then return {-1} end", ""),
    Mutant("read", "  redis.call('ZREM', KEYS[6], dead)\n", ""),
    Mutant("read", "  redis.call('HDEL', KEYS[4], dead)\n", ""),
    Mutant("read", "redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', today)", ""),
    Mutant("read", "if held or (not owed", "if (not owed"),
    Mutant("read", "not owed and redis.call", "redis.call"),
    Mutant("read", "redis.call('ZCARD', KEYS[5]) > 0", "false"),
    Mutant("read", "if not owed and ARGV[6] ~= '' then", "if false then"),
    Mutant(
        "read",
        "redis.call('ZSCORE', KEYS[3], ARGV[6]) or 0) > now",
        "redis.call('ZSCORE', KEYS[3], ARGV[6]) or 0) >= 0",
    ),
    Mutant(
        "read",
        "held and string.match(held, '^%x+:(%d+):') or begins",
        "string.format('%.0f', (last or 0) + 1)",
    ),
    Mutant("read", "(held and 0 or 1)", "0"),
    Mutant(
        "read",
        "redis.call('ZADD', KEYS[6], held and string.match(held, '^%x+:(%d+):') or begins, ARGV[1])",
        "",
    ),
    Mutant("read", "    redis.call('ZADD', KEYS[7], string.format('%.0f', now + patience), ARGV[1])\n", ""),
    Mutant("read", "    redis.call('PEXPIRE', KEYS[6], patience * 4)\n", ""),
    Mutant("read", "    redis.call('PEXPIRE', KEYS[7], patience * 4)\n", ""),
    Mutant("read", "redis.call('ZREM', KEYS[6], ARGV[1])\n", ""),
    Mutant("read", "redis.call('ZREM', KEYS[7], ARGV[1])\n", ""),
    Mutant("read", "last = string.format('%.0f', micros)", "last = '0'"),
    Mutant("read", "redis.call('SET', KEYS[2], last, 'PX', ARGV[4])", "redis.call('SET', KEYS[2], last)"),
    Mutant("write", "if held and string.sub(held, 1, 33) == ARGV[1] .. ':' then", "if false then"),
    Mutant("write", "if redis.call('EXISTS', KEYS[8]) == 1 then return {-1} end", ""),
    Mutant("write", "  redis.call('ZREM', KEYS[3], dead)\n", ""),
    Mutant("write", "  redis.call('HDEL', KEYS[4], dead)\n", ""),
    Mutant("write", "  redis.call('ZREM', KEYS[6], dead)\n", ""),
    Mutant("write", "if held or reader[1]", "if reader[1]"),
    Mutant("write", "or reader[1] or owed[1]", "or owed[1]"),
    Mutant("write", "or owed[1] then", "then"),
    Mutant("write", "'-inf', string.format('%.0f', last)", "'-inf', string.format('%.0f', last + 1)"),
    Mutant("write", "    redis.call('ZADD', KEYS[5], string.format('%.0f', now + patience), ARGV[1])\n", ""),
    Mutant("write", "    redis.call('PEXPIRE', KEYS[5], patience * 4)\n", ""),
    Mutant("write", "redis.call('ZREM', KEYS[5], ARGV[1])\n", ""),
    Mutant("write", "math.max(last + 1, micros)", "math.max(last, micros)"),
    Mutant("write", "math.max(last + 1, micros)", "last + 1"),
    Mutant(
        "write", "redis.call('SET', KEYS[2], written, 'PX', ARGV[4])", "redis.call('SET', KEYS[2], written)"
    ),
    Mutant("write", "ARGV[3], 'PX', ARGV[2])", "ARGV[3])"),
    Mutant("release", "if held and string.sub(held, 1, 33) == ARGV[1] .. ':' then", "if held then"),
    Mutant("release", "  redis.pcall('SPUBLISH', KEYS[1] .. ':w:read', 'free')\n", ""),
    Mutant("release", "  redis.pcall('SPUBLISH', KEYS[1] .. ':w:write', 'free')\n  return", "  return"),
    Mutant("release", "  redis.pcall('SPUBLISH', KEYS[1] .. ':w:write', 'free')\nend\nreturn", "end\nreturn"),
    Mutant("release", "tonumber(mine) > now and 1 or 0", "1"),
    Mutant("release", "redis.call('ZREM', KEYS[2], ARGV[1])\n", ""),
    Mutant("release", "redis.call('HDEL', KEYS[3], ARGV[1])\n", ""),
    Mutant("abandon", "redis.call('SET', KEYS[7], '1', 'PX', ARGV[2])", ""),
    Mutant("abandon", "redis.call('SET', KEYS[7], '1', 'PX', ARGV[2])", "redis.call('SET', KEYS[7], '1')"),
    Mutant("abandon", "redis.call('ZREM', KEYS[4], ARGV[1]),", "0,"),
    Mutant("abandon", ", redis.call('ZREM', KEYS[5], ARGV[1])", ", 0"),
    Mutant("abandon", "redis.call('ZREM', KEYS[6], ARGV[1])\n", ""),
    Mutant("abandon", "redis.call('ZREM', KEYS[2], ARGV[1])", "0"),
    Mutant("abandon", "redis.call('HDEL', KEYS[3], ARGV[1])\n", ""),
    Mutant("abandon", "redis.call('DEL', KEYS[1])", "1"),
    Mutant("abandon", "held and string.sub(held, 1, 33) == ARGV[1] .. ':'", "held"),
    Mutant("abandon", "writer + intended > 0", "writer > 0"),
    Mutant("abandon", "writer + intended > 0", "intended > 0"),
    Mutant("abandon", "writer + reader + claimed > 0", "reader + claimed > 0"),
    Mutant("abandon", "writer + reader + claimed > 0", "writer + claimed > 0"),
    Mutant("abandon", "writer + reader + claimed > 0", "writer + reader > 0"),
    Mutant("keep", "if held and string.sub(held, 1, 33) == ARGV[1] .. ':' then", "if held then"),
    Mutant("keep", "or tonumber(mine) <= now then", "then"),
    Mutant("keep", "not mine or", ""),
]


@pytest.mark.parametrize("script", sorted({one.script for one in MUTANTS}))
def test_every_guard_is_missed(explorer: Explorer, script: str):
    """Each line without which something would go wrong does go wrong somewhere without it."""
    explorer.must_find([*CASES.values()], [one for one in MUTANTS if one.script == script])
