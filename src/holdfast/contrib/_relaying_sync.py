# Generated from _relaying_async.py by tools/unasync.py. Do not edit.
"""What keeps a relay going."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from holdfast._compat import sleep, monotonic
from holdfast.contrib.ledger import backoff
from holdfast.durations import Duration, seconds

_LOG = logging.getLogger("holdfast.contrib")
_BLINK = 0.1  # seconds between two looks at `until`


def keep_going(
    run_once: Callable[[], Any],
    until: Callable[[], bool] | None,
    poll: Duration,
    dice: Callable[[], float],
) -> None:
    """Call `run_once` until `until()`; rest for `poll` when it had nothing to do, longer while it fails."""
    idle = seconds(poll, "poll")
    failures = 0
    while until is None or not until():
        try:
            rest = 0.0 if run_once() else idle
            failures = 0
        except Exception as error:  # noqa: BLE001 (whatever it is, it may pass)
            failures += 1
            rest = backoff(failures, dice())
            if failures & (failures - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: an outage must not fill the log
                _LOG.warning("a relay failed %d times in a row: %r", failures, error)
        wake = monotonic() + rest
        while (left := wake - monotonic()) > 0 and not (until is not None and until()):
            sleep(min(left, _BLINK))
