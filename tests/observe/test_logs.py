"""Signals as log lines."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import Holdfast, _signals
from holdfast._wire.hub import CommandDropped
from holdfast.locks.rules import LockDropped
from holdfast.locks.stats import ADVISE_EVERY, TtlAdvice
from holdfast.observe import JsonFormatter, structured_logs
from holdfast.observe.logs import _shown


@dataclass
class Client:
    observers: _signals.Observers = field(default_factory=_signals.Observers)


def test_a_signal_is_one_readable_line_with_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    hf = Client()
    structured_logs(hf)
    hf.observers.notify(_signals.InvalidationKept(cache="users", key="user:42"))
    (record,) = caplog.records
    assert record.name == "holdfast"
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "invalidation kept cache=users key=user:42"
    assert vars(record)["holdfast"] == {"event": "invalidation_kept", "cache": "users", "key": "user:42"}


def test_levels_come_from_the_signal(caplog: pytest.LogCaptureFixture) -> None:
    hf = Client()
    observer = structured_logs(hf, logging.getLogger("mine"))
    caplog.set_level(logging.INFO, "mine")
    hf.observers.notify(_signals.Connected(server="s", purpose="hub"))
    hf.observers.notify(_signals.InvalidationDelivered(cache="users", key="1"))
    hf.observers.notify(CommandDropped(server="s", command="UNLINK", cause="NOPERM"))
    assert [(one.name, one.levelname) for one in caplog.records] == [("mine", "INFO"), ("mine", "ERROR")]
    hf.observers.remove(observer)
    hf.observers.notify(_signals.InvalidationDelivered(cache="users", key="1"))
    assert len(caplog.records) == 2


def test_numbers_are_short_and_blanks_are_quoted(caplog: pytest.LogCaptureFixture) -> None:
    hf = Client()
    structured_logs(hf)
    hf.observers.notify(_signals.SlowLoad(cache="a b", key='x" y=1\n', took=1.23456789, lease=10.0))
    assert caplog.messages == ['slow load cache="a b" key="x\\" y=1\\n" took=1.23457 lease=10']


@given(st.text())
def test_a_value_can_forge_neither_a_field_nor_a_line(text: str) -> None:
    shown = _shown(text)
    assert "\n" not in shown
    assert shown == text or json.loads(shown) == text
    if not shown.startswith('"'):
        assert not {" ", "="} & {*shown}


def test_json_lines(caplog: pytest.LogCaptureFixture) -> None:
    hf = Client()
    structured_logs(hf)
    hf.observers.notify(_signals.FillRefused(cache="users", key="ü", reason="invalidated"))
    caplog.set_level(logging.DEBUG)
    hf.observers.notify(_signals.FillRefused(cache="users", key="ü", reason="invalidated"))
    (record,) = caplog.records
    line = json.loads(JsonFormatter().format(record))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "debug",
        "logger": "holdfast",
        "message": "fill refused cache=users key=ü reason=invalidated",
        "holdfast": {"event": "fill_refused", "cache": "users", "key": "ü", "reason": "invalidated"},
    }


def test_json_lines_of_others_with_their_errors(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("odd")
    except ValueError:
        logging.getLogger("app").exception("it %s", "failed")
    line = json.loads(JsonFormatter().format(caplog.records[0]))
    assert line["message"] == "it failed"
    assert "holdfast" not in line
    assert line["error"].endswith("ValueError: odd")


def test_what_happens_to_locks_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Without it nobody would read of a lost lease."""
    hf = Client()
    structured_logs(hf)
    caplog.set_level(logging.INFO, "holdfast")
    hf.observers.notify(_signals.LeaseLost(name="order:1", cause="unreachable", held=31.4159265))
    hf.observers.notify(LockDropped(name="order:1", holder="web-3:4711:check out"))
    hf.observers.notify(TtlAdvice(family="order", hint="ttl=60 s is long"))
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("ERROR", "lease lost name=order:1 cause=unreachable held=31.4159"),
        ("WARNING", 'lock dropped name=order:1 holder="web-3:4711:check out"'),
        ("INFO", 'ttl advice family=order hint="ttl=60 s is long"'),
    ]


def test_a_real_loss_is_in_the_log_of_its_holder_and_of_who_took_it(
    hf: Holdfast, caplog: pytest.LogCaptureFixture
) -> None:
    """Without it a lock could tell its signals to nobody."""
    structured_logs(hf)
    lease = hf.lock("order:1", label="checkout").acquire()
    assert hf.lock("order:1").force_release()
    assert lease.lost.wait(10)
    by_event: dict[str, dict[str, object]] = {}
    give_up = time.monotonic() + 10
    while not {"lease_lost", "lock_dropped"} <= {*by_event} and time.monotonic() < give_up:
        time.sleep(0.01)
        by_event = {vars(one)["holdfast"]["event"]: vars(one)["holdfast"] for one in caplog.records}
    assert by_event["lease_lost"]["name"] == by_event["lock_dropped"]["name"] == "order:1"
    assert by_event["lease_lost"]["cause"] == "vanished"
    assert str(by_event["lock_dropped"]["holder"]).endswith(":checkout")


def test_advice_about_a_ttl_is_in_the_log(hf: Holdfast, caplog: pytest.LogCaptureFixture) -> None:
    """Without it a ttl that is far too long would be found out after a crash only."""
    structured_logs(hf)
    caplog.set_level(logging.INFO, "holdfast")
    lock = hf.lock("order:1", ttl="10m")
    for _ in range(ADVISE_EVERY):
        lock.acquire().release()
    (told,) = [vars(one)["holdfast"] for one in caplog.records if one.getMessage().startswith("ttl advice")]
    assert told["family"] == "order" and "600 s is long" in told["hint"]
