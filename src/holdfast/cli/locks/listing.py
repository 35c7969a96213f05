"""`holdfast locks list [PATTERN]`."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from typing import Any

from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import client, database_size
from holdfast.cli.cache.words import duration, many, safe
from holdfast.cli.locks.find import find, see
from holdfast.cli.locks.sight import Sight, as_data, by_age
from holdfast.cli.locks.words import waiting
from holdfast.cli.up.screen import Part

_MOST = 200  # rows for people; --json has all
_WIDE = 110  # columns of a terminal that has room for fence and contention


def run(asked: argparse.Namespace) -> int:
    """Say which locks are held. Raises: Unavailable, Refused."""
    paper = Paper(json=asked.json)
    with client(asked) as hf:
        with paper.progress("looking for locks", database_size(hf)) as tell:
            found = find(hf, asked.pattern, asked.limit, tell)
        seen = by_age([one for one in see(hf, found.named) if one.in_use])
        namespace = hf._wire.keys.namespace
    walked = found.walked
    paper.data(
        {
            "locks": [as_data(one) for one in seen],
            "complete": walked.complete,
            "keys_looked_at": walked.looked,
        }
    )
    if seen:
        table(paper, seen[:_MOST], wide=shutil.get_terminal_size((160, 24)).columns >= _WIDE)
        if len(seen) > _MOST:
            paper.say(f"  and {len(seen) - _MOST:,} more; --json prints all")
        paper.say()
        paper.say(*summary(seen))
    else:
        which = "" if asked.pattern is None else f" that fits {safe(asked.pattern)}"
        paper.say(f"no lock{which} is held in the namespace {safe(namespace)}")
    if caveat := found.caveat():
        paper.say(Part(f"  {caveat}", "dim"))
    return 0


def table(paper: Paper, seen: Sequence[Sight], *, wide: bool) -> None:
    """A row for each."""
    heads, cells = rows(seen, wide=wide)
    paper.table(heads, cells, right=range(len(heads) - 2), looks=("",) * (len(heads) - 1) + ("bold",))


def rows(seen: Sequence[Sight], *, wide: bool) -> tuple[Sequence[str], list[list[str | Part]]]:
    """Heads and cells; the last two columns are text."""
    more = ("contended", "fence") if wide else ()
    heads = ("held", "ttl left", "wait", *more, "by", "lock")
    return heads, [_row(one, wide=wide) for one in seen]


def _row(one: Sight, *, wide: bool) -> list[str | Part]:
    who = one.holder
    waits = "?" if one.waiting is None else f"{one.waiting:,}"
    fence = "" if who is None or who.fence is None else str(who.fence)
    more: list[str | Part] = (
        ["" if one.contended is None else f"{one.contended:,}", Part(fence, "dim")] if wide else []
    )
    return [
        "?" if one.held is None else duration(one.held), ttl(one),
        Part(waits, "yellow" if one.waiting else ""), *more, owner(one), safe(one.named.name) + mark(one),
    ]  # fmt: skip


def ttl(one: Sight) -> str | Part:
    """How long it has yet, if nobody renews it."""
    left = None if one.is_odd else one.ttl
    return Part("no end", "bold red") if left is None else duration(left)


def owner(one: Sight) -> str | Part:
    """Who has it, in a word."""
    told = safe(one.owner)
    return Part(told, "red" if one.is_odd else "magenta") if one.is_foreign else told


def mark(one: Sight) -> str:
    """What is special about it, behind its name."""
    told = [one.named.room] if one.named.room != "lock" else []
    told += [f"{one.count:,} of {one.limit:,}"] if one.limit is not None else []
    told += ["key="] if one.named.by_key else []
    told += ["asked back"] if one.holder is not None and one.holder.wanted is not None else []
    return f"  ({', '.join(told)})" if told else ""


def summary(seen: Sequence[Sight]) -> list[str | Part]:
    """All of them in a sentence."""
    waiters = sum(one.waiting or 0 for one in seen)
    oldest: Any = max((one.held for one in seen if one.held is not None), default=None)
    told = [Part(f"{many(len(seen), 'lock')} held", "bold")]
    told += [Part(f", the longest for {duration(oldest)}")] if oldest is not None else []
    endless = sum(one.is_endless for one in seen)
    told += [Part(f"; {waiting(waiters)}", "yellow")] if waiters else []
    told += [Part(f"; {endless:,} without an end", "bold red")] if endless else []
    return [*told]
