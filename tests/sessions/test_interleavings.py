"""Every order in which requests can meet at one session, with the real scripts on a real server: replies that
are lost, requests that arrive late. And that what is there for it is needed (`must_find`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from holdfast._wire.script import Script
from holdfast.sessions import rules
from tests.locks.explorer import CLOCK, END, Explorer, Memory, Model, Mutant, Step, View

NOW = CLOCK * 1000
OLD, REC, INDEX = "{old}", "{u}:g", "{u}:i"
FIELDS = ("v", 1, "s", 1, ":a", "A")
TIMES = (1_800_000, 43_200_000, "", "")
TEXTS = {one.name.rpartition("/")[2]: one.text for one in vars(rules).values() if isinstance(one, Script)}
START = [
    ("HSET", OLD, "c", NOW, "b", NOW, "l", NOW, "e", NOW + 43_200_000, "i", 1_800_000, *FIELDS),
    ("PEXPIRE", OLD, 3_600_000),
]
BASE: dict[str, Any] = {"scripts": TEXTS, "start": START, "waking": False, "stuck": False}


@pytest.fixture(scope="module")
def explorer(servers: Any) -> Iterator[Explorer]:
    from holdfast.testing.servers import start, wanted

    with start(wanted()[0]) as own, Explorer(own.url) as one:
        yield one


def save(key: str, request: str, *pairs: str, name: str = "", **how: Any) -> Step:
    return Step("save", [key], ["", request, 1, 1, "", 0, 0, *pairs], name=name, **how)


def first(memory: Memory, reply: Any) -> str | None:
    memory["code"] = reply[0]
    return None


# --- what has ended stays ended ----------------------------------------------------------------------------


def signed_out(memory: Memory, reply: Any) -> str | None:
    memory["out"] = True
    return None


def made(memory: Memory, reply: Any) -> str | None:
    return None if reply else END


def dead(view: View) -> str | None:
    if view.memory["user"].get("out") and "e" in view.get(OLD):
        return "the session lives again"
    return None


ENDED = Model(
    **{**BASE, "start": []},
    actors={
        "user": [
            Step("create", [OLD], [*TIMES, *FIELDS], then=made),
            Step("revoke", [OLD], ["r1", 60_000], then=signed_out),
        ],
        "saver": [save(OLD, "aa", ":a", "B", then=first)],
        "toucher": [Step("touch", [OLD], then=first)],
        "popper": [Step("pop", [OLD, f"{OLD}:p1"], [":a", 60_000], then=first)],
    },
    always=[dead],
    lost=1,
    late=1,
)


def test_what_was_revoked_stays_so(explorer: Explorer):
    assert explorer.check(ENDED).states > 100
    explorer.must_find(
        [ENDED],
        [
            Mutant("create", "if known[4] then return {} end", ""),
            Mutant(
                "revoke",
                "redis.call('HSET', KEYS[1], 't', '', 'x', '0', 'o', '0',",
                "redis.call('HSET', KEYS[1],",
            ),
        ],
    )


def test_signing_out_is_told_once_and_to_whom_it_did(explorer: Explorer):
    """The request that ended it is told so again; another one is told that there is nothing to end."""

    def only_one(view: View) -> str | None:
        ended = [name for name, one in view.memory.items() if one.get("code") == 1]
        if len(view.ended) == 2 and len(ended) != 1:
            return f"{ended} ended it"
        return None

    actors = {name: [Step("revoke", [OLD], [name, 60_000], then=first)] for name in ("one", "two")}
    model = Model(**BASE, actors=actors, always=[only_one], lost=1, late=1)
    explorer.check(model)
    explorer.must_find(
        [model], [Mutant("revoke", "if known[8] == ARGV[1] then return {1, known[7] or ''} end", "")]
    )


# --- saving ------------------------------------------------------------------------------------------------


def test_of_two_saves_the_later_one_wins_whatever_arrives_late(explorer: Explorer):
    """One request saves B, is told so, and then C; another one D, strictly, on what it has read."""

    def counted(memory: Memory, reply: Any) -> str | None:
        memory["versions"] = (*memory.get("versions", ()), reply[3])
        return None

    def strict(memory: Memory, reply: Any) -> str | None:
        memory["code"], memory["version"] = reply[0], reply[3] if reply[0] == 1 else 0
        return None

    def right(view: View) -> str | None:
        if view.ended != {"one", "two"}:
            return None
        data, other = view.get(OLD), view.memory["two"]
        versions = view.memory["one"]["versions"]
        last = "D" if other["code"] == 1 and other["version"] > versions[1] else "C"
        if other["code"] == 1 and other["version"] != 2:
            return f"a strict save of version 1 became version {other['version']}"
        if data[":a"].decode() != last:
            return f"{data[':a']} although {last} came last"
        if int(data["v"]) != 3 + (other["code"] == 1):
            return f"version {data['v']} is one too many"
        return None

    model = Model(
        **BASE,
        actors={
            "one": [
                save(OLD, "aa", ":a", "B", name="B", then=counted),
                save(OLD, "bb", ":a", "C", name="C", then=counted),
            ],
            "two": [Step("save", [OLD], [1, "cc", 1, 1, "", 0, 0, ":a", "D"], then=strict)],
        },
        always=[right],
        lost=2,
        late=2,
    )
    explorer.check(model)
    explorer.must_find(
        [model],
        [
            Mutant("save", "if request == ARGV[2] then", "if false then"),
            Mutant("save", "(ARGV[1] ~= '' and known[7] ~= ARGV[1])", "false"),
            Mutant("save", "'q', table.concat(saves, ' ', oldest)", "'q', saves[#saves]"),
        ],
    )


# --- revoke_all --------------------------------------------------------------------------------------------


def entered(memory: Memory, reply: Any) -> str | None:
    memory["lineage"] = reply
    return None


def revoked(memory: Memory, reply: Any) -> str | None:
    memory["generation"] = reply
    return None


def carrying(memory: Memory) -> Sequence[object]:
    return [*TIMES, *FIELDS, "u", "ann", "g", memory["lineage"][0]]


def test_a_login_does_not_survive_a_revoke_all_that_comes_behind_its_first_step(explorer: Explorer):
    def watch(history: Memory, before: View, move: Any, after: View) -> str | None:
        if move.kind in {"step", "lost", "late"} and move.step == "revoke_all":
            history.setdefault("after", "lineage" in before.memory["login"])  # what is repeated does nothing
        if after.ended == {"login", "admin"}:
            data, known = after.get("{new}"), after.get(REC)
            lineage = rules.Lineage(known["g"], known.get("k", b""), known.get("kg", b""))
            lives = bool(data) and lineage.holds("new", data["g"])
            if lives and history.get("after"):
                return "it survived"
            if int(known["g"]) != int(after.memory["admin"]["generation"]):
                return "revoke_all was told another generation"
        return None

    model = Model(
        **{**BASE, "start": []},
        actors={
            "login": [
                Step("enter", [REC, INDEX], ["new", "", 43_200_000, 500], then=entered),
                Step("create", ["{new}"], carrying),
            ],
            "admin": [Step("revoke_all", [REC, INDEX], ["r1", "", "", 43_200_000], then=revoked)],
        },
        watch=watch,
        lost=1,
        late=1,
    )
    explorer.check(model)
    explorer.must_find(
        [model],
        [
            Mutant("revoke_all", "math.max(micros, (known[1] or 0) + 1)", "micros"),
            Mutant("revoke_all", "if known[4] == ARGV[1] then return known[1] end", ""),
        ],
    )


def test_who_is_kept_was_alive(explorer: Explorer):
    """One signs everybody out, another everybody else: what is kept must not come back by that."""

    def known(memory: Memory, reply: Any) -> str | None:
        memory["carried"] = reply[1] if reply[0] == 1 else ""
        return None

    def keeping(memory: Memory) -> Sequence[object]:
        return (
            ["r2", "old", memory["carried"], 43_200_000] if memory["carried"] else ["r2", "", "", 43_200_000]
        )

    def right(view: View) -> str | None:
        lineage = rules.Lineage(*(view.get(REC).get(name, b"") for name in rules.FIELDS))
        if "one" in view.ended and lineage.holds("old", 7):
            return "it lives"
        kept = view.memory["two"].get("generation") and not lineage.holds("old", 7)
        return "it was not kept" if kept and int(lineage.generation) == CLOCK * 1_000_000 else None

    model = Model(
        **{**BASE, "start": [*START, ("HSET", OLD, "u", "ann", "g", 7), ("HSET", REC, "g", 7)]},
        actors={
            "one": [Step("revoke_all", [REC, INDEX], ["r1", "", "", 43_200_000], then=revoked)],
            "two": [
                Step("touch", [OLD], then=known),
                Step("revoke_all", [REC, INDEX], keeping, then=revoked),
            ],
        },
        always=[right],
        lost=1,
        late=1,
    )
    explorer.check(model)
    explorer.must_find(
        [model],
        [
            Mutant("revoke_all", "if lives then redis", "if ARGV[2] ~= '' then redis"),
            Mutant("revoke_all", "redis.call('HDEL', KEYS[1], 'k', 'kg')", ""),
            Mutant("revoke_all", "(ARGV[2] == known[2] and ARGV[3] == known[3])", "true"),
        ],
    )


# --- rotating ----------------------------------------------------------------------------------------------


def read(memory: Memory, reply: Any) -> str | None:
    if reply[0] != 1:
        return END
    remember(memory, reply[4])
    return None


def remember(memory: Memory, flat: Any) -> None:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    memory["v"] = fields["v"]
    memory["data"] = tuple(word for name in (":a", ":b") if name in fields for word in (name, fields[name]))


def copy(memory: Memory) -> Sequence[object]:
    return [*TIMES, "v", memory["v"], "s", 1, *memory["data"]]


def rotator(who: str, overlap: int = 10_000) -> list[Step]:
    """Two tries; each has a target of its own."""

    def turned(target: str, again: str) -> Any:
        def then(memory: Memory, reply: Any) -> str:
            if reply[0] == 1:
                memory["won"] = target
            elif reply[0] == 4:
                remember(memory, reply[2])
                return again
            elif reply[0] == 2:
                memory["lost"] = (target, reply[1])  # the copy at its target is dropped
            return END

        return then

    def turn(target: str) -> Any:
        return lambda memory: [target, memory["v"], overlap, 600_000]

    one, two = f"{who}1", f"{who}2"
    return [
        Step("load", [OLD], [60_000], then=read),
        Step("create", [f"{{{one}}}"], copy, name="copy"),
        Step("rotate", [OLD], turn(one), name="turn", then=turned(one, "copy again")),
        Step("create", [f"{{{two}}}"], copy, name="copy again"),
        Step("rotate", [OLD], turn(two), name="turn again", then=turned(two, END)),
    ]


def saver(*rotators: str) -> list[Step]:
    def saved(memory: Memory, reply: Any) -> str:
        if reply[0] == 2:
            return f"save {reply[1]}"
        memory["code"] = reply[0]
        return END

    targets = [f"{who}{number}" for who in rotators for number in (1, 2)]
    return [
        save(OLD, "aa", ":b", "S", then=saved),
        *(save(f"{{{one}}}", "aa", ":b", "S", name=f"save {one}", then=saved) for one in targets),
    ]


def current(view: View) -> str:
    """Where the session is."""
    data = view.get(OLD)
    return f"{{{data['t'].decode()}}}" if "t" in data else OLD


def test_of_several_rotations_one_wins_and_no_save_is_lost(explorer: Explorer):
    def right(view: View) -> str | None:
        winners = [one["won"] for one in view.memory.values() if one.get("won")]
        if len(winners) > 1:
            return f"{winners} both won"
        if winners and current(view) != f"{{{winners[0]}}}":
            return f"{winners} won, but the id leads to {current(view)}"
        for one in view.memory.values():
            if "lost" in one and one["lost"][0] == one["lost"][1]:
                return "a rotation lost to itself"
        data = view.get(current(view))
        if view.memory["saver"].get("code") == 1 and data.get(":b") != b"S":
            return "the save was lost"
        if "saver" in view.ended and view.memory["saver"].get("code") != 1:
            return "the save was refused"
        return None

    two = {"r": rotator("r"), "q": rotator("q")}
    lossy = Model(**BASE, actors={"r": two["r"], "saver": saver("r")}, always=[right], lost=1, late=1)
    crowd = Model(**BASE, actors={**two, "saver": saver("r", "q")}, always=[right], lost=1)
    assert explorer.check(lossy).states > 100
    assert explorer.check(crowd).states > 100
    explorer.must_find(
        [lossy, crowd],
        [
            Mutant("rotate", "if known[7] ~= ARGV[2] then", "if false then"),
            Mutant("rotate", "if known[4] == ARGV[1] then return {1} end", ""),
            Mutant(
                "rotate",
                "tonumber(known[6]) then return {2, known[4]} end",
                "tonumber(known[6]) then return {1} end",
            ),
            Mutant("save", "if left > 0 and left <= tonumber(known[6]) then return {2, known[4]} end", ""),
        ],
    )


def test_signing_out_beside_a_rotation_ends_both_ids(explorer: Explorer):
    def follow(memory: Memory, reply: Any) -> str | None:
        if reply[0] == 2:
            return f"end {reply[1]}"
        memory["out"] = True
        return END

    def right(view: View) -> str | None:
        won = view.memory["r"].get("won")
        if not view.memory["user"].get("out"):
            return None
        if won and "e" in view.get(f"{{{won}}}"):
            return "the new id lives although its user has signed out"
        return "the old id lives" if "e" in view.get(OLD) else None

    ends = [
        Step("revoke", [f"{{{one}}}"], ["r1", 60_000], name=f"end {one}", then=follow) for one in ("r1", "r2")
    ]
    user = [Step("revoke", [OLD], ["r1", 60_000], then=follow), *ends]
    model = Model(
        **BASE, actors={"r": rotator("r"), "user": user, "saver": saver("r")}, always=[right], lost=1, late=1
    )
    explorer.check(model)
    explorer.must_find(
        [model],
        [Mutant("revoke", "if known[4] ~= '' and tonumber(known[6]) > 0 then return {2, known[4]} end", "")],
    )
