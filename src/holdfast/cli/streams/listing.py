"""`holdfast streams list [PATTERN]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import client, database_size
from holdfast.cli.cache.words import duration, many, safe, size
from holdfast.cli.streams.find import called, find
from holdfast.cli.up.screen import Part
from holdfast.streams.books import StreamInfo

_HEADS = ("entries", "size", "oldest", "delayed", "partitions", "groups", "stream")


def run(asked: argparse.Namespace) -> int:
    """Say which there are. Raises: Unavailable, Refused."""
    paper = Paper(json=asked.json)
    with client(asked) as hf:
        with paper.progress("looking for streams", database_size(hf)) as tell:
            found = find(hf, asked.pattern, asked.limit, tell)
        seen = [(name, called(hf, name).info()) for name in found.names]
        namespace = hf._wire.keys.namespace
    paper.data(
        {
            "streams": [_data(name, info) for name, info in seen],
            "complete": found.walked.complete,
            "keys_looked_at": found.walked.looked,
        }
    )
    if seen:
        paper.table(
            _HEADS, [_row(name, info) for name, info in seen], right=range(5), looks=("",) * 6 + ("bold",)
        )
        paper.say()
        paper.say(
            Part(many(len(seen), "stream"), "bold"), f", {many(sum(one.entries for _, one in seen), 'entry')}"
        )
    else:
        which = "" if asked.pattern is None else f" that fits {safe(asked.pattern)}"
        paper.say(f"there is no stream{which} in the namespace {safe(namespace)}")
    if caveat := found.caveat():
        paper.say(Part(f"  {caveat}", "dim"))
    return 0


def _row(name: str, info: StreamInfo) -> Sequence[str | Part]:
    return [
        f"{info.entries:,}", "?" if info.bytes is None else size(info.bytes),
        duration(info.age) if info.entries else "", f"{info.delayed:,}", str(len(info.partitions)),
        safe(", ".join(info.groups)), safe(name),
    ]  # fmt: skip


def _data(name: str, info: StreamInfo) -> dict[str, object]:
    return {"name": name, **info._asdict(), "partitions": [one._asdict() for one in info.partitions]}
