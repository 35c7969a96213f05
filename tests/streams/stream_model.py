"""Who can do what with the scripts of a stream, for explorer.py.

A member takes one message at a time, and then has it done in its manner: `ack` by a turn, `effects`, or the
first time otherwise: `later`, `wait` (and `again`), `free`, `dead`. Nothing is known here of the shells. A
member ends when nothing is left, and leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from tests.locks.explorer import CLOCK, END, Event, Memory, Model, Move, Park, Step, View
from tests.streams.explorer import entries, pending, staged

BASE = "s{0}"
MEMBERS, RETRIES, ERRORS, DEAD, BELL, AT, LATER, SAVED, TURNS, OUTBOX, SUMS = (
    BASE + part
    for part in (":m", ":r", ":e", ":dead", ":bell", ":at", ":later", ":saved", ":turns", ":outbox", ":x")
)
NOW = CLOCK * 1000
LEASE = 20_000

SCRIPTS = {
    name: staged(files("holdfast.streams").joinpath(f"{name}.lua").read_text())
    for name in ("turn", "mine", "settle", "effects", "leave", "publish", "beat", "cancel")
}
TURN_KEYS = [BASE, MEMBERS, RETRIES, ERRORS, DEAD, BELL, AT, LATER, SAVED, TURNS, OUTBOX]
SETTLE_KEYS = [BASE, RETRIES, ERRORS, DEAD, BELL, TURNS, MEMBERS]


# --- the actors ---------------------------------------------------------------------------------------------


def member(name: str, manner: str, *, alone: bool, most: int = 0) -> list[Step]:
    """See the file's docstring. `memory`: n, the number of its next request; what it has, which delivery."""

    def turn_args(memory: Memory, limit: int, acks: Sequence[Any]) -> list[Any]:
        return ["g", name, LEASE, limit, int(alone), "0", most, "0", "count", memory.get("n", 1), *acks]

    def had(memory: Memory, id: str, count: int) -> str:
        memory.update(has=id, count=count)
        if manner in {"ack", "effects"}:
            return manner
        return "effects" if memory.get("once") else f"{manner}!"

    def took(memory: Memory, reply: Any) -> str | Park | None:
        memory["n"] = memory.get("n", 1) + 1
        taken, fresh = reply[10], reply[11]
        memory.pop("lost", None)
        if taken:
            return had(memory, taken[0][0], taken[0][1])
        if fresh:
            return had(memory, fresh[0][0], 1)
        if reply[6] > 0:  # more is its own than it knows of: a turn that was given up came through after all
            return "find"
        return "leave" if memory.get("over") else Park(BASE)

    def found(memory: Memory, reply: Any) -> str:
        memory["n"] = memory.get("n", 1) + 2
        memory.pop("lost", None)
        if not reply:
            return "take"
        memory.update(found=reply[0][0], count=reply[0][1])
        return "look"

    def looked(memory: Memory, reply: Any) -> str:
        """It has the membership still, so what it found is its own."""
        memory["n"] = memory.get("n", 1) + 1
        id = memory.pop("found")
        if memory.get("lost"):
            return "find"
        return had(memory, id, memory["count"]) if reply[2] else "take"

    def done(memory: Memory, reply: Any) -> str:
        memory["n"] = memory.get("n", 1) + 1
        memory.pop("has", None)
        return "take"

    def written(memory: Memory, reply: Any) -> str:
        if reply != 1 and not memory.get("lost"):
            memory["wronged"] = True
        return done(memory, reply)

    def doubted(memory: Memory, reply: Any) -> str:
        """A turn with an acknowledgement was not answered: what is still ours is acknowledged once more."""
        memory["n"] = memory.get("n", 1) + 2
        if any(row[0] == memory["has"] for row in reply):
            return "ack"
        memory.pop("has", None)
        return "take"

    def settled(memory: Memory, reply: Any) -> str:
        memory["n"] = memory.get("n", 1) + 1
        memory["once"] = True
        if manner == "wait" and reply[0] == 1:
            return "again"
        memory.pop("has", None)
        return "take"

    def repeated(memory: Memory, reply: Any) -> str:
        memory["n"] = memory.get("n", 1) + 1
        if reply[0] != 1:
            memory.pop("has", None)
            return "take"
        memory["count"] += 1
        return "effects"

    def settle_args(what: str) -> Any:
        return lambda memory: [
            "g", name, "0", memory.get("n", 1), what, memory["has"], memory["count"], 0, "because",
        ]  # fmt: skip

    return [
        turn("take", lambda memory: turn_args(memory, 1, ()), took, "find"),
        Step(
            "mine",
            [BASE, TURNS, MEMBERS],
            lambda memory: ["g", name, "-", 9, "0", LEASE, memory.get("n", 1) + 1],
            found,
            name="find",
        ),
        turn("look", lambda memory: turn_args(memory, 0, ()), looked, "find"),
        turn("ack", lambda memory: turn_args(memory, 0, (memory["has"], memory["count"])), done, "doubt"),
        Step(
            "mine",
            [BASE, TURNS, MEMBERS],
            lambda memory: ["g", name, "-", 9, "0", LEASE, memory.get("n", 1) + 1],
            doubted,
            name="doubt",
        ),
        Step(
            "effects",
            [BASE, RETRIES, ERRORS, f"{BASE}:fx:{name}", OUTBOX, SUMS],
            lambda memory: [
                "g", name, memory["has"], memory["count"], "0", memory.get("n", 1), 60_000,
                "HINCRBY", 1, 2, memory["has"], 1,
            ],
            written,
        ),
        *(
            Step("settle", SETTLE_KEYS, settle_args(what), settled, name=f"{what}!")
            for what in ("later", "wait", "free", "dead")
        ),
        Step("settle", SETTLE_KEYS, settle_args("again"), repeated, name="again"),
        Step("leave", [BASE, MEMBERS, BELL, TURNS], ["g", name], lambda memory, reply: END),
    ]  # fmt: skip


def turn(name: str, args: Any, then: Any, unanswered: str) -> Step:
    """A turn; without an answer it goes on at `unanswered`."""
    return Step("turn", TURN_KEYS, args, then, name=name, unanswered=(unanswered,))


def producer(count: int, *, ids: bool) -> list[Step]:
    """Publishes messages; those with `ids` twice each, as one who does not know that he has done it."""
    return [
        Step(
            "publish",
            [BASE, BELL, AT, LATER, f"{BASE}:req:p", *([f"{BASE}:id:{number}"] if ids else [])],
            [request, "p", 600_000, 60_000, "", int(ids), 2, "data", number],
            name=f"publish {request}",
        )
        for number in range(1, count + 1)
        for request in (2 * number, 2 * number + 1)[: 1 + ids]
    ]


def ended(name: str) -> Event:
    """The lease of a member ends; it notices first, by its own clock."""

    def happen(view: View, memories: dict[str, Memory]) -> list[tuple[Any, ...]] | None:
        if (view.get(MEMBERS) or {}).get(name, 0) <= NOW:
            return None
        memories[name]["lost"] = True
        return [("ZADD", MEMBERS, NOW - 1, name)]

    return Event(f"the lease of {name} ends", happen, times=1)


def forgotten(view: View, memories: dict[str, Memory]) -> list[tuple[Any, ...]] | None:
    """The leases of those who are gone end some day."""
    gone = [name for name in view.ended & set(view.get(MEMBERS) or {}) if view.get(MEMBERS)[name] > NOW]
    return [("ZADD", MEMBERS, NOW - 1, name) for name in gone] or None


def over(view: View, memories: dict[str, Memory]) -> list[tuple[Any, ...]] | None:
    """All is done, and nobody needs to wait any more."""
    here = view.get(BASE) or {}
    if any(name not in view.ended for name in memories if name > "m"):
        return None
    if any(memory.get("over") for memory in memories.values()) or pending(view, BASE, "g"):
        return None
    if here.get("g g") != here.get("last"):
        return None
    for memory in memories.values():
        memory["over"] = True
    return []


# --- what must hold -----------------------------------------------------------------------------------------


def once(view: View) -> str | None:
    """No effect twice, no entry twice; nobody is told that what he has is not his."""
    if wronged := [name for name, memory in view.memory.items() if memory.get("wronged")]:
        return f"{wronged} was refused what is his"
    numbers = [value for name, value in (view.get(BASE) or {}).items() if name.startswith("e ")]
    if len(numbers) != len(set(numbers)):
        return "published twice"
    sums = {id: int(count) for id, count in (view.get(SUMS) or {}).items()}
    return f"effects of {sums}" if any(count > 1 for count in sums.values()) else None


def nothing_is_left(view: View) -> str | None:
    """When all have ended, every entry is done, and nothing of it is kept."""
    if view.ended != frozenset(view.memory) or not any(one.get("over") for one in view.memory.values()):
        return None
    if rows := pending(view, BASE, "g"):
        return f"all have ended, and {rows} is pending"
    last = (view.get(BASE) or {}).get("g g", b"")
    if last != (view.get(BASE) or {}).get("last"):
        return f"all have ended, and was read to {last!r} only"
    kept = [key for key in (RETRIES, ERRORS) if view.get(key)]
    return f"all have ended, and {kept} is kept" if kept else None


def limited(most: int) -> Any:
    """Nobody gets a message more often than that."""

    def check(view: View) -> str | None:
        beyond = {id: count for id, (_, count) in pending(view, BASE, "g").items() if count > most}
        return f"delivered too often: {beyond}" if beyond else None

    return check


def at_work(view: View) -> list[str]:
    """Who has a message and takes it for his own."""
    return [
        name
        for name, memory in view.memory.items()
        if view.at(name) in {"ack", "effects"} and not memory.get("lost")
    ]


def alone(view: View) -> str | None:
    """Where a partition has one member at a time, no two have something that they take for theirs."""
    owners = at_work(view)
    return f"{owners} have messages at a time" if len(owners) > 1 else None


def each_alone(view: View) -> str | None:
    """No message is taken for theirs by two."""
    has = [view.memory[name]["has"] for name in at_work(view)]
    return f"two have {has[0]}" if len(has) != len(set(has)) else None


def watch(history: Memory, before: View, move: Move, after: View) -> str | None:
    """Done is what its owner, by its very delivery, has done; and in order, where one member is alone."""
    was, now = pending(before, BASE, "g"), pending(after, BASE, "g")
    for id, (owner, count) in was.items():
        if id in now:
            continue
        if move.step not in {"turn", "take", "look", "ack", "effects", "settle", "dead!"} or not move.args:
            return f"{id} was lost"
        asked_count = _asked(move, id)
        buried = len(entries(after, DEAD)) > len(entries(before, DEAD))
        if not (buried and move.step == "take") and (owner != move.args[1] or asked_count != count):
            return f"{move.args[1]} did away with {id}, which {owner} has by its delivery {count}"
        if history.get(id):
            return f"{id} was done twice"
        history[id] = True
        earlier = [one for one in now if one < id]
        if earlier and history.get("ordered") is not False and before.memory and _is_alone(move):
            return f"{id} was done before {earlier}"
    return None


def _asked(move: Move, id: str) -> int | None:
    """By which delivery the request of `move` does something about `id`."""
    args = list(move.args)
    return int(args[args.index(id) + 1]) if id in args else None


def _is_alone(move: Move) -> bool:
    return move.step in {"turn", "take", "look", "ack"} and move.args[4] == "1"


def model(
    manners: Sequence[str],
    *,
    only: bool = False,
    count: int = 1,
    most: int = 0,
    ends: str = "",
    published: int = 0,
    ids: bool = True,
    **faults: Any,
) -> Model:
    """Members of these manners, called a, b, ..., and what a producer publishes before or meanwhile."""
    names = "abc"[: len(manners)]
    actors = {
        name: member(name, manner, alone=only, most=most) for name, manner in zip(names, manners, strict=True)
    }
    if published:
        actors["p"] = producer(published, ids=ids)
    start = [("XADD", BASE, f"{number}-0", "data", number) for number in range(1, count + 1)]
    return Model(
        scripts=SCRIPTS,
        actors=actors,
        start=start,
        events=[
            *(ended(name) for name in ends),
            Event("the dead are forgotten", forgotten, fair=True),
            Event("all is done", over, fair=True),
        ],
        always=[once, *([limited(most)] if most else []), nothing_is_left, alone if only else each_alone],
        watch=watch,
        **faults,
    )
