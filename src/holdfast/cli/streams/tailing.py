"""`holdfast streams tail NAME`: the last entries, and what is published from now on."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import client
from holdfast.cli.cache.words import safe
from holdfast.cli.streams.find import called
from holdfast.cli.streams.values import of_entry, text
from holdfast.cli.up.screen import Part
from holdfast.cli.up.signals import Ears, Ended
from holdfast.errors import Unavailable
from holdfast.streams._stream_sync import Stream
from holdfast.streams.books import StreamEntry, parsed

_LOOKS = 0.25  # seconds between two looks
_MOST = 500  # entries of a partition in one look


def run(asked: argparse.Namespace) -> int:
    """Show them. Raises: ConfigurationError, Unavailable, Refused."""
    paper = Paper(json=asked.json)
    with client(asked) as hf:
        stream = called(hf, asked.name)
        parts = range(stream.options.partitions)
        latest = [stream.read(limit=asked.n, reverse=True, partition=one) for one in parts]
        last = [entries[0].id if entries else "0" for entries in latest]
        shown = sorted((one for entries in latest for one in entries), key=lambda one: parsed(one.id, "id"))
        _show(paper, shown[-asked.n :])
        if asked.once:
            return 0
        try:
            with Ears():
                _follow(paper, stream, last)
        except KeyboardInterrupt:
            return 0
        except Ended as end:
            return 128 + end.number
        except BrokenPipeError:  # `| head`: whoever read it has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _follow(paper: Paper, stream: Stream[Any], last: list[str]) -> None:
    is_away = False
    while True:
        time.sleep(_LOOKS)
        for number, after in enumerate(last):
            try:
                found = stream.read(after, limit=_MOST, partition=number)
            except Unavailable as error:
                if not is_away:
                    print(f"the server does not answer; still trying: {error}", file=sys.stderr)
                is_away = True
                break
            is_away = False
            if found:
                last[number] = found[-1].id
                _show(paper, found)


def _show(paper: Paper, entries: Sequence[StreamEntry]) -> None:
    for one in entries:
        if paper.is_json:
            print(json.dumps(of_entry(one), ensure_ascii=False), flush=True)
            continue
        when = one.published_at.astimezone().strftime("%H:%M:%S.%f")[:-3]
        where = "" if one.key is None else f"  {safe(one.key)}"
        told: str | Part = Part(one.error, "red") if one.error else text(one.value, 200)
        paper.say(Part(f"{when}  {one.partition}:{one.id}", "dim"), Part(where, "bold"), "  ", told)
