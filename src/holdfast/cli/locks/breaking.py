"""`holdfast locks break NAME`: take it away from its holder, or ask him for it with --ask."""

from __future__ import annotations

import argparse
import sys
import time

from holdfast import Holdfast
from holdfast._compat import Signal
from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import client
from holdfast.cli.cache.words import duration, safe
from holdfast.cli.locks import listing
from holdfast.cli.locks.find import see
from holdfast.cli.locks.rooms import ROOMS, Named
from holdfast.cli.locks.sight import Sight, as_data, names
from holdfast.cli.locks.words import waiting
from holdfast.cli.up.screen import Part
from holdfast.durations import seconds
from holdfast.errors import ConfigurationError
from holdfast.locks import rules
from holdfast.locks.rwlock import rules as rwlock
from holdfast.locks.semaphore import rules as semaphore

_LOOKS = 0.5  # seconds between two looks while nobody says that it is free


def run(asked: argparse.Namespace) -> int:
    """Take it away from whoever was shown, or ask; 1 if it is not free of him then.

    Raises: ConfigurationError, Unavailable, Unconfirmed, Refused.
    """
    paper = Paper(json=asked.json)
    wait = seconds(asked.wait, "--wait", zero=True)
    if asked.key and asked.room != "lock":
        raise ConfigurationError(f"--key is for locks, not for a {asked.room}")
    named = Named(asked.room, asked.name, by_key=asked.key)
    with client(asked) as hf:
        (one,) = see(hf, [named])
        if not one.in_use:
            others = [] if asked.key else see(hf, [Named(room, asked.name) for room in ROOMS])
            paper.data(as_data(one) | {"done": False})
            paper.say(Part(safe(asked.name), "bold"), " is ", Part("free", "green"), "; nothing was changed")
            for other in (other.named.room for other in others if other.in_use):
                paper.say(Part(f"a {other} of this name is held: --room {other}", "yellow"))
            return 1
        if one.is_odd:
            raise ConfigurationError(
                f"{one.key} is a key of type {one.kind}, which is no lock of Holdfast's; if nobody needs it, "
                f"remove it by hand: UNLINK {one.key}"
            )
        if asked.ask is not None:
            return _ask_for(hf, one, asked.ask, wait, paper)
        return _take(hf, one, paper, sure=asked.yes)


# --- taking it away -----------------------------------------------------------------------------------------


def _take(hf: Holdfast, one: Sight, paper: Paper, *, sure: bool) -> int:
    if not sure:
        _be_sure(hf, one)
    taken = _broken(hf, one)
    paper.data(as_data(one) | {"done": taken})
    name, owner = Part(safe(one.named.name), "bold"), listing.owner(one)
    if not taken:
        paper.say(name, " is not ", owner, "'s any more; nothing was changed")
        return 1
    paper.say(name, " was ", Part("taken away", "bold red"), " from ", owner)
    if one.named.room == "redlock":
        paper.say("That holds for this server alone; a majority of them decides.")
    paper.say("Its holder finds out at once where the server tracks keys for it, else at its")
    paper.say("next renewal. A thread that does not look at its lease goes on until then; only a")
    paper.say("fence or a guard stops what it writes.")
    return 0


def _broken(hf: Holdfast, one: Sight) -> bool:
    """Was it taken away? A lock only from whoever was shown, byte for byte: by now it may be another's."""
    wire, room, name = hf._wire, one.named.room, one.named.name
    if room == "rwlock":
        its = rwlock.Names(wire.keys, name)
        return bool(wire.run(rwlock.BREAK, (its.key, its.readers, its.holders)))
    if room == "semaphore":
        return bool(wire.run(semaphore.BREAK, semaphore.Names(wire.keys, name).all()))
    told = names(wire.keys, one.named)
    return bool(wire.run(rules.BREAK, (told.key, told.wanted, told.queue), (one.raw,)))


def _be_sure(hf: Holdfast, one: Sight) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError("break: nobody is here to be asked; say --yes")
    owner, where = _text(listing.owner(one)), f"{safe(hf._wire.keys.namespace)} at {hf._wire.name}"
    length = "" if one.held is None else f", who has had it for {duration(one.held)}"
    queue = f"; {waiting(one.waiting)}" if one.waiting else ""
    print(f"{safe(one.named.name)} in {where} is held by {owner}{length}{queue}.", file=sys.stderr)
    print("If it still works there, two will be at it. --ask REASON asks for it instead.", file=sys.stderr)
    try:
        said = input("Take it away? [y/N] ")
    except EOFError:
        said = ""
    if said.strip().lower() not in {"y", "yes"}:
        raise ConfigurationError("nothing was changed")


# --- asking for it ------------------------------------------------------------------------------------------


def _ask_for(hf: Holdfast, one: Sight, reason: str, wait: float, paper: Paper) -> int:
    its = names(hf._wire.keys, one.named)
    owner, name = listing.owner(one), Part(safe(one.named.name), "bold")
    if one.is_foreign or one.named.room not in {"lock", "leader"}:
        raise ConfigurationError(
            f"{_text(owner)} has {one.named.name!r}, and cannot be asked; leave out --ask"
        )
    if not hf._wire.run(rules.WANT, (its.key, its.wanted), (reason,)):
        paper.data(as_data(one) | {"asked": False, "done": True, "took": 0.0})
        paper.say(name, " is free by now")
        return 0
    paper.say(f"asked {_text(owner)} to give it back; waiting for {duration(wait)} at most")
    took = _given_back(hf, one, wait)
    paper.data(as_data(one) | {"asked": True, "done": took is not None, "took": took})
    if took is not None:
        paper.say(name, " was ", Part("given back", "green"), f" after {duration(took)}")
        return 0
    paper.say(name, " is ", Part("still held", "bold yellow"), " by ", owner)
    paper.say("Only a holder that looks at lease.wanted, or has on_wanted=, hears of it. The")
    paper.say("request stays for it.")
    return 1


def _given_back(hf: Holdfast, one: Sight, wait: float) -> float | None:
    """Seconds after which it was not this holder's any more; None if it is still."""
    begun = time.monotonic()
    signal = Signal()
    with hf._wire.hub.watch(one.key, signal):
        while True:
            (now,) = see(hf, [one.named])
            passed = time.monotonic() - begun
            if not now.same_grant(one):
                return passed
            if passed >= wait:
                return None
            signal.wait(min(_LOOKS, wait - passed))
            signal.clear()


def _text(cell: str | Part) -> str:
    return cell.text if isinstance(cell, Part) else cell
