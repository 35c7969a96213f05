# Generated from _batch_async.py by tools/unasync.py. Do not edit.
"""Many calls of one script, sent in one write."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast._wire._sync import Wire
from holdfast._wire.script import Script
from holdfast._wire.transport import Arg, Command, Reply
from holdfast.errors import Refused

Call = tuple[Sequence[str], Sequence[Arg]]


def run_many(wire: Wire, script: Script, calls: Sequence[Call], timeout: float) -> list[Reply]:
    """What `script`, which may be repeated, returned for each of the (keys, args) in `calls`.

    Raises: Unavailable, Refused (of the first that was), Closed.
    """
    assert script.retry != "never"
    known: list[Command] = [("EVALSHA", script.digest, len(keys), *keys, *args) for keys, args in calls]
    try:
        return wire.execute_many(known, timeout=timeout, retry="safe")
    except Refused as error:
        if error.code != "NOSCRIPT":
            raise
    told: list[Command] = [("EVAL", script.text, *command[2:]) for command in known]
    return wire.execute_many(told, timeout=timeout, retry="safe")
