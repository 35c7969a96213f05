"""What can be chosen about a semaphore. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import ConfigurationError
from holdfast.locks.options import HoldOptions
from holdfast.locks.terms import refuse_wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class SemaphoreOptions(HoldOptions):
    """As HoldOptions says, without `on_wanted`. `permits`: how many may be out at a time."""

    permits: int = 1

    def __post_init__(self) -> None:
        HoldOptions.__post_init__(self)
        refuse_wanted("semaphore", self.on_wanted)
        if isinstance(self.permits, bool) or not isinstance(self.permits, int) or self.permits < 1:
            raise ConfigurationError(f"permits={self.permits!r} must be a whole number, at least 1")
