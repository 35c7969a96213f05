"""Sessions against an exact model (model.py), with the clock in the hand: whatever is done in whatever order,
the answers are the same, and so is what the server holds.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from holdfast import ConflictError
from holdfast.errors import SessionGone
from holdfast.sessions._sessions_sync import Sessions
from holdfast.sessions.options import KEEP, SessionsOptions
from tests.sessions.model import DAY, Conflict, Gone, Live, Pointer, View, World
from tests.sessions.world import Ring, at, staged

USERS = (None, "ann", "bob")
NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.integers(1, 9)
NUMBERS = itertools.count()


def machine(hf: Any, clock: str, cipher: Any) -> type[RuleBasedStateMachine]:
    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            options = SessionsOptions(idle="10m", absolute="1h", touch="1m", cipher=cipher)
            self.sessions: Sessions[Any] = Sessions(hf._wire, f"m{next(NUMBERS)}", options)
            self.world = World(idle=600_000, absolute=3_600_000, touch=60_000)
            self.hands: list[tuple[Any, View]] = []
            self.forwards = True
            self.tick(0)

        def tick(self, ms: int) -> None:
            self.world.now += ms
            hf.execute(*at(clock, self.world.now))

        def hold(self, session: Any, view: View) -> None:
            self.hands = [*self.hands[-5:], (session, view)]

        def hand(self, which: int) -> tuple[Any, View]:
            return self.hands[which % len(self.hands)]

        def both(self, ours: Any, theirs: Any) -> Any:
            """Do both; they agree on what is raised."""
            try:
                expected = theirs()
            except Gone:
                with pytest.raises(SessionGone):
                    ours()
                return None
            except Conflict:
                with pytest.raises(ConflictError):
                    ours()
                return None
            assert ours() == expected
            return expected

        # --- steps ---

        @rule(ms=st.sampled_from([1, 999, 5_000, 10_000, 59_999, 60_000, 300_000, 599_999, 1_200_000]))
        def time_passes(self, ms: int) -> None:
            self.tick(ms)

        @rule(ms=st.sampled_from([1, 5_000, 400_000]))
        def the_clock_is_set_back(self, ms: int) -> None:
            self.forwards = False
            self.tick(-ms)

        @rule(user=st.sampled_from(USERS), data=st.dictionaries(NAMES, VALUES), long=st.booleans())
        def create(self, user: str | None, data: dict[str, Any], long: bool) -> None:
            world = self.world
            idle, absolute = (1_200_000, 7_200_000) if long else (world.idle, world.absolute)
            chosen = {"idle": "20m", "absolute": "2h"} if long else {}
            session = self.sessions.create(user, data, **chosen)  # type: ignore[arg-type]
            number = world.enter(user)
            live = Live(world.now, world.now, world.now + absolute, idle, 1, user, number, data)
            world.entries[session.id] = live
            view = world.view(session.id)
            assert view is not None
            self.hold(session, view)

        @rule(user=st.sampled_from(USERS[1:]), before=st.booleans())
        def sign_in_while_all_is_revoked(self, user: str, before: bool) -> None:
            number = self.sessions.generation(user)
            assert number == self.world.enter(user)
            if before:
                self.sessions.revoke_all(user)
                self.world.revoke_all(user, None)
                with pytest.raises(SessionGone):
                    self.sessions.create(user, generation=number)

        @precondition(lambda self: self.world.entries)
        @rule(which=st.integers(0, 99))
        def load(self, which: int) -> None:
            id = list(self.world.entries)[which % len(self.world.entries)]
            view, session = self.world.view(id), self.sessions.load(id)
            assert (view is None) is (session is None)
            if view is not None and session is not None:
                assert (session.data, session.user, session.version) == (
                    view.base.data,
                    view.base.user,
                    view.base.version,
                )
                assert session.superseded is view.superseded and not session.changed
                assert session.expires_at.timestamp() * 1000 == pytest.approx(
                    min(view.base.ends, view.base.last + view.base.idle), abs=1
                )
                self.hold(session, view)

        @precondition(lambda self: self.hands)
        @rule(which=st.integers(0, 9), name=NAMES, value=st.none() | VALUES)
        def change(self, which: int, name: str, value: int | None) -> None:
            session, _ = self.hand(which)
            if value is None:
                session.data.pop(name, None)
            else:
                session.data[name] = value

        @precondition(lambda self: self.hands)
        @rule(which=st.integers(0, 9), minutes=st.sampled_from([5, 10]))
        def change_idle(self, which: int, minutes: int) -> None:
            session, view = self.hand(which)
            session.idle = minutes * 60
            view.idle = minutes * 60_000

        @precondition(lambda self: self.hands)
        @rule(which=st.integers(0, 9), strict=st.booleans())
        def save(self, which: int, strict: bool) -> None:
            session, view = self.hand(which)
            data = dict(session.data)
            self.both(
                lambda: self.sessions.save(session, strict=strict),
                lambda: self.world.save(view, data, strict=strict),
            )
            assert session.superseded is view.superseded

        @precondition(lambda self: self.hands)
        @rule(which=st.integers(0, 9))
        def touch(self, which: int) -> None:
            session, view = self.hand(which)
            self.both(lambda: self.sessions.touch(session), lambda: self.world.touched(view))

        @precondition(lambda self: self.hands)
        @rule(which=st.integers(0, 9), name=NAMES)
        def pop(self, which: int, name: str) -> None:
            session, view = self.hand(which)
            self.both(lambda: self.sessions.pop(session, name), lambda: self.world.pop(view, name))

        @precondition(lambda self: self.hands)
        @rule(which=st.integers(0, 9), user=st.sampled_from(USERS), overlap=st.sampled_from([0, 5, 10]))
        def rotate(self, which: int, user: str | None, overlap: int) -> None:
            session, view = self.hand(which)
            if session.user is not None:
                user = session.user
            data = dict(session.data)
            signs_in = user != session.user
            if view.superseded and not signs_in:
                self.save(which, strict=False)
                return
            ours: list[Any] = []
            chosen = KEEP if not signs_in else user

            def theirs() -> bool:
                found = self.world.rotate(view, data, user, 0 if signs_in else overlap * 1000)
                if found is None:
                    self.world.save(view, data, strict=False)
                    return False
                self.hands.append((None, found))
                return True

            def do() -> bool:
                ours.append(self.sessions.rotate(session, user=chosen, overlap=overlap))
                return not ours[0].superseded

            if self.both(do, theirs):
                _, found = self.hands.pop()
                self.world.name(found, ours[0].id)
                assert ours[0].data == found.base.data and not ours[0].changed
                self.hands = [one for one in self.hands if one[0] is not session]  # its data went along
                self.hold(ours[0], found)

        @precondition(lambda self: self.world.entries)
        @rule(which=st.integers(0, 99))
        def revoke(self, which: int) -> None:
            id = list(self.world.entries)[which % len(self.world.entries)]
            self.both(lambda: self.sessions.revoke(id), lambda: self.world.revoke(id))

        @rule(user=st.sampled_from(USERS[1:]), which=st.integers(0, 9), keep=st.booleans())
        def revoke_all(self, user: str, which: int, keep: bool) -> None:
            mine = [one for one in self.hands if one[0].user == user]
            session, view = mine[which % len(mine)] if keep and mine else (None, None)
            number = self.sessions.revoke_all(user, keep=session)
            self.world.revoke_all(user, view)
            assert number == self.world.users[user].number

        @rule(user=st.sampled_from(USERS[1:]))
        def listing(self, user: str) -> None:
            found = {one.handle for one in self.sessions.list(user)}
            entries = self.world.entries
            alive = {id for id, one in entries.items() if isinstance(one, Live) and one.user == user}
            known = {self.sessions._desk.layout.session(handle) for handle in found}
            right = {self.key(id) for id in alive if self.world.alive(id)}
            assert known <= right
            if self.forwards:  # what looked dead is not in the index any more
                assert known == right

        # --- what the server holds ---

        def key(self, id: str) -> str:
            from holdfast.sessions.ids import handle_of

            return str(self.sessions._desk.layout.session(handle_of(id)))

        @invariant()
        def the_server_holds_the_same(self) -> None:
            entries = self.world.entries
            commands: list[Any] = []
            for id in entries:
                commands += [("HMGET", self.key(id), "c", "l", "e", "i", "v"), ("PEXPIRETIME", self.key(id))]
            replies = hf._wire.execute_many(commands, retry="safe") if commands else []
            for (id, entry), numbers, ends in zip(entries.items(), replies[::2], replies[1::2], strict=True):
                if isinstance(entry, Pointer):
                    assert numbers[2] is None, f"{id} lives again"
                    continue
                told = [int(one) for one in numbers]
                assert told == [entry.created, entry.last, entry.ends, entry.idle, entry.version]
                assert ends == min(entry.last + entry.idle, entry.ends)
                if entry.user is not None:
                    theirs = self.sessions._desk.layout.user(id[23:])[0]
                    assert hf.execute("PEXPIRETIME", theirs) >= entry.ends + DAY

    return Machine


@pytest.mark.parametrize("cipher", [None, Ring(b"key1")], ids=["plain", "sealed"])
def test_sessions_are_what_the_model_says(hf: Any, namespace: str, monkeypatch: Any, cipher: Any):
    """found: each of the mistakes that are listed in the reports of this room, planted by hand."""
    clock = f"{namespace}:clock"
    staged(monkeypatch, clock)
    run_state_machine_as_test(
        machine(hf, clock, cipher),
        settings=settings(max_examples=40 if cipher is None else 12, stateful_step_count=30, deadline=None),
    )
