"""What sentinels say of a primary, and whom to believe. Pure.

A sentinel that was cut off from the others still answers, with what it knew. So the answers are weighed: the
higher configuration epoch wins (each failover has one of its own), then what most say. The winner is only a
candidate: the connection to it is refused if the server there does not call itself a primary.

Source: "Guidelines for Sentinel clients" of the Redis and Valkey documentation, whose step 3 (ask for the
role) most clients leave out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast._wire import reply, verdict
from holdfast._wire.transport import Command, HandshakeRefused, ReplyError, WireFailure
from holdfast.errors import ConfigurationError, NoPermission

Address = tuple[str, int]

# "-failover-abort" has a reason in its name; a channel pattern catches those to come.
CHANNELS = ("+switch-master", "+sdown", "-sdown", "+odown", "-odown", "+try-failover", "+sentinel")
PATTERNS = ("-failover-abort*",)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one sentinel says: where the primary is, as of which configuration (None: it may not tell us), and
    which other sentinels there are.
    """

    primary: Address
    epoch: int | None = None
    others: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Shrug:
    """What a sentinel that did not help said: `where` it is, and its words in `why`."""

    where: str
    why: str
    is_unknown: bool = False  # it knows no such primary
    is_refusal: bool = False  # it does not talk to us


@dataclass(frozen=True, slots=True)
class Event:
    """One message of a sentinel: what happened to which instance; `old` and `new` where the primary moved."""

    name: str
    instance: str
    service: str
    old: Address | None = None
    new: Address | None = None


def questions(service: str) -> list[Command]:
    """What each sentinel is asked."""
    return [
        ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service),
        ("SENTINEL", "MASTER", service),
        ("SENTINEL", "SENTINELS", service),
    ]


def opinion(replies: Sequence[Any]) -> Opinion | None:
    """The opinion in the replies to `questions`; None if there is none (see `shrug`).

    Only the first answer must be there: rights may be missing for the others.
    """
    where, about, others = replies
    primary = address(where)
    if primary is None:
        return None
    epoch = None
    if not isinstance(about, ReplyError) and about:
        said = reply.mapping(about).get("config-epoch")
        epoch = None if said is None else int(reply.text(said))
    known: list[Address] = []
    if not isinstance(others, ReplyError):
        for other in others or ():
            told = reply.mapping(other)
            known.append((reply.text(told["ip"]), int(reply.text(told["port"]))))
    return Opinion(primary, epoch, tuple(known))


def address(said: Any) -> Address | None:
    """The address in a reply to GET-MASTER-ADDR-BY-NAME."""
    if isinstance(said, ReplyError) or not said:
        return None
    host, port = said
    return reply.text(host), int(reply.text(port))


def shrug(where: str, failure: Exception | None, replies: Sequence[Any], service: str) -> Shrug:
    """Why the sentinel at `where` has no opinion: it could not be asked (`failure`), or so it said."""
    if failure is not None:
        why = str(failure).removeprefix("cannot connect: ")
        refused = isinstance(failure, HandshakeRefused) and _denies(failure.reply)
        return Shrug(where, why, is_refusal=refused)
    first = replies[0]
    if isinstance(first, ReplyError):
        return Shrug(where, str(first), is_refusal=_denies(str(first)))
    return Shrug(where, f"knows no primary {service!r}", is_unknown=True)


def _denies(message: str) -> bool:
    return isinstance(verdict.of_reply(message, "SENTINEL", "").error, NoPermission)


def nobody(shrugs: Sequence[Shrug], service: str, *, before: bool) -> Exception:
    """What it means that no sentinel has an opinion. `before`: one had, earlier.

    What every one of them says in the beginning is final: the name or the password is wrong. Later it may be
    a moment in which an operator changes something, and passes.
    """
    if shrugs and not before:
        if all(one.is_unknown for one in shrugs):
            places = ", ".join(one.where for one in shrugs)
            return ConfigurationError(
                f"no sentinel knows a primary {service!r} (asked: {places}); the name in the URL must be the "
                "one in their configuration: sentinel monitor <name> ..."
            )
        if all(one.is_refusal for one in shrugs):
            fix = "check sentinel_username= and sentinel_password= in the URL, and the rights of that user"
            return NoPermission(f"every sentinel refuses us ({_words(shrugs)}); {fix}", code="NOPERM")
    return WireFailure(f"cannot connect: {no_help(shrugs)}", sent=False)


def no_help(shrugs: Sequence[Shrug]) -> str:
    """That nobody knows, with the words of each."""
    return f"no sentinel knows where the primary is ({_words(shrugs)})"


def _words(shrugs: Sequence[Shrug]) -> str:
    return "; ".join(f"{one.where}: {one.why}" for one in shrugs)


def believed(opinions: Iterable[Opinion]) -> tuple[int | None, Address] | None:
    """Where the primary is, all opinions weighed, and as of which epoch; None if nobody has one.

    Sentinels that may not tell their epoch vote, but cannot outvote a newer one.
    """
    said = list(opinions)
    if not said:
        return None
    newest = max((one.epoch for one in said if one.epoch is not None), default=None)
    candidates = {one.primary for one in said if one.epoch == newest}
    votes = Counter(one.primary for one in said if one.primary in candidates)
    return newest, max(votes, key=lambda primary: (votes[primary], primary))


def event(channel: str, message: str) -> Event | None:
    """The event that a sentinel published; None if it cannot be read.

    "+switch-master" says "<service> <old ip> <old port> <new ip> <new port>", everything else
    "<kind> <name> <ip> <port> @ <service> <ip> <port>", without what follows "@" where it is about the
    primary.
    """
    words = message.split()
    try:
        if channel == "+switch-master":
            service, old, old_port, new, new_port = words
            return Event(channel, service, service, (old, int(old_port)), (new, int(new_port)))
        kind, name, host, port = words[:4]
        service = words[words.index("@") + 1] if "@" in words else name
        return Event(channel, f"{kind} {host}:{port}", service)
    except (ValueError, IndexError):
        return None
