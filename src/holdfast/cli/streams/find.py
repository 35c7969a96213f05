"""Which streams there are, by a walk over the server's keys within bounds; and one of them by its name."""

from __future__ import annotations

import difflib
import fnmatch
from functools import partial
from typing import Any, NamedTuple

from holdfast import Holdfast
from holdfast.cli.cache.paper import Tell
from holdfast.cli.cache.walk import Walk, drive, pattern, plain, walk
from holdfast.cli.cache.words import listed, many, safe
from holdfast.cli.streams.values import Anything
from holdfast.errors import ConfigurationError
from holdfast.streams._stream_sync import Stream

_GLANCE = 1_000  # streams looked at for a name that is like one that is not there


class Found(NamedTuple):
    """`names` of streams, sorted. `walked`: how far was looked."""

    names: list[str]
    walked: Walk

    def caveat(self) -> str:
        """What was not looked at; "" if all was."""
        if self.walked.complete:
            return ""
        return f"not all: about {many(self.walked.looked, 'key')} were looked at; --limit goes further"


def find(hf: Holdfast, wanted: str | None, limit: int, tell: Tell = lambda _: None) -> Found:
    """Those that fit the glob `wanted`, at most `limit`, on all primaries. Raises: Unavailable, Refused."""
    begin, _, end = hf._wire.keys.tagged("stream", "", ":meta").rpartition("%")
    found: set[str] = set()

    def take(key: str) -> bool:
        name = plain(key[len(begin) : -len(end)])
        if wanted is not None and not fnmatch.fnmatchcase(name, wanted):
            return False
        is_new = name not in found
        found.add(name)
        return is_new

    ask = partial(hf._wire.execute_many, retry="safe")
    walked = drive(ask, walk(pattern(begin, f"*{end}"), limit, take, tell))
    return Found(sorted(found), walked)


def called(hf: Holdfast, name: str) -> Stream[Any]:
    """The stream `name`, as far as it is known from the server alone: its values are shown as they are.

    Raises: ConfigurationError if there is none; Unavailable, Refused.
    """
    count = hf.execute("GET", hf._wire.keys.tagged("stream", name, ":meta"))
    if count is None:
        near = difflib.get_close_matches(name, find(hf, None, _GLANCE).names, n=3)
        hint = f"there is {listed([safe(one) for one in near])}" if near else "see: holdfast streams list"
        raise ConfigurationError(
            f"no stream {safe(name)!r} in the namespace {hf._wire.keys.namespace!r}; {hint}"
        )
    stream = hf.stream(name, partitions=int(count))
    stream._desk.values = Anything()  # type: ignore[assignment]
    return stream


def check_group(stream: Stream[Any], group: str) -> None:
    """Make sure that somebody has consumed as `group`. Raises: ConfigurationError, Unavailable, Refused."""
    known = stream.info().groups
    if group not in known and not stream.dead_letters(group).count():
        there = listed([safe(one) for one in known]) or "none"
        raise ConfigurationError(f"stream {safe(stream.name)!r} has no group {safe(group)!r}; it has {there}")
