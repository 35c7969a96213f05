"""The deny cache against a model that remembers every denial."""

import threading
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.limits.denials import STRIPES, Denials

LONGEST = 10


class Said(NamedTuple):
    subject: str
    cost: int
    plan: str | None
    retry_after: float
    asked: float


SUBJECTS = st.sampled_from(["ann", "bob", "eve"])
COSTS, PLANS = st.integers(1, 4), st.sampled_from([None, "pro"])
TIMES = st.integers(0, 12)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), SUBJECTS, COSTS, PLANS, st.one_of(TIMES, st.just(float("inf"))), TIMES),
        st.tuples(st.just("find"), SUBJECTS, COSTS, PLANS),
        st.tuples(st.just("drop"), SUBJECTS),
        st.tuples(st.just("drop_all")),
        st.tuples(st.just("wait"), TIMES),
    ),
    max_size=30,
)


class Model:
    """Every denial ever said, and when something was given back last."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.dropped: dict[str, float] = {}

    def holds(self, one: Said, now: float) -> bool:
        """Is it known that the server would still say so?"""
        since = self.dropped.get(one.subject, -1.0)
        return since < one.asked and now < one.asked + min(one.retry_after, LONGEST)

    def may_deny(self, subject: str, cost: int, plan: str | None, now: float) -> bool:
        return any(
            one.subject == subject and one.plan == plan and one.cost == cost and self.holds(one, now)
            for one in self.said
        )


@given(STEPS)
@settings(max_examples=400)
def test_denies_only_what_the_server_would_deny_and_remembers_the_last_one(steps: list[Any]) -> None:
    denials, model, now = Denials(100, LONGEST), Model(), 100.0
    for name, *args in steps:
        if name == "put":
            subject, cost, plan, retry_after, ago = args
            said = Said(subject, cost, plan, retry_after, now - ago)
            denials.put(subject, cost, plan, said, retry_after, said.asked)
            model.said.append(said)
            others = {hash(one) % STRIPES for one in model.dropped if one != subject}
            if model.holds(said, now) and hash(subject) % STRIPES not in others:
                assert denials.find(subject, cost, plan, now) is not None
        elif name == "find":
            subject, cost, plan = args
            found = denials.find(subject, cost, plan, now)
            if found is not None:
                assert model.may_deny(subject, cost, plan, now)
                assert model.holds(found.decision, now)
                assert found.decision.cost == cost
                assert found.decision.subject == subject
        elif name == "drop":
            denials.drop(args[0], now)
            model.dropped[args[0]] = now
        elif name == "drop_all":
            denials.drop_all(now)
            model.dropped = dict.fromkeys(["ann", "bob", "eve"], now)
        else:
            now += args[0]


def test_is_kept_for_as_long_as_the_server_said_from_before_the_question() -> None:
    denials = Denials(10, 5.0)
    denials.put("ann", 2, None, "no", 3.0, asked=100.0)
    assert denials.find("ann", 2, None, 102.9) == (103.0, 2, None, 100.0, "no")
    assert denials.find("ann", 3, None, 102.9) is None, "a greater cost waits for longer"
    assert denials.find("ann", 1, None, 102.9) is None, "a smaller cost may be allowed"
    assert denials.find("ann", 2, "pro", 102.9) is None, "another plan has other limits"
    assert denials.find("bob", 2, None, 102.9) is None
    assert denials.find("ann", 2, None, 103.0) is None


def test_is_never_kept_for_longer_than_chosen() -> None:
    denials = Denials(10, 1.0)
    denials.put("ann", 1, None, "never", float("inf"), asked=100.0)
    assert denials.find("ann", 1, None, 100.9) is not None
    assert denials.find("ann", 1, None, 101.0) is None


def test_keeps_nothing_if_nothing_is_to_be_kept() -> None:
    denials = Denials(10, 0.0)
    denials.put("ann", 1, None, "no", 5.0, asked=100.0)
    assert len(denials) == 0


def test_one_that_says_less_does_not_replace_one_that_says_more() -> None:
    denials = Denials(10, 60.0)
    denials.put("ann", 3, None, "later", 5.0, asked=100.0)
    denials.put("ann", 3, None, "sooner", 4.0, asked=100.0)
    found = denials.find("ann", 3, None, 101.0)
    assert found is not None
    assert found.decision == "later"
    denials.put("ann", 3, None, "long", 50.0, asked=101.0)
    found = denials.find("ann", 3, None, 120.0)
    assert found is not None
    assert found.decision == "long"


def test_what_was_under_way_when_something_was_given_back_is_not_kept() -> None:
    denials = Denials(10, 60.0)
    denials.drop("ann", 100.0)
    denials.put("ann", 1, None, "old", 5.0, asked=99.9)
    denials.put("ann", 1, None, "at once", 5.0, asked=100.0)
    assert denials.find("ann", 1, None, 100.1) is None
    denials.put("ann", 1, None, "new", 5.0, asked=100.1)
    assert denials.find("ann", 1, None, 100.2) is not None
    denials.drop_all(101.0)
    denials.put("ann", 1, None, "old", 5.0, asked=100.9)
    assert denials.find("ann", 1, None, 101.1) is None


def test_forgets_whoever_was_not_asked_about_for_longest() -> None:
    denials = Denials(2, 60.0)
    for one in ("ann", "bob"):
        denials.put(one, 1, None, one, 60.0, asked=100.0)
    assert denials.find("ann", 1, None, 101.0) is not None
    denials.put("eve", 1, None, "eve", 60.0, asked=102.0)
    assert len(denials) == 2
    assert denials.find("ann", 1, None, 103.0) is not None
    assert denials.find("bob", 1, None, 103.0) is None


def test_stays_whole_among_threads() -> None:
    denials, errors = Denials(50, 60.0), []

    def hammer(start: int) -> None:
        try:
            for number in range(start, start + 3_000):
                subject = str(number * 7919 % 113)
                denials.put(subject, 1, None, subject, 60.0, asked=float(number))
                found = denials.find(subject, 1, None, float(number))
                assert found is None or found.decision == subject
                if number % 5 == 0:
                    denials.drop(subject, float(number) - 1)
        except Exception as error:  # noqa: BLE001 (told by the test)
            errors.append(error)

    threads = [threading.Thread(target=hammer, args=(start,)) for start in (0, 10, 20, 30)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not errors
    assert len(denials) <= 50
