"""What this process has done with a stream. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberStats:
    """Counts of this process since its client was made.

    `handled`: acknowledged; `failed`: handlers that raised; `died`: became dead letters here; `lost`: taken
    away while a handler had them, or acknowledged too late; `taken_over`: delivered again, to this process;
    `running`: handlers at this moment, `in_flight`: messages taken and not finished. `seconds`: spent in
    handlers.
    """

    handled: int = 0
    failed: int = 0
    died: int = 0
    lost: int = 0
    taken_over: int = 0
    running: int = 0
    in_flight: int = 0
    seconds: float = 0.0


class Counters:
    """Plain numbers to add to; see SubscriberStats. Threads may lose a count, never more."""

    __slots__ = tuple(SubscriberStats.__dataclass_fields__)

    handled: int
    failed: int
    died: int
    lost: int
    taken_over: int
    running: int
    in_flight: int
    seconds: float

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    def snapshot(self) -> SubscriberStats:
        """The counts at this moment."""
        return SubscriberStats(**{name: getattr(self, name) for name in self.__slots__})
