"""`holdfast cache list`."""

from __future__ import annotations

import argparse
from collections import Counter

from holdfast import Holdfast
from holdfast._wire.transport import Command, Reply
from holdfast.cli.cache import walk
from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import client, database_size, is_off
from holdfast.cli.cache.words import many, safe
from holdfast.cli.up.screen import Part


def run(asked: argparse.Namespace) -> int:
    """Say which caches there are. Raises: Unavailable, Refused."""
    paper = Paper(json=asked.json)
    with client(asked) as hf:
        kinds: dict[str, Counter[str]] = {}
        walked = _walk(hf, asked.limit, paper, kinds)
        off = {name: is_off(hf, name) for name in kinds}
    rows = [
        {"cache": name, "entries": kinds[name]["entry"], "tags": kinds[name]["tag"], "on": not off[name]}
        for name in sorted(kinds)
    ]
    paper.data({"caches": rows, "complete": walked.complete, "keys_looked_at": walked.looked})
    if not rows:
        paper.say(f"no cache was seen in the namespace {safe(hf._wire.keys.namespace)}")
    else:
        least = "" if walked.complete else ">= "
        cells = [
            (safe(str(row["cache"])), f"{least}{row['entries']:,}", f"{least}{row['tags']:,}",
             Part("on", "green") if row["on"] else Part("off", "bold red"))
            for row in rows
        ]  # fmt: skip
        paper.table(("cache", "entries", "tags", ""), cells, right=(1, 2), looks=("bold",))
    if not walked.complete:
        paper.say(f"  not all: about {many(walked.looked, 'key')} were looked at; --limit goes further")
    return 0


def _walk(hf: Holdfast, limit: int, paper: Paper, kinds: dict[str, Counter[str]]) -> walk.Walk:
    keys = hf._wire.keys
    prefix = keys.prefix("cache", "")[: -len("%:{")]  # what comes before the name
    seen: set[str] = set()

    def take(key: str) -> bool:
        name = walk.cache_of(key, prefix)
        if name is None or key in seen:
            return False
        seen.add(key)
        kinds.setdefault(name, Counter())[walk.named(key, keys.prefix("cache", name)).kind] += 1
        return True

    def ask(commands: list[Command]) -> list[Reply]:
        return hf._wire.execute_many(commands, retry="safe")

    with paper.progress("looking for caches", database_size(hf)) as tell:
        return walk.drive(ask, walk.walk(walk.pattern(prefix), limit, take, tell))
