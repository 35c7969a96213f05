"""What the model check stands on: the server, what is true, and what must always be so. See model.py."""

from __future__ import annotations

import dataclasses
from typing import Any

from holdfast import Holdfast
from holdfast._wire.script import Script
from holdfast.operations import rules
from holdfast.operations.layout import Layout

MOST = 2  # attempts
LEASE = 3_600_000  # ms: nothing ends by itself while the search runs
KEEP = 2 * LEASE
CALLER, SWEEP = 0, 1
PENDING = ("running", "waiting")


class Wrong(AssertionError):
    """A state that must not be; the text says how it was reached."""


@dataclasses.dataclass(frozen=True)
class Actor:
    """What a process knows: the fence of its attempt, the token it asked with, its last checkpoint."""

    fence: int = 0
    token: str = ""
    number: int = 0
    gone: bool = False  # it was abandoned


@dataclasses.dataclass(frozen=True)
class Ghost:
    """What is true, whatever the server says."""

    phase: str = "none"
    attempt: int = 0
    owner: int = -1  # whose attempt is the latest
    live: bool = False  # its lease has not ended
    fences: tuple[int, ...] = ()
    completed: int = 0
    rounds: int = 0  # how often it came back from being dead, or was forgotten
    rested: bool = False
    failed: bool = False
    harmed: bool = False  # somebody has damaged the index, and nobody has looked since
    harms: int = 0


@dataclasses.dataclass(frozen=True)
class Node:
    ghost: Ghost
    actors: tuple[Actor, Actor]
    dump: tuple[bytes | None, ...]
    path: tuple[str, ...]


class Bench:
    """What the search stands on. `scripts` replaces scripts of rules.py, by name.

    `theme` is what happens beside the usual: "checkpoints", "burials" (what is dead comes back, what
    is settled is forgotten), "damage" (to the index); or "fences", which is no search.
    """

    def __init__(self, hf: Holdfast, theme: str, scripts: dict[str, Script] | None = None) -> None:
        self.theme = theme
        self.wire = hf._wire
        self.scripts = scripts or {}
        self.place = Layout(self.wire.keys, "model", 1).place("account:7", "p1")
        part = self.place.part
        self.indexes = (part.due, part.names, part.dead, part.done)
        self.memo = part.memos + "memo"
        self.keys = (self.place.record, *self.indexes, part.fence, self.memo)
        self.number = 0
        self.states = self.steps = 0

    # --- the server -----------------------------------------------------------------------------------------

    def run(self, name: str, keys: tuple[str, ...], args: tuple[Any, ...]) -> Any:
        script = self.scripts.get(name) or getattr(rules, name.upper())
        return self.wire.run(script, keys, args)

    def restore(self, node: Node) -> None:
        commands: list[Any] = [("DEL", *self.keys)]
        for key, dump in zip(self.keys, node.dump, strict=True):
            if dump is not None:
                commands.append(("RESTORE", key, 0, dump))
        self.wire.execute_many(commands)

    def dump(self) -> tuple[bytes | None, ...]:
        return tuple(self.wire.execute_many([("DUMP", key) for key in self.keys], retry="safe"))

    def look(self) -> tuple[dict[str, bytes], list[dict[str, float]]]:
        """The record, and the four parts of the index."""
        record, *parts = self.wire.execute_many(
            [("HGETALL", self.place.record), *(("ZRANGE", key, 0, -1, "WITHSCORES") for key in self.indexes)],
            retry="safe",
        )
        found = {key.decode(): value for key, value in record.items()}
        return found, [{name.decode(): score for name, score in part} for part in parts]

    def mark(self, ghost: Ghost, actors: Any, record: dict[str, bytes], parts: Any) -> Any:
        """Two states with the same mark differ in nothing that counts."""
        last = ghost.fences[-1:]
        told = tuple(
            (
                one.fence > 0,
                (one.fence,) == last,
                record.get("token") == one.token.encode(),
                one.number,
                one.gone,
            )
            for one in actors
        )
        points = tuple((name, raw[:8]) for name, raw in sorted(record.items()) if name.startswith("c:"))
        held = tuple(bool(part) for part in parts)
        places = tuple(tuple(score <= 1 for score in part.values()) for part in parts)
        plain = dataclasses.replace(ghost, fences=())
        late = int(record.get("until", 0)) <= 1
        newest = int(record.get("fence", 0)) in last
        return plain, told, points, held, places, record.get("state"), record.get("attempt"), late, newest

    def twice(self, node: Node, name: str, keys: tuple[str, ...], args: tuple[Any, ...]) -> Any:
        """The answer, which a repeated request gets as well, without changing anything."""
        answer = self.run(name, keys, args)
        before = self.look()
        again = self.run(name, keys, args)
        after = self.look()
        told = (answer, again) if name != "claim" else (_short(answer), _short(again))
        if told[0] != told[1] and not (name in ONCE and again == 0):
            raise Wrong(f"{node.path}: {name} said {told[0]}, repeated {told[1]}")
        if stable(before) != stable(after):
            raise Wrong(f"{node.path}: {name} repeated changed {before} to {after}")
        return answer

    def require(self, node: Node, true: object, what: str) -> None:
        if not true:
            raise Wrong(f"{' > '.join(node.path)}: {what}; {node.ghost}")

    # --- what must always be so -----------------------------------------------------------------------------

    def check(self, node: Node, ghost: Ghost, record: dict[str, bytes], parts: Any) -> None:
        state = record.get("state", b"none").decode()
        self.require(node, state == ghost.phase, f"the server says {state}, it is {ghost.phase}")
        self.require(node, ghost.completed <= 1, "completed twice")
        self.require(node, ghost.attempt <= MOST, "too many attempts")
        self.require(node, list(ghost.fences) == sorted(set(ghost.fences)), "a fence did not grow")
        if record:
            self.require(node, int(record["attempt"]) == ghost.attempt, "the attempts are miscounted")
        if ghost.harmed:
            return
        name = self.place.name
        held = [name in part for part in parts]
        pending = state in PENDING
        wanted = [pending, pending, state == "dead", state == "done"]
        self.require(node, held == wanted, f"the index holds {held}, not {wanted}")
        if pending:
            self.require(node, parts[0][name] == int(record["until"]), "the index has another deadline")

    def harm(self, node: Node, harm: str) -> Any:
        part, name = self.place.part, self.place.name
        if harm in ("due", "both"):
            self.wire.execute("DEL", part.due)
        if harm in ("names", "both"):
            self.wire.execute("DEL", part.names)
        if harm == "early":  # the index is ahead of the record
            self.wire.execute("ZADD", part.due, 1, name)
            self.wire.execute("ZADD", part.names, 0, name)
        if harm == "back":  # a clock that was far ahead wrote it
            far = 1 << 50
            state = node.ghost.phase
            if state in PENDING:
                self.wire.execute("HSET", self.place.record, "until", far)
                self.wire.execute("ZADD", part.due, far, name)
                ghost = dataclasses.replace(node.ghost, harms=1, live=state == "running", rested=False)
                return ghost, node.actors
            self.wire.execute("DEL", part.dead, part.done)
            self.wire.execute("ZADD", part.due, far, name)
        return dataclasses.replace(node.ghost, harmed=True, harms=1), node.actors

    def is_lost(self, node: Node) -> bool:
        """Neither half of the index knows it."""
        return "harm both" in node.path and node.ghost.phase in PENDING

    def expire_now(self) -> None:
        """Set the deadline to the past, in the record and where the index has it."""
        commands = [
            ("HSET", self.place.record, "until", 1),
            ("ZADD", self.place.part.due, "XX", 1, self.place.name),
        ]
        self.wire.execute_many(commands)

    def token(self) -> str:
        self.number += 1
        return f"{self.number:032x}"


ONCE = {"abandon", "retry", "forget", "claim"}  # the second time there is nothing left to do


def stable(world: Any) -> Any:
    """What a repeated request must leave as it is: all but the end of a lease."""
    record, parts = world
    plain = {name: raw for name, raw in record.items() if name not in ("until", "changed")}
    return plain, [sorted(part) for part in parts]


def _short(answer: Any) -> Any:
    """What is the same when a claim is repeated."""
    _, _, taken, _ = answer
    return [one[:3] for one in taken]
