"""`holdfast limits list [NAME]`: the limiters, and their busiest subjects."""

from __future__ import annotations

import argparse
from math import inf

from holdfast.cli.cache.inverse import shown
from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import client, database_size
from holdfast.cli.cache.words import duration, many, safe, share
from holdfast.cli.limits.find import check_known, find
from holdfast.cli.limits.standing import Standing, data, look
from holdfast.cli.up.screen import Part

_HEADS = ("used", "again in", "limits: left of most", "own", "limiter", "subject")


def run(asked: argparse.Namespace) -> int:
    """Say who they are. Raises: ConfigurationError, Unavailable, Refused."""
    paper = Paper(json=asked.json)
    with client(asked) as hf:
        if asked.name is not None:
            check_known(hf, asked.name)
        with paper.progress("looking for subjects", database_size(hf)) as tell:
            found = find(hf, asked.name, asked.limit, tell)
        seen = [look(hf, name, tag) for name, tags in found.subjects.items() for tag in tags]
        namespace = hf._wire.keys.namespace
    seen.sort(key=lambda one: (-one.used, -one.retry_after, one.limiter, one.tag))
    paper.data(
        {
            "limiters": {name: len(tags) for name, tags in found.subjects.items()},
            "subjects": [data(one, shown(one.tag)) for one in seen],
            "complete": found.walked.complete,
        }
    )
    if seen:
        rows = [_cells(one) for one in seen[: asked.rows]]
        paper.table(_HEADS, rows, right=(0, 1), looks=("", "", "", "", "", "bold"))
        paper.say()
        paper.say(*_summary(seen, len(found.subjects), asked.rows))
    else:
        paper.say(f"nobody has used a limiter lately in the namespace {safe(namespace)}")
    if caveat := found.caveat():
        paper.say(Part(f"  {caveat}", "dim"))
    return 0


def _cells(one: Standing) -> list[str | Part]:
    is_denied = one.retry_after > 0
    look = "bold red" if is_denied else "yellow" if one.used >= 0.8 else ""
    return [
        Part(share(one.used, 1), look) if one.limits else "?",
        Part(wait(one.retry_after) if is_denied else "", look),
        ", ".join(f"{left.label} {left.left:,}/{left.most:,}" for left in one.limits) or "not known",
        "own" if one.own else "", safe(one.limiter), safe(shown(one.tag)),
    ]  # fmt: skip


def wait(seconds: float) -> str:
    """How long, as people say it."""
    return "never" if seconds == inf else duration(seconds)


def _summary(seen: list[Standing], limiters: int, rows: int) -> list[str | Part]:
    denied = sum(1 for one in seen if one.retry_after > 0)
    told: list[str | Part] = [Part(many(len(seen), "subject"), "bold"), f" of {many(limiters, 'limiter')}"]
    told += [Part(f"; {denied:,} would be denied now", "bold red")] if denied else []
    told += [Part(f"; the {rows:,} busiest are shown: --rows shows more", "dim")] if len(seen) > rows else []
    return told
