"""What can be chosen about a lock for readers and writers. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.locks.options import HoldOptions
from holdfast.locks.terms import refuse_wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class RwLockOptions(HoldOptions):
    """As HoldOptions says, for both sides; without `on_wanted`."""

    def __post_init__(self) -> None:
        HoldOptions.__post_init__(self)
        refuse_wanted("rwlock", self.on_wanted)
