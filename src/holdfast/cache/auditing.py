"""Whether a cache serves what its source has: the decisions of an audit. Pure.

A hit is compared with what the source has *now*. If both differ, that alone proves nothing: the source may
have changed a moment ago, and the invalidation be on its way. So there is a second look after a pause. A
stale read is what is still served then, as the very same entry, while the source, asked once more, still has
something else: whoever changed it has had the whole pause to say so, and did not.

Promised: an entry whose row was changed without an invalidation, at least one pause before the audit began
and not back since, is found. A change whose invalidation arrives within the pause is not reported.

Not promised: that it is found where the loader itself reads what is old (a lagging replica, another cache).
And a loader that never returns the same twice (it puts in the time, or a random number) is always "stale".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from holdfast._values.codecs import Codec
from holdfast._values.models import dump
from holdfast.cache.entry import MISSING
from holdfast.errors import CodecError


class Outcome(Enum):
    """What became of one key of an audit."""

    EQUAL = "equal"
    STALE = "stale"
    GONE = "gone"  # it differed, and was invalidated, replaced or over by the second look
    ABSENT = "absent"  # no hit at the first look
    UNKNOWN = "unknown"  # the source failed, or gave what cannot be stored


class Sight(NamedTuple):
    """What a reader would get at a moment. `marks` name the entry, or the copy of it; `age` is in seconds."""

    value: Any
    marks: frozenset[Any]
    age: float
    is_near: bool = False


class Finding(NamedTuple):
    """What an audit found under `tag`. `age`: of the entry, in seconds, at the last look."""

    tag: str
    outcome: Outcome
    age: float = 0.0
    cached: Any = MISSING
    loaded: Any = MISSING


def compared(tag: str, sight: Sight, loaded: Mapping[str, Any], codec: Codec[Any]) -> Finding:
    """`sight` beside what was `loaded`: MISSING where the source has nothing, no item where it failed."""
    if tag not in loaded:
        return Finding(tag, Outcome.UNKNOWN, sight.age, sight.value)
    value = loaded[tag]
    try:
        outcome = Outcome.EQUAL if is_same(codec, sight.value, value) else Outcome.STALE
    except CodecError:
        outcome = Outcome.UNKNOWN
    return Finding(tag, outcome, sight.age, sight.value, value)


def stands(first: Sight, again: Sight | None) -> bool:
    """Is what was seen `first` served to this day?"""
    return again is not None and not first.marks.isdisjoint(again.marks)


def is_same(codec: Codec[Any], cached: Any, loaded: Any) -> bool:
    """Do both stand for the same, as `codec` writes them? The order in dicts and sets says nothing.

    Raises: CodecError if `loaded` cannot be written at all.
    """
    if cached is MISSING or loaded is MISSING:
        return cached is loaded
    body = codec.encode(loaded)
    if codec.encode(cached) == body:
        return True
    try:
        return _in_order(cached) == _in_order(codec.decode(body))
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        return False


_in_order = msgspec.msgpack.Encoder(enc_hook=dump, order="deterministic").encode


# --- in words -----------------------------------------------------------------------------------------------

_MOST_FIELDS = 3
_LONGEST = 40  # characters of one value


def difference(cached: Any, loaded: Any) -> str:
    """What is different, in a line: the fields where both have fields, otherwise both values."""
    old, new = _fields(cached), _fields(loaded)
    if old is None or new is None:
        return f"{_short(cached)}, source {_short(loaded)}"
    names = [name for name in {**old, **new} if old.get(name, MISSING) != new.get(name, MISSING)]
    told = [
        f"{name}: {_short(old.get(name, MISSING))}, source {_short(new.get(name, MISSING))}"
        for name in names[:_MOST_FIELDS]
    ]
    more = len(names) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _fields(value: Any) -> dict[Any, Any] | None:
    """`value` as a dict, if it is something with named parts."""
    if value is MISSING:
        return None
    try:
        plain = msgspec.to_builtins(value, enc_hook=dump)
    except (TypeError, ValueError, msgspec.MsgspecError):
        return None
    return plain if isinstance(plain, dict) else None


def _short(value: Any) -> str:
    shown = "nothing" if value is MISSING else repr(value)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."
