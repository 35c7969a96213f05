"""What a transaction has collected, and what becomes of it. Pure.

A ledger has one layer for the transaction and one for each open savepoint. What is collected goes into the
layer of the innermost; a savepoint that is released hands its layer down, one that is rolled back takes it
along. So at the commit exactly those invalidations are left whose changes the commit makes visible.

A layer also remembers which of the invalidations stand in an outbox: rows that were written inside of a
savepoint are gone when it is rolled back, and those below it must then be written again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Final, NamedTuple

KEY: Final = "invalidate"
TAG: Final = "invalidate_tags"


class Wanted(NamedTuple):
    """One invalidation: of a key, as `cache.keys.text` writes it, or of a tag; `kind` says which."""

    cache: Any
    kind: str
    text: str


class _Layer:
    __slots__ = ("tagged", "wanted", "written")

    def __init__(self) -> None:
        self.wanted: dict[Wanted, Any] = {}  # in the order of collecting; the value is its outbox, or None
        self.tagged: set[Any] = set()  # caches of which a tag was collected
        self.written: set[Wanted] = set()

    def add(self, one: Wanted, outbox: Any) -> None:
        self.wanted[one] = outbox or self.wanted.get(one)
        if one.kind == TAG:
            self.tagged.add(one.cache)


class Ledger:
    """What one session has collected. A scope is whatever names a transaction or a savepoint."""

    __slots__ = ("_layers",)

    def __init__(self) -> None:
        self._layers: dict[Hashable, _Layer] = {}

    def collect(self, scope: Hashable, wanted: Iterable[Wanted], outbox: Any = None) -> None:
        """Add `wanted` to the layer of `scope`; with an outbox, they are to be written there too."""
        layer = self._layers.setdefault(scope, _Layer())
        for one in wanted:
            layer.add(one, outbox)

    def holds(self, cache: Any, text: str) -> bool:
        """Must the key `text` not be read from `cache`? After a tag, that is every key: any may bear it."""
        asked = Wanted(cache, KEY, text)
        return any(asked in layer.wanted or cache in layer.tagged for layer in self._layers.values())

    def release(self, scope: Hashable, parent: Hashable) -> None:
        """The savepoint `scope` ended well: what it has is its parent's now."""
        layer = self._layers.pop(scope, None)
        if layer is None:
            return
        below = self._layers.setdefault(parent, _Layer())
        for one, outbox in layer.wanted.items():
            below.add(one, outbox)
        below.written |= layer.written

    def drop(self, scope: Hashable) -> None:
        """The savepoint `scope` was rolled back."""
        self._layers.pop(scope, None)

    def unwritten(self) -> list[tuple[Wanted, Any]]:
        """What must go into an outbox and is not there yet, each with its outbox."""
        layers = self._layers.values()
        return [
            (one, outbox)
            for layer in layers
            for one, outbox in layer.wanted.items()
            if outbox is not None and not any(one in other.written for other in layers)
        ]

    def wrote(self, scope: Hashable, wanted: Iterable[Wanted]) -> None:
        """`wanted` stand in their outbox, as long as `scope` is not rolled back."""
        self._layers.setdefault(scope, _Layer()).written.update(wanted)

    def take(self) -> list[Wanted]:
        """Everything, once; the ledger is empty then."""
        taken = dict.fromkeys(one for layer in self._layers.values() for one in layer.wanted)
        self._layers.clear()
        return list(taken)


def by_cache(wanted: Iterable[Wanted]) -> dict[Any, tuple[list[str], list[str]]]:
    """The texts of keys and the tags of each cache."""
    found: dict[Any, tuple[list[str], list[str]]] = {}
    for one in wanted:
        keys, tags = found.setdefault(one.cache, ([], []))
        (tags if one.kind == TAG else keys).append(one.text)
    return found


def backoff(failures: int, dice: float) -> float:
    """Seconds to rest after `failures` in a row: 0.1 to 10, doubling; `dice` throws half of it."""
    longest = min(10.0, 0.1 * 2.0 ** min(failures, 16))
    return max(0.1, longest * (0.5 + dice / 2))
