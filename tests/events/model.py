"""Two machines: one appends and reads as a plain Python list would, one runs two versions of a projection.

Scripts may be replaced by mutants, which the machines must notice; see test_model.py.
"""

from __future__ import annotations

import secrets
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast import ConflictError, Holdfast
from holdfast._wire.script import Script
from holdfast.events import _desk_sync, rules
from holdfast.events._desk_sync import Desk, Turn
from holdfast.events._log_sync import EventLog
from holdfast.events.effects import Batch, ProjectionEffects
from holdfast.events.options import EventsOptions, PositionTrimmed
from tests.events.world import add, ns

STREAMS = st.sampled_from("ab")
EXPECTED = st.sampled_from([None, "exists", 0, 1, 2, "right", "right", "right"])


class Wrong(AssertionError):
    """A promise is broken."""


def check(true: object, what: str) -> None:
    if not true:
        raise Wrong(what)


class Mutated:
    """The wire of a client, with other scripts."""

    def __init__(self, wire: Any, mutants: dict[str, Script]) -> None:
        self._wire = wire
        self._mutants = mutants

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    def run(self, script: Script, *args: Any, **how: Any) -> Any:
        return self._wire.run(self._mutants.get(script.name.partition("/")[2], script), *args, **how)


def appender(hf: Holdfast, mutants: dict[str, Script]) -> type[RuleBasedStateMachine]:
    """A machine that appends to two streams, also several times with one request."""

    class Appender(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            wire: Any = Mutated(hf._wire, mutants)
            self.log: Any = EventLog(wire, secrets.token_hex(6), EventsOptions(state=int))
            self.streams: dict[str, list[int]] = {"a": [], "b": []}
            self.order: list[tuple[str, int]] = []
            self.first = 0
            self.gone = {"a": 0, "b": 0}
            self.snapshots = {"a": 0, "b": 0}
            self.requests: list[Any] = []  # what was asked, and its answer
            self.count = 0

        def ask(self, request: Any) -> Any:
            """Ask as if for the first time, or again: with the same token."""
            token, stream, numbers, expected, id = request
            with patch.object(_desk_sync, "token", lambda: token):
                return self.log.append(stream, ns(*numbers), expected=expected, id=id)

        @rule(stream=STREAMS, size=st.integers(1, 3), expected=EXPECTED, named=st.booleans())
        def append(self, stream: str, size: int, expected: Any, named: bool) -> None:
            known = self.streams[stream]
            expected = len(known) if expected == "right" else expected
            numbers = [self.count + one for one in range(size)]
            self.count += size
            token = secrets.token_hex(4)
            request = (token, stream, numbers, expected, f"id {token}" if named else None)
            fits = expected is None or (expected == "exists" and known) or expected == len(known)
            try:
                answer = self.ask(request)
            except ConflictError as error:
                check(not fits and error.actual == len(known), "a conflict that is none, or another version")
                return
            check(fits and not answer.duplicate, "appended although the version is another")
            check((answer.first, answer.last) == (len(known) + 1, len(known) + size), "other versions")
            self.first = self.first or answer.position - size + 1
            known += numbers
            self.order += [(stream, one) for one in numbers]
            check(answer.position == self.first + len(self.order) - 1, "another position")
            self.requests.append((request, answer))

        @precondition(lambda self: self.requests)
        @rule(data=st.data())
        def append_again(self, data: Any) -> None:
            """A request whose reply was lost: soon, or after others, and after its events were archived."""
            request, answer = data.draw(st.sampled_from(self.requests))
            try:
                again = self.ask(request)
            except ConflictError:
                exact_and_archived = isinstance(request[3], int) and self.gone[request[1]] >= answer.first
                check(exact_and_archived and request[4] is None, "a repeated request is a conflict")
                return
            check(again == answer._replace(duplicate=True), "a repeated request has another answer")

        @precondition(lambda self: self.requests)
        @rule(data=st.data(), expected=EXPECTED)
        def the_same_id_with_another_request(self, data: Any, expected: Any) -> None:
            (_, stream, numbers, _, id), answer = data.draw(st.sampled_from(self.requests))
            if id is not None:
                expected = len(self.streams[stream]) if expected == "right" else expected
                again = self.ask((secrets.token_hex(4), stream, numbers, expected, id))
                check(again == answer._replace(duplicate=True), "the same id has another answer")

        @rule(sizes=st.tuples(st.integers(1, 2), st.integers(1, 2)), right=st.booleans())
        def append_to_both(self, sizes: tuple[int, int], right: bool) -> None:
            lengths = {name: len(known) for name, known in self.streams.items()}
            given = {
                name: [self.count + 10 * place + one for one in range(size)]
                for place, (name, size) in enumerate(zip("ab", sizes, strict=True))
            }
            self.count += 20
            off = 0 if right else 1
            batches = [("a", ns(*given["a"]), lengths["a"]), ("b", ns(*given["b"]), lengths["b"] + off)]
            try:
                answers = self.log.append_many(batches)
            except ConflictError:
                check(not right, "a conflict that is none")
                return
            check(right, "appended although the version of one is another")
            for name, numbers in given.items():
                self.streams[name] += numbers
                self.order += [(name, one) for one in numbers]
            self.first = self.first or answers[-1].position - len(self.order) + 1

        @rule(stream=STREAMS, back=st.integers(-1, 2))
        def snapshot(self, stream: str, back: int) -> None:
            version = len(self.streams[stream]) - back
            if version > 0:
                state = sum(self.streams[stream][:version])
                try:
                    self.log.snapshot(stream, state, version=version)
                except ConflictError:
                    check(back < 0, "a snapshot that fits is refused")
                    return
                check(back >= 0, "a snapshot of what has not happened yet")
                self.snapshots[stream] = max(self.snapshots[stream], version)

        @precondition(lambda self: any(self.snapshots.values()))
        @rule(stream=STREAMS)
        def archive(self, stream: str) -> None:
            if self.snapshots[stream]:
                removed = self.log.archive(stream)
                check(removed == max(0, self.snapshots[stream] - self.gone[stream]), "other events removed")
                self.gone[stream] = self.snapshots[stream]

        @rule(stream=STREAMS, after=st.integers(0, 6), limit=st.integers(0, 4), backward=st.booleans())
        def read(self, stream: str, after: int, limit: int, backward: bool) -> None:
            wanted = [(at + 1, one) for at, one in enumerate(self.streams[stream])][after:]
            wanted = (wanted[::-1] if backward else wanted)[:limit]
            try:
                events = self.log.read(stream, after=after, limit=limit, backward=backward)
            except PositionTrimmed:
                check(any(version <= self.gone[stream] for version, _ in wanted), "nothing of it is gone")
                return
            check([(one.version, one.value["n"]) for one in events] == wanted, "other events")

        @rule(stream=STREAMS)
        def load(self, stream: str) -> None:
            known = self.streams[stream]
            loaded = self.log.load(stream, add, 0)
            check((loaded.state, loaded.version) == (sum(known), len(known)), "another state")
            check(loaded.folded == len(known) - self.snapshots[stream], "another snapshot")

        @rule(skip=st.integers(0, 8))
        def read_all(self, skip: int) -> None:
            wanted = self.order[skip:]
            after = self.first - 1 + skip if self.first and skip <= len(self.order) else 0
            seen = {"a": 0, "b": 0}
            versions = []
            for name, _ in self.order:
                seen[name] += 1
                versions.append(seen[name])
            try:
                events = list(self.log.all(after=after)) if after or not skip else []
            except PositionTrimmed:
                left = zip(wanted, versions[skip:], strict=True)
                check(any(version <= self.gone[name] for (name, _), version in left), "nothing of it is gone")
                return
            if after or not skip:
                check([(one.stream, one.value["n"]) for one in events] == wanted, "another order")

    return Appender


class Runner:
    """One process that runs one version, step by step."""

    def __init__(self, version: int, name: str) -> None:
        self.version = version
        self.name = name
        self.turn: Any = None
        self.done: list[int] = []  # positions handled and not committed yet
        self.batch = Batch()
        self.excused = False  # it lost its lease: others may do its work again


def versions(hf: Holdfast, mutants: dict[str, Script]) -> type[RuleBasedStateMachine]:
    """A machine of two processes for each of two versions of a projection."""

    class Versions(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            wire: Any = Mutated(hf._wire, mutants)
            self.log: Any = EventLog(wire, secrets.token_hex(6), EventsOptions())
            self.desk: Desk = self.log._desk
            self.part = self.desk.layout.parts[0]
            self.runners = [Runner(1 + one // 2, f"r{one}") for one in range(4)]
            self.live: dict[int, int] = {}  # position -> how often it was handled as no replay
            self.excused: set[int] = set()
            self.base = self.first_live = 0
            self.last = 0
            self.turned = False

        @initialize(count=st.integers(1, 3))
        def begin(self, count: int) -> None:
            """There are events already, and the first version runs."""
            appended = self.log.append("a", ns(*[1] * count))
            self.base, self.last = appended.position - count, appended.position
            self.first_live = self.last
            self.turn(0)

        @rule(count=st.integers(1, 3))
        def append(self, count: int) -> None:
            self.last = self.log.append("a", ns(*[1] * count)).position

        @rule(number=st.integers(0, 3))
        def turn(self, number: int) -> None:
            runner = self.runners[number]
            if runner.done and not runner.excused:
                return  # what it has handled it commits first
            self.drop(runner)
            found = self.desk.turn(self.part, "p", runner.version, runner.name, 60_000, 4)
            runner.turn = found if isinstance(found, Turn) else None
            runner.excused = False

        def drop(self, runner: Runner) -> None:
            """Forget what it has handled: without a reason it must have been committed."""
            if runner.excused:
                self.excused.update(runner.done)
            runner.turn, runner.done, runner.batch = None, [], Batch()

        @rule(number=st.integers(0, 3), size=st.integers(1, 3))
        def handle(self, number: int, size: int) -> None:
            runner = self.runners[number]
            if runner.turn is None or runner.done:
                return
            turn = runner.turn
            page = self.desk.page(self.part, turn.at, size, turn.goal) if turn.at != turn.goal else None
            for ref in page.refs if page else ():
                replaying = turn.goal >= 0 or ref.position <= turn.live
                fx = ProjectionEffects(f"{self.part.models('p')}{runner.version}:", replaying=replaying)
                fx.incrby(fx.key("sum"))
                fx.hset(fx.key("seen"), ref.position, 1)
                runner.batch.add(fx)
                runner.done.append(ref.position)
                if not replaying:
                    self.live[ref.position] = self.live.get(ref.position, 0) + 1

        @rule(number=st.integers(0, 3), again=st.booleans())
        def commit(self, number: int, again: bool) -> None:
            runner = self.runners[number]
            if not runner.done:
                return
            who = ("p", runner.version, runner.name, 60_000)
            reached = (runner.turn.at, runner.done[-1])
            code, _, _ = self.desk.commit(self.part, who, reached, runner.batch.commands())
            check(code in (rules.DONE, 0), "a write that cannot be done")
            if again:  # the reply was lost
                repeated, _, _ = self.desk.commit(self.part, who, reached, runner.batch.commands())
                check(repeated == code, "a repeated commit has another answer")
            check(code == rules.DONE or runner.excused, "refused, although it was its turn")
            self.drop(runner)

        @rule(number=st.integers(0, 3))
        def lose_the_lease(self, number: int) -> None:
            """It was silent for too long, or has died."""
            runner = self.runners[number]
            lease = self.part.lease(f"p:{runner.version}")
            if hf.execute("GET", lease) == runner.name.encode():
                hf.execute("DEL", lease)
                runner.excused = True

        @rule(number=st.integers(0, 3))
        def close(self, number: int) -> None:
            runner = self.runners[number]
            if not runner.done:
                self.desk.release(self.part, f"p:{runner.version}", runner.name, "")
                runner.turn = None

        @rule()
        def end_the_hold(self) -> None:
            """The new version's process has died while the old one waited for it."""
            held = hf.execute("HEXISTS", self.part.active, "held:p")
            if held:
                hf.execute("HSET", self.part.active, "held:p", "1")

        @invariant()
        def effects_count_once(self) -> None:
            progress = {one.version: one for one in self.status()}
            for version in (1, 2):
                total = int(hf.execute("GET", f"{self.part.models('p')}{version}:sum") or 0)
                at = progress[version].position if version in progress else self.base
                check(total == max(0, at - self.base), f"version {version} at {at - self.base} has {total}")
                seen = hf.execute("HLEN", f"{self.part.models('p')}{version}:seen")
                check(seen == total, "an event was left out")

        def status(self) -> Any:
            from holdfast.events._projection_sync import Projection
            from holdfast.events.options import ProjectionOptions

            handler: Any = lambda fx, event: None  # noqa: E731
            return Projection(self.desk, "p", handler, ProjectionOptions()).status() if self.base else []

        @invariant()
        def each_event_is_no_replay_for_one_alone(self) -> None:
            at_work = {one for runner in self.runners if runner.excused for one in runner.done}
            for position, count in self.live.items():
                check(position > self.first_live, "an event of before is no replay")
                check(
                    count == 1 or position in self.excused | at_work,
                    "handled twice as no replay, without need",
                )

        def teardown(self) -> None:
            if not self.base:
                return
            for runner in self.runners:  # all die, and others go on until nothing is left to do
                runner.excused = True
                self.drop(runner)
                hf.execute("DEL", self.part.lease(f"p:{runner.version}"))
            self.end_the_hold()
            for _ in range(60):
                for number in (0, 2):
                    self.turn(number)
                    self.handle(number, 3)
                    self.commit(number, False)
            found = {one.version: one for one in self.status()}
            check(found[2].active and found[2].behind == 0, "the new version did not replace the old one")
            missing = [one for one in range(self.first_live + 1, self.last + 1) if one not in self.live]
            check(not missing, "an event was a replay for everybody")
            self.effects_count_once()
            self.each_event_is_no_replay_for_one_alone()

    return Versions
