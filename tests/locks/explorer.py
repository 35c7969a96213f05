"""Every order in which a few actors can run the real scripts of a lock, on a real server.

An actor is a list of `Step`s, each one run of a script. Breadth-first search through all the states that can
be reached, each once (explicit-state model checking, as in Holzmann's SPIN), so that the first failure found
is also a shortest one. What a run of a script does is asked of the server: the state before is written there,
the script is run, the state after is read. The answer is remembered: many orders lead to the same question.

    model = Model(
        scripts={"acquire": text, "release": text},
        actors={
            "a": [
                Step("acquire", [KEY], ["token-a"], then=granted_or_park),
                Step(name="work"),
                Step("release", [KEY], ["token-a"]),
            ],
        },
        events=[Event("the lease of a ends", ended, fair=True)],
        always=[one_at_work],
        lost=1, late=1, crashes=1,
    )
    with Explorer(own_server.url) as explorer:
        explorer.check(model)  # raises Broken, with the whole story, where something is wrong
        explorer.must_find([model], [Mutant("acquire", "if held", "if false")])

What an actor makes of a reply, `then(memory, reply)`, may write into its memory and returns where it goes on:
NEXT (or None), AGAIN, END, the name of a step, or `Park(channel)`: the same step again, but not before
somebody publishes on the channel or an event happens (in life: before the timer that its pttl sets). Replies
have tuples for arrays and str for strings. What differs each time, such as a pttl, stays out of memories.

What can go wrong, each `lost`, `late`, `crashes` times in one story:
    lost       the script is run, its reply never comes; the actor goes on at one of the step's `unanswered`
    late       the request is stuck and the actor goes on as above; it arrives at any later moment
    crashes    the actor is gone, whatever it was about to do
    Event      what the environment does, for example the end of a lease: its commands are run in one piece
An actor may also turn to one of `Step.instead` (it gives up), even while it is parked.

What is checked:
    always     of every state: returns a sentence where something is wrong
    watch      of every move: the same, with a memory of its own for what no state shows
    waking     nobody stays parked who would not park if it asked now: somebody forgot to tell
    stuck      from every state a way leads to the end of all actors, by steps, late arrivals and fair events
(`waking=False` and `stuck=False` leave these two out.)

Two things the scripts call are replaced, and nothing else: `TIME` is the key `~clock` (seconds, from CLOCK
on; only events move it), and `SPUBLISH` adds to the list `~told`. So no lease ends by itself: an event
deletes the string or moves the score into the past. Scores and PEXPIREAT are in the clock's time; that a key
has an end is seen (`Value.ends`), not when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple, Self

from tests.locks.explorer_model import (
    AGAIN,
    END,
    NEXT,
    Event,
    Memory,
    Model,
    Move,
    Mutant,
    Park,
    State,
    Step,
    View,
)
from tests.locks.explorer_server import CLOCK, Frozen, Line, parted, plain, staged

__all__ = [
    "AGAIN",
    "CLOCK",
    "END",
    "NEXT",
    "Broken",
    "Event",
    "Explorer",
    "Memory",
    "Model",
    "Move",
    "Mutant",
    "Park",
    "Report",
    "Step",
    "View",
]


# The reply, what was published, and what the server holds then, by everything that decides it.
_Answers = dict[Hashable, tuple[Any, tuple[tuple[str, str], ...], tuple[Frozen, ...]]]


class Report(NamedTuple):
    """How much was looked at."""

    states: int
    moves: int


class Broken(AssertionError):
    """Something does not hold; the text is the sentence and the story that leads there."""


class Explorer:
    """Explores models on the server at `url`, which is emptied all the time."""

    def __init__(self, url: str) -> None:
        self._line = Line(url)
        self._answers: _Answers = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def check(self, model: Model) -> Report:
        """Look at every state of `model`. Raises: Broken."""
        return _Search(self._line, model, self._answers).run()

    def must_find(self, models: Sequence[Model], mutants: Sequence[Mutant]) -> dict[Mutant, str]:
        """What the first of `models` to notice says of each of `mutants`. Raises: AssertionError for those
        that none notices, after all were tried.
        """
        found = {mutant: self._find(models, mutant) for mutant in mutants}
        survivors = [mutant for mutant, sentence in found.items() if not sentence]
        assert not survivors, "not found: " + "; ".join(f"{one.script}: {one.old!r}" for one in survivors)
        return found

    def _find(self, models: Sequence[Model], mutant: Mutant) -> str:
        for model in models:
            try:
                self.check(mutant.of(model))
            except Broken as broken:
                return str(broken).partition("\n")[0]
        return ""


class _Search:
    """One search through the states of a model."""

    def __init__(self, line: Line, model: Model, answers: _Answers) -> None:
        self._line, self._model, self._answers = line, model, answers
        self._names = list(model.actors)
        self._digests = {name: line.load(staged(text)) for name, text in model.scripts.items()}
        self._views: dict[State, View] = {}
        self._numbers: dict[State, int] = {}
        self._states: list[State] = []
        self._origin: list[tuple[int, Move | None]] = []  # the state before, the move that led from there
        self._back: list[list[int]] = []  # from which states a fair move leads here
        self._queue: deque[int] = deque()
        self._moves_seen = 0

    def run(self) -> Report:
        model = self._model
        store, _ = parted(self._line.apply((), [("SET", "~clock", CLOCK), *model.start])[1])
        first = State(
            store,
            tuple((0, None) if steps else (-1, None) for steps in model.actors.values()),
            tuple(_frozen(model.memory.get(name, {})) for name in self._names),
            (),
            (model.lost, model.late, model.crashes, *(event.times for event in model.events)),
            (),
        )
        self._add(first, 0, None)
        while self._queue:
            at = self._queue.popleft()
            try:
                self._expand(at)
            except Broken as broken:
                raise Broken(_ordered(str(broken), self._story(at))) from None
        if self._model.stuck:
            self._stuck()
        return Report(len(self._states), self._moves_seen)

    def _expand(self, at: int) -> None:
        before = self._states[at]
        for move, fair, unwatched in self._moves(before):
            self._moves_seen += 1
            try:
                after = self._watched(before, move, unwatched)
                if after not in self._numbers:
                    self._add(after, at, move)
            except Broken as broken:
                raise Broken(f"{broken}\n  {move}") from None
            if fair:
                self._back[self._numbers[after]].append(at)
        self._views.pop(before, None)

    def _add(self, state: State, origin: int, move: Move | None) -> None:
        assert len(self._states) < self._model.most, f"more than {self._model.most} states"
        self._queue.append(len(self._states))
        self._numbers[state] = len(self._states)
        self._states.append(state)
        self._origin.append((origin, move))
        self._back.append([])
        self._look(state)

    # --- what can happen ---

    def _moves(self, state: State) -> Iterator[tuple[Move, bool, State]]:
        """Everything that can happen in `state`: the move, is it fair, and what it leads to."""
        for index, (place, parked) in enumerate(state.places):
            if place >= 0:
                step = self._model.actors[self._names[index]][place]
                if parked is None:
                    yield from self._steps(state, index, step)
                for label in step.instead:
                    yield Move("instead", self._names[index], label), False, self._gone(state, index, label)
                if (spent := _spent(state, 2)) is not None:
                    yield Move("crash", self._names[index]), False, self._gone(spent, index, END)
        for place, (actor, script, keys, args) in enumerate(state.late):
            reply, told, store = self._ask(state.store, script, keys, args)
            left = state.late[:place] + state.late[place + 1 :]
            after = self._heard(state._replace(store=store, late=left), told)
            yield Move("late", actor, script, args, reply, told), True, after
        yield from self._happenings(state)

    def _steps(self, state: State, index: int, step: Step) -> Iterator[tuple[Move, bool, State]]:
        actor, memory = self._names[index], dict(state.memories[index])
        args = _arguments(step, memory)
        reply, told, store = self._ask(state.store, step.script, tuple(step.keys), args)
        label = step.then(memory, reply)
        ran = self._heard(
            state._replace(store=store), told
        )  # before it parks: what it tells is for the others
        learnt = ran._replace(memories=_put(ran.memories, index, _frozen(memory)))
        move = Move("step", actor, step.title, args, reply, told)
        yield move, True, self._gone(learnt, index, label)
        for label in step.unanswered if step.script else ():
            if (spent := _spent(ran, 0)) is not None:
                yield move._replace(kind="lost"), False, self._gone(spent, index, label)
            if (spent := _spent(state, 1)) is not None:
                request = (actor, step.script, tuple(step.keys), args)
                stuck = spent._replace(late=tuple(sorted((*spent.late, request))))
                yield Move("delayed", actor, step.title, args), False, self._gone(stuck, index, label)

    def _happenings(self, state: State) -> Iterator[tuple[Move, bool, State]]:
        for number, event in enumerate(self._model.events, 3):
            if (spent := _spent(state, number)) is None:
                continue
            memories = {name: dict(one) for name, one in zip(self._names, state.memories, strict=True)}
            commands = event.happen(self._view(state), memories)
            if commands is None:
                continue
            question = (state.store, tuple(tuple(map(str, command)) for command in commands))
            if question not in self._answers:
                self._answers[question] = (None, (), parted(self._line.apply(*question)[1])[0])
            after = spent._replace(
                store=self._answers[question][2],
                places=tuple((place, None) for place, _ in state.places),  # their timers have fired
                memories=tuple(_frozen(memories[name]) for name in self._names),
            )
            yield Move("event", event.name), event.fair, after

    def _gone(self, state: State, index: int, label: str | Park | None) -> State:
        """`state` once the actor has gone to `label`."""
        steps, here = self._model.actors[self._names[index]], state.places[index][0]
        parked = None
        if isinstance(label, Park):
            there, parked = here, label.channel
        elif label == AGAIN:
            there = here
        elif label == END or (label in {None, NEXT} and here + 1 == len(steps)):
            there = -1
        elif label in {None, NEXT}:
            there = here + 1
        else:
            there = next(place for place, step in enumerate(steps) if step.title == label)
        return state._replace(places=_put(state.places, index, (there, parked)))

    def _heard(self, state: State, told: tuple[tuple[str, str], ...]) -> State:
        """`state` once those who are parked have got the message."""
        channels = {channel for channel, _ in told}
        places = tuple((place, None if parked in channels else parked) for place, parked in state.places)
        return state._replace(places=places)

    def _ask(
        self, store: tuple[Frozen, ...], script: str, keys: tuple[str, ...], args: tuple[str, ...]
    ) -> tuple[Any, tuple[tuple[str, str], ...], tuple[Frozen, ...]]:
        if not script:
            return None, (), store
        question = (store, self._digests[script], keys, args)
        if question not in self._answers:
            call = ("EVALSHA", self._digests[script], len(keys), *keys, *args)
            reply, after = self._line.apply(store, [call])
            if isinstance(reply, Exception):
                raise Broken(f"{script} {' '.join(args)} failed: {reply}")
            left, told = parted(after)
            self._answers[question] = (plain(reply), told, left)
        return self._answers[question]

    # --- what must hold ---

    def _view(self, state: State) -> View:
        if state not in self._views:
            self._views[state] = View(state, self._model)
        return self._views[state]

    def _watched(self, before: State, move: Move, after: State) -> State:
        if self._model.watch is None:
            return after
        history = dict(before.history)
        wrong = self._model.watch(history, self._view(before), move, View(after, self._model))
        if wrong:
            raise Broken(wrong)
        return after._replace(history=_frozen(history))

    def _look(self, state: State) -> None:
        for check in self._model.always:
            if wrong := check(self._view(state)):
                raise Broken(wrong)
        for index in range(len(self._names)) if self._model.waking else ():
            if wrong := self._asleep(state, index):
                raise Broken(wrong)

    def _asleep(self, state: State, index: int) -> str | None:
        place, parked = state.places[index]
        if parked is None:
            return None
        step, memory = self._model.actors[self._names[index]][place], dict(state.memories[index])
        reply, _, _ = self._ask(state.store, step.script, tuple(step.keys), _arguments(step, memory))
        if isinstance(step.then(memory, reply), Park):
            return None
        return f"{self._names[index]} is parked and nobody told it, but its {step.script} would get {reply}"

    def _stuck(self) -> None:
        """Is there a way to the end from everywhere? Backwards from the end."""
        states = self._states
        well = {number for number, one in enumerate(states) if all(place < 0 for place, _ in one.places)}
        queue = deque(well)
        while queue:
            for number in self._back[queue.popleft()]:
                if number not in well:
                    well.add(number)
                    queue.append(number)
        if len(well) < len(states):
            number = next(number for number in range(len(states)) if number not in well)
            who = [name for name in self._names if name not in View(states[number], self._model).ended]
            raise Broken(f"stuck for ever: {', '.join(who)}\n{self._story(number)}")

    def _story(self, number: int) -> str:
        """What led to the state."""
        moves = []
        while number:
            number, move = self._origin[number]
            moves.append(f"  {move}")
        return "\n".join(reversed(moves))


def _ordered(broken: str, story: str) -> str:
    """The sentence first, then how it began, then the last move."""
    sentence, *last = broken.split("\n")
    return "\n".join([sentence, *([story] if story else []), *last])


def _arguments(step: Step, memory: Memory) -> tuple[str, ...]:
    return tuple(str(one) for one in (step.args(memory) if callable(step.args) else step.args))


def _spent(state: State, number: int) -> State | None:
    left = state.budgets[number]
    if left is None:
        return state
    return state._replace(budgets=_put(state.budgets, number, left - 1)) if left else None


def _put(values: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])


def _frozen(memory: Memory) -> tuple[tuple[str, Hashable], ...]:
    return tuple(sorted(memory.items()))
