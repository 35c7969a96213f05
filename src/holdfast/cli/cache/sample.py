"""What stats, tags and a dry run look at: all keys of a cache within bounds, some entries more closely."""

from __future__ import annotations

import argparse
import random
from collections import Counter
from dataclasses import dataclass, field

from holdfast.cli.cache import sight, walk
from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import Place, database_size
from holdfast.cli.cache.sight import Sight
from holdfast.cli.cache.walk import Named, Sample, Walk
from holdfast.cli.cache.words import many
from holdfast.errors import NoPermission, Refused

NOT_YET = Walk(0, complete=False)


@dataclass
class Found:
    """`kinds`: keys by what they are. `entries`: some at random. `tags`: the names of all that were seen.

    `size`: how many keys the server has, of whomever; 0 if unknown.
    """

    entries: Sample[Named]
    size: int
    kinds: Counter[str] = field(default_factory=Counter)
    tags: list[str] = field(default_factory=list)
    walked: Walk = NOT_YET

    def estimate(self, kind: str) -> int | None:
        """How many there are in all, if not all were seen and a guess is worth something."""
        looked = self.walked.looked
        if self.walked.complete or not self.size or looked >= self.size:
            return None
        return round(self.kinds[kind] * self.size / looked)

    def caveat(self) -> str:
        """What was not looked at; "" if all was."""
        if self.walked.complete:
            return ""
        of = f" of {self.size:,}" if self.size else ""
        return f"not all: about {many(self.walked.looked, 'key')}{of} were looked at; --limit goes further"


def gather(place: Place, asked: argparse.Namespace, paper: Paper) -> Found:
    """The keys of the cache, at most `asked.limit`. Raises: Unavailable, Refused."""
    found = Found(Sample(asked.sample, random.Random()), database_size(place.hf))
    seen: set[str] = set()

    def take(key: str) -> bool:
        if key in seen:
            return False
        seen.add(key)
        one = walk.named(key, place.prefix)
        found.kinds[one.kind] += 1
        if one.kind == "entry":
            found.entries.add(one)
        elif one.kind == "tag":
            found.tags.append(one.label)
        return True

    with paper.progress(f"looking at {place.name}", found.size) as tell:
        questions = walk.walk(walk.pattern(place.prefix), asked.limit, take, tell)
        found.walked = place.drive(questions)
    return found


def look(place: Place, entries: list[Named]) -> list[Sight]:
    """The `entries` that are still there. Raises: Unavailable, Refused."""
    try:
        return place.drive(sight.look(entries, place.epochs, place.tag_key, "MEMORY USAGE"))
    except Refused as error:
        if not isinstance(error, NoPermission) and "unknown" not in str(error).lower():
            raise
        return place.drive(sight.look(entries, place.epochs, place.tag_key))
