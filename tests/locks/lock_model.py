"""Who can do what with the scripts of a lock, for explorer.py: the plain lock's and the fair one's.

Nothing is known here of the shells: an actor acquires, has it renewed, works, and gives it back, or gives up
at any moment and has that undone. What the scripts must guarantee between them is in `watch` and the checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from tests.locks.explorer import AGAIN, CLOCK, END, Event, Memory, Model, Move, Park, Step, View
from tests.locks.explorer_model import Always

KEY, FENCE, WANTED, COUNT, HISTORY, QUEUE, BEATS = (
    f"k{part}" for part in ("", *(":f :v :c :h :q :b".split()))
)
NOW = CLOCK * 1000
TTL, DAY, PATIENCE, STRAY = 30_000, 86_400_000, 6_000, 60_000

SCRIPTS = {
    name: files("holdfast.locks").joinpath(f"{name}.lua").read_text()
    for name in ("acquire", "fair", "keep", "release", "abandon", "break")
}


def token(name: str) -> str:
    """32 digits; the actor's name is its last."""
    return f"{name.encode().hex():0>32}"


def tomb(name: str) -> str:
    return f"k:x:{token(name)}"


def holder(view: View) -> str | None:
    """The token of whoever has it."""
    held = view.get(KEY)
    return None if held is None else held.decode()[:32]


def place(view: View, one: str) -> float | None:
    """Since when it stands in the queue, and is taken to be alive."""
    score = (view.get(QUEUE) or {}).get(one)
    return score if (view.get(BEATS) or {}).get(one, 0) > NOW else None


# --- the actors ---------------------------------------------------------------------------------------------


def actor(
    name: str, *, fair: bool = False, keeps: bool = False, stray: bool = False, speaks_for: Sequence[str] = ()
) -> list[Step]:
    """`stray`: a request for it may come late, so that it is given back by what also keeps that from being
    granted.
    """
    one = token(name)
    release = Step("release", [KEY, WANTED, QUEUE], [one], lambda memory, reply: END if reply else "abandon")

    def asked(memory: Memory, reply: tuple) -> str | Park | None:
        memory["fence"] = reply[1] if reply[0] == 1 else 0
        channel = f"{QUEUE}:w:{one}" if fair else KEY
        return {1: None, 0: Park(channel), -1: END}[reply[0]]

    def kept(memory: Memory, reply: int) -> None:
        if reply < 1:
            memory["lost"] = True

    keys = [KEY, FENCE, tomb(name), COUNT, HISTORY, *([QUEUE, BEATS] if fair else [])]
    args = [one, TTL, f"host:1:{name}", DAY, "1", "0", *([PATIENCE, *map(token, speaks_for)] if fair else [])]
    return [
        Step(
            "fair" if fair else "acquire",
            keys,
            args,
            asked,
            unanswered=(AGAIN, "abandon"),
            instead=["abandon"],
        ),
        *([Step("keep", [KEY, WANTED], [one, TTL], kept)] if keeps else []),
        Step(name="work"),
        *([] if stray else [release]),
        Step("abandon", [KEY, tomb(name), QUEUE, BEATS], [one, STRAY]),
    ]


OPERATOR = [Step("break", [KEY, WANTED, QUEUE], [""], unanswered=(END,))]


# --- what can happen ----------------------------------------------------------------------------------------


def lease_ends(name: str, *, crashed: bool) -> Event:
    """On the server; an actor that is alive has known it before, by its own clock."""

    def happen(view: View, memories: dict[str, Memory]) -> Sequence[Sequence[object]] | None:
        if holder(view) != token(name) or (name in view.ended) != crashed:
            return None
        memories[name]["lost"] = True
        return [("DEL", KEY)]

    return Event(f"the lease of {name} ends", happen, fair=crashed, times=None if crashed else 1)


def beat_ends(name: str, *, crashed: bool) -> Event:
    """One who waits says nothing for long: it has crashed, or was paused."""
    one = token(name)

    def happen(view: View, memories: dict[str, Memory]) -> Sequence[Sequence[object]] | None:
        if (view.get(BEATS) or {}).get(one, 0) <= NOW or (name in view.ended) != crashed:
            return None
        return [("ZADD", BEATS, NOW, one)]

    return Event(f"the beat of {name} ends", happen, fair=crashed, times=None if crashed else 1)


def flushed(view: View, memories: dict[str, Memory]) -> Sequence[Sequence[object]] | None:
    """Everything is gone, and a second has passed. Whoever had it is told (CLIENT TRACKING)."""
    if view.get(FENCE) is None:
        return None
    for name, memory in memories.items():
        memory["lost"] = memory.get("lost", False) or holder(view) == token(name)
    return [("DEL", *(key for key in view.store if key != "~clock")), ("INCRBY", "~clock", 1)]


# --- what must hold -----------------------------------------------------------------------------------------


def every_key_ends(view: View) -> str | None:
    endless = [key for key, value in view.store.items() if not value.ends and key != "~clock"]
    return f"{endless} would stay for ever" if endless else None


def who_is_alive_is_queued(view: View) -> str | None:
    left = set(view.get(BEATS) or {}) - set(view.get(QUEUE) or {})
    return f"{sorted(left)} is alive, but not queued" if left else None


def nothing_is_left(crashes: int) -> Always:
    """Once all are gone, and nobody crashed, nobody has it, and nobody is queued."""

    def check(view: View) -> str | None:
        quiet = not view.state.late and view.state.budgets[2] == crashes
        if not quiet or set(view.memory) != view.ended:
            return None
        left = [key for key in (KEY, QUEUE, BEATS) if view.get(key) is not None]
        return f"all are gone, but {left} is left" if left else None

    return check


def watch(history: Memory, before: View, move: Move, after: View) -> str | None:
    """One at a time, growing fences, true answers, and in a fair lock nobody overtaken."""
    if move.step == "break" and holder(before) is not None and holder(after) is None:
        history[f"{holder(before)} was broken"] = True
    inside = [
        name
        for name in after.memory
        if after.at(name) == "work"
        and not after.memory[name].get("lost")
        and not history.get(f"{token(name)} was broken")
    ]
    if len(inside) > 1:
        return f"{inside} work at once"
    if move.kind not in {"step", "lost", "late"} or not move.args:
        return None
    one = move.args[0]
    if move.step in {"keep", "release"} and move.kind == "step":
        had = holder(before) == one
        right = (move.reply > 0) == had and (holder(after) == one) == (had and move.step == "keep")
        return None if right else f"{move} is not true"
    if move.step == "abandon" and move.kind == "step":
        history[f"{one} gave up"] = True
    if history.get(f"{one} gave up") and (holder(after) == one or one in (after.get(QUEUE) or {})):
        return f"{one} gave up, and is back"
    places = [(view.get(QUEUE) or {}).get(one) for view in (before, after)]
    if move.step == "fair" and None not in places and places[0] != places[1]:
        return f"{move}: it lost its place"
    if move.step in {"acquire", "fair"} and holder(after) == one:
        return granted(history, before, move, after)
    return None


def granted(history: Memory, before: View, move: Move, after: View) -> str | None:
    one, fence = move.args[0], int(after.get(KEY).decode().split(":")[1])
    if move.kind != "lost" and move.reply[1] != fence:
        return f"{move} says another fence than {fence}"
    if holder(before) == one:
        return (
            None
            if fence == int(before.get(KEY).decode().split(":")[1])
            else f"{move}: a new fence for the same"
        )
    if holder(before) is not None:
        return f"{move} took it from {holder(before)}"
    if fence <= history.get("fence", 0):
        return f"{move}: the fence {fence} is not greater than {history['fence']}"
    history["fence"] = fence
    mine = (before.get(QUEUE) or {}).get(one)
    ahead = [
        other
        for other in before.get(QUEUE) or {}
        if move.step == "fair" and other != one and place(before, other) is not None
        if mine is None or place(before, other) < mine
    ]
    return f"{one} overtook {ahead}" if ahead else None


def model(
    names: str,
    *,
    keeps: str = "",
    fair: bool = False,
    paused: str = "",
    operator: bool = False,
    flush: bool = False,
    **faults: Any,
) -> Model:
    """Actors by name, with so many lost replies, late requests, crashes; `paused` are so at times."""
    stray = bool(faults.get("late"))
    actors = {one: actor(one, fair=fair, keeps=one in keeps, stray=stray) for one in names}
    if operator:
        actors["op"] = OPERATOR
    ends = [lease_ends, beat_ends] if fair else [lease_ends]
    events = [end(one, crashed=True) for end in ends for one in names]
    events += [end(one, crashed=False) for end in ends for one in paused]
    if flush:
        events.append(Event("flushed", flushed, times=1))
    return Model(
        scripts=SCRIPTS,
        actors=actors,
        events=events,
        always=[every_key_ends, who_is_alive_is_queued, nothing_is_left(faults.get("crashes", 0))],
        watch=watch,
        **faults,
    )
