"""How far a subject is with each of its limits, as far as the server alone knows them."""

from __future__ import annotations

import re
from math import inf
from typing import Any, NamedTuple

from holdfast import Holdfast
from holdfast.cli.limits.find import key_of, own_of
from holdfast.errors import Refused
from holdfast.limits import rules

_CHECK = rules.script("check")
_LIMIT = re.compile(rb"([gsfclGSFCL]) (\S+) (\d+) (\d+) (\d+) (\d+);")
_LIMITS = re.compile(rb"(?:[gsfclGSFCL] \S+ \d+ \d+ \d+ \d+;){1,64}")
_KINDS = {"g": "gcra", "s": "sliding", "f": "fixed", "c": "calendar", "l": "log"}


class Left(NamedTuple):
    """Of one limit: `left` of at most `most`; seconds until the cost that was asked for fits in (inf: never)
    and until it is as if unused.
    """

    label: str
    algorithm: str
    shadow: bool
    left: int
    most: int
    retry_after: float
    reset_after: float

    @property
    def used(self) -> float:
        """From 0 to 1."""
        return 1 - self.left / self.most if self.most else 1.0


class Standing(NamedTuple):
    """Where a subject stands. `own`: it has limits of its own. Without `limits` nothing is known of it."""

    limiter: str
    tag: str
    own: bool
    limits: tuple[Left, ...]

    @property
    def used(self) -> float:
        """Of the limit of which the most is used."""
        return max((one.used for one in self.limits if not one.shadow), default=0.0)

    @property
    def retry_after(self) -> float:
        """Seconds until a check is allowed; 0.0 at once."""
        return max((one.retry_after for one in self.limits if not one.shadow), default=0.0)

    @property
    def reset_after(self) -> float:
        """Seconds until all of its limits are as if unused."""
        return max((one.reset_after for one in self.limits), default=0.0)


def look(hf: Holdfast, limiter: str, tag: str, cost: int = 1) -> Standing:
    """Where that subject stands; nothing is charged. Raises: Unavailable, Refused."""
    key = key_of(hf, limiter, tag)
    state, own = hf._wire.mget([key, own_of(key)])
    told = _text(own) or _text(state)
    nobody = Standing(limiter, tag, _text(own) is not None, ())
    if told is None:
        return nobody
    try:
        reply = hf._wire.run(_CHECK, (key, own_of(key)), (told, str(cost), "0"))
    except Refused:  # of a newer version, perhaps
        return nobody
    if reply[0] < -1:  # a window of the calendar is over: as if unused
        return nobody._replace(limits=tuple(_fresh(one) for one in _LIMIT.findall(told)))
    limits = _LIMIT.findall(told)
    numbers = reply[1 : 1 + 3 * len(limits)]
    each = zip(limits, numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    return nobody._replace(limits=tuple(_left(*one) for one in each))


def _text(stored: bytes | None) -> bytes | None:
    """The limits with which a state, or an override, begins."""
    text = (stored or b"").partition(b"|")[0]
    return text if _LIMITS.fullmatch(text) else None


def _fresh(limit: tuple[bytes, ...]) -> Left:
    return _left(limit, _most(limit), 0, 0)


def _left(limit: tuple[bytes, ...], left: int, wait: int, rest: int) -> Left:
    kind = limit[0].decode()
    return Left(
        label=limit[1].decode("utf-8", "replace"),
        algorithm=_KINDS[kind.lower()],
        shadow=kind.isupper(),
        left=left,
        most=_most(limit),
        retry_after=inf if wait < 0 else wait / rules.MICROS,
        reset_after=rest / rules.MICROS,
    )


def _most(limit: tuple[bytes, ...]) -> int:
    """The cost that fits in at once, when nothing is used."""
    token, capacity = int(limit[3]), int(limit[5])
    return capacity // max(1, token) if limit[0] in b"gG" else capacity


def data(one: Standing, shown: str) -> dict[str, Any]:
    """For programs; seconds that never end are null."""
    return {
        "limiter": one.limiter,
        "subject": shown,
        "used": round(one.used, 4),
        "retry_after": _finite(one.retry_after),
        "reset_after": _finite(one.reset_after),
        "own": one.own,
        "limits": [{**left._asdict(), "retry_after": _finite(left.retry_after)} for left in one.limits],
    }


def _finite(seconds: float) -> float | None:
    return None if seconds == inf else seconds
