"""What all partitions of one consumer have in common. Pure."""

from __future__ import annotations

from holdfast._wire.transport import Arg
from holdfast.streams.counters import Counters


class Seat:
    """See the file's docstring."""

    def __init__(
        self,
        group: str,
        member: str,
        *,
        lease: float,
        alone: bool,
        start: str,
        most: int,
        deletes: int,
        counters: Counters,
    ) -> None:
        self.group = group
        self.member = member
        self.lease = lease
        self.alone = alone
        self.counters = counters
        self.has_begun = False
        self.who = (group, member, max(1, round(lease * 1000)))
        self._how = (int(alone), start, most, deletes)

    def args(self, limit: int) -> tuple[Arg, ...]:
        """The first arguments of turn.lua."""
        return (*self.who, limit, *self._how)

    def begin(self) -> None:
        """The group is there. Were it lost, "new" would skip what nobody has read."""
        if not self.has_begun:
            self.has_begun = True
            self._how = (self._how[0], "0", *self._how[2:])
