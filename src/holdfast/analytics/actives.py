"""Who was active, and who came back: bitmaps in each bucket. Pure.

    await hits.active("app", user_id)
    await hits.actives("app", since="7d")                         # exact, of any period
    await hits.retention("app", "week", since="56d")              # of whom each week brought, who came back?

Promised: exact counts. The memory follows the ids in use. Ids from 0 to 2**32 - 1 are used as they are:
those that share all but the last 16 bits are one chunk, which takes some 150 bytes and 2 for each id up to
512 ids, and 8 KiB from there on (1.6 bits for each of a million ids without gaps, 0.2 MB), in each bucket.
Any other id, a str too, gets a number when it comes first, so that the bits are close together however the
ids look; its name is kept once for each metric (about 50 bytes), as long as anything needs it.

Ids that are scattered over a wide range (random, or from a counter that serves everything) are better given
as str: alone in its chunk, an id takes some 150 bytes in each bucket.

Not promised: a list of who it was; that a name is forgotten as long as others of its metric come; that names
are told apart on a server that evicts keys, if it evicts the numbers and keeps the bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from holdfast._coord import naming
from holdfast._wire.script import Script
from holdfast.analytics import packing
from holdfast.analytics.kinds import Arg, Call, Cell, Place
from holdfast.analytics.uniques import LONGEST
from holdfast.errors import ConfigurationError

WRITE = Script.load(__package__, "active")
COUNT = Script.load(__package__, "actives")
LOOK = Script.load(__package__, "was_active")

NUMBERED = 1 << 32  # ids below it are used as they are
PAGE = 250  # buckets times chunks that one script looks at, of 512 ids each at worst


class Actives:
    """The kind "active"."""

    name = "active"

    def fresh(self) -> set[str]:
        """Nobody."""
        return set()

    def add(self, aggregate: set[str], item: str, n: int) -> int:  # noqa: ARG002 (how often: no matter)
        """Take an id in; 1 if it is new."""
        before = len(aggregate)
        aggregate.add(item)
        return len(aggregate) - before

    def merge(self, into: set[str], more: set[str]) -> None:
        """Take the ids of `more` in."""
        into |= more

    def calls(
        self,
        place: Place,
        cells: Sequence[tuple[Cell, set[str]]],
        request: Callable[[], int],  # noqa: ARG002 (a repetition changes nothing)
    ) -> list[Call]:
        """What writes those cells."""
        found = packing.pieces(cells, lambda ids: ((one,) for one in ids))
        return packing.calls(
            WRITE, found, lambda cell: (packing.key_of(place, self.name, cell),), (numbers(place),)
        )


ACTIVE = Actives()


def numbers(place: Place) -> str:
    """The key of the numbers of names."""
    return place.own(ACTIVE.name, "numbers")


def identity(id: Any) -> str:
    """`id` as it is sent: digits, or `=` and a name; 1 is not "1". Raises: ConfigurationError."""
    if isinstance(id, int) and not isinstance(id, bool) and 0 <= id < NUMBERED:
        return str(int(id))
    text = naming.text(id)
    if isinstance(id, bool | float) or id is None or len(text) > LONGEST:
        raise ConfigurationError(
            f"id={id!r:.80} must be an int, or a str (or UUID) of at most {LONGEST} characters"
        )
    return f"={text}"


class Retained(NamedTuple):
    """Of `size` who were active in one period, `kept` were active in another one too."""

    size: int
    kept: int

    @property
    def rate(self) -> float:
        """From 0 to 1; 0 if there was nobody."""
        return self.kept / self.size if self.size else 0.0


class Cohort(NamedTuple):
    """Who was active in the period that began at `start`: `size` of them. `kept[0]` were active in the next
    one, too, `kept[1]` in the one after that, and so on.
    """

    start: datetime
    size: int
    kept: tuple[int, ...]

    @property
    def rates(self) -> tuple[float, ...]:
        """`kept` as parts of `size`, from 0 to 1."""
        return tuple(Retained(self.size, kept).rate for kept in self.kept)


def questions(
    place: Place, mode: str, groups: Sequence[Sequence[str]], chunks: Sequence[Sequence[int]]
) -> Iterator[tuple[tuple[int, ...], tuple[str, ...], tuple[Arg, ...]]]:
    """What actives.lua is asked: which groups, KEYS, ARGV. `chunks` are those of each group.

    "each": as many groups together as make a page. "both": the first one with all others, in pages of chunks.
    """
    scratch = (place.own(ACTIVE.name, "x"), place.own(ACTIVE.name, "y"))
    for share in _shares(mode, groups, chunks):
        keys = tuple(key for number in share for key in groups[number])
        wanted = sorted({chunk for number in share for chunk in chunks[number]})
        if mode == "both":
            wanted = sorted(chunks[0])
        step = max(1, PAGE // max(1, len(keys)))
        for at in range(0, len(wanted), step):
            sizes = (len(groups[number]) for number in share)
            yield share, (*scratch, *keys), (mode, len(share), *sizes, *wanted[at : at + step])


def _shares(
    mode: str, groups: Sequence[Sequence[str]], chunks: Sequence[Sequence[int]]
) -> Iterator[tuple[int, ...]]:
    """Which groups are asked for together: those that have anybody."""
    part: list[int] = []
    size = 0
    for number, keys in enumerate(groups):
        if not keys or not chunks[number]:
            if mode == "both" and number == 0:
                return
            continue
        if size + len(keys) > PAGE and len(part) > (mode == "both"):
            yield tuple(part)
            part, size = ([0], len(groups[0])) if mode == "both" else ([], 0)
        part.append(number)
        size += len(keys)
    if part:
        yield tuple(part)
