"""The conformance cases: a sound broker passes them, and each planted fault is found by its case."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from holdfast.testing import histories_messages, pubsub
from holdfast.testing.pubsub import Features, PubSubCases

ROOT = Path(__file__).parents[2]

# What is wrong with a broker, as the body of a subclass; and the case that must find it.
PLANTED = {
    "it forgets every tenth message": (
        """
        def publish(self, topic, notes):
            super().publish(topic, [one for one in notes if not one.text.endswith("9")])
        """,
        "test_a_subscriber_gets_what_is_published",
    ),
    "it takes all topics for one": (
        """
        def publish(self, topic, notes):
            for name in {topic, *(name for name, _ in self.shelf.queues)}:
                super().publish(name, notes)
        """,
        "test_a_topic_gets_only_its_own",
    ),
    "a failure counts as handled": (
        """
        def subscribe(self, topic, group, handler):
            def careless(delivery):
                try:
                    handler(delivery)
                except Exception:
                    pass
            return super().subscribe(topic, group, careless)
        """,
        "test_what_fails_comes_again",
    ),
    "its subscriber ends with its handler's third error": (
        """
        def subscribe(self, topic, group, handler):
            errors = []
            def fragile(delivery):
                try:
                    handler(delivery)
                except Exception:
                    errors.append(1)
                    if len(errors) > 2:
                        raise SystemExit
                    raise
            return super().subscribe(topic, group, fragile)
        """,
        "test_it_goes_on_after_many_errors",
    ),
    "it never counts": (
        """
        def subscribe(self, topic, group, handler):
            return super().subscribe(topic, group, lambda one: handler(replace(one, deliveries=1)))
        """,
        "test_a_handler_is_told_which_delivery_it_has",
    ),
    "it drops headers": (
        """
        def publish(self, topic, notes):
            super().publish(topic, [replace(one, headers={}) for one in notes])
        """,
        "test_a_message_brings_its_headers_and_its_key",
    ),
    "a new group begins at the end": (
        """
        def subscribe(self, topic, group, handler):
            self.shelf.queues.setdefault((topic, group), deque())
            return super().subscribe(topic, group, handler)
        """,
        "test_a_new_group_gets_old_messages",
    ),
    "each member gets everything": (
        """
        def subscribe(self, topic, group, handler):
            return super().subscribe(topic, f"{group}{len(self.shelf.queues)}", handler)
        """,
        "test_members_of_a_group_share_and_groups_do_not",
    ),
    "closing does not wait": (
        """
        def subscribe(self, topic, group, handler):
            found = super().subscribe(topic, group, handler)
            found.close = lambda: setattr(found, "_closed", True)
            return found
        """,
        "test_no_handler_runs_once_a_subscription_is_closed",
    ),
    "what is acknowledged comes again after a close": (
        """
        def connect(self):
            client = super().connect()
            for (topic, group), queue in self.shelf.queues.items():
                queue.extend((one, 1) for one in self.shelf.log[topic])
            return client
        """,
        "test_another_subscriber_goes_on_where_one_was_closed",
    ),
    "a closed client publishes into the void": (
        """
        def publish(self, topic, notes):
            if not self._closed:
                super().publish(topic, notes)
        """,
        "test_a_closed_publisher_says_so",
    ),
    "closing twice raises": (
        """
        def close(self):
            if self._closed:
                raise RuntimeError("closed already")
            super().close()
        """,
        "test_closing_from_many_threads_at_once",
    ),
    "poison is thrown away": (
        """
        def dead_letters(self, topic, group):
            return []
        """,
        "test_what_fails_for_ever_becomes_a_dead_letter",
    ),
    "it tries once less than it says": (
        """
        def subscribe(self, topic, group, handler):
            return super().subscribe(topic, group, lambda one: one.deliveries == 2 or handler(one))
        """,
        "test_what_fails_for_ever_becomes_a_dead_letter",
    ),
}


def test_a_sound_broker_passes_and_each_planted_fault_is_found(tmp_path):
    """One run for all of them: a case that passes with its fault in place is of no use."""
    lines = [
        "import sys",
        f"sys.path.insert(0, {str(ROOT / 'examples')!r})",
        "from collections import deque",
        "from dataclasses import replace",
        "import pytest",
        "import test_my_broker as sound",
    ]
    for number, (body, _) in enumerate(PLANTED.values()):
        lines += [
            f"class Broken{number}(sound.MemoryBroker):",
            textwrap.indent(textwrap.dedent(body), "    "),
        ]
        lines += [
            f"class TestBroken{number}(sound.TestMemoryBroker):",
            "    patience, quiet = 0.6, 0.1",
            "    @pytest.fixture",
            "    def broker(self):",
            f"        broker = Broken{number}()",
            "        yield broker",
            "        sound.MemoryBroker.close(broker)",
        ]
    (tmp_path / "test_broken.py").write_text("\n".join(lines))
    chosen = [f"test_broken.py::TestBroken{at}::{case}" for at, (_, case) in enumerate(PLANTED.values())]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--tb=no",
        "-rA",
        "--rootdir=.",
        *chosen,
    ]
    command.append(str(ROOT / "examples" / "test_my_broker.py"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    passed = [name for name, one in zip(PLANTED, chosen, strict=True) if f"FAILED {one}" not in done.stdout]
    assert passed == [], done.stdout
    assert "TestMemoryBroker" not in "".join(re.findall("^FAILED.*|^ERROR.*", done.stdout, re.MULTILINE))
    assert len(re.findall("^PASSED.*TestMemoryBroker", done.stdout, re.MULTILINE)) == 17


def test_cases_of_features_that_a_broker_does_not_have_are_not_collected():
    """A skipped case would look like one that ran."""

    class Plain(PubSubCases):
        features = Features(counts=True)

    class Rich(PubSubCases):
        features = Features(ordered=True, delayed=True)

    assert Plain.test_messages_of_a_key_come_in_order is None
    assert Plain.test_a_handler_is_told_which_delivery_it_has is not None
    assert Rich.test_messages_of_a_key_come_in_order is not None
    assert Rich.test_a_delayed_message_comes_late_and_once is not None
    assert Rich.test_what_a_dead_subscriber_had_comes_again is None
    assert PubSubCases.test_messages_of_a_key_come_in_order is not None


@pytest.mark.parametrize("case", [name for name in dir(PubSubCases) if name.startswith("test_")])
def test_every_case_says_what_it_is_for(case: str):
    assert getattr(PubSubCases, case).__doc__


def test_the_page_of_testing_holds_every_name():
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    features = [one.name for one in dataclasses.fields(Features)]
    judged = [
        name for name, one in vars(histories_messages).items()
        if getattr(one, "__module__", "") == histories_messages.__name__ and not name.startswith("_")
    ]  # fmt: skip
    names = [*pubsub.__all__, *features, *(name for name in judged if name != "Entry")]
    assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []
