"""SCAN, within bounds, and which key of a cache is what. Pure: questions are yielded, answers are sent in.

So one text serves clients of threads and of asyncio: `drive` and `adrive` ask.
"""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import unquote

from holdfast._wire.transport import Command, Reply

T = TypeVar("T")
Questions = Generator[list[Command], list[Reply], T]

PAGE = 500  # keys the server looks at for one answer: about a millisecond of its time
FURTHER = 100  # keys looked at for one that is wanted, before the walk is given up

_GLOB = re.compile(r"[*?\[\]\\]")


class Walk(NamedTuple):
    """`looked`: keys that the server looked at, about. `complete`: they were all."""

    looked: int
    complete: bool


def pattern(prefix: str, rest: str = "*") -> str:
    """What SCAN matches: keys that start with `prefix`, whatever is in it."""
    return _GLOB.sub(lambda found: f"\\{found[0]}", prefix) + rest


def walk(
    match: str, limit: int, take: Callable[[str], bool], tell: Callable[[int], object], further: int = FURTHER
) -> Questions[Walk]:
    """Give each key that fits `match` to `take`, until that has said True to `limit` of them.

    In a database full of other keys the walk ends after `further` times as many. `tell` hears how many were
    looked at. A key may come twice.
    """
    cursor: Any = "0"
    looked = taken = 0
    while True:
        ((cursor, page),) = yield [("SCAN", cursor, "MATCH", match, "COUNT", PAGE)]
        looked += PAGE
        for key in page:
            taken += take(key.decode("utf-8", "replace"))
        tell(looked)
        if int(cursor) == 0:
            return Walk(looked, complete=True)
        if taken >= limit or looked >= limit * further:
            return Walk(looked, complete=False)


def drive(ask: Callable[[list[Command]], list[Reply]], questions: Questions[T]) -> T:
    """The result of `questions`, asked one after the other."""
    try:
        commands = next(questions)
        while True:
            commands = questions.send(ask(commands))
    except StopIteration as end:
        result: T = end.value
        return result


async def adrive(ask: Callable[[list[Command]], Awaitable[list[Reply]]], questions: Questions[T]) -> T:
    """As `drive`."""
    try:
        commands = next(questions)
        while True:
            commands = questions.send(await ask(commands))
    except StopIteration as end:
        result: T = end.value
        return result


class Sample(Generic[T]):
    """At most `size` of the items that are added, all with the same chance (algorithm R; Vitter 1985)."""

    def __init__(self, size: int, dice: random.Random) -> None:
        self.items: list[T] = []
        self.seen = 0
        self._size = size
        self._dice = dice

    def add(self, item: T) -> None:
        """Take notice of `item`."""
        self.seen += 1
        if len(self.items) < self._size:
            self.items.append(item)
        elif (place := self._dice.randrange(self.seen)) < self._size:
            self.items[place] = item


# --- which key is what --------------------------------------------------------------------------------------


class Named(NamedTuple):
    """A key of a cache. `kind`: entry, tag, epoch, chunk, variant, lease, hold, journal or other.

    `label`: the text of the entry it belongs to, or the name of the tag.
    """

    kind: str
    label: str
    key: str


_PARTS = re.compile(r":(?:(f)|(v)|(s[0-9a-f]{8})|(c\d+))")
_KINDS = ("lease", "hold", "variant", "chunk")


def named(key: str, prefix: str) -> Named:
    """What `key` is, which starts with `prefix`, as `Keys.prefix` makes it."""
    tag, _, part = key[len(prefix) :].partition("}")
    if part.startswith("{"):  # written behind: the first tag is the partition's
        tag, _, part = part[1:].partition("}")
    elif ":" in tag and part and not _PARTS.fullmatch(part):
        return Named("journal", tag, key)
    if not part:
        return Named("entry", tag, key)
    if found := _PARTS.fullmatch(part):
        kind = next(kind for kind, group in zip(_KINDS, found.groups(), strict=True) if group)
        return Named(kind, tag, key)
    if part.startswith(":t:") and tag.startswith("#"):
        return Named("tag", plain(part[3:]), key)
    return Named("epoch" if part == ":e" and tag.startswith("#") else "other", tag, key)


def plain(escaped: str) -> str:
    """The text that was escaped as a name or a tag."""
    return "" if escaped == "%" else unquote(escaped, errors="replace")


def cache_of(key: str, prefix: str) -> str | None:
    """The name of the cache that `key` belongs to; `prefix` is what the keys of all caches start with."""
    name, colon, _ = key[len(prefix) :].partition(":{")
    return plain(name) if colon else None


def pages(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """`items`, at most `size` at a time."""
    return [items[at : at + size] for at in range(0, len(items), size)]
