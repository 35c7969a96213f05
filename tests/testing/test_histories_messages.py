"""The judge of messages: a sound history passes, each planted wrong one is found, losses excuse little."""

from __future__ import annotations

import math
import random
from typing import Any

from holdfast.testing.histories_messages import (
    Dead,
    Effect,
    Forgot,
    Handled,
    MessageReport,
    Promise,
    Sent,
    judge_messages,
)

PROMISES = {"billing": Promise(effects=True, ordered=True), "audit": Promise(ordered=True)}


class Story:
    """A sound history of `count` messages of three keys; every tenth is poison. Tests spoil it."""

    def __init__(self, count: int = 60) -> None:
        self.sent: list[Sent] = []
        self.handled: list[Handled] = []
        self.effects: list[Effect] = []
        self.dead: list[Dead] = []
        self.forgot: list[Forgot] = []
        for at in range(count):
            id, entry, key, poison = f"m{at}", (1, at), f"k{at % 3}", at % 10 == 9
            self.sent.append(Sent(id, at, at + 0.1, poison))
            for group in PROMISES:
                self.handled.append(Handled(group, id, entry, key, at + 1, math.inf if poison else at + 1.4))
                if poison:
                    self.dead.append(Dead(group, id, entry, key, at + 1.5))
            if not poison:
                self.effects.append(Effect("billing", id, entry, key, at + 1.3))

    def judge(self) -> MessageReport:
        return judge_messages(
            self.sent, self.handled, self.effects, self.dead, self.forgot, promises=PROMISES
        )

    def faults(self) -> dict[str, int]:
        """The kinds of faults that were found, and how many."""
        report = self.judge()
        found = {what: report.counts[what] for what in KINDS if report.counts[what]}
        assert sum(found.values()) == len(report.faults)
        return found

    def of(self, kind: list[Any], id: str, group: str) -> int:
        return next(at for at, one in enumerate(kind) if one.id == id and one.group == group)


KINDS = (
    "lost", "doubled", "unordered", "overtaken", "wrongly dead", "not dead", "dead twice", "dead and done",
    "unknown",
)  # fmt: skip


def test_a_sound_history_has_no_fault():
    report = Story().judge()
    assert report.faults == []
    assert (report.counts["sent"], report.counts["effects"], report.counts["dead"]) == (60, 54, 12)


def test_a_message_without_an_effect_is_lost():
    story = Story()
    del story.effects[story.of(story.effects, "m7", "billing")]
    assert story.faults() == {"lost": 1}


def test_a_message_that_no_handler_finished_is_lost():
    story = Story()
    at = story.of(story.handled, "m7", "audit")
    story.handled[at] = story.handled[at]._replace(done=math.inf)
    assert story.faults() == {"lost": 1}


def test_what_was_never_acknowledged_may_be_lost():
    story = Story()
    story.sent.append(Sent("m99", 99))
    assert story.faults() == {}


def test_the_later_answer_counts_where_a_message_was_published_twice():
    story = Story()
    story.sent += [Sent("m7", 80), Sent("m99", 99), Sent("m99", 100, 100.1)]
    assert story.faults() == {"lost": 2}  # by both groups


def test_two_effects_of_one_message_are_one_too_many():
    story = Story()
    story.effects.insert(9, story.effects[8])
    assert story.faults() == {"doubled": 1}


def test_two_handlings_of_one_message_are_allowed_and_counted():
    story = Story()
    story.handled.append(story.handled[story.of(story.handled, "m7", "audit")]._replace(begin=70, done=71))
    report = story.judge()
    assert (report.faults, report.counts["repeated"]) == ([], 1)


def test_effects_of_a_key_in_another_order_are_found():
    story = Story()
    one, two = story.of(story.effects, "m1", "billing"), story.of(story.effects, "m4", "billing")
    story.effects[one], story.effects[two] = story.effects[two], story.effects[one]
    assert story.faults()["unordered"] >= 1


def test_effects_of_different_keys_may_come_in_any_order():
    story = Story()
    one, two = story.of(story.effects, "m1", "billing"), story.of(story.effects, "m2", "billing")
    story.effects[one], story.effects[two] = story.effects[two], story.effects[one]
    assert story.faults() == {}


def test_a_handler_that_begins_before_its_predecessor_is_done_is_found():
    story = Story()
    at = story.of(story.handled, "m4", "audit")  # behind m1, which is done at 2.4
    story.handled[at] = story.handled[at]._replace(begin=2.3)
    assert story.faults() == {"overtaken": 1}


def test_a_second_run_of_a_predecessor_does_not_count_as_overtaken():
    """Its first one was done in time; what a frozen worker does later is what at-least-once means."""
    story = Story()
    story.handled.append(story.handled[story.of(story.handled, "m1", "audit")]._replace(begin=9, done=9.5))
    assert story.faults() == {}


def test_a_dead_letter_of_a_good_message_is_found():
    story = Story()
    story.dead.append(Dead("audit", "m1", (1, 1), "k1", 5.0))
    assert story.faults() == {"wrongly dead": 1, "dead and done": 1}


def test_poison_that_did_not_die_is_found():
    story = Story()
    del story.dead[story.of(story.dead, "m9", "billing")]
    assert story.faults() == {"not dead": 1}


def test_poison_that_died_twice_is_found():
    story = Story()
    story.dead.append(story.dead[0])
    assert story.faults() == {"dead twice": 1}


def test_what_nobody_sent_is_found():
    story = Story()
    story.effects.append(Effect("billing", "m99", (1, 99), "k0", 99.0))
    assert story.faults() == {"unknown": 1}


def test_a_loss_of_messages_excuses_what_was_published_before_its_end_only():
    story = Story()
    story.forgot = [Forgot(30.0, 31.0, since=29.0, messages=True)]
    for id in ("m30", "m10", "m45"):
        del story.effects[story.of(story.effects, id, "billing")]
    report = story.judge()
    assert (report.counts["forgotten"], report.counts["lost"]) == (1, 2)


def test_a_loss_of_acknowledgements_excuses_repeated_effects_around_it_only():
    story = Story()
    story.forgot = [Forgot(30.0, 31.0, group="billing", acks=True)]
    first, late = story.effects[5], story.effects[-1]
    story.effects += [first._replace(at=70.0), late._replace(at=71.0)]
    report = story.judge()
    assert (report.counts["redone"], report.counts["doubled"]) == (1, 1)
    story.forgot = [Forgot(30.0, 31.0, group="audit", acks=True)]
    assert story.faults()["doubled"] == 2


def test_random_spoiling_is_always_found():
    """Whatever is taken out or doubled in a larger history shows."""
    dice = random.Random(1)
    for _ in range(100):
        story = Story(200)
        good = [one for one in story.sent if not one.poison]
        id = dice.choice(good).id
        at = story.of(story.effects, id, "billing")
        if dice.random() < 0.5:
            del story.effects[at]
        else:
            story.effects.insert(dice.randrange(len(story.effects)), story.effects[at])
        assert story.faults()
