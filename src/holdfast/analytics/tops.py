"""The most frequent items, in bounded memory. Pure.

    await hits.top("searches", "boots")
    await hits.top_items("searches", 10, since="24h")    # [TopItem(item="boots", count=812, error=0), ...]

Each bucket keeps up to `capacity` items (see top.lua; the idea is that of Metwally's space-saving, in the
form of Agarwal's mergeable summaries). Beyond that the rarest make room, and what is lost thereby bounds the
error.

Promised, of any period and any tags: `item.count - item.error <= true count <= item.count`, and an item that
is missing in the answer came at most as often as the last one in it says. Whoever makes up more than
1/capacity of a bucket is in it. With no more than `capacity` different items in each bucket all is exact.

Not promised: the order of items whose bounds overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from holdfast._wire.script import Script
from holdfast.analytics import layout, packing
from holdfast.analytics.kinds import Call, Cell, Place
from holdfast.errors import ConfigurationError

WRITE = Script.load(__package__, "top")
READ = Script.load(__package__, "tops")

ERRORS = ":e"  # behind the key of a cell
FLOOR = ""  # the item that is none: it stands for all that are absent
CAPACITY = 1000  # items in a bucket
PAGE = 32_000  # items that one script reads, if all buckets are full
LONGEST = 512  # characters of an item
MOST = (1 << 53) - 1


class Top:
    """The kind "top", whose buckets keep `capacity` items."""

    name = "top"

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity

    @property
    def page(self) -> int:
        """Buckets in one read."""
        return max(1, PAGE // self.capacity)

    def fresh(self) -> dict[str, int]:
        """No items."""
        return {}

    def add(self, aggregate: dict[str, int], item: str, n: int) -> int:
        """Count an item; 1 if it is new."""
        had = aggregate.get(item)
        aggregate[item] = n + (had or 0)
        return had is None

    def merge(self, into: dict[str, int], more: Mapping[str, int]) -> None:
        """Take the counts of `more` in."""
        for item, count in more.items():
            into[item] = into.get(item, 0) + count

    def calls(
        self, place: Place, cells: Sequence[tuple[Cell, Mapping[str, int]]], request: Callable[[], int]
    ) -> list[Call]:
        """What writes those cells. The most frequent items go first: what comes late may find no room."""
        found = packing.pieces(cells, _sorted)
        first = packing.numbered(request)

        def keys(cell: Cell) -> tuple[str, str]:
            return packing.key_of(place, self.name, cell), packing.key_of(place, self.name, cell, ERRORS)

        return packing.calls(WRITE, found, keys, (place.memo(self.name),), lambda: (*first(), self.capacity))


def _sorted(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: -one[1])


TOP = Top()


def check_item(item: Any, n: Any) -> str:
    """`item`, if it can be one, `n` times. Raises: ConfigurationError."""
    if not isinstance(item, str) or not 0 < len(item) <= LONGEST:
        raise ConfigurationError(f"item={item!r:.80} must be a str of 1 to {LONGEST} characters")
    if isinstance(n, bool) or not isinstance(n, int) or not 0 < n <= MOST:
        raise ConfigurationError(f"n={n!r} must be a whole number from 1 to 2**53 - 1")
    return layout.check_text("item", item)


@dataclass(frozen=True, slots=True)
class TopItem:
    """An item, and how often it came: from `least` to `count` times."""

    item: str
    count: int
    error: int

    @property
    def least(self) -> int:
        """So often it came for certain."""
        return self.count - self.error


class Kept(NamedTuple):
    """What one bucket holds; no absent item came more often than `floor`."""

    counts: Mapping[str, int]
    errors: Mapping[str, int]
    floor: int


def kept(reply: Any) -> Kept:
    """One cell of the reply of tops.lua."""
    counts, errors = (_pairs(part) for part in reply)
    return Kept(counts, errors, errors.pop(FLOOR, 0))


def _pairs(reply: Sequence[bytes]) -> dict[str, int]:
    return {
        item.decode("utf-8", "replace"): int(float(count))
        for item, count in zip(reply[::2], reply[1::2], strict=True)
    }


def ranked(cells: Iterable[Kept], k: int) -> list[TopItem]:
    """The `k` most frequent items of all those buckets, the most frequent first.

    Where a bucket does not know an item, its floor is added: so often it may have come there unseen.
    """
    counts: dict[str, int] = {}
    errors: dict[str, int] = {}
    floors = 0
    for cell in cells:
        floors += cell.floor
        for item, count in cell.counts.items():
            counts[item] = counts.get(item, 0) + count - cell.floor
            errors[item] = errors.get(item, 0) + cell.errors.get(item, 0) - cell.floor
    found = (TopItem(item, count + floors, errors[item] + floors) for item, count in counts.items())
    return sorted(found, key=lambda one: (-one.count, one.error, one.item))[:k]
