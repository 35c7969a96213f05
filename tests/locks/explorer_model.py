"""The words of explorer.py: who does what, what can happen, what is to hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tests.locks.explorer_server import Command, Frozen, Value, thawed

NEXT: Final = "<next>"
AGAIN: Final = "<again>"
END: Final = "<end>"

Memory = dict[str, Any]  # of one actor; its values must be hashable


class Park(NamedTuple):
    """The same step again, once somebody has published on `channel`, or an event happened."""

    channel: str


@dataclass(frozen=True)
class Step:
    """One run of the script `script`; without one something else, such as the work that a lock protects.

    Its name where others jump to it is `name`, or the script's. `unanswered`: where the actor may go on
    without a reply; `instead`: to which steps it may turn in place of this one.
    """

    script: str = ""
    keys: Sequence[str] = ()
    args: Sequence[object] | Callable[[Memory], Sequence[object]] = ()
    then: Callable[[Memory, Any], str | Park | None] = lambda memory, reply: None
    name: str = ""
    unanswered: Sequence[str] = (AGAIN,)
    instead: Sequence[str] = ()

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name or self.script


@dataclass(frozen=True)
class Event:
    """What the environment may do, at most `times` times (None: as often as it can).

    `happen(view, memories)` returns the commands to run in one piece, or None where it cannot happen now; it
    may write into the memories, by actor. `fair`: it happens some day, nobody waits for it in vain.
    """

    name: str
    happen: Callable[[View, dict[str, Memory]], Sequence[Command] | None]
    fair: bool = False
    times: int | None = None


class State(NamedTuple):
    """Everything that decides how a story can go on."""

    store: tuple[Frozen, ...]
    places: tuple[
        tuple[int, str | None], ...
    ]  # of the actors: step (-1: the end), channel where it is parked
    memories: tuple[tuple[tuple[str, Hashable], ...], ...]
    late: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...]
    budgets: tuple[int | None, ...]  # lost, late, crashes, and of each event
    history: tuple[tuple[str, Hashable], ...]


class View:
    """A state, to be looked at by checks."""

    def __init__(self, state: State, model: Model) -> None:
        self.state = state
        self._model = model
        names = list(model.actors)
        self.memory: Mapping[str, Memory] = {
            name: dict(one) for name, one in zip(names, state.memories, strict=True)
        }
        self.parked: Mapping[str, str | None] = {
            name: place[1] for name, place in zip(names, state.places, strict=True)
        }
        self.ended: frozenset[str] = frozenset(
            name for name, place in zip(names, state.places, strict=True) if place[0] < 0
        )
        self.store: Mapping[str, Value] = {one.key: thawed(one) for one in state.store}

    def get(self, key: str) -> Any:
        """What `key` holds, None if there is no such key."""
        found = self.store.get(key)
        return None if found is None else found.data

    def at(self, actor: str) -> str:
        """The name of the step that `actor` is about to take, END after the last."""
        place = self.state.places[list(self._model.actors).index(actor)][0]
        return END if place < 0 else self._model.actors[actor][place].title


class Move(NamedTuple):
    """What happened between two states. `kind`: step, lost, late, delayed, instead, crash, event."""

    kind: str
    actor: str
    step: str = ""
    args: tuple[str, ...] = ()
    reply: Any = None
    told: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        answer = f" -> {self.reply}" if self.kind == "step" else f" ({self.kind})"
        told = f", tells {[channel for channel, _ in self.told]}" if self.told else ""
        return " ".join([f"{self.actor}:", self.step, *self.args]) + answer + told


Always = Callable[[View], str | None]
Watch = Callable[[Memory, View, Move, View], str | None]


@dataclass(frozen=True, kw_only=True)
class Model:
    """Who does what, what can happen to them, and what must hold."""

    scripts: Mapping[str, str]
    actors: Mapping[str, Sequence[Step]]
    start: Sequence[Command] = ()
    memory: Mapping[str, Memory] = field(default_factory=dict)  # of actors who begin with one
    events: Sequence[Event] = ()
    always: Sequence[Always] = ()
    watch: Watch | None = None
    lost: int = 0
    late: int = 0
    crashes: int = 0
    waking: bool = True
    stuck: bool = True
    most: int = 200_000  # states; more are an error of the model


@dataclass(frozen=True)
class Mutant:
    """The script `script` with `old`, which stands there once, replaced."""

    script: str
    old: str
    new: str

    def of(self, model: Model) -> Model:
        """`model` with the script changed."""
        text = model.scripts[self.script]
        assert text.count(self.old) == 1, f"{self.old!r} stands {text.count(self.old)} times in {self.script}"
        return dataclasses.replace(
            model, scripts={**model.scripts, self.script: text.replace(self.old, self.new)}
        )
