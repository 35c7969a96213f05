"""`holdfast streams dead`, `replay` and `purge NAME GROUP`: what a group could not handle."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import client
from holdfast.cli.cache.words import many, safe, short
from holdfast.cli.streams.find import called, check_group
from holdfast.cli.streams.values import of_letter, text
from holdfast.cli.up.screen import Part
from holdfast.durations import optional_seconds
from holdfast.errors import ConfigurationError
from holdfast.streams._dead_sync import DeadLetters
from holdfast.streams.options import DeadMessage

_HEADS = ("died", "deliveries", "key", "id", "value", "error")
_DONE = {"replay": "replayed", "purge": "thrown away"}


def run(asked: argparse.Namespace) -> int:
    """Show them, have them handled again, or throw them away; 1 if one that was named is not there.

    Raises: ConfigurationError, Unavailable, Refused.
    """
    paper = Paper(json=asked.json)
    with client(asked) as hf:
        stream = called(hf, asked.name)
        check_group(stream, asked.group)
        dead = stream.dead_letters(asked.group)
        if asked.action == "dead":
            return _show(paper, dead, asked)
        return _take(paper, dead, asked)


def chosen(asked: argparse.Namespace) -> Callable[[DeadMessage], bool] | None:
    """What the filters let pass; None if there are none. Raises: ConfigurationError."""
    since = optional_seconds(asked.since, "--since")
    if asked.error is None and asked.key is None and since is None:
        return None

    def fits(one: DeadMessage) -> bool:
        return (
            (asked.error is None or asked.error.casefold() in one.error.casefold())
            and (asked.key is None or one.key == asked.key)
            and (since is None or (datetime.now(UTC) - one.died_at).total_seconds() <= since)
        )

    return fits


def _show(paper: Paper, dead: DeadLetters, asked: argparse.Namespace) -> int:
    where = chosen(asked)
    found, count = dead.list(asked.limit, where), dead.count()
    paper.data({"dead": [of_letter(one) for one in found], "count": count})
    if found:
        paper.table(_HEADS, [_row(one) for one in found], right=(1,))
        paper.say()
    which = " that fit" if where is not None else ""
    paper.say(Part(f"{many(len(found), 'dead letter')}{which}", "bold"), f" of {count:,}")
    return 0


def _row(one: DeadMessage) -> list[str | Part]:
    return [
        one.died_at.astimezone().strftime("%m-%d %H:%M:%S"), f"{one.deliveries:,}", safe(one.key or ""),
        Part(one.id, "dim"), text(one.value, 40), Part(safe(short(one.error.partition("\n")[0], 200)), "red"),
    ]  # fmt: skip


def _take(paper: Paper, dead: DeadLetters, asked: argparse.Namespace) -> int:
    where, total = chosen(asked), len(asked.ids) or dead.count()
    if asked.ids and where is not None:
        raise ConfigurationError(f"{asked.action}: say ids or filters, not both")
    if asked.dry_run:
        count = _count(dead, asked, where)
        paper.data({"count": count, "done": False})
        paper.say(f"{many(count, 'dead letter')} would be {_DONE[asked.action]}")
        return 0
    if asked.action == "purge" and not asked.yes:
        _be_sure(asked, total)
    act = dead.replay if asked.action == "replay" else dead.purge
    with paper.progress(f"{asked.action} dead letters", total) as tell:
        count = act(*asked.ids) if asked.ids else act(where=_watched(where, tell))
    paper.data({"count": count, "done": True})
    paper.say(Part(many(count, "dead letter"), "bold"), f" {_DONE[asked.action]}")
    missing = len(set(asked.ids)) - count
    if missing > 0:
        paper.say(Part(f"{missing:,} of those that were named are not there", "yellow"))
        return 1
    return 0


def _count(dead: DeadLetters, asked: argparse.Namespace, where: Callable[[DeadMessage], bool] | None) -> int:
    """How many are meant."""
    if not asked.ids:
        return dead.count() if where is None else len(dead.list(sys.maxsize, where))
    return len(dead.list(sys.maxsize, lambda one: one.id in asked.ids))


def _watched(
    where: Callable[[DeadMessage], bool] | None, tell: Callable[[int], object]
) -> Callable[[DeadMessage], bool]:
    """`where`, and `tell` hears how many it was asked about."""
    seen = 0

    def fits(one: DeadMessage) -> bool:
        nonlocal seen
        seen += 1
        if seen % 100 == 0:
            tell(seen)
        return where is None or where(one)

    return fits


def _be_sure(asked: argparse.Namespace, total: int) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError("purge: nobody is here to be asked; say --yes")
    which = "those that fit of " if chosen(asked) is not None else ""
    print(
        f"This throws {which}{many(total, 'dead letter')} of {safe(asked.group)} away for good.",
        file=sys.stderr,
    )
    try:
        said = input("Go on? [y/N] ")
    except EOFError:
        said = ""
    if said.strip().lower() not in {"y", "yes"}:
        raise ConfigurationError("nothing was changed")
