"""`holdfast limits override` and `reset NAME SUBJECT`: what an operator may change."""

from __future__ import annotations

import argparse
from typing import Any

from holdfast import Holdfast, Limit
from holdfast.cli.cache.inverse import tag_of
from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import client
from holdfast.cli.cache.words import duration, listed, safe
from holdfast.cli.limits.find import check_known, key_of, own_of
from holdfast.cli.up.screen import Part
from holdfast.durations import optional_seconds
from holdfast.errors import ConfigurationError
from holdfast.limits import plans, rules
from holdfast.limits.options import agreed

_NUMBERS = ("burst",)
_TEXTS = ("algorithm", "name")


def run(asked: argparse.Namespace) -> int:
    """Change it. Raises: ConfigurationError, Unavailable, Refused."""
    paper = Paper(json=asked.json)
    tag = tag_of(asked.subject, is_int=asked.is_int, is_text=asked.is_text)
    with client(asked) as hf:
        if asked.action == "reset":
            return _reset(hf, paper, asked, tag)
        return _override(hf, paper, asked, tag)


def _reset(hf: Holdfast, paper: Paper, asked: argparse.Namespace, tag: str) -> int:
    check_known(hf, asked.name, tag)
    done = bool(hf._wire.run(rules.RESET, (key_of(hf, asked.name, tag),)))
    paper.data({"limiter": asked.name, "subject": asked.subject, "reset": done})
    told = "has a fresh start" if done else "had used nothing"
    paper.say(Part(f"{safe(asked.name)} {safe(asked.subject)}", "bold"), f" {told}")
    return 0


def _override(hf: Holdfast, paper: Paper, asked: argparse.Namespace, tag: str) -> int:
    if (bool(asked.limits), asked.plan is not None, asked.none).count(True) != 1:
        raise ConfigurationError("override: give either --limit 100/1s, or --plan, or --none")
    ttl = optional_seconds(asked.ttl, "--ttl")
    if ttl is not None and asked.none:
        raise ConfigurationError("override: --ttl says for how long limits are in force; --none has none")
    limits: tuple[Limit, ...] = ()
    if asked.limits:
        limits = agreed([limit_of(one) for one in asked.limits], "override")
    if not asked.new:
        check_known(hf, asked.name, tag)
    key = own_of(key_of(hf, asked.name, tag))
    if asked.plan is not None:
        limits = _plan(hf, asked.name, asked.plan)
    if limits:
        life = () if ttl is None else ("PX", max(1, round(ttl * 1000)))
        hf.execute("SET", key, rules.own_text(limits), *life, retry="safe")
    else:
        hf.execute("DEL", key, retry="safe")
    told = [str(one) for one in limits]
    paper.data({"limiter": asked.name, "subject": asked.subject, "limits": told, "ttl": ttl})
    says = f"has limits of its own now: {listed(told)}" if told else "has the limits of everybody again"
    until = "" if ttl is None else f", for {duration(ttl)}"
    paper.say(Part(f"{safe(asked.name)} {safe(asked.subject)}", "bold"), f" {says}{until}")
    paper.say(Part("  who was denied just now may still be, for as long as deny_cache says", "dim"))
    return 0


def limit_of(said: str) -> Limit:
    """`100/1s,burst=200` as a limit. Raises: ConfigurationError."""
    first, *more = said.split(",")
    quota, is_divided, per = first.partition("/")
    if not is_divided or not quota.isdecimal():
        raise ConfigurationError(f"limit {safe(said)!r}: write a quota and a duration, as 100/1s")
    options: dict[str, Any] = {}
    for one in more:
        name, _, value = one.partition("=")
        if name in _NUMBERS and value.isdecimal():
            options[name] = int(value)
        elif name in _TEXTS and value:
            options[name] = value
        elif one == "shadow":
            options["shadow"] = True
        else:
            raise ConfigurationError(
                f"limit {safe(said)!r}: {safe(one)!r} is none of burst=N, algorithm=NAME, name=NAME, shadow"
            )
    return Limit(int(quota), per, **options)


def _plan(hf: Holdfast, name: str, plan: str) -> tuple[Limit, ...]:
    """The limits of a plan that stands on the server. Raises: ConfigurationError."""
    stored = plans.pairs(hf.execute("HGETALL", plans.key_of(hf._wire.keys, name)))
    known = sorted(one.decode("utf-8", "replace") for one in stored if one != plans.VERSION.encode())
    found = plans.read(stored[plan.encode()]) if plan.encode() in stored and plan else None
    if found is None:
        there = listed([safe(one) for one in known]) or "none"
        raise ConfigurationError(
            f"limiter {safe(name)!r} has no plan {safe(plan)!r} on the server, which knows only what was set "
            f"with set_plan: {there}; give them by --limit"
        )
    return found
