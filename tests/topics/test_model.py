"""One subscriber in every order of events: pushes that are late or lost, looks that take their time, and
histories that are trimmed, flushed, or have lost their end. The scripts run on a real server, the link is
simulated.

Each guard was once removed by hand to see it found.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast import ConfigurationError
from holdfast._compat import Signal
from holdfast.topics import rules
from holdfast.topics.inbox import Inbox, Item, Turn
from holdfast.topics.options import Counters, Gap, Listening, OnFull
from holdfast.topics.rules import Page, Position
from tests.topics.world import topic_of

STEPS = (
    "publish",
    "publish",
    "publish",
    "pump",
    "pump",
    "read",
    "read",
    "cut",
    "join",
    "fail",
    "flush",
    "lose",
)
ORDERLY = tuple(step for step in STEPS if step not in ("flush", "lose"))


class World:
    """A topic on a server, a link that carries pushes, and one subscriber, whose delivery is checked."""

    def __init__(self, hf: Any, history: int, queue: int, on_full: OnFull) -> None:
        self.topic = topic_of(hf, f"t{time.monotonic_ns()}", history=history)
        self.hf = hf
        self.link: deque[bytes | None] | None = deque()  # None in it: the subscription is confirmed
        self.inbox = Inbox(
            Signal(), Listening(queue=queue, on_full=on_full), Counters(), history=history, at=None
        )
        self.inbox.at = self.topic._desk.position()
        self.link.append(None)
        self.said = 0
        self.end = self.inbox.at.text  # the position of the topic
        self.before: dict[str, str] = {}  # the position behind which each message was said
        self.epochs: dict[str, int] = {}
        self.last: Position | None = None
        self.seen: Counter[bytes] = Counter()
        self.gap: Gap | None = None
        self.gaps: list[Gap] = []
        self.stage: tuple[Callable[[], None], ...] = ()

    def publish(self) -> None:
        self.said += 1
        at = self.topic.publish(self.said)
        body = self.topic._desk.codec.encode(self.said)
        self.before[at.position], self.end = self.end, at.position
        self.epochs.setdefault(at.epoch, len(self.epochs))
        if self.link is not None:
            self.link.append(at.position.encode() + b":" + body)

    def pump(self) -> None:
        """What was pushed first arrives."""
        if self.link:
            payload = self.link.popleft()
            if payload is None:
                self.inbox.fire()
            else:
                self.inbox.heard(payload)

    def cut(self) -> None:
        if self.link is not None:
            self.link = None
            self.inbox.fire()

    def join(self) -> None:
        if self.link is None:
            self.link = deque([None])

    def flush(self) -> None:
        self.hf.execute("DEL", *self.topic._desk._keys)
        self.end = rules.START.text

    def lose(self) -> None:
        """A failover to a replica that lacks the last message; it cuts the link."""
        log, state = self.topic._desk._keys
        newest = self.hf.execute("XREVRANGE", log, "+", "-", "COUNT", 2)
        if len(newest) < 2:
            return
        self.cut()
        time.sleep(0.002)
        kept = self.hf.execute("XRANGE", log, "-", "+")[:-1]
        self.hf.execute("DEL", log)
        for id, fields in kept:
            self.hf.execute("XADD", log, id, *fields)
        ms, _, offset = kept[-1][0].decode().partition("-")
        self.hf.execute("HSET", state, "ms", ms, "offset", offset)
        self.end = self.topic.position()

    def fail(self) -> None:
        """The look under way gets no answer."""
        self.stage = ()

    def read(self) -> bool:
        """One step of the reader; a look has three of them. False: there was nothing to do."""
        if self.stage:
            step, *rest = self.stage
            self.stage = tuple(rest)
            step()
            return True
        found = self.inbox.take()
        if found is Turn.LOOK:
            at, era = self.inbox.asked()
            pages: list[Page] = []
            self.stage = (
                lambda: pages.append(self.topic._desk.look(at, 3)),
                lambda: self.learn(pages[0], era),
            )
        elif isinstance(found, Gap):
            self.gap = found
            self.gaps.append(found)
        elif isinstance(found, Item):
            self.check(found)
        return found is not None

    def learn(self, page: Page, era: int) -> None:
        self.inbox.learn(page, era)

    def check(self, item: Item) -> None:
        at, last, gap = item.at, self.last, self.gap
        assert at is not None
        self.seen[item.body] += 1
        assert self.seen[item.body] == 1, f"{at} was delivered twice"
        if last is not None:
            assert self.epochs[at.epoch] >= self.epochs[last.epoch], "what has ended comes again"
        if last is not None and gap is None:
            assert self.before[at.text] == last.text, f"{at} after {last}: silence"
        if gap is not None and gap.position and gap.reason != "slow":
            after = rules.parse(gap.position)
            assert at.offset == after.offset + 1
            assert after.epoch in (at.epoch, rules.START.epoch)
        self.last, self.gap = at, None

    def settle(self) -> None:
        """All that is under way arrives, and all is read."""
        self.join()
        while self.link:
            self.pump()
        while self.read():
            pass
        if self.end != rules.START.text:  # else nobody has said yet that it is gone
            assert self.inbox.at.text == self.end


def live(hf: Any, steps: list[str], history: int, queue: int, on_full: OnFull) -> World:
    world = World(hf, history, queue, on_full)
    for step in steps:
        getattr(world, step)()
    world.settle()
    world.publish()
    world.settle()
    assert world.last is not None
    assert world.last.text == world.topic.position()
    assert world.gap is None
    return world


quietly = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# What this test has found: doubles after the end of an epoch, a hole that led back into one, messages of
# three epochs that were heard before a look which knew only the last of them, one that was heard before the
# failover which lost it, and one that was taken for lost although the look had got no answer.
ENDED = "publish join flush read publish read flush".split()
LATE = (
    "pump read read read publish pump read publish publish pump pump flush publish read read read read read "
    "read flush read read read read read read read pump read"
).split()
HOLE = (
    "publish publish publish pump pump read read read read read cut join flush publish pump pump read read "
    "flush publish cut"
).split()
LOST = "publish publish pump pump pump lose join pump read read read read publish pump read read".split()
UNANSWERED = "pump read read read publish pump read flush publish pump read fail read".split()
STALE = (
    "publish pump pump flush publish pump read flush publish publish pump read publish publish flush".split()
)


@quietly
@given(
    st.lists(st.sampled_from(STEPS), min_size=20, max_size=80),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from(["catch_up", "drop_oldest", "drop_newest"]),
)
@example(ENDED, 1, 1, "catch_up")
@example(LATE, 9, 1, "catch_up")
@example(HOLE, 2, 1, "drop_newest")
@example(STALE, 1, 3, "drop_newest")
@example(LOST, 9, 3, "catch_up")
@example(UNANSWERED, 9, 3, "catch_up")
def test_in_whatever_order_it_happens_nothing_is_lost_in_silence_and_nothing_comes_twice(
    hf: Any, steps: list[str], history: int, queue: int, on_full: OnFull
):
    live(hf, steps, history, queue, on_full)


@quietly
@given(st.lists(st.sampled_from(ORDERLY), max_size=80), st.integers(1, 4))
def test_as_long_as_the_history_reaches_there_is_no_gap(hf: Any, steps: list[str], queue: int):
    world = live(hf, steps, 1000, queue, "catch_up")
    assert world.gaps == []
    assert len(world.seen) == world.said


def test_what_was_read_from_the_history_costs_nothing_when_its_push_comes(hf: Any):
    """found: looking again for every message that comes twice."""
    world = World(hf, 10, 10, "catch_up")
    for step in ("publish", "publish", "pump", "read", "read", "read", "pump", "pump", "read", "read"):
        getattr(world, step)()
    assert len(world.seen) == 2
    assert world.inbox.take() is None


# --- positions ----------------------------------------------------------------------------------------------

positions = st.builds(
    Position,
    st.text("0123456789abcdef", min_size=1, max_size=32),
    st.integers(0, 10**15 - 1),
    st.integers(0, 10**15 - 1),
)


@given(positions, st.binary())
def test_a_position_survives_its_way_to_a_browser_and_a_payload_its_way_through_the_channel(
    at: Position, body: bytes
):
    assert rules.parse(at.text) == at
    assert rules.unpack(at.text.encode() + b":" + body) == (at, body)


@given(st.one_of(st.text(), st.integers(), st.from_regex(r"[0-9a-f.-]+")))
def test_what_is_no_position_is_refused(text: Any):
    try:
        assert rules.parse(text).text == text or text[-1] in "0123456789"
    except ConfigurationError as error:
        assert "no position" in str(error)


@pytest.mark.parametrize(
    "text", ["", "a.1", "a.1.1.1", "A.1.1", "a.-1.1", "a.1.1\n", "a.1.1 ", "a." + "1" * 16 + ".1"]
)
def test_positions_that_are_nearly_right_are_refused(text: str):
    """A browser may send anything. found: match instead of fullmatch; numbers beyond 2**53."""
    with pytest.raises(ConfigurationError):
        rules.parse(text)


@given(st.binary())
def test_any_bytes_on_the_channel_are_survived(payload: bytes):
    rules.unpack(payload)
