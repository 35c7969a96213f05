"""Signals as log lines."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import _signals
from holdfast._wire.hub import CommandDropped
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
