"""The checkers know good histories from bad ones; a checker that believes everything would be worse than
none, so broken ones are made here on purpose and must be told from the true one.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import sys
import threading
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.testing import histories_search
from holdfast.testing.histories import (
    Event,
    FencedMutex,
    Grant,
    History,
    Model,
    Mutex,
    No,
    Permits,
    ReadersWriter,
    Register,
    check,
    fence_faults,
    overlaps,
)

INF = math.inf


def events(text: str) -> list[Event]:
    """A history in a drawing: `who op[=value]` and then its call and its end, `?` for an unknown one."""
    out = []
    for line in text.strip().splitlines():
        who, what, call, done, *more = line.split()
        op, _, value = what.partition("=")
        said: Any = {"": None, "True": True, "False": False}.get(value, value)
        if isinstance(said, str):
            said = int(said) if value.isdigit() else value
        end = INF if done == "?" else float(done)
        out.append(Event(who=who, op=op, value=said, call=float(call), done=end, maybe=bool(more)))
    return out


GOOD: list[tuple[str, Model, str]] = [
    ("one after the other", Mutex(), "a acquire 0 1\na release=True 2 3\nb acquire 4 5"),
    ("the next is granted while the release is under way", Mutex(),
     "a acquire 0 1\na release=True 2 5\nb acquire 3 4"),
    ("a lost release explains the next grant", Mutex(), "a acquire 0 1\na release 2 ?\nb acquire 3 4"),
    ("an expired lease explains the next grant", Mutex(), "a acquire 0 1\na expire 3 ?\nb acquire 2 4"),
    ("a release that came too late", Mutex(),
     "a acquire 0 1\na expire 3 ?\nb acquire 2 4\na release=False 5 6"),
    ("an acquire whose reply was lost explains a refusal", Mutex(), "a acquire 0 ?\nb busy 2 3"),
    ("the server forgot", Mutex(), "a acquire 0 1\nserver wipe 2 3\nb acquire 4 5\na release=False 6 7"),
    ("the server may have forgotten", Mutex(), "a acquire 0 1\nserver wipe 2 9 maybe\nb acquire 4 5"),
    ("growing fences", FencedMutex(),
     "a acquire=1 0 1\na release=True 2 3\nb acquire=5 4 6\nb release=True 7 8\nc acquire=6 7 9"),
    ("a lost acquire has any fence", FencedMutex(), "a acquire 0 ?\na release 1 ?\nb acquire=1 2 3"),
    ("readers together", ReadersWriter(),
     "a read 0 1\nb read 0 1\nc busy_write 1 2\na release=True 2 3\nb release=True 2 3\nc write=4 3 5"),
    ("a writer alone", ReadersWriter(), "a write=1 0 1\nb busy_read 2 3\na release=True 4 5\nb read 5 6"),
    ("permits for two", Permits(2),
     "a acquire 0 1\nb acquire 0 1\nc busy 1 2\na release=True 2 3\nc acquire 3 4"),
    ("a heavy permit", Permits(3), "a acquire=2 0 1\nb busy=2 1 2\nb acquire=1 1 2"),
    ("an expired permit", Permits(1), "a acquire 0 1\na expire 2 ?\nb acquire 3 4"),
    ("a register", Register(0), "a read=0 0 1\na write=1 1 4\nb read=1 2 3\nb cas_failed=x 5 6"),
    ("the right one of two writes that may have been is kept for later", Register(0),
     "a write=1 0 20 maybe\nb write=1 1 3 maybe\nc read=1 2 3\nc write=0 4 5\nc read=1 6 7"),
    ("a write of unknown outcome may come late", Register(0), "a write=1 0 ?\nb read=0 1 2\nb read=1 3 4"),
]  # fmt: skip
BAD: list[tuple[str, Model, str]] = [
    ("two hold it", Mutex(), "a acquire 0 1\nb acquire 2 3\na release=True 4 5"),
    ("granted before the release was called", Mutex(), "a acquire 0 1\nb acquire 2 3\na release=True 4 5"),
    ("granted before the lease could end", Mutex(), "a acquire 0 1\na expire 5 ?\nb acquire 2 4"),
    ("another's lease has ended", Mutex(), "a acquire 0 1\nc expire 1 ?\nb acquire 2 3"),
    ("a reader beside a writer who stays", ReadersWriter(), "a write=1 0 1\nb read 2 3"),
    ("another reader's place has ended", ReadersWriter(), "a read 0 1\nc expire 1 ?\nb write=1 2 3"),
    ("a writer's fence stands still", ReadersWriter(),
     "a write=2 0 1\na release=True 2 3\nb write=2 4 5"),
    ("another's permit has ended", Permits(1), "a acquire 0 1\nc expire 1 ?\nb acquire 2 3"),
    ("two after one expiry", Mutex(), "a acquire 0 1\na expire 1 ?\nb acquire 2 3\nc acquire 4 5"),
    ("refused though free", Mutex(), "a acquire 0 1\na release=True 2 3\nb busy 4 5"),
    ("refused because of himself", Mutex(), "a acquire 0 1\na busy 2 3"),
    ("released by another", Mutex(), "a acquire 0 1\nb release=True 2 3"),
    ("not his any more, though nobody else came", Mutex(), "a acquire 0 1\na release=False 2 3"),
    ("the server forgot only later", Mutex(), "a acquire 0 1\nb acquire 2 3\nserver wipe 4 5"),
    ("the server may have forgotten, but later", Mutex(),
     "a acquire 0 1\nb acquire 2 3\nserver wipe 4 9 maybe"),
    ("the server may have forgotten, but before", Mutex(),
     "server wipe 0 1 maybe\na acquire 2 3\nb acquire 4 5"),
    ("the same fence again", FencedMutex(), "a acquire=1 0 1\na release=True 2 3\nb acquire=1 4 5"),
    ("fences go back when the server forgets", FencedMutex(),
     "a acquire=7 0 1\nserver wipe 2 3\nb acquire=1 4 5"),
    ("a reader beside a writer", ReadersWriter(), "a write=1 0 1\nb read 2 3\na release=True 4 5"),
    ("a writer beside a reader", ReadersWriter(), "a read 0 1\nb write=1 2 3\na release=True 4 5"),
    ("a writer's fence goes back", ReadersWriter(), "a write=2 0 1\na release=True 2 3\nb write=1 4 5"),
    ("a reader refused among readers", ReadersWriter(), "a read 0 1\nb busy_read 2 3"),
    ("three of two", Permits(2), "a acquire 0 1\nb acquire 0 1\nc acquire 2 3"),
    ("too heavy", Permits(3), "a acquire=2 0 1\nb acquire=2 2 3"),
    ("an old value", Register(0), "a write=1 0 1\nb read=0 2 3"),
    ("a write that may have been, but not so late", Register(0),
     "a write=1 0 3 maybe\nb read=0 4 5\nc write=2 1 9\nd read=1 6 7"),
    ("a value that goes and comes", Register(0), "a write=1 0 9\nb read=1 1 2\nc read=0 3 4"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "text"), [row[1:] for row in GOOD], ids=[row[0] for row in GOOD])
def test_what_can_be_explained_is_accepted(model: Model, text: str):
    assert check(events(text), model)


@pytest.mark.parametrize(("model", "text"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_cannot_be_explained_is_found(model: Model, text: str):
    report = check(events(text), model)
    assert report.verdict == "broken" and not report


def test_a_story_tells_who_had_it_and_why_nobody_can_come_next():
    report = check(events("a acquire=1 0 1\nb acquire=2 2 3\na release=True 4 5"), FencedMutex())
    story = str(report)
    assert "held by a, last fence 1" in story and "b            acquire 2   <- a has it" in story
    assert [event.who for event in report.order] == ["a"]


def test_a_broken_key_is_found_among_others():
    """Keys are checked one by one, or a long history would never end; what concerns all counts in each."""
    fine = [Event(who="a", op="acquire", key="one", call=0, done=1)]
    twice = [
        Event(who=who, op="acquire", key="two", call=at, done=at + 1) for at, who in ((0, "a"), (4, "b"))
    ]
    assert check([*fine, *twice], Mutex()).key == "two"
    assert check([*fine, *twice, Event(who="", op="wipe", key=None, call=2, done=3)], Mutex())


def test_a_search_that_is_too_long_says_that_it_does_not_know():
    many = [Event(who=n, op="write", value=n, call=0, done=100) for n in range(12)]
    never = [Event(who="r", op="read", value="?", call=1, done=2)]
    assert check([*many, *never], Register(), max_steps=500).verdict == "unknown"
    assert check([*many, *never], Register(), seconds=0.0).verdict == "unknown"
    assert "nobody knows" in str(check([*many, *never], Register(), max_steps=500))


def test_a_history_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="before it was called"):
        check([Event(who="a", op="acquire", call=2, done=1)], Mutex())
    with pytest.raises(ValueError, match="knows no operation"):
        check([Event(who="a", op="borrow", call=0, done=1)], Mutex())


def test_many_lost_acquires_do_not_make_the_search_explode():
    """Without remembering the smallest sets only, sixty events that may have happened are 2**60 cases."""
    lost = [
        Event(who=f"lost {n}", op=op, call=n, done=INF) for n in range(30) for op in ("acquire", "release")
    ]
    held = [Event(who=f"h{n}", op="acquire", value=n + 1, call=2 * n, done=2 * n + 1) for n in range(2)]
    report = check([*lost, *held], FencedMutex(), max_steps=20_000)
    assert report.verdict == "broken"
    freed = Event(who="h0", op="release", value=True, call=1.2, done=1.8)
    assert check([*lost, *held, freed], FencedMutex(), max_steps=20_000)


def test_threads_record_a_real_lock():
    history, lock = History(), threading.Lock()

    def work(name: str) -> None:
        for n in range(30):
            call = history.begin(f"{name}{n}", "acquire")
            lock.acquire()
            call.done()
            call = history.begin(f"{name}{n}", "release")
            lock.release()
            call.done(True)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(history.events) == 240
    assert check(history.events, Mutex())


def test_a_call_that_did_not_happen_is_forgotten_and_one_that_never_ended_is_unknown():
    history = History(iter(range(100)).__next__)
    history.begin("a", "acquire").never()
    history.begin("b", "acquire")
    history.begin("c", "acquire").done(op="busy")
    history.add(Event(who="b", op="expire", call=9))
    assert [(e.who, e.op, e.done) for e in history.events] == [
        ("b", "acquire", INF),
        ("c", "busy", 3),
        ("b", "expire", INF),
    ]


# --- against the definition ---------------------------------------------------------------------------------

MODELS: list[tuple[Model, dict[str, list[Any]]]] = [
    (Mutex(), {"acquire": [None], "release": [True, False, None], "busy": [None], "expire": [None],
               "wipe": [None]}),
    (FencedMutex(), {"acquire": [1, 2, 3, None], "release": [True, None], "wipe": [None], "expire": [None]}),
    (ReadersWriter(), {"read": [None], "write": [None, 1, 2], "release": [True, False], "busy_read": [None],
                       "busy_write": [None], "expire": [None]}),
    (Permits(2), {"acquire": [1, 2, None], "release": [True, False], "busy": [1, 2], "expire": [None]}),
    (Register(0), {"read": [0, 1, 2], "write": [0, 1, 2], "cas": [(0, 1), (1, 2)], "cas_failed": [(0, 1)]}),
]  # fmt: skip


def draw(dice: random.Random, size: int = 6) -> tuple[Model, list[Event]]:
    """A small history around an order that is legal, mostly."""
    model, ops = dice.choice(MODELS)
    state, out = model.start(), []
    for at in range(dice.randint(1, size)):
        for _ in range(dice.choice((1, 4, 8))):
            op = dice.choice(list(ops))
            call = 2 * at - dice.choice((0, 0, 1, 3))
            done = dice.choice((2 * at, 2 * at + 1, 2 * at + 3, INF))
            event = Event(
                who=dice.choice("abc"), op=op, value=dice.choice(ops[op]), call=call, done=done,
                maybe=dice.random() < 0.15,
            )  # fmt: skip
            after = model.step(state, event)
            if not isinstance(after, No):
                state = after
                break
        out.append(event)
    return model, out


def explained(part: list[Event], model: Model) -> bool:
    """The definition, word for word: some order of some of the events."""
    sure = [event for event in part if not event.optional]
    others = [event for event in part if event.optional]
    return any(
        legal(order, model)
        for count in range(len(others) + 1)
        for some in itertools.combinations(others, count)
        for order in itertools.permutations([*sure, *some])
    )


def legal(order: Iterable[Event], model: Model) -> bool:
    state, latest = model.start(), -INF
    for event in order:
        latest = max(latest, event.call)
        if event.done < latest or isinstance(state := model.step(state, event), No):
            return False
    return True


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=False))
def test_it_agrees_with_the_definition(dice: random.Random):
    model, part = draw(dice, 5)
    report = check(part, model)
    assert bool(report) == explained(part, model), f"{model} {part}\n{report}"
    assert report.verdict != "unknown"
    assert legal(report.order, model)


FIELDS = [field.name for field in dataclasses.fields(Event)]
MUTANTS = [
    ("if not perhaps >> index - self._sure & 1 and event.done >= latest:",
     "if not perhaps >> index - self._sure & 1:"),
    ("bound = min(bound, event.done)", "bound = math.inf"),
    ("bound = min(bound, event.done)", "bound = min(bound, event.call)"),
    ("if here.must == everything:", "if here.must.bit_count() >= self._sure - 1:"),
    ("self._seen.setdefault((must, state), [])", "self._seen.setdefault((must, 0), [])"),
    ("self._seen.setdefault((must, state), [])", "self._seen.setdefault((0, state), [])"),
    ("if any(other & perhaps == other for other in smallest):", "if smallest:"),
    ("return self.maybe or self.done == math.inf", "return self.done == math.inf"),
    ("return self.maybe or self.done == math.inf", "return self.maybe"),
    ("if isinstance(state, No):\n                continue",
     "if isinstance(state, No):\n                state = here.state"),
    ("first += 1", "first += 2"),
    ("max(here.latest, event.call)", "event.call"),
    ("if path:\n                    path.pop()", "path.clear()"),
]  # fmt: skip


@pytest.mark.parametrize(("true", "false"), MUTANTS)
def test_a_broken_checker_is_told_from_the_true_one(true: str, false: str, monkeypatch: pytest.MonkeyPatch):
    """If this fails, the histories drawn here are too tame to trust the checker for what they do not show."""
    source = Path(histories_search.__file__).read_text(encoding="utf-8")
    assert true in source
    broken = types.ModuleType("broken")
    monkeypatch.setitem(sys.modules, "broken", broken)  # dataclasses look there
    exec(source.replace(true, false), broken.__dict__)
    broken.__dict__["No"] = No
    dice = random.Random(7)
    drawn = (draw(dice) for _ in range(6000))
    for model, part in itertools.chain(((model, events(text)) for _, model, text in GOOD + BAD), drawn):
        copies = [broken.Event(**{name: getattr(event, name) for name in FIELDS}) for event in part]
        try:
            report = broken.check(copies, model, max_steps=3000)
        except (IndexError, TypeError):
            return
        if report.verdict != check(part, model).verdict or not legal(report.order, model):
            return
    pytest.fail("nothing told them apart")


# --- grants -------------------------------------------------------------------------------------------------


def grant(who: str, asked: float, granted: float, until: float, fence: int = 0, **more: Any) -> Grant:
    return Grant(who=who, asked=asked, granted=granted, until=until, fence=fence, **more)


def test_fences_must_grow_in_the_order_of_time_and_never_repeat():
    a, b, c = grant("a", 0, 1, 2, 5), grant("b", 2, 3, 4, 4), grant("c", 2, 3, 4, 5)
    assert fence_faults([a, b]) == [(a, b)]
    assert fence_faults([a, c]) == [(a, c)]
    assert fence_faults([grant("a", 0, 3, 4, 5), grant("b", 1, 2, 3, 4)]) == []  # at the same time: any order
    same = [grant("a", 0, 3, 4, 5), grant("b", 1, 2, 3, 5)]
    assert fence_faults(same) == [(same[0], same[1])]
    assert fence_faults([a, grant("b", 2, 3, 4, 1, key="other")]) == []


def test_no_two_may_rely_on_it_at_once():
    a, b = grant("a", 0, 1, 5), grant("b", 3, 4, 9)
    assert overlaps([a, b]) == [(a, b)]
    assert overlaps([a, grant("b", 0, 5, 9)]) == []
    assert overlaps([grant("a", 0, 1, 20), grant("b", 3, 4, 3), grant("c", 20, 21, 22)]) == []
    assert overlaps([a, b], permits=2) == []
    assert len(overlaps([a, b, grant("c", 3, 4.5, 9)], permits=2)) == 1


def test_readers_may_be_together_but_not_with_a_writer():
    a, b = grant("a", 0, 1, 5, shared=True), grant("b", 0, 2, 9, shared=True)
    assert overlaps([a, b]) == []
    writer = grant("w", 5, 6, 7)
    assert overlaps([a, b, writer]) == [(b, writer)]
    assert overlaps([writer, grant("r", 6, 6.5, 8, shared=True)]) != []


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_the_sweeps_agree_with_looking_at_every_pair(dice: random.Random, permits: int):
    grants = []
    for number in range(dice.randint(0, 8)):
        asked = dice.randint(0, 12)
        granted = asked + dice.randint(0, 4)
        until = granted + dice.randint(-1, 5)
        grants.append(
            grant(str(number), asked, granted, until, dice.randint(1, 9), shared=dice.random() < 0.4)
        )
    pairs = [(a, b) for a in grants for b in grants if a is not b]
    fenced = any((a.granted < b.asked and a.fence >= b.fence) or a.fence == b.fence for a, b in pairs)
    assert bool(fence_faults(grants)) == fenced
    live = [one for one in grants if one.until > one.granted]

    def crowded(at: Grant) -> bool:
        now = [one for one in live if one.granted <= at.granted < one.until]
        alone = sum(not one.shared for one in now)
        together = len(now) - alone
        return alone > permits or (alone > 0 and together > 0 and alone + together > permits)

    if permits == 1 or not any(one.shared for one in live):
        assert bool(overlaps(grants, permits)) == any(map(crowded, live))
