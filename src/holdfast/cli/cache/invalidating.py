"""`holdfast cache invalidate NAME KEY...`, `--tag TAG...`, `--all`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from holdfast.cli.cache import sample, sight, words
from holdfast.cli.cache.inverse import shown, tag_of
from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import Place, client
from holdfast.cli.cache.sight import Sight
from holdfast.cli.cache.walk import Named
from holdfast.cli.up.screen import Part
from holdfast.errors import ConfigurationError

_SHOWN = 20


def run(asked: argparse.Namespace) -> int:
    """Remove what was named, or say what would go; 1 if that is not confirmed.

    Raises: ConfigurationError, Unavailable, Refused.
    """
    paper = Paper(json=asked.json)
    tags = [tag_of(key, is_int=asked.is_int, is_text=asked.is_text) for key in asked.keys]
    if sum(map(bool, (tags, asked.tags, asked.all_))) != 1:
        raise ConfigurationError("name KEYs, or give --tag TAG..., or --all: one of them")
    with client(asked) as hf:
        place = Place(hf, asked.name)
        if asked.dry_run:
            return _would(place, asked, tags, paper)
        if asked.all_ and not asked.yes:
            _ask(place)
        confirmed = _remove(place, asked, tags)
    what = (
        "everything"
        if asked.all_
        else words.listed([words.safe(one) for one in asked.tags or map(shown, tags)][:_SHOWN])
    )
    kind = "tag " if asked.tags else ""
    paper.data(
        {
            "cache": asked.name,
            "keys": [*map(shown, tags)],
            "tags": asked.tags,
            "all": asked.all_,
            "confirmed": confirmed,
        }
    )
    if confirmed:
        paper.say(
            Part("confirmed", "green"),
            f": {kind}{what} of {words.safe(asked.name)}: no read that starts now gets it",
        )
        return 0
    paper.say(Part("not confirmed", "bold red"), f": {kind}{what} may still be served; say it again")
    return 1


def _remove(place: Place, asked: argparse.Namespace, tags: list[str]) -> bool:
    if asked.all_:
        place.cache.clear()
        return True
    return place.cache.invalidate_tags(*asked.tags) if asked.tags else place.cache._invalidate(tags)


def _ask(place: Place) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError("--all: nobody is here to be asked; say --yes")
    name, where = words.safe(place.name), f"{words.safe(place.keys.namespace)} at {place.hf._wire.name}"
    try:
        said = input(f"Clear all of {name} in {where}? [y/N] ")
    except EOFError:
        said = ""
    if said.strip().lower() not in {"y", "yes"}:
        raise ConfigurationError("nothing was changed")


# --- what would go ------------------------------------------------------------------------------------------


def _would(place: Place, asked: argparse.Namespace, tags: list[str], paper: Paper) -> int:
    report: dict[str, Any] = {"cache": asked.name, "dry_run": True}
    caveat = ""
    if tags:
        named = [Named("entry", tag, place.entry(tag)) for tag in tags]
        seen = place.drive(sight.look(named, place.epochs, place.tag_key))
        report |= {"absent": sorted({*tags} - {one.tag for one in seen})}
    else:
        found = sample.gather(place, asked, paper)
        seen = sample.look(place, found.entries.items)
        served = [one for one in seen if one.state in {"fresh", "stale", "expired"}]
        seen = served if asked.all_ else [one for one in served if _carries(one, asked.tags)]
        total = found.estimate("entry") or found.kinds["entry"]
        report |= {"sampled": len(found.entries.items), "entries": total, "complete": found.walked.complete}
        part = len(seen) / len(found.entries.items) if found.entries.items else 0.0
        report["about"] = round(part * total)
        caveat = found.caveat()
    seen.sort(key=lambda one: one.tag)
    report["entries_seen"] = [{"key": shown(one.tag), "state": one.state, "age": one.age} for one in seen]
    paper.data(report)
    _show(paper, report, seen)
    if caveat:
        paper.say(Part(f"  {caveat}", "dim"))
    return 0


def _carries(one: Sight, tags: list[str]) -> bool:
    return any(tag in one.carries for tag in tags)


def _show(paper: Paper, report: dict[str, Any], seen: list[Sight]) -> None:
    if "about" in report:
        exact = report["complete"] and report["sampled"] == report["entries"]
        count = words.many(report["about"], "entry")
        paper.say(
            "would go: ",
            Part(count if exact else f"about {count}", "bold"),
            f" of {report['entries']:,}; nothing was changed",
        )
    else:
        paper.say("would go: ", Part(words.many(len(seen), "entry"), "bold"), "; nothing was changed")
    if seen:
        cells = [(words.duration(one.age), one.state, words.safe(shown(one.tag))) for one in seen[:_SHOWN]]
        paper.table(("age", "state", "key"), cells, right=(0,), looks=("", "", "bold"))
        if len(seen) > _SHOWN:
            paper.say("  and so on")
    if absent := report.get("absent"):
        paper.say(f"  not there: {words.listed([words.safe(shown(tag)) for tag in absent][:_SHOWN])}")
