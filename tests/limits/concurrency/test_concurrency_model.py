"""The scripts of concurrency limiters, step by step, against a model in plain Python, by a clock of ours."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast import Holdfast
from holdfast._wire.script import Script
from holdfast.limits.concurrency import rules
from holdfast.limits.concurrency.rules import Names

CLOCK = (
    5_000_000_000_000  # milliseconds: so far ahead that no PEXPIREAT has passed, in microseconds below 2**53
)
TOLD = 16  # waiters that are looked at


def limit_of(token: str) -> int:
    return int(token.rpartition(":")[2])


@dataclass
class Model:
    """What is out, and who waits, with the times in milliseconds."""

    now: int = CLOCK
    slots: dict[str, int] = field(default_factory=dict)
    queue: list[str] = field(default_factory=list)
    beats: dict[str, int] = field(default_factory=dict)
    tombs: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)

    def alive(self) -> dict[str, int]:
        return {token: ends for token, ends in self.slots.items() if ends > self.now}

    def tell(self, out: int) -> None:
        self.told += [one for place, one in enumerate(self.queue[:TOLD]) if out + place < limit_of(one)]

    def until(self, over: int) -> int:
        """Milliseconds until `over` + 1 of the slots have ended."""
        ends = sorted(self.alive().values())
        return ends[min(over, len(ends) - 1)] - self.now if ends else 0

    def leave(self, token: str) -> bool:
        waited = token in self.queue
        self.queue = [one for one in self.queue if one != token]
        self.beats.pop(token, None)
        return waited

    def take(self, token: str, ttl: int, patience: int, most: int, others: list[str]) -> list[int]:
        mine = token in self.alive()
        if not mine and token in self.tombs:
            return [-1]
        freed = len(self.slots) - len(self.alive())
        self.slots = self.alive()
        if patience and not mine:
            for one in (*others, token):
                if one in self.queue:
                    self.beats[one] = self.now + patience
        for one in [one for one in self.queue if self.beats[one] <= self.now]:
            freed += 1
            self.leave(one)
        rank = self.queue.index(token) if token in self.queue else len(self.queue)
        before, code = len(self.slots), 0
        if mine or before + rank < limit_of(token):
            code = 1
            self.leave(token)
            self.slots[token] = self.now + ttl
        elif patience and rank == len(self.queue):
            if 0 <= most <= len(self.queue):
                code = -2
            else:
                self.queue.append(token)
                self.beats[token] = self.now + patience
        if freed and self.queue:
            self.tell(len(self.slots))
        wait = 0 if code == 1 or not self.slots else self.until(before + rank - limit_of(token))
        return [code, len(self.slots), len(self.queue), wait, self.until(len(self.slots))]

    def free(self, token: str, *, bury: bool) -> int:
        if bury:
            self.tombs.add(token)
        had = token in self.alive()
        was = self.slots.pop(token, None) is not None
        if self.leave(token) or was:
            self.tell(len(self.alive()))
        return int(had)

    def keep(self, token: str, ttl: int) -> int:
        if token not in self.alive():
            return 0
        self.slots[token] = self.now + ttl
        return 1

    def look(self, limit: int) -> list[int]:
        out, waiting = len(self.alive()), sum(one > self.now for one in self.beats.values())
        over = out + waiting - limit
        if over < 0 or not out:
            return [int(over < 0), out, waiting, 0, self.until(out)]
        return [0, out, waiting, self.until(over), self.until(out)]

    def reset(self) -> int:
        out = len(self.alive())
        self.slots = {}
        self.tell(0)
        return out


class Stage:
    """The server, with our clock and a loudspeaker that remembers."""

    def __init__(self, hf: Holdfast, subject: str) -> None:
        self._hf = hf
        self.names = Names(hf._wire.keys, "model", subject)
        self._clock, self._told = self.names.slots + ":clock", self.names.slots + ":told"

    def set(self, now: int) -> None:
        self._hf.execute("SET", self._clock, f"{now // 1000} {now % 1000}000")

    def run(self, script: Script, keys: Any, args: Any = ()) -> Any:
        time = f"{{string.match(redis.call('GET', '{self._clock}'), '(%d+) (%d+)')}}"
        text = script.text.replace("redis.call('TIME')", time)
        text = text.replace("redis.pcall('SPUBLISH', ", f"redis.call('RPUSH', '{self._told}', ")
        text = re.sub(r"(RPUSH', '[^']*'), (.*), 'free'\)", r"\1, \2)", text)
        assert text.count(self._clock) == script.text.count("TIME")
        return self._hf.execute("EVAL", text, len(keys), *keys, *args)

    def seen(self) -> tuple[dict[str, int], list[str], dict[str, int], list[str]]:
        """What is out, who waits, for how long each of them is taken to be alive; and who was told since."""
        names = self.names
        slots, queue, beats, told, _ = self._hf._wire.execute_many(
            [
                ("ZRANGE", names.slots, 0, -1, "WITHSCORES"),
                ("ZRANGE", names.queue, 0, -1),
                ("ZRANGE", names.beats, 0, -1, "WITHSCORES"),
                ("LRANGE", self._told, 0, -1),
                ("DEL", self._told),
            ]
        )
        start = len(names.channel(""))
        waiters = [one.decode() for one in queue]
        return pairs(slots), waiters, pairs(beats), [one.decode()[start:] for one in told]


def pairs(reply: Any) -> dict[str, int]:
    if reply and isinstance(reply[0], list):
        return {one.decode(): int(float(score)) for one, score in reply}
    return {one.decode(): int(score) for one, score in zip(reply[::2], reply[1::2], strict=True)}


ALL = [f"{number}{'0' * 31}:{limit}" for number, limit in enumerate([1, 2, 2, 3, 2])]
TOKENS = st.sampled_from(ALL)
TTLS = st.sampled_from([50, 500, 5_000])
TAKES = st.tuples(st.just("take"), TOKENS, TTLS, st.just(6_000), st.just(-1), st.just([]))
FREES = st.tuples(st.just("free"), TOKENS, st.sampled_from([False, False, True]))
STEPS = st.lists(
    st.one_of(
        TAKES,
        TAKES,
        FREES,
        FREES,
        st.tuples(
            st.just("take"),
            TOKENS,
            TTLS,
            st.sampled_from([0, 300, 6_000, 6_000]),
            st.sampled_from([-1, -1, 0, 2]),
            st.lists(TOKENS, max_size=2),
        ),
        st.tuples(st.just("keep"), TOKENS, TTLS),
        st.tuples(st.just("look"), st.integers(1, 3)),
        st.tuples(st.just("reset")),
        st.tuples(st.just("wait"), st.sampled_from([0, 1, 49, 50, 300, 700, 6_000, -40, -1_000])),
    ),
    min_size=20,
    max_size=50,
)


def take(place: int, patience: int = 6_000, ttl: int = 50) -> Any:
    return "take", ALL[place], ttl, patience, -1, []


NUMBERS = itertools.count()  # of the examples: what an earlier one left must not meet a later one


@given(steps=STEPS)
@example(steps=[take(0), ("free", ALL[0], True), take(0)])
@example(steps=[take(1), take(2), take(4), take(3), ("wait", 50), take(3)])
@example(steps=[take(0, ttl=500), take(1), take(2), ("wait", 6_000), take(3)])
@example(steps=[take(1, ttl=500), take(2), ("wait", 50), ("keep", ALL[2], 500), ("keep", ALL[1], 50)])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_order_of_steps(hf: Holdfast, steps: list[Any]) -> None:
    """found: `mine` that is not cleared of the dead; a limit read from ARGV for all of the queue; a waiter
    that comes back after it was granted; `ends` of the wrong place; a tomb that keeps a granted one out.
    """
    model, stage = Model(), Stage(hf, str(next(NUMBERS)))
    names = stage.names
    stage.set(model.now)
    for name, *args in steps:
        if name == "take":
            token, ttl, patience, most, others = args
            before = model.alive()
            reply = stage.run(
                rules.TAKE, names.attempt(token), (token, ttl, limit_of(token), patience, most, *others)
            )
            assert reply == model.take(token, ttl, patience, most, others)
            if reply[0] == 1:
                assert len(model.alive()) <= limit_of(token) or token in before
        elif name == "free":
            token, bury = args
            reply = stage.run(rules.FREE, names.attempt(token), (token, 60_000 if bury else 0))
            assert reply == model.free(token, bury=bury)
        elif name == "keep":
            reply = stage.run(rules.KEEP, (names.alarm, names.slots), args)
            assert reply == model.keep(*args)
        elif name == "look":
            assert stage.run(rules.LOOK, (names.slots, names.beats), args) == model.look(*args)
        elif name == "reset":
            assert stage.run(rules.RESET, (names.alarm, names.slots, names.queue)) == model.reset()
        else:
            model.now += args[0]
            stage.set(model.now)
        assert stage.seen() == (model.slots, model.queue, model.beats, model.told)
        model.told = []


def test_keys_end_with_what_they_hold(hf: Holdfast) -> None:
    """Who crashed leaves nothing for ever. found: a slots key without PEXPIREAT."""
    names = Names(hf._wire.keys, "model", "ann")
    hf._wire.run(rules.TAKE, names.attempt("a:1"), ("a:1", 5_000, 1, 0, -1))
    hf._wire.run(rules.TAKE, names.attempt("b:1"), ("b:1", 5_000, 1, 6_000, -1))
    for key, most in ((names.slots, 5_000), (names.queue, 24_000), (names.beats, 24_000)):
        left: Any = hf.execute("PTTL", key)
        assert 0 < left <= most
    hf._wire.run(rules.KEEP, (names.alarm, names.slots), ("a:1", 50_000))
    longer: Any = hf.execute("PTTL", names.slots)
    assert 5_000 < longer <= 50_000
    hf._wire.run(rules.KEEP, (names.alarm, names.slots), ("a:1", 1_000))
    still: Any = hf.execute("PTTL", names.slots)
    assert still > 5_000, "the slots of others would end with it"


@pytest.mark.parametrize("kind", ["beats", "queue"])
def test_a_queue_half_of_which_was_evicted_heals(hf: Holdfast, kind: str) -> None:
    """found: without the look at the first's beats it would have stood in the way for ever."""
    names = Names(hf._wire.keys, "model", "ann")
    for token in ("a:1", "b:1", "c:1"):
        hf._wire.run(rules.TAKE, names.attempt(token), (token, 60_000, 1, 6_000, -1))
    hf.execute("DEL", getattr(names, kind))
    hf._wire.run(rules.FREE, names.attempt("a:1"), ("a:1", 0))
    reply = hf._wire.run(rules.TAKE, names.attempt("d:1"), ("d:1", 60_000, 1, 0, -1))
    assert reply[0] == 1
