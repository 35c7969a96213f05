"""`holdfast locks show NAME`."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import socket
from typing import Any

from holdfast import Holdfast
from holdfast.cli.cache.paper import Line, Paper
from holdfast.cli.cache.place import client
from holdfast.cli.cache.words import duration, listed, many, safe
from holdfast.cli.locks import listing
from holdfast.cli.locks.find import find, see
from holdfast.cli.locks.hints import hints
from holdfast.cli.locks.rooms import ROOMS, Named
from holdfast.cli.locks.sight import TICKETS, Sight, as_data, iso
from holdfast.cli.locks.words import counted, waiting
from holdfast.cli.up.screen import Part
from holdfast.errors import HoldfastError
from holdfast.locks.holder import Holder

_SHOWN = 10  # holders and tickets for people; --json has more of them
_GLANCE = 2_000  # keys looked at for a name that is like the one that is not there

Rows = list[tuple[str, Line]]


def run(asked: argparse.Namespace) -> int:
    """Show it; 1 if nobody holds it. Raises: ConfigurationError, Unavailable, Refused."""
    paper = Paper(json=asked.json)
    with client(asked) as hf:
        found = see(hf, called(asked.name, by_key=asked.key), TICKETS)
        # A name may be in use in several rooms; where it is in none, it is a lock that is free.
        first, *others = [one for one in found if one.in_use] or found[:1]
        near = [] if first.in_use or first.fence is not None else alike(hf, first.named)
    also = [detailed(one) for one in others]
    paper.data(detailed(first) | {"also": also, "alike": [one.name for one in near]})
    for one in (first, *others):
        paper.say(Part(safe(asked.name), "bold"), f"  {one.named.room}", "  (key=)" if asked.key else "")
        paper.facts(_facts(one))
        for hint in hints(one, socket.gethostname(), lives):
            paper.say("  ", Part(hint, "yellow"))
    if not first.in_use:
        paper.say("  ", unknown(first, near))
    return 0 if first.in_use else 1


def called(name: str, *, by_key: bool) -> list[Named]:
    """What `name` can be."""
    return [Named("lock", name, by_key=True)] if by_key else [Named(room, name) for room in ROOMS]


def detailed(one: Sight) -> dict[str, Any]:
    """All of it for programs."""
    queue = [{"token": its.token, "age": its.age, "alive": its.alive} for its in one.tickets]
    return as_data(one) | {"queue": queue, "hints": hints(one, socket.gethostname(), lives)}


def lives(pid: int) -> bool:
    """Does a process with this number run on this machine?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it does, but is not ours
    return True


def alike(hf: Holdfast, missed: Named) -> list[Named]:
    """What is held under a name that is like the one that was asked for, by a short look around."""
    with contextlib.suppress(HoldfastError):
        found = find(hf, None, _GLANCE, further=10).named
        close = difflib.get_close_matches(missed.name, {one.name for one in found}, n=3, cutoff=0.75)
        likely = [one for one in found if one.name in close or one.name == missed.name]
        return [one.named for one in see(hf, likely) if one.in_use]
    return []


def unknown(one: Sight, near: list[Named]) -> Part:
    """What to say where nobody holds it."""
    same = [other for other in near if other.name == one.named.name]
    if same:
        how = "with --key: it is called by its key" if same[0].by_key else "without --key, it is a name"
        return Part(f"one that is called so is held; ask for it {how}", "yellow")
    if near:
        return Part(f"held under a name like it: {listed([safe(other.name) for other in near])}", "yellow")
    if one.fence is None:
        return Part("nothing of this name was seen; see who holds what: holdfast locks list", "yellow")
    return Part("it was held within the last day; see who holds others: holdfast locks list", "dim")


# --- in words -----------------------------------------------------------------------------------------------


def _facts(one: Sight) -> Rows:
    rows: Rows = [("key", [safe(one.key)]), ("state", _state(one))]
    if one.holder is not None:
        rows += _since(one, one.holder)
    rows += _several(one)
    if one.count <= 1:
        rows += _fence(one)
    rows += _waiting(one)
    if one.contended:
        rows.append(("contended", [f"found held {many(one.contended, 'time')}; counted until a day without"]))
    if one.holder is not None and one.holder.wanted is not None:
        why = f": {safe(one.holder.wanted)}" if one.holder.wanted else ", without a reason"
        rows.append(("wanted", [Part("somebody asks for it back", "yellow"), why]))
    return rows


def _state(one: Sight) -> Line:
    if one.is_odd:
        return [Part("not a lock", "bold red"), f": a key of type {safe(one.kind)} stands there"]
    if one.holder is None:
        return [Part("free", "bold green"), ": nobody holds it"]
    length = "" if one.held is None else f" for {duration(one.held)}"
    return [Part("held", "bold"), f"{length} by ", listing.owner(one)]


def _since(one: Sight, who: Holder) -> Rows:
    rows: Rows = []
    if who.since is not None:
        rows.append(("since", [f"{iso(who.since)[:23].replace('T', ' ')} UTC, by the server's clock"]))
    end = ": it stays for ever" if one.ttl is None else " left, if nobody renews it"
    rows.append(("ttl", [listing.ttl(one), end]))
    if one.is_foreign:
        rows.append(("value", [safe(who.value[:60])]))
    return rows


def _several(one: Sight) -> Rows:
    """Those who have it together."""
    rows: Rows = []
    if one.limit is not None:
        rows.append(("permits", [f"{one.count:,} of {one.limit:,} are out"]))
    for place, who in enumerate(one.holders[:_SHOWN] if one.count > 1 else (), 1):
        held = one.held_by(who)
        length = "" if held is None else f" for {duration(held)}"
        end = "" if who.ttl is None else Part(f", {duration(who.ttl)} left", "dim")
        rows.append(("" if place > 1 else f"{one.part}s", [f"{place}. {safe(who.owner)}{length}", end]))
    if one.count > _SHOWN:
        rows.append(("", [f"and {one.count - _SHOWN:,} more"]))
    return rows


def _fence(one: Sight) -> Rows:
    if one.holder is not None and one.holder.fence is not None:
        return [("fence", [str(one.holder.fence)])]
    return [] if one.fence is None else [("fence", [f"{one.fence} was the last one"])]


def _waiting(one: Sight) -> Rows:
    if one.waiting is None:
        told = "not known: " + ("no list of them is kept" if one.part else "PUBSUB is not allowed")
    elif one.part:
        told = waiting(one.waiting) if one.waiting else "nobody"
    else:
        told = counted(one.listeners or 0, "process waits", "processes wait") if one.listeners else "nobody"
    rows: Rows = [("waiting", [told])]
    for place, ticket in enumerate(one.tickets[:_SHOWN], 1):
        life = Part("alive", "green") if ticket.alive else Part("not heard of lately", "red")
        line: Line = [f"{place}. for {duration(ticket.age)}, ", life, Part(f"  {ticket.token[:8]}", "dim")]
        rows.append(("" if place > 1 else "fair queue", line))
    if one.tickets and one.queued > _SHOWN:
        rows.append(("", [f"and {one.queued - _SHOWN:,} more"]))
    return rows
