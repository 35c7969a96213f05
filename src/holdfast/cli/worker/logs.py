"""Log lines that say which process they are of."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from holdfast.observe import JsonFormatter

SUPERVISOR = 0


def begin(form: str, number: int) -> None:
    """Write what is logged from INFO on to the standard error, as `form` says: text or json.

    A module that configures logging for itself, as with `dictConfig`, has the last word.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Json(number) if form == "json" else _Text(number))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class _Text(logging.Formatter):
    """`2026-11-26T13:05:02.123Z INFO    [2] holdfast: connected`"""

    def __init__(self, number: int) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(process_number)s %(name)s: %(message)s")
        self._number = f"[{number or 'supervisor'}]"

    def format(self, record: logging.LogRecord) -> str:
        record.process_number = self._number
        return super().format(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        del datefmt
        when = datetime.fromtimestamp(record.created, UTC)
        return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z"


class _Json(JsonFormatter):
    """As JsonFormatter, and `process` is the number of the process; 0 is the supervisor."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def format(self, record: logging.LogRecord) -> str:
        line = json.loads(super().format(record))
        return json.dumps({**line, "process": self._number}, ensure_ascii=False)
