"""Headers that tell of limits. Pure.

`RateLimit-Policy` and `RateLimit` are those of draft-ietf-httpapi-ratelimit-headers-10: lists of structured
fields (RFC 9651). Decisions about what the draft leaves open:

* `w` and `t` are whole seconds, rounded up: a client is never told of more than there is.
* `t` of a limit that refused is the time until the request may be allowed, of any other on the same answer it
  is left out, and on an answer that was not refused it is the time until the limit is unused again. So
  `Retry-After`, which must not be earlier than any `t`, is no later than needed.
* `r` is what can be had at this moment, which may be more than `q` where a limit has a burst: then the
  policy says `holdfast-burst`.
* `pk` is a keyed hash of the limiter and of what it counts by. Without a key it is not sent: an address can
  be found by trying all of them.

Limits in shadow mode are not told of.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Sequence
from typing import NamedTuple

from holdfast.contrib.limits.fields import MOST, item, whole

Header = tuple[str, str]

BURST = "holdfast-burst"
_PARTITION = 12  # bytes of the hash: enough to tell partitions apart, short in every answer


class Line(NamedTuple):
    """One limit on one request, as headers tell of it.

    `name`: of the policy. `window`: seconds; None: there is none. `most`: what can be had at once. `refused`:
    did this one say no? `unit`: None for requests.
    """

    name: str
    quota: int
    window: float | None
    most: int
    remaining: int
    retry_after: float
    reset_after: float
    refused: bool = False
    unit: str | None = None
    partition: bytes | None = None


def partition(secret: bytes, limiter: str, subject: str) -> bytes:
    """What tells `subject` from others without saying who it is."""
    told = f"{len(limiter)},{limiter}{subject}".encode("utf-8", "surrogatepass")
    return hmac.digest(secret, told, "sha256")[:_PARTITION]


def _policy(line: Line) -> str:
    window = None if line.window is None else max(1, whole(line.window))
    burst = line.most if line.most != line.quota else None
    told = (("q", line.quota), ("qu", line.unit), ("w", window), ("pk", line.partition), (BURST, burst))
    return item(line.name, told)


def _state(line: Line, *, refused: bool) -> str:
    told = (("r", whole(line.remaining)), ("t", effective(line, refused=refused)), ("pk", line.partition))
    return item(line.name, told)


def effective(line: Line, *, refused: bool) -> int | None:
    """The effective window of a limit, `t`; None if it is not told. `refused`: was the request?"""
    if line.refused:
        seconds = line.retry_after
    elif refused:
        return None
    else:
        seconds = line.reset_after
    return whole(seconds) if math.isfinite(seconds) else None


def retry_after(lines: Sequence[Line], seconds: float, later: float = 0.0) -> int | None:
    """`Retry-After` of a refusal: `seconds`, but not earlier than any `t`, and `later` by chance; at least 1.
    None if it will never pass.
    """
    if math.isinf(seconds):
        return None
    windows = [effective(line, refused=True) or 0 for line in lines]
    return min(MOST, max(1, whole(max([seconds, *windows]) + later)))


def draft(lines: Sequence[Line], *, refused: bool) -> list[Header]:
    """`RateLimit-Policy` and `RateLimit`."""
    if not lines:
        return []
    states = ", ".join(_state(line, refused=refused) for line in lines)
    return [("RateLimit-Policy", ", ".join(map(_policy, lines))), ("RateLimit", states)]


def legacy(lines: Sequence[Line], *, since: float | None = None) -> list[Header]:
    """The three of `X-RateLimit-*`, of the tightest limit. `since`: seconds since 1970, if the reset shall be
    a moment; None: it is told in seconds from now.
    """
    if not lines:
        return []
    line = tightest(lines)
    told = [
        ("X-RateLimit-Limit", str(min(line.most, MOST))),
        ("X-RateLimit-Remaining", str(whole(line.remaining))),
    ]
    seconds = line.retry_after if line.refused else line.reset_after
    if math.isfinite(seconds):
        told.append(("X-RateLimit-Reset", str(whole(seconds if since is None else since + seconds))))
    return told


def tightest(lines: Sequence[Line]) -> Line:
    """The limit that keeps the client waiting longest, or if none does, the one with the least left."""
    refused = [line for line in lines if line.refused]
    if refused:
        return max(refused, key=lambda line: line.retry_after)
    return min(lines, key=lambda line: (line.remaining, -line.reset_after))
