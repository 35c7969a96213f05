"""Plans that are changed while the fleet runs, without any I/O: how they are written, and which are in force.

    await limiter.set_plan("pro", [Limit(100, "1s"), Limit(50_000, "1d")])

A limiter's options may name plans. `set_plan` puts one on the server, where it takes the place of that of the
same name in everybody's options, until it is removed again.

Promise
* A process that uses plans asks at most every `EVERY` seconds whether any has changed, beside a check, never
  in its way. So a change is in force in the whole fleet after about that long; in the process that made it,
  at once.
* What was used under the older limits counts on under the newer ones (see check.lua).
* While the server is away, or has lost what it knew of a plan that cannot be read, the plans known last stay.

Not promised: that all processes change at the same moment; or that plans outlive a server that forgets them
(FLUSHALL): then the options are in force again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from holdfast._signals import Signal
from holdfast._wire.keys import Keys
from holdfast._wire.script import Script
from holdfast.errors import ConfigurationError
from holdfast.limits.options import Limit

SET = Script.load(__package__, "set_plan")

EVERY: Final = 2.0  # seconds between two looks for newer plans
VERSION: Final = ""  # the field that changes with every change; no plan has an empty name

Plans = Mapping[str, tuple[Limit, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanUnreadable(Signal):
    """A plan on the server cannot be read, perhaps since a newer version wrote it; the one known before is
    in force. Told whenever the plans have changed.
    """

    level = "warning"
    limiter: str
    plan: str


def key_of(keys: Keys, name: str) -> str:
    """Where the plans of the limiter `name` are: a hash, by the name of the plan."""
    return keys.tagged("plans", name)


def written(limits: Sequence[Limit]) -> str:
    """`limits` as they stand on the server."""
    return json.dumps(
        [[one.quota, one.per, one.burst, one.algorithm, one.name, one.shadow, one.tz] for one in limits],
        separators=(",", ":"),
    )


def read(text: bytes) -> tuple[Limit, ...] | None:
    """The limits that `written` wrote; None if it was somebody else, or a newer version."""
    try:
        rows = json.loads(text)
        limits = tuple(
            Limit(quota, per, burst=burst, algorithm=algorithm, name=name, shadow=shadow, tz=tz)
            for quota, per, burst, algorithm, name, shadow, tz in rows
        )
    except (ValueError, TypeError, ConfigurationError):
        return None
    return limits or None


def in_force(
    options: Plans, before: Plans, stored: Mapping[bytes, bytes]
) -> tuple[dict[str, tuple[Limit, ...]], list[str]]:
    """The plans in force, and those that cannot be read: from the options, from what was in force before, and
    from what is on the server.
    """
    plans, unreadable = dict(options), []
    for field, text in stored.items():
        name = field.decode("utf-8", "replace")
        if name == VERSION:
            continue
        limits = read(text)
        if limits is not None:
            plans[name] = limits
            continue
        unreadable.append(name)
        if name in before:
            plans[name] = before[name]
    return plans, unreadable


def pairs(reply: Any) -> dict[bytes, bytes]:
    """What HGETALL returned, whichever protocol is spoken."""
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))
