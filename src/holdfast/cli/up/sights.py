"""How nodes are seen at a moment, and what changed between two of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

State = Literal["up", "frozen", "silent", "gone"]

WORDS: dict[State, str] = {
    "up": "",
    "frozen": "frozen",
    "silent": "does not answer",
    "gone": "gone",
}


@dataclass(frozen=True, slots=True)
class Sight:
    """A node at a moment. `where`: its address. `role`: what the others take it for; what it was last, if
    nobody says. `frozen` is what we did to it, `silent` what somebody else did.
    """

    where: str
    role: str
    pid: int | None
    state: State


def changes(before: Mapping[str, Sight], after: Mapping[str, Sight]) -> list[str]:
    """What happened, in sentences: first to processes, then to roles."""
    said = [_process(name, before[name], now) for name, now in after.items()]
    said += [_role(name, before[name], now) for name, now in after.items()]
    return [sentence for sentence in said if sentence]


def _process(name: str, old: Sight, new: Sight) -> str:
    who = f"{name} ({new.where})"
    if new.state == "gone":
        return "" if old.state == "gone" else f"{who} is gone"
    if old.state == "gone":
        return f"{who} is back, with pid {new.pid}"
    if old.pid != new.pid:
        return f"{who} was restarted, with pid {new.pid}"
    if old.state == new.state:
        return ""
    return f"{who} {_BECAME[new.state]}"


_BECAME: dict[State, str] = {"up": "answers again", "frozen": "is frozen", "silent": "does not answer"}


def _role(name: str, old: Sight, new: Sight) -> str:
    """A new role; what a dead node is taken for is no news."""
    if old.role == new.role or new.state == "gone":
        return ""
    article = "the" if new.role.startswith("primary") and "without" not in new.role else "a"
    return f"{name} ({new.where}) is now {article} {new.role}"
