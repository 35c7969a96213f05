"""What the scripts of a cache answer. Pure."""

from __future__ import annotations

from typing import NamedTuple

LATE, CHANGED, GRANTED, BUSY, THROTTLED = range(5)  # what lease.lua answers
REFUSED, STORED, OUTDATED = range(3)  # what fill.lua answers


class Grant(NamedTuple):
    """An answer of lease.lua; `number` is server ms, or for BUSY and THROTTLED how many are left of it."""

    state: int
    number: int


class Begun(NamedTuple):
    """A put that may go on. `mark` is what the lease must hold for its value to be stored, b"" for never."""

    mark: bytes
    epoch: bytes
    now: int


def why_not_stored(answer: int) -> str:
    """The word to count a fill under that fill.lua has refused."""
    return "outdated" if answer == OUTDATED else "invalidated"
