"""Measures how old the reads of a near cache are, while something is done to its server.

A writer changes rows and invalidates them, and notes when each invalidation had returned; readers, on a
client of their own with a near cache, note when they began and what they got. A read is stale if, a bound
before it began, a newer value's invalidation had returned.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from holdfast import Cache, HoldfastError

KEYS = 8


@dataclass
class Reads:
    """What was seen. `ages` are those of reads that were older than the last confirmed invalidation, in
    seconds.
    """

    reads: int = 0
    writes: int = 0
    unconfirmed: int = 0
    ages: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def oldest(self) -> float:
        return max(self.ages, default=0.0)


class Auditor:
    """Runs a writer and readers while the `with` block does its worst."""

    def __init__(
        self, reader: Cache[Any], writer: Cache[Any], *, pace: float = 0.004, tags: bool = False
    ) -> None:
        self.seen = Reads()
        self.rows = dict.fromkeys(range(KEYS), 0)
        self.confirmed: dict[int, list[tuple[float, int]]] = {key: [(0.0, 0)] for key in self.rows}
        self.pause = threading.Event()  # the writer rests
        self._reader, self._writer = reader, writer
        self._pace = pace
        self._tags = tags
        self._over = threading.Event()
        jobs: list[Callable[[int], None]] = [self._write, self._read, self._read]
        self._threads = [threading.Thread(target=job, args=(seed,)) for seed, job in enumerate(jobs)]

    def __enter__(self) -> Self:
        for key in self.rows:
            self._get(key)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads)
        assert self.seen.errors == []

    def _get(self, key: int) -> Any:
        load = lambda: self.rows[key]  # noqa: E731
        return (
            self._reader.get_or_set(key, load, tags=[f"row:{key}"])
            if self._tags
            else self._reader.get_or_set(key, load)
        )

    def _write(self, seed: int) -> None:
        dice = random.Random(seed)
        while not self._over.is_set():
            if self.pause.is_set():
                time.sleep(0.005)
                continue
            key = dice.choice(list(self.rows))
            self.rows[key] += 1
            version = self.rows[key]
            try:
                done = (
                    self._writer.invalidate_tags(f"row:{key}") if self._tags else self._writer.invalidate(key)
                )
            except HoldfastError:
                done = False
            if done:
                self.confirmed[key].append((time.monotonic(), version))
            self.seen.writes += done
            self.seen.unconfirmed += not done
            time.sleep(self._pace * 2 * dice.random())

    def _read(self, seed: int) -> None:
        dice = random.Random(seed)
        while not self._over.is_set():
            key = dice.choice(list(self.rows))
            began = time.monotonic()
            confirmed = list(self.confirmed[key])
            try:
                got = self._get(key)
            except HoldfastError as error:  # Overloaded at most: with Redis away, the source answers
                self.seen.errors.append(repr(error))
                return
            self.seen.reads += 1
            superseded = next((at for at, version in confirmed if version > got), None)
            if superseded is not None:
                self.seen.ages.append(began - superseded)
            time.sleep(0)
