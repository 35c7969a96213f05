"""`holdfast streams groups NAME [GROUP]`: who consumes."""

from __future__ import annotations

import argparse
from typing import Any

from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import client
from holdfast.cli.cache.words import duration, many, safe
from holdfast.cli.streams.find import called, check_group
from holdfast.cli.up.screen import Part
from holdfast.streams.books import GroupMember
from holdfast.streams.options import Lag

_HEADS = ("lease left", "pending", "partitions", "member")


def run(asked: argparse.Namespace) -> int:
    """Say who does. Raises: ConfigurationError, Unavailable, Refused."""
    paper = Paper(json=asked.json)
    with client(asked) as hf:
        stream = called(hf, asked.name)
        if asked.group is not None:
            check_group(stream, asked.group)
        names = [asked.group] if asked.group is not None else stream.info().groups
        seen = [(name, stream.group(name).lag(), stream.group(name).members()) for name in names]
        dead = {name: stream.dead_letters(name).count() for name in names}
    paper.data({"stream": asked.name, "groups": [_data(*one, dead[one[0]]) for one in seen]})
    if not seen:
        paper.say("nobody consumes: there is no group")
    for place, (name, lag, members) in enumerate(seen):
        if place:
            paper.say()
        _say(paper, name, lag, members, dead[name])
    return 0


def _say(paper: Paper, name: str, lag: Lag, members: list[GroupMember], dead: int) -> None:
    unread = f"{lag.entries:,} unread" if lag.exact else f"at least {lag.entries:,} unread"
    told = f"  {unread}, {lag.pending:,} pending, {many(dead, 'dead letter')}"
    paper.say(Part(safe(name), "bold"), Part(told, "" if not dead else "yellow"))
    if members:
        paper.table(_HEADS, [_row(one) for one in members], right=range(2))
    else:
        paper.say("  ", Part("nobody consumes", "yellow" if lag.entries or lag.pending else "dim"))


def _row(one: GroupMember) -> list[str | Part]:
    if one.lease is None:
        left: str | Part = Part("another program", "magenta")
    else:
        left = duration(one.lease) if one.lease else Part("ended", "bold red")
    return [left, f"{one.pending:,}", _spans(one.partitions), safe(one.name)]


def _spans(numbers: tuple[int, ...]) -> str:
    """0-3, 7."""
    told: list[list[int]] = []
    for number in sorted(numbers):
        if told and number == told[-1][1] + 1:
            told[-1][1] = number
        else:
            told.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in told)


def _data(name: str, lag: Lag, members: list[GroupMember], dead: int) -> dict[str, Any]:
    return {"name": name, "lag": lag._asdict(), "dead": dead, "members": [one._asdict() for one in members]}
