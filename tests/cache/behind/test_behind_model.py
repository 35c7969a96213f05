"""A machine that plays a team: two clients put and remove, writers die, leases are stolen, the source fails.

Held at all times: a reader sees what was put last, unless the source has refused it for good; and the source
never gets a row that is older than what it has. In the end it has what the model has.
"""

from __future__ import annotations

import secrets
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from holdfast import MISSING, Holdfast
from holdfast.cache.behind._sync import WriteBehind
from holdfast.cache.behind.options import Behind
from holdfast.cache.behind.rules import NOTHING
from tests.cache.behind.world import LONG, Memory, envelope, read

KEYS = ("a", "b", "poison")
WHO, KEY = st.integers(0, 1), st.sampled_from(KEYS)


class Strict(Memory):
    """A source that notices what comes too late. `load_many` and the others are those of a Source."""

    def __init__(self) -> None:
        super().__init__()
        self.newest: dict[str, int] = {}
        self.late: list[Any] = []

    def load_many(self, keys: Any) -> dict[Any, Any]:
        return self.load(keys)

    def save_many(self, mapping: dict[str, int]) -> None:
        self.save(mapping)
        for key, value in mapping.items():
            if value < self.newest.get(key, 0):
                self.late.append((key, value))
            self.newest[key] = value

    def delete_many(self, keys: list[str]) -> None:
        self.delete(keys)


class Team(RuleBasedStateMachine):
    """See the file's docstring."""

    url = ""

    @initialize()
    def begin(self) -> None:
        self.hf = Holdfast(self.url, namespace=f"model{secrets.token_hex(6)}")
        self.source = Strict()
        self.source.refuse = self.refuse
        self.mood = "well"
        self.model: dict[str, Any] = dict.fromkeys(KEYS, MISSING)
        self.version = 0
        self.clients = [self.client(), self.client()]

    def client(self) -> WriteBehind:
        options = Behind(delay="2ms", lease="150ms", partitions=2, retry=("1ms", "4ms"), attempts=2)
        return WriteBehind(self.hf._wire, "rows", options, self.source, read)

    def refuse(self, keys: list[Any]) -> Exception | None:
        if self.mood == "away":
            return ConnectionError("away")
        return ValueError("poison") if self.mood == "picky" and "poison" in keys else None

    def see(self, who: int, key: str) -> Any:
        client = self.clients[who]
        raw = self.hf.execute("GET", client.entry(key))
        if raw is not None:
            return read(raw)
        waiting = client.pending(key)
        return self.source.rows.get(key, MISSING) if waiting is NOTHING else waiting

    # --- what the team does ---

    @rule(who=WHO, key=KEY)
    def put(self, who: int, key: str) -> None:
        self.version += 1
        self.clients[who].put(key, key, envelope(self.version), LONG)
        self.model[key] = self.version

    @rule(who=WHO, key=KEY)
    def remove(self, who: int, key: str) -> None:
        self.clients[who].remove(key, key, envelope(None), 0)
        self.model[key] = MISSING

    @rule(who=WHO)
    def flush(self, who: int) -> None:
        if self.mood in ("well", "picky"):
            self.clients[who].flush(20)
            for key in KEYS:
                if key != "poison":
                    assert self.source.rows.get(key, MISSING) == self.model[key]

    @rule(mood=st.sampled_from(["well", "well", "away", "picky"]))
    def turn(self, mood: str) -> None:
        self.mood = mood

    @rule(key=KEY)
    def evict(self, key: str) -> None:
        self.hf.execute("UNLINK", self.clients[0].entry(key))

    # --- what befalls it ---

    @rule(who=WHO)
    def kill_writers(self, who: int) -> None:
        """They end without giving their leases back."""
        crew = self.clients[who]._crew
        if crew is not None:
            crew._give_back = lambda post: None  # type: ignore[method-assign]
            crew.close_by(0.0)
        self.clients[who] = self.client()

    @rule(part=st.integers(0, 1), held=st.booleans())
    def steal_lease(self, part: int, held: bool) -> None:
        lease = self.clients[0]._layout.partitions[part].lease
        if held:
            self.hf.execute("SET", lease, "ab:1", "PX", 30)
        else:
            self.hf.execute("DEL", lease)

    @rule()
    def forget_scripts(self) -> None:
        self.hf.execute("SCRIPT", "FLUSH")

    @rule(who=WHO)
    def replay(self, who: int) -> None:
        self.clients[who].dead_letters().replay()

    # --- what holds ---

    @invariant()
    def readers_see_what_was_put_last(self) -> None:
        for key in KEYS[:2]:
            assert self.see(0, key) == self.model[key], key

    @invariant()
    def nothing_came_too_late(self) -> None:
        assert self.source.late == []

    def teardown(self) -> None:
        self.mood = "well"
        self.clients[0].dead_letters().replay()
        self.clients[0].flush(20)
        try:
            assert {key: self.source.rows.get(key, MISSING) for key in KEYS} == self.model
            assert self.clients[1].backlog()[::2] == (0, 0)
            self.readers_see_what_was_put_last()
        finally:
            for client in self.clients:
                client.close(0)
            self.hf.close(0)


def test_the_source_ends_up_with_what_was_put(server):
    Team.url = server.url
    run_state_machine_as_test(
        Team,
        settings=settings(
            max_examples=16,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
