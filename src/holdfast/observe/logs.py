"""Signals as log lines: readable for people, with every field in `extra` for machines.

    structured_logs(hf)
    # WARNING holdfast: invalidation kept cache=users key=user:42
    # and in the record: record.holdfast == {"event": "invalidation_kept", "cache": "users", "key": "user:42"}

Any JSON formatter that writes `extra` takes the fields as they are; `JsonFormatter` is one without
dependencies.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from datetime import UTC, datetime
from typing import Any, Protocol

from holdfast._signals import Observer, Observers, Signal

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_PLAIN = re.compile(r'[^\s"=]+')


class Observed(Protocol):
    """A client: Holdfast or AsyncHoldfast."""

    @property
    def observers(self) -> Observers:
        """Who is told of its signals."""


def structured_logs(hf: Observed, logger: str | logging.Logger = "holdfast") -> Observer:
    """Write each signal of `hf` to `logger` from now on; `hf.observers.remove(result)` ends that."""
    observer = _Lines(logging.getLogger(logger) if isinstance(logger, str) else logger)
    hf.observers.add(observer)
    return observer


class _Lines:
    """The observer that writes."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def notify(self, signal: Signal) -> None:
        """Write `signal` as one line."""
        level = _LEVELS.get(signal.level, logging.INFO)
        if self._logger.isEnabledFor(level):
            event = event_name(type(signal))
            fields = {one.name: getattr(signal, one.name) for one in dataclasses.fields(signal)}
            text = " ".join([event.replace("_", " "), *(f"{name}={_shown(fields[name])}" for name in fields)])
            self._logger.log(level, "%s", text, extra={"holdfast": {"event": event, **fields}})


def event_name(kind: type[Signal]) -> str:
    """`InvalidationKept` -> `invalidation_kept`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()


def _shown(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    # A key may hold blanks or line breaks, and must not be able to forge a field or a line.
    return text if _PLAIN.fullmatch(text) and text.isprintable() else json.dumps(text, ensure_ascii=False)


class JsonFormatter(logging.Formatter):
    """One JSON object for each line: time (UTC), level, logger, message; `holdfast` and `error` if any."""

    def format(self, record: logging.LogRecord) -> str:
        """`record` as JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if fields := getattr(record, "holdfast", None):
            line["holdfast"] = fields
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
