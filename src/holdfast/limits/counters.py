"""What this process has done with a limiter. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LimiterStats:
    """Counts of this process since its limiter was made.

    `checks`: decisions of any kind (not those of `peek`): `allowed` and `denied`. Of the denied,
    `denied_here` cost no round trip. `degraded`: decided by `on_error`, because the server was away or too
    slow. `shadowed`: where a limit in shadow mode was used up. `held`: entered after a wait; `given_up`:
    cancelled while waiting. `unsettled`: settlements of reservations that did not reach the server.
    """

    checks: int = 0
    allowed: int = 0
    denied: int = 0
    denied_here: int = 0
    degraded: int = 0
    shadowed: int = 0
    held: int = 0
    given_up: int = 0
    unsettled: int = 0


class Counters:
    """Plain numbers to add to; see LimiterStats. Threads may lose a count, never more."""

    __slots__ = (
        "allowed",
        "degraded",
        "denied",
        "denied_here",
        "given_up",
        "held",
        "shadowed",
        "unsettled",
    )

    allowed: int
    degraded: int
    denied: int
    denied_here: int
    given_up: int
    held: int
    shadowed: int
    unsettled: int

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    def snapshot(self) -> LimiterStats:
        """The counts at this moment."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return LimiterStats(checks=self.allowed + self.denied, **told)
