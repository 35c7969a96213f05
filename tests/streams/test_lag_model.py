"""Whatever is published, read, acknowledged, deleted and tidied up in whatever order: nothing is removed that
a group has not acknowledged, and a lag is right, or a lower bound that says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from holdfast import Holdfast
from holdfast.streams import books
from holdfast.streams._stream_sync import Stream
from holdfast.streams._tidy_sync import Tidy
from holdfast.streams.options import Retention, StreamOptions
from tests.streams.hands import hands, ids

GROUPS = ("one", "two", "three")
RETENTIONS = (
    None,
    Retention.interest(),
    Retention.work_queue(),
    Retention.limits(max_entries=1),
    Retention.limits(max_entries=4),
    Retention.limits(max_age="1ms"),
    Retention.limits(max_bytes=1),
    Retention.limits(max_entries=3, drop_unread=True),
)
few = st.integers(0, 6)
which = st.sampled_from(GROUPS)


class Model(RuleBasedStateMachine):
    """`there`: ids in the stream; `read`: how many of all that were ever published a group has passed."""

    hf: Holdfast
    names = iter(range(10**9))

    def __init__(self) -> None:
        super().__init__()
        self.name = f"s{next(self.names)}"
        self.ever: list[str] = []
        self.there: list[str] = []
        self.passed: dict[str, int] = {}
        self.pending: dict[str, list[str]] = {}

    @initialize(retention=st.sampled_from(RETENTIONS))
    def begin(self, retention: Retention | None) -> None:
        self.retention = retention
        self.stream: Stream[Any] = Stream(self.hf._wire, self.name, StreamOptions(retention=retention))
        self.stream._tidy.published = lambda *_: None  # type: ignore[method-assign,assignment]
        self.part = self.stream._desk.layout.parts[0]

    @rule(count=few, then_tidy=st.booleans())
    def publish(self, count: int, then_tidy: bool) -> None:
        new = [one.id for one in self.stream.publish_many(range(count))]
        self.ever += new
        self.there += new
        if then_tidy and self.ever:
            self.tidy("")

    @rule(group=which, back=few)
    def make_a_group(self, group: str, back: int) -> None:
        if group in self.passed:
            return
        at = max(0, len(self.ever) - back)
        self.hf.execute(*hands(self.stream, group).begin(self.ever[at - 1] if at else "0"))
        self.passed[group], self.pending[group] = at, []

    @rule(group=which, count=st.integers(1, 6))
    def read(self, group: str, count: int) -> None:
        if group not in self.passed:
            return
        reply = self.hf.execute(*hands(self.stream, group).take(count))
        taken = ids(reply) if reply else []
        assert taken == self.unread(group)[:count]
        self.pending[group] += taken
        if taken:
            self.passed[group] = self.ever.index(taken[-1]) + 1

    @rule(group=which, places=st.sets(few, max_size=4))
    def acknowledge(self, group: str, places: set[int]) -> None:
        done = [one for at, one in enumerate(self.pending.get(group, ())) if at in places]
        if done:
            self.hf.execute(*hands(self.stream, group).done(*done))
            self.pending[group] = [one for one in self.pending[group] if one not in done]

    @rule(places=st.sets(st.integers(0, 20), max_size=3))
    def delete(self, places: set[int]) -> None:
        gone = [one for at, one in enumerate(self.there) if at in places]
        if gone:
            self.hf.execute("XDEL", self.part.stream, *gone)
            self.there = [one for one in self.there if one not in gone]

    @rule(group=which, back=few)
    def lie_to_the_server(self, group: str, back: int) -> None:
        """Another program moves a group, and says nonsense about how much it has read."""
        if group in self.passed and self.ever:
            at = max(0, len(self.ever) - back)
            place = self.ever[at - 1] if at else "0"
            if at < self.passed[group]:
                return  # back over what is pending: entries would be in two places
            self.hf.execute("XGROUP", "SETID", self.part.stream, group, place, "ENTRIESREAD", 3)
            self.passed[group] = at

    @rule(group=which)
    def drop_a_group(self, group: str) -> None:
        if group in self.passed:
            self.stream.group(group).delete()
            del self.passed[group], self.pending[group]

    @precondition(lambda self: self.ever)
    @rule(group=st.sampled_from(("", *GROUPS)))
    def tidy(self, group: str) -> None:
        tidy = Tidy(self.stream._desk, group)
        if self.retention is not None and self.retention.max_age:
            time.sleep(0.003)  # all of it is old
        for _ in range(20):
            if not tidy.part(self.part):
                break
        left = [id.decode() for id, _ in self.hf.execute("XRANGE", self.part.stream, "-", "+")]
        gone = self.there[: len(self.there) - len(left)]
        assert gone + left == self.there  # only the oldest
        needed = {one for name in self.passed for one in [*self.unread(name), *self.pending[name]]}
        if not (self.retention and self.retention.drop_unread):
            assert not needed & set(gone)
        self._is_tidy(left, needed)
        self.there = left
        self.look_at_the_lags()

    def _is_tidy(self, left: list[str], needed: set[str]) -> None:
        kept, rule = len(left), self.retention
        head_is_needed = bool(left) and left[0] in needed
        if not self.passed and rule is not None and rule.kind != "limits":
            assert left == self.there  # nobody has acknowledged it
        if rule is None:
            assert left == self.there
        elif rule.kind != "limits":
            assert head_is_needed or not left or not self.passed
        elif rule.max_age:
            assert head_is_needed or not left
        elif rule.max_entries:
            assert kept <= rule.max_entries or (head_is_needed and not rule.drop_unread)

    def unread(self, group: str) -> list[str]:
        passed = {*self.ever[: self.passed[group]]}
        return [one for one in self.there if one not in passed]

    @rule(group=which, then_tidy=st.booleans())
    def do_all_there_is(self, group: str, then_tidy: bool) -> None:
        if group in self.passed:
            self.read(group, 1000)
            self.acknowledge(group, {*range(1000)})
            if then_tidy and self.ever:
                self.tidy(group)

    @rule()
    def look_at_the_lags(self) -> None:
        for group in self.passed:
            lag, unread = self.stream.group(group).lag(), len(self.unread(group))
            assert lag.pending == len(self.pending[group])
            assert lag.entries == unread if lag.exact else 0 < lag.entries <= unread
            assert lag.exact or unread >= books.EXACTLY
            assert (lag.age > 0) <= (unread > 0)

    def teardown(self) -> None:
        self.hf.execute("UNLINK", self.part.stream)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Bounds that a model reaches."""
    monkeypatch.setattr(books, "COUNTED", 3)
    monkeypatch.setattr(books, "EXACTLY", 6)
    yield


def search(hf: Holdfast, examples: int, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    """Look for an order of steps that breaks a promise."""
    kind = type("Machine", (Model,), {"hf": hf})
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=examples,
            phases=phases,
            database=None,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


@pytest.mark.usefixtures("short")
def test_no_order_of_steps_breaks_a_promise(hf: Holdfast):
    search(hf, 60)


@pytest.mark.soak
@pytest.mark.usefixtures("short")
def test_no_order_of_many_steps_breaks_a_promise(hf: Holdfast):
    search(hf, 1000)


# What is taken out of a script, and what it is replaced by.
MUTANTS = [
    ("TIDY", "if less(first, safe) then safe, keeper = first, name end", ""),
    ("TIDY", "{unread and unread[1] or pending, pending}", "{unread and unread[1]}"),
    ("TIDY", "{unread and unread[1] or pending, pending}", "{pending}"),
    ("TIDY", "trim('MINID', less(safe, oldest) and safe or oldest)", "trim('MINID', oldest)"),
    ("TIDY", "if ARGV[3] == '1' and groups[1] then", "if ARGV[3] == '1' then"),
    ("TIDY", "while rows[free + 1] and less(rows[free + 1][1], safe) do", "while rows[free + 1] do"),
    ("TIDY", "#seq > 15 and id or string.format('%s-%.0f', ms, seq + 1)", "id"),
    ("TIDY", "safe == everything then", "true then"),
    ("LAG", "if first[1] ~= next_one[1] then", "if false then"),
    ("LAG", "unread, cursor = length - before, ''", "unread, cursor = length, ''"),
    ("LAG", "if #rows < page then return found, '' end", "if #rows < page then return found + 1, '' end"),
    ("LAG", "found = found + #rows", "found = found + page"),
    ("LAG", "from = '(' .. rows[#rows][1]", "from = rows[#rows][1]"),
]


@pytest.mark.soak
@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("name", "old", "new"), MUTANTS)
def test_every_guard_is_missed_when_it_is_taken_out(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str
):
    script = getattr(books, name)
    assert script.text.count(old) == 1
    monkeypatch.setattr(books, name, type(script).parse(script.name, script.text.replace(old, new)))
    with pytest.raises(Exception):  # noqa: B017, PT011 (whatever it was that noticed)
        search(hf, 200, (Phase.generate,))
