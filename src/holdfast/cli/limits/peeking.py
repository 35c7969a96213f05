"""`holdfast limits peek NAME SUBJECT`: how far it is with its limits."""

from __future__ import annotations

import argparse

from holdfast.cli.cache.inverse import shown, tag_of
from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import client
from holdfast.cli.cache.words import safe
from holdfast.cli.limits.find import check_known
from holdfast.cli.limits.listing import wait
from holdfast.cli.limits.standing import Left, Standing, data, look
from holdfast.cli.up.screen import Part

_HEADS = ("left", "most", "again in", "unused in", "algorithm", "limit")


def run(asked: argparse.Namespace) -> int:
    """Show it; 1 if a check would be denied. Raises: ConfigurationError, Unavailable, Refused."""
    paper = Paper(json=asked.json)
    tag = tag_of(asked.subject, is_int=asked.is_int, is_text=asked.is_text)
    with client(asked) as hf:
        check_known(hf, asked.name, tag)
        one = look(hf, asked.name, tag, asked.cost)
    is_allowed = one.retry_after == 0
    paper.data({**data(one, shown(tag)), "allowed": is_allowed, "cost": asked.cost})
    _say(paper, one, asked.cost)
    return 0 if is_allowed else 1


def _say(paper: Paper, one: Standing, cost: int) -> None:
    who = Part(f"{safe(one.limiter)} {safe(shown(one.tag))}", "bold")
    if not one.limits:
        paper.say(who, ": nothing is known of it, so nothing is used")
        return
    if one.retry_after:
        told = Part(f"a check that costs {cost:,} is denied, for {wait(one.retry_after)}", "bold red")
    else:
        told = Part(f"a check that costs {cost:,} is allowed", "green")
    paper.say(who, ": ", told, "; limits of its own" if one.own else "")
    paper.say()
    paper.table(_HEADS, [_cells(left) for left in one.limits], right=range(4), looks=("bold",))


def _cells(left: Left) -> list[str | Part]:
    return [
        f"{left.left:,}", f"{left.most:,}",
        Part(wait(left.retry_after), "bold red") if left.retry_after else "",
        wait(left.reset_after) if left.reset_after else "", left.algorithm,
        safe(left.label) + (", in shadow mode" if left.shadow else ""),
    ]  # fmt: skip
