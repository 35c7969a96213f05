"""`holdfast cache stats NAME`."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from typing import Any

from holdfast.cache.behind import rules as behind
from holdfast.cli.cache import sample, words
from holdfast.cli.cache.inverse import shown
from holdfast.cli.cache.paper import Line, Paper
from holdfast.cli.cache.place import Place, client
from holdfast.cli.cache.sample import Found
from holdfast.cli.cache.sight import Sight
from holdfast.cli.up.screen import Part
from holdfast.errors import Refused

_LARGEST = 5
_BARS = 24  # signs of the longest bar
_STEPS = ((1, "under 1 s"), (10, "1 - 10 s"), (60, "10 s - 1 m"), (600, "1 - 10 m"), (3600, "10 m - 1 h"))
_STEPS_MORE = ((86400, "1 h - 1 d"), (float("inf"), "over 1 d"))


def run(asked: argparse.Namespace) -> int:
    """Show the figures. Raises: Unavailable, Refused."""
    paper = Paper(json=asked.json)
    with client(asked) as hf:
        place = Place(hf, asked.name)
        found = sample.gather(place, asked, paper)
        seen = sample.look(place, found.entries.items)
        report = figures(found, seen)
        report |= {"cache": asked.name, "on": not place.is_off, "listeners": listeners(place)}
        report["backlog"] = backlog(place)
    paper.data(report)
    _show(paper, report, found)
    return 0


def figures(found: Found, seen: list[Sight]) -> dict[str, Any]:
    """What was counted, and what the sample says."""
    states = Counter(one.state for one in seen)
    total = found.kinds["entry"] if found.estimate("entry") is None else found.estimate("entry")
    each = sum(one.weight for one in seen) / len(seen) if seen else 0.0
    largest = sorted(seen, key=lambda one: one.weight, reverse=True)[:_LARGEST]
    return {
        "entries": found.kinds["entry"], "entries_estimate": found.estimate("entry"),
        "complete": found.walked.complete, "keys_looked_at": found.walked.looked,
        "keys_of_server": found.size,
        "tags": found.kinds["tag"], "leases": found.kinds["lease"], "variants": found.kinds["variant"],
        "holds": found.kinds["hold"], "chunks": found.kinds["chunk"], "sampled": len(seen),
        "bytes": round(each * (total or 0)), "bytes_each": round(each),
        "states": dict(states),
        "tagged": sum(bool(one.carries) for one in seen),
        "negative": sum("negative" in one.flags for one in seen),
        "ttl_left": histogram([one for one in seen if one.state == "fresh"]),
        "largest": [{"key": shown(one.tag), "bytes": one.weight, "state": one.state} for one in largest],
    }  # fmt: skip


def histogram(fresh: list[Sight]) -> dict[str, int]:
    """How many of the `fresh` ones have how much of their ttl left."""
    counted: Counter[str] = Counter()
    for one in fresh:
        left = float("inf") if one.fresh_for is None else one.fresh_for
        counted[
            next(name for step, name in (*_STEPS, *_STEPS_MORE) if left < step or step == float("inf"))
        ] += 1
    return {name: counted[name] for _, name in (*_STEPS, *_STEPS_MORE)}


def listeners(place: Place) -> int | None:
    """Connections that are told of changes by prefix, as L1 caches are; None if that may not be known.

    Of whichever cache: the server does not say of which prefix. In a Cluster each L1 listens at every node,
    so one node knows them all.
    """
    try:
        reply: bytes = place.hf.execute("CLIENT", "LIST")
    except Refused:
        return None
    flags = re.findall(r"\bflags=(\w+)", reply.decode("utf-8", "replace"))
    return sum("t" in one and "B" in one for one in flags)


def backlog(place: Place) -> dict[str, Any] | None:
    """What the source has not got yet; None for a cache that is not written behind."""
    if place.layout is None:
        return None
    parts = place.layout.partitions
    questions: list[Any] = [("ZCARD", part.order) for part in parts] + [("HLEN", part.dead) for part in parts]
    questions += [("ZRANGE", part.order, 0, 0, "WITHSCORES") for part in parts]
    *told, (whole, micros) = place.ask([*questions, ("TIME",)])
    count = len(parts)
    oldest = [score for one in told[2 * count :] if (score := behind.oldest(one)) is not None]
    now = int(whole) + int(micros) / 1e6
    age = max(0.0, now - min(oldest) / 1e6) if oldest else 0.0
    return {"entries": sum(told[:count]), "dead": sum(told[count : 2 * count]), "oldest_age": age}


# --- in words -----------------------------------------------------------------------------------------------


def _show(paper: Paper, report: dict[str, Any], found: Found) -> None:
    state = Part("on", "green") if report["on"] else Part("off", "bold red")
    paper.say(Part(words.safe(report["cache"]), "bold"), ": ", state)
    least = "" if report["complete"] else "at least "
    guess = f", about {report['entries_estimate']:,}" if report["entries_estimate"] else ""
    rows: list[tuple[str, Line]] = [("entries", [f"{least}{report['entries']:,}{guess}"])]
    others = [
        words.many(report[kind], kind[:-1])
        for kind in ("leases", "variants", "holds", "chunks")
        if report[kind]
    ]
    rows.append(("tags", [f"{least}{report['tags']:,}"]))
    if others:
        rows.append(("besides", [", ".join(others)]))
    if report["sampled"]:
        rows.append(
            ("memory", [f"about {words.size(report['bytes'])}, {words.size(report['bytes_each'])} an entry"])
        )
        rows.append((f"of {report['sampled']:,}", [_shares(report)]))
    heard = report["listeners"]
    told = (
        "may not be asked for (CLIENT LIST)"
        if heard is None
        else f"{words.many(heard, 'connection')} listen by prefix, of all caches"
    )
    rows.append(("L1", [told]))
    if (waits := report["backlog"]) is not None:
        age = f", the oldest for {words.duration(waits['oldest_age'])}" if waits["entries"] else ""
        dead = f", {words.many(waits['dead'], 'dead letter')}" if waits["dead"] else ""
        rows.append(("backlog", [f"{words.many(waits['entries'], 'record')} wait for the source{age}{dead}"]))
    paper.facts(rows)
    _show_sample(paper, report)
    if caveat := found.caveat():
        paper.say(Part(f"  {caveat}", "dim"))


def _shares(report: dict[str, Any]) -> str:
    whole = report["sampled"]
    told = [
        f"{words.share(count, whole)} {state}"
        for state, count in sorted(report["states"].items(), key=lambda one: -one[1])
    ]
    told += [f"{words.share(report[kind], whole)} {kind}" for kind in ("tagged", "negative") if report[kind]]
    return ", ".join(told)


def _show_sample(paper: Paper, report: dict[str, Any]) -> None:
    counted: dict[str, int] = report["ttl_left"]
    most = max(counted.values(), default=0)
    if most:
        paper.say()
        rows = [
            (name, f"{count:,}", "#" * -(-count * _BARS // most)) for name, count in counted.items() if count
        ]
        paper.table(("ttl left", "of them", ""), rows, right=(1,), looks=("", "", "cyan"))
    if report["largest"]:
        paper.say()
        sizes = [
            (words.size(one["bytes"]), one["state"], words.safe(one["key"])) for one in report["largest"]
        ]
        paper.table(("largest", "", "key"), sizes, right=(0,), looks=("bold", "dim"))
