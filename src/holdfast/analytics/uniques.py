"""How many different ones there were: a HyperLogLog in each bucket. Pure.

    await hits.unique("visitors", user_id)
    await hits.uniques("visitors", since="7d")         # of any period: the union of its buckets

Promised: who comes again, in the same bucket or in another one of the period, counts once. The error is
that of the server's HyperLogLog: 0.81 % (one standard deviation), and next to none up to some hundreds. A
sketch is never larger than 12 KiB; of 10 members it takes 0.1 KiB, of 128 0.6, of 1000 2, of 2000 and more
12. (A set would be exact, but larger at every size: 0.2, 1.7, 50, 100 KiB. So there are none.)

Not promised: what the members were, or that one can be taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast._coord import naming
from holdfast._wire.script import Script
from holdfast.analytics import packing
from holdfast.analytics.kinds import Call, Cell, Place
from holdfast.errors import ConfigurationError

WRITE = Script.load(__package__, "unique")

LONGEST = 1024  # characters of a member


class Uniques:
    """The kind "unique"."""

    name = "unique"

    def fresh(self) -> set[str]:
        """No members."""
        return set()

    def add(self, aggregate: set[str], item: str, n: int) -> int:  # noqa: ARG002 (how often: no matter)
        """Take a member in; 1 if it is new."""
        before = len(aggregate)
        aggregate.add(item)
        return len(aggregate) - before

    def merge(self, into: set[str], more: set[str]) -> None:
        """Take the members of `more` in."""
        into |= more

    def calls(
        self,
        place: Place,
        cells: Sequence[tuple[Cell, set[str]]],
        request: Callable[[], int],  # noqa: ARG002 (a repetition changes nothing)
    ) -> list[Call]:
        """What writes those cells."""
        found = packing.pieces(cells, lambda members: ((one,) for one in members))
        return packing.calls(WRITE, found, lambda cell: (packing.key_of(place, self.name, cell),))


UNIQUE = Uniques()


def member(value: Any) -> str:
    """`value` as it is sent: no two different ones look alike, 1 is not "1". Raises: ConfigurationError."""
    text = naming.text(value)
    if len(text) > LONGEST:
        raise ConfigurationError(
            f"member={value!r:.80} must have at most {LONGEST} characters; use an id, or a digest of it"
        )
    return text
