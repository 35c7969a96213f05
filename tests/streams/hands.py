"""What tests of the operator's side do by hand: consume as another program would, and look."""

from __future__ import annotations

from typing import Any, NamedTuple

from holdfast._signals import Signal


class Hands(NamedTuple):
    """Commands for one group of a stream that has one partition."""

    stream: str
    group: str

    def begin(self, place: str = "0") -> tuple[Any, ...]:
        """Make the group."""
        return ("XGROUP", "CREATE", self.stream, self.group, place, "MKSTREAM")

    def take(self, count: int, name: str = "another") -> tuple[Any, ...]:
        """Read what is new."""
        return ("XREADGROUP", "GROUP", self.group, name, "COUNT", count, "STREAMS", self.stream, ">")

    def done(self, *ids: str) -> tuple[Any, ...]:
        """Acknowledge."""
        return ("XACK", self.stream, self.group, *ids)


def hands(stream: Any, group: str = "billing") -> Hands:
    """Of the first partition."""
    return Hands(stream._desk.layout.parts[0].stream, group)


def ids(reply: Any) -> list[str]:
    """The ids in a reply of XREADGROUP."""
    found = list(reply.values())[0] if isinstance(reply, dict) else reply[0][1]
    return [id.decode() for id, _ in found]


class Ear:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.heard: list[Signal] = []

    def notify(self, signal: Signal) -> None:
        """Remember it."""
        self.heard.append(signal)

    def of(self, kind: type) -> list[Any]:
        """Those of a kind."""
        return [one for one in self.heard if isinstance(one, kind)]


def listen(hf: Any) -> Ear:
    """An ear for the signals of a client."""
    ear = Ear()
    hf.observers.add(ear)
    return ear
