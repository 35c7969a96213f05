"""`holdfast cache tags NAME [TAG]`."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

from holdfast.cli.cache import sample, words
from holdfast.cli.cache.inverse import shown
from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import Place, client
from holdfast.cli.cache.sample import Found
from holdfast.cli.cache.sight import Sight
from holdfast.cli.up.screen import Part

_MOST = 40  # rows for people; --json has all


def run(asked: argparse.Namespace) -> int:
    """Show the tags, or who carries one. Raises: Unavailable, Refused."""
    paper = Paper(json=asked.json)
    with client(asked) as hf:
        place = Place(hf, asked.name)
        found = sample.gather(place, asked, paper)
        seen = sample.look(place, found.entries.items)
    if asked.tag is None:
        _all(paper, asked.name, found, seen)
    else:
        _one(paper, asked.name, asked.tag, found, seen)
    if caveat := found.caveat():
        paper.say(Part(f"  {caveat}", "dim"))
    return 0


def counted(found: Found, seen: list[Sight]) -> list[dict[str, Any]]:
    """Each tag that exists or is carried: by how many sampled entries, for how many of them it is current."""
    carried: Counter[str] = Counter()
    current: Counter[str] = Counter()
    for one in seen:
        for name, is_current in one.carries.items():
            carried[name] += 1
            current[name] += is_current
    alive = set(found.tags)
    rows = [
        {
            "tag": name,
            "exists": name in alive or current[name] > 0,
            "carried": carried[name],
            "current": current[name],
        }
        for name in {*alive, *carried}
    ]
    return sorted(rows, key=lambda row: (-row["carried"], row["tag"]))


def _all(paper: Paper, name: str, found: Found, seen: list[Sight]) -> None:
    rows = counted(found, seen)
    paper.data({"cache": name, "tags": rows, "sampled": len(seen), "complete": found.walked.complete})
    if not rows:
        paper.say(f"{words.safe(name)} has no tags, as far as was looked")
        return
    cells = [(f"{row['carried']:,}", _current(row), words.safe(row["tag"])) for row in rows[:_MOST]]
    head = (f"of {words.many(len(seen), 'entry')}", "current", "tag")
    paper.table(head, cells, right=(0, 1), looks=("", "", "bold"))
    if len(rows) > _MOST:
        paper.say(f"  and {words.many(len(rows) - _MOST, 'tag')} more; --json prints all")


def _current(row: dict[str, Any]) -> Part:
    return Part(f"{row['current']:,}", "green" if row["current"] == row["carried"] else "red")


def _one(paper: Paper, name: str, tag: str, found: Found, seen: list[Sight]) -> None:
    carriers = sorted((one for one in seen if tag in one.carries), key=lambda one: one.tag)
    rows: list[dict[str, Any]] = [
        {"key": shown(one.tag), "current": one.carries[tag], "state": one.state, "age": one.age}
        for one in carriers
    ]
    paper.data(
        {"cache": name, "tag": tag, "entries": rows, "sampled": len(seen), "complete": found.walked.complete}
    )
    if not rows:
        sampled = words.many(len(seen), "sampled entry")
        paper.say(f"none of {sampled} of {words.safe(name)} carries {words.safe(tag)}")
        return
    paper.say(Part(words.safe(tag), "bold"), f": {len(rows):,} of {words.many(len(seen), 'entry')}")
    cells = [(words.duration(row["age"]), row["state"], words.safe(row["key"])) for row in rows[:_MOST]]
    paper.table(("age", "state", "key"), cells, right=(0,), looks=("", "", "bold"))
    if len(rows) > _MOST:
        paper.say(f"  and {len(rows) - _MOST:,} more; --json prints all")
