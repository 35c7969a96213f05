"""Every order in which multilocks and a lock can run the scripts, slot after slot, with lost, late and
repeated requests, crashes, leases that end and keys that are deleted. tests/locks/explorer.py says how; every
guard of the scripts, and the order of the slots, is removed once and missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import pytest

from tests.locks.explorer import (
    AGAIN,
    END,
    Broken,
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

TTL, HISTORY, KEEP = 30_000, 86_400_000, 60_000
LOCKS = "abc"

SCRIPTS = {
    name: files("holdfast.locks.multilock").joinpath(f"{name}.lua").read_text()
    for name in ("acquire", "keep", "release")
} | {
    name: files("holdfast.locks").joinpath(f"{file}.lua").read_text()
    for name, file in {"lock": "acquire", "unlock": "release"}.items()
}


def token(name: str) -> str:
    """32 digits, and readable: the actor's name is its last."""
    return f"{name.encode().hex():0>32}"


def held_by(view: View, one: str) -> list[str]:
    """The locks that are `one`'s."""
    return [lock for lock in LOCKS if (view.get(lock) or b"").startswith(one.encode() + b":")]


# --- the actors --------------------------------------------------------------------------------------------


def taken(names: str):
    """What is made of a reply to an acquire of `names`."""

    def then(memory: Memory, reply: tuple) -> str | Park | None:
        if reply[0] == 0:
            return Park(names[reply[3] - 1])
        if reply[0] == -1:
            return END
        memory["fence"] = max(memory.get("fence", 0), reply[1])
        return None

    return then


def kept(memory: Memory, reply: int) -> None:
    if reply != 1:
        memory["lost"] = True


def multi(name: str, *groups: str, keeps: bool = False) -> list[Step]:
    """Takes the groups one by one, works, gives them back from the last to the first; or gives up."""
    one = token(name)
    backwards = [(place, names) for place, names in enumerate(groups)][::-1]

    def keys(place: int, names: str, *parts: str) -> list[str]:
        return [f"x{place}:{one}", *(f"{lock}{part}" for lock in names for part in parts)]

    def giving(what: str) -> list[Step]:
        return [
            Step("release", keys(place, names, "", ":v", ":q"), [one, KEEP], name=f"{what} {place}")
            for place, names in backwards
        ]

    undo = f"undo {len(groups) - 1}"
    return [
        *(
            Step(
                "acquire",
                keys(place, names, "", ":f", ":c"),
                lambda memory, names=names: [
                    one,
                    TTL,
                    f"host:1:{names}",
                    HISTORY,
                    "0",
                    memory.get("fence", 0),
                    0,
                ],
                then=taken(names),
                name=f"take {names}",
                unanswered=(AGAIN, undo),
                instead=[undo],
            )
            for place, names in enumerate(groups)
        ),
        *(
            Step("keep", [*names, *(f"{lock}:v" for lock in names)], [one, TTL, len(names)], then=kept)
            for names in groups[:1]
            if keeps
        ),
        Step(name="work"),
        Step(name="leave", then=lambda memory, reply: f"give {len(groups) - 1}"),
        *giving("undo"),
        Step(name="gone", then=lambda memory, reply: END),
        *giving("give"),
    ]


def single(name: str, lock: str) -> list[Step]:
    """A plain lock."""
    one = token(name)
    return [
        Step(
            "lock",
            [lock, f"{lock}:f", f"x:{one}", f"{lock}:c", f"{lock}:h"],
            [one, TTL, f"host:1:{name}", HISTORY, "0", "0"],
            then=lambda memory, reply: None if reply[0] == 1 else Park(lock),
        ),
        Step(name="work"),
        Step("unlock", [lock, f"{lock}:v", f"{lock}:q", f"x:{one}"], [one, 0]),
    ]


NAMES = {"t": "a", "u": "b", "x": "abc", "v": "bc", "y": "bc", "z": "c", "w": "ab"}


# --- what can happen ---------------------------------------------------------------------------------------


def lease_ends(name: str, crashed: bool) -> Event:
    """The lease ends on the server; an actor that is alive has known it before, by its own clock."""

    def happen(view: View, memories: dict[str, Memory]) -> Sequence[Sequence[object]] | None:
        mine = held_by(view, token(name))
        if (name in view.ended) != crashed or not mine:
            return None
        memories[name]["lost"] = True
        return [("DEL", *mine)]

    return Event(f"the lease of {name} ends", happen, fair=crashed, times=None if crashed else 1)


def deleted(view: View, memories: dict[str, Memory]) -> Sequence[Sequence[object]] | None:
    """`b` is deleted; whoever has it is told."""
    if view.get("b") is None:
        return None
    for name, memory in memories.items():
        memory["lost"] = memory.get("lost", False) or "b" in held_by(view, token(name))
    return [("DEL", "b")]


# --- what must hold ----------------------------------------------------------------------------------------


def nobody_beside_another(view: View) -> str | None:
    at_work = [name for name in view.memory if view.at(name) == "work" and not view.memory[name].get("lost")]
    for lock in LOCKS:
        inside = [name for name in at_work if lock in NAMES[name]]
        if len(inside) > 1:
            return f"{' and '.join(inside)} have {lock} at once"
        if inside and lock not in held_by(view, token(inside[0])):
            return f"{inside[0]} works without {lock}"
    return None


def every_key_ends(view: View) -> str | None:
    endless = [key for key, value in view.store.items() if not value.ends and key != "~clock"]
    return f"{endless} would stay for ever" if endless else None


def watch(history: Memory, before: View, move: Move, after: View) -> str | None:
    """All or none, fences that grow, answers that are true, and nothing left by one that gave up."""
    ran = move.kind in {"step", "lost", "late"}
    if ran and move.step == "undo 0":
        history[f"{move.actor} gave up"] = True
    for name in after.memory:
        if history.get(f"{name} gave up") and held_by(after, token(name)):
            return f"{name} gave up, but it has {held_by(after, token(name))}"
    if move.kind == "step" and move.step == "keep":
        names = NAMES[move.actor][: int(move.args[2])]
        right = set(names) <= set(held_by(before, move.args[0]))
        return None if (move.reply == 1) == right else f"{move} is not true"
    if not ran or not (move.step.startswith("take") or move.step == "acquire"):
        return None
    names = move.args[2].rpartition(":")[2]
    had = [lock for lock in names if lock in held_by(before, move.args[0])]
    has = [lock for lock in names if lock in held_by(after, move.args[0])]
    if move.reply[0] == 0:
        others = [lock for lock in names if before.get(lock) is not None and lock not in had]
        if has or not others or names[move.reply[3] - 1] not in others:
            return f"{move.actor} is refused: {move.reply}; it has {has}, others have {others}"
        return None
    if move.reply[0] == 1:
        if has != list(names):
            return f"{move.actor} was granted {names}, but has {has}"
        fence, last = move.reply[1], max(history.get(f"fence of {lock}", 0) for lock in names)
        again = had == list(names)
        history.update({f"fence of {lock}": fence for lock in names})
        if (fence != last) if again else (fence <= last):
            return f"the fence of {move.actor} is {fence}, after {last}"
    return None


def model(actors: dict[str, list[Step]], *events: Event, **more) -> Model:
    ends = [lease_ends(name, crashed) for name in actors for crashed in (True, False)]
    return Model(
        scripts=SCRIPTS,
        actors=actors,
        events=[*events, *ends],
        always=[nobody_beside_another, every_key_ends],
        watch=watch,
        **more,
    )


DELETED = Event("b is deleted", deleted, times=1)
X, Y, Z, W = multi("x", "ab", "c"), multi("y", "b", "c"), single("z", "c"), multi("w", "ab")

CASES = {
    "one alone, trouble": model({"x": multi("x", "ab", "c", keeps=True)}, DELETED, lost=1, late=1, crashes=1),
    "two, crossing": model({"x": X, "y": Y}, crashes=1),
    "two, crossing, lost replies": model({"v": multi("v", "b", "c"), "y": Y}, lost=1),
    "a retry that finds some of it taken": model(
        {"w": multi("w", "ab", keeps=True), "t": single("t", "a"), "u": single("u", "b")}, DELETED, lost=1
    ),
    "two in one slot, late": model({"w": W, "y": multi("y", "b", "c")}, late=1),
    "two and a lock": model({"v": multi("v", "b", "c"), "y": Y, "z": Z}),
}


@pytest.fixture
def explorer(own_server):
    with Explorer(own_server.url) as one:
        yield one


@pytest.mark.parametrize("case", CASES)
def test_nothing_can_go_wrong(explorer: Explorer, case: str):
    assert explorer.check(CASES[case]).states > 100


def test_slots_in_another_order_get_stuck(explorer: Explorer):
    """The deadlock that the order is there for."""
    with pytest.raises(Broken, match="stuck for ever"):
        explorer.check(model({"x": X, "y": multi("y", "c", "b")}))


MUTANTS = [
    Mutant("acquire", "ARGV[1] .. ':' then\n    mine", "'' then\n    mine"),
    Mutant("acquire", "elseif held and (busy == 0", "elseif held and mine > 9 and (busy == 0"),
    Mutant("acquire", "mine > 0 and (#KEYS - 1) / 3 or 0", "0"),
    Mutant("acquire", "      redis.pcall('SPUBLISH', KEYS[place * 3 - 1], 'free')\n", ""),
    Mutant("acquire", "if mine == (#KEYS - 1) / 3 then", "if mine > 0 then"),
    Mutant("acquire", "if redis.call('EXISTS', KEYS[1]) == 1 then return {-1} end", ""),
    Mutant("acquire", "or 0) + 1)", "or 0))"),
    Mutant("acquire", "written, 'PX', ARGV[4])", "written)"),
    Mutant("acquire", "value, 'PX', ARGV[2])", "value)"),
    Mutant("release", "if ARGV[2] ~= '0' then redis.call('SET', KEYS[1], '1', 'PX', ARGV[2]) end", ""),
    Mutant("release", "if held and string.sub(held, 1, 33) == ARGV[1] .. ':' then", "if held then"),
    Mutant("release", "    redis.pcall('SPUBLISH', KEYS[place], 'free')\n", ""),
    Mutant("release", "for place = 2, #KEYS, 3 do", "for place = 2, 2 do"),
    Mutant("keep", "elseif string.sub(held, 1, 33) ~= ARGV[1] .. ':' then", "elseif false then"),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: f"{one.script}: {one.old.strip()[:40]}")
def test_every_guard_is_missed(explorer: Explorer, mutant: Mutant):
    explorer.must_find(list(CASES.values()), [mutant])
