# Generated from _async.py by tools/unasync.py. Do not edit.
"""FencedRegister: a value that only the newest holder of a right can write."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from holdfast._values.codecs import codec_for
from holdfast._wire._sync import Wire
from holdfast.durations import Duration, optional_seconds
from holdfast.locks.options import check_name
from holdfast.locks.register import rules
from holdfast.locks.register.rules import Fenced

T = TypeVar("T")


class FencedRegister(Generic[T]):
    """A value that only the newest holder of a right can write.

        with hf.lock("report") as lease:
            hf.fenced_register("report:state").write(state, fence=lease.fence)

    What is promised stands in `holdfast.locks.register.rules`.
    """

    def __init__(self, wire: Wire, name: str, type: Any = Any, ttl: Duration | None = None) -> None:
        self.name = check_name(name, "fenced_register")
        self.key = wire.keys.tagged("register", name)
        self._wire = wire
        self._codec = codec_for(type)
        ttl_s = optional_seconds(ttl, "ttl")
        self._ttl = 0 if ttl_s is None else max(1, int(ttl_s * 1000))

    def write(self, value: T, *, fence: int) -> None:
        """Write `value` for whoever was granted `fence`; the same fence may write often.

        Raises: ConflictError if a greater fence has written before (`.actual`); CodecError, Unavailable,
        Refused, ConfigurationError if `fence` cannot be one.
        """
        args = (rules.check_fence(fence), self._codec.encode(value), self._ttl)
        written, seen = self._wire.run(rules.WRITE, (self.key,), args)
        if not written:
            raise rules.stale(self.name, fence, seen)

    def read(self) -> Fenced[T] | None:
        """What was written last, and under which fence; None if nothing was.

        Raises: Unavailable, CodecError, Refused.
        """
        value, fence = self._wire.execute("HMGET", self.key, "value", "fence")
        return None if value is None else Fenced(self._codec.decode(value), int(fence))
