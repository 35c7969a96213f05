"""`holdfast streams lag [NAME [GROUP]]`: once, or as it changes."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any, NamedTuple

from holdfast import Holdfast
from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import client
from holdfast.cli.cache.words import duration, many, safe
from holdfast.cli.streams.find import called, check_group, find
from holdfast.cli.up.screen import Part
from holdfast.cli.up.signals import Ears, Ended
from holdfast.durations import optional_seconds, seconds
from holdfast.errors import ConfigurationError, Unavailable
from holdfast.streams.options import Lag

_HEADS = ("unread", "since", "pending", "since", "dead", "members", "group", "stream")
_LEAST = 0.1  # seconds between two looks


class Row(NamedTuple):
    """A group; `over`: the limits that are exceeded."""

    stream: str
    group: str
    lag: Lag
    dead: int
    members: int
    over: tuple[str, ...] = ()


class Limits(NamedTuple):
    """What is still well; None: anything."""

    age: float | None
    entries: int | None

    def over(self, lag: Lag) -> tuple[str, ...]:
        """Which of them are exceeded."""
        told = []
        if self.age is not None and max(lag.age, lag.oldest_pending) > self.age:
            told.append("age")
        if self.entries is not None and lag.entries + lag.pending > self.entries:
            told.append("entries")
        return tuple(told)


def run(asked: argparse.Namespace) -> int:
    """Say how far they are behind; 1 if that is too much.

    Raises: ConfigurationError, Unavailable, Refused.
    """
    limits = Limits(optional_seconds(asked.max_age, "--max-age"), asked.max_entries)
    every = seconds(asked.every, "--every")
    if every < _LEAST:
        raise ConfigurationError(
            f"--every {asked.every}: at least {_LEAST} s, so that the server is left in peace"
        )
    with client(asked) as hf:
        if not asked.watch:
            rows, caveat = look(hf, asked, limits)
            paper = Paper(json=asked.json)
            paper.data({"groups": [data(one) for one in rows], "complete": not caveat})
            say(paper, rows)
            if caveat:
                paper.say(Part(f"  {caveat}", "dim"))
            return 1 if any(one.over for one in rows) else 0
        try:
            with Ears():
                _watch(hf, asked, limits, every)
        except KeyboardInterrupt:
            pass
        except Ended as end:
            return 128 + end.number
        except BrokenPipeError:  # `| head`: whoever read it has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def look(hf: Holdfast, asked: argparse.Namespace, limits: Limits) -> tuple[list[Row], str]:
    """The groups that are asked for, the one that is furthest behind first; and what was not looked at."""
    if asked.name is None:
        found = find(hf, None, asked.limit)
        names, caveat = found.names, found.caveat()
    else:
        names, caveat = [asked.name], ""
    rows = []
    for name in names:
        stream = called(hf, name)
        if asked.group is not None:
            check_group(stream, asked.group)
        for group in [asked.group] if asked.group is not None else stream.info().groups:
            books, lag = stream.group(group), stream.group(group).lag()
            alive = sum(1 for one in books.members() if one.lease)
            rows.append(Row(name, group, lag, stream.dead_letters(group).count(), alive, limits.over(lag)))
    rows.sort(key=lambda one: max(one.lag.age, one.lag.oldest_pending), reverse=True)
    return rows, caveat


def data(one: Row) -> dict[str, Any]:
    """A row for programs."""
    told = {"stream": one.stream, "group": one.group, **one.lag._asdict()}
    return {**told, "dead": one.dead, "members": one.members, "exceeded": list(one.over)}


def say(paper: Paper, rows: Sequence[Row]) -> None:
    """The table, and a sentence."""
    if not rows:
        paper.say("nobody consumes: there is no group")
        return
    paper.table(_HEADS, [cells(one) for one in rows], right=range(6), looks=("",) * 6 + ("bold", ""))
    paper.say()
    paper.say(*summary(rows))


def cells(one: Row) -> list[str | Part]:
    """A row for people."""
    lag, bad = one.lag, "bold red"
    unread = f"{lag.entries:,}" if lag.exact else f"at least {lag.entries:,}"
    is_late = "age" in one.over
    return [
        Part(unread, bad if "entries" in one.over else ""),
        Part(duration(lag.age) if lag.entries else "", bad if is_late else ""),
        f"{lag.pending:,}", Part(duration(lag.oldest_pending) if lag.pending else "", bad if is_late else ""),
        Part(f"{one.dead:,}", "yellow" if one.dead else ""),
        Part(f"{one.members:,}", "" if one.members else "yellow"), safe(one.group), safe(one.stream),
    ]  # fmt: skip


def summary(rows: Sequence[Row]) -> list[str | Part]:
    """All of them in a sentence."""
    over = sum(1 for one in rows if one.over)
    idle = sum(1 for one in rows if not one.members and (one.lag.entries or one.lag.pending))
    told: list[str | Part] = [Part(many(len(rows), "group"), "bold")]
    told += [Part(f"; {over:,} beyond the limit", "bold red")] if over else []
    told += [Part(f"; {idle:,} behind, and nobody consumes", "yellow")] if idle else []
    return told


# --- as it changes ------------------------------------------------------------------------------------------


def _watch(hf: Holdfast, asked: argparse.Namespace, limits: Limits, every: float) -> None:
    live = _live() if not asked.json and sys.stdout.isatty() and find_spec("rich") is not None else None
    with live or nullcontext():
        while True:
            try:
                rows, _ = look(hf, asked, limits)
            except Unavailable as error:
                told = "the server does not answer; still trying"
                _tell(asked, {"event": "note", "text": told, "error": str(error)}, f"{told}: {error}")
                time.sleep(every)
                continue
            if live is not None:
                live.update(_painted(rows), refresh=True)
            elif asked.json:
                _tell(asked, {"groups": [data(one) for one in rows]})
            else:
                say(Paper(json=False), rows)
            time.sleep(every)


def _tell(asked: argparse.Namespace, told: dict[str, Any], text: str = "") -> None:
    if asked.json:
        print(json.dumps({"at": datetime.now(UTC).isoformat(), **told}, ensure_ascii=False), flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def _live() -> Any:
    from rich.live import Live

    return Live(auto_refresh=False)


def _painted(rows: Sequence[Row]) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=True, header_style="dim", padding=(0, 2, 0, 0))
    for place, head in enumerate(_HEADS):
        grid.add_column(head, justify="right" if place < len(_HEADS) - 2 else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*[Text(*one) if isinstance(one, Part) else Text(one) for one in cells(row)])
    told = Text.assemble(*[(one.text, one.style) if isinstance(one, Part) else one for one in summary(rows)])
    return Group(told, Text(), grid, Text("  Ctrl-C ends", "dim"))
