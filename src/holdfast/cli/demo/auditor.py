"""The auditor: knows every version that was committed, and finds every read that was stale. Pure.

A read is stale if it began after a newer version had become the truth for all: after its commit *and* after
the call that invalidates caches had returned. Nobody can complain about a read that began earlier: the writer
had not finished. So whatever is found here is a lie by the writer's own clock, never a matter of taste.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from holdfast.cli.demo.messages import Update


class Lie(Struct, frozen=True):
    """An old version of one airport that was served although a newer one was the truth.

    `committed`: when the version that followed it was; `since`: when everybody should have known; `until`:
    the end of the last stale read.
    """

    airport: str
    served: int
    newer: int
    committed: float
    since: float
    until: float
    reads: int

    @property
    def lasted(self) -> float:
        """Seconds from the moment everybody should have known to the last stale read."""
        return self.until - self.since


class Read(NamedTuple):
    """One read that was stale."""

    key: int
    served: int
    ended: float


class Auditor:
    """Judges the reads of one phase by what was committed in it."""

    def __init__(self, updates: Iterable[Update], codes: Sequence[str]) -> None:
        self._codes = codes
        self._history: dict[int, list[Update]] = {}
        for update in updates:
            self._history.setdefault(update.key, []).append(update)
        # For each airport, the times after which a read must see at least the version beside it.
        self._truth: dict[int, tuple[list[float], list[int]]] = {}
        for key, history in self._history.items():
            times: list[float] = []
            versions: list[int] = []
            for update in sorted(history, key=lambda one: (_visible(one), one.version)):
                times.append(_visible(update))
                versions.append(max(update.version, versions[-1] if versions else 0))
            self._truth[key] = times, versions
        self.reads = 0
        self.stale: list[Read] = []

    def judge(
        self,
        keys: Sequence[int],
        versions: Sequence[int],
        began: Sequence[float],
        ended: Sequence[float],
    ) -> None:
        """Add reads, given as columns."""
        self.reads += len(ended)
        for at, key in enumerate(keys):
            truth = self._truth.get(key)
            if truth is None:
                continue
            newer = bisect_right(truth[0], began[at])
            if newer and truth[1][newer - 1] > versions[at]:
                self.stale.append(Read(key, versions[at], ended[at]))

    def lies(self) -> list[Lie]:
        """What was served although it was old, the longest first."""
        found: dict[tuple[int, int], list[float]] = {}
        for read in self.stale:
            found.setdefault((read.key, read.served), []).append(read.ended)
        lies = []
        for (key, served), ends in found.items():
            newer = min((one for one in self._history[key] if one.version > served), key=_version)
            lies.append(
                Lie(
                    airport=self._codes[key],
                    served=served,
                    newer=newer.version,
                    committed=newer.committed,
                    since=min(_visible(one) for one in self._history[key] if one.version > served),
                    until=max(ends),
                    reads=len(ends),
                )
            )
        return sorted(lies, key=lambda lie: -lie.lasted)


def _version(update: Update) -> int:
    return update.version


def _visible(update: Update) -> float:
    return math.inf if update.visible is None else update.visible
