"""Which limiters there are, and who of their subjects has used anything, by a walk within bounds."""

from __future__ import annotations

import difflib
from functools import partial
from typing import NamedTuple

from holdfast import Holdfast
from holdfast.cli.cache.paper import Tell
from holdfast.cli.cache.walk import FURTHER, Walk, drive, pattern, plain, walk
from holdfast.cli.cache.words import listed, many, safe
from holdfast.errors import ConfigurationError
from holdfast.limits import plans

_OWN = ":o"
_GLANCE = 1000  # subjects looked at for the names of limiters
_FURTHER = 200_000  # keys looked at for one subject of a limiter


class Found(NamedTuple):
    """The tags of the subjects of each limiter. `walked`: how far was looked."""

    subjects: dict[str, set[str]]
    walked: Walk

    def caveat(self) -> str:
        """What was not looked at; "" if all was."""
        if self.walked.complete:
            return ""
        return f"not all: about {many(self.walked.looked, 'key')} were looked at; --limit goes further"


def find(
    hf: Holdfast, name: str | None, limit: int, tell: Tell = lambda _: None, further: int = FURTHER
) -> Found:
    """Those of one limiter, or of all, at most `limit` subjects. Raises: Unavailable, Refused."""
    keys = hf._wire.keys
    base = keys.prefix("limit", "").removesuffix("%:{")
    found: dict[str, set[str]] = {}

    def take(key: str) -> bool:
        limiter, _, rest = key[len(base) :].partition(":{")
        tag, _, part = rest.partition("}")
        if part not in ("", _OWN):
            return False
        seen = found.setdefault(plain(limiter), set())
        is_new = tag not in seen
        seen.add(tag)
        return is_new

    prefix = base if name is None else keys.prefix("limit", name)
    ask = partial(hf._wire.execute_many, retry="safe")
    walked = drive(ask, walk(pattern(prefix), limit, take, tell, further))
    return Found(dict(sorted(found.items())), walked)


def key_of(hf: Holdfast, name: str, tag: str) -> str:
    """Where the state of a subject is; its own limits are behind it."""
    return hf._wire.keys.make_escaped("limit", name, tag)


def own_of(key: str) -> str:
    """Where the limits of its own are."""
    return f"{key}{_OWN}"


def check_known(hf: Holdfast, name: str, tag: str | None = None) -> None:
    """Make sure that somebody has used the limiter `name`, best of all the subject `tag`.

    Raises: ConfigurationError, Unavailable, Refused.
    """
    key = key_of(hf, name, tag or "")
    if tag is not None and any(hf._wire.mget([key, own_of(key)])):
        return
    found = find(hf, name, 1, further=_FURTHER)
    if found.subjects or hf.execute("EXISTS", plans.key_of(hf._wire.keys, name)):
        return
    known = list(find(hf, None, _GLANCE).subjects)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = "see: holdfast limits list" if known else "nobody is limited at this moment"
    if near:
        hint = f"there is {listed([safe(one) for one in near])}"
    where = f"in the namespace {hf._wire.keys.namespace!r}"
    raise ConfigurationError(f"nobody has used a limiter {safe(name)!r} lately {where}; {hint}")
