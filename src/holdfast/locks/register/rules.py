"""What a fenced register is, without any I/O.

A holder who was frozen, and has been replaced without knowing it, writes late. A register takes what comes
with the greatest fence that it has seen, or a greater one, and refuses the rest. (M. Kleppmann, "How to do
distributed locking", 2016; the sequencers of Chubby.)

Promised: once a value was written under a fence, no smaller fence ever writes. Not promised: that anybody but
this register looks at fences; and nothing after a FLUSHALL or a failover that lost the write: then it is what
the server has that counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from holdfast._wire.script import Script
from holdfast.errors import ConfigurationError, ConflictError

T = TypeVar("T")

WRITE = Script.load(__package__, "write")


@dataclass(frozen=True, slots=True)
class Fenced(Generic[T]):
    """What stands in a register: the `value`, and the `fence` under which it was written."""

    value: T
    fence: int


def check_fence(fence: object) -> int:
    """`fence`, if it can be one. Raises: ConfigurationError."""
    if isinstance(fence, bool) or not isinstance(fence, int) or not 0 < fence < 2**53:
        raise ConfigurationError(f"fence={fence!r} must be a lease's: fence=lease.fence")
    return fence


def stale(name: str, fence: int, seen: int) -> ConflictError:
    """What says that a greater fence has written before."""
    return ConflictError(
        f"register {name!r} was written under fence {seen}, after {fence} was granted: who writes now has "
        f"been replaced, and nothing was written",
        expected=fence,
        actual=seen,
    )
