"""The keys of analytics, and how a combination of tags is written. Pure.

<ns>:1:analytics:<name>:{<metric>}:counter:1m:1764028800:plan=pro     a bucket, or a chunk of them
<ns>:1:analytics:<name>:{<metric>}:counter/series                    the series of the metric, by last use
<ns>:1:analytics:<name>:{<metric>}:counter/memo:<client>             the number of a client's last request
<ns>:1:analytics:<name>:{%}:index                                    the metrics, by last use
    <ns>:1:analytics:<name>:{%}:settings                                 their resolutions and time zone
    <ns>:1:analytics:<name>:{%}:born                                     any text; another one: all was lost
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from holdfast._wire.keys import Keys
from holdfast.errors import ConfigurationError

ROOM = "analytics"
ALL = ""  # the series of all events
OTHER = "%other"  # that of what was one series too many; no escaped text reads like it
REST = "(other)"  # as it is called in answers

LONGEST_NAME = 200
LONGEST_TAG = 200
MOST_TAGS = 16

_PART = re.compile(r"[%{}:=,\s\x00-\x1f\x7f-\x9f]")
_ESCAPED = re.compile(r"(?:%[0-9A-F]{2})+")


class Layout:
    """The keys of the analytics called `name`."""

    def __init__(self, keys: Keys, name: str) -> None:
        self._keys = keys
        self._name = name
        self.index = keys.make(ROOM, name, "", ":index")
        self.settings = keys.make(ROOM, name, "", ":settings")
        self.born = keys.make(ROOM, name, "", ":born")

    def place(self, metric: str, client: str) -> Place:
        """Where a metric lives, as a client writes it."""
        return Place(self._keys.make(ROOM, self._name, metric), client)


class Place:
    """Where one metric lives; all its keys share a slot."""

    __slots__ = ("_client", "base")

    def __init__(self, base: str, client: str) -> None:
        self.base = base
        self._client = client

    def key(self, kind: str, series: str, resolution: str, start: int, part: str = "") -> str:
        """A key of one bucket (or chunk of buckets) of one series."""
        return f"{self.base}:{kind}:{resolution}:{start}:{series}{part}"

    def own(self, kind: str, part: str = "") -> str:
        """A key of the metric as a whole."""
        return f"{self.base}:{kind}/{part}"

    def memo(self, kind: str) -> str:
        """Where the number of this client's last request stands."""
        return f"{self.base}:{kind}/memo:{self._client}"


# --- series -------------------------------------------------------------------------------------------------


def check_metric(metric: Any) -> str:
    """`metric`, if it can be one. Raises: ConfigurationError."""
    if not isinstance(metric, str) or not 0 < len(metric) <= LONGEST_NAME or "\x00" in metric:
        raise ConfigurationError(
            f"metric={metric!r:.80} must be a str of 1 to {LONGEST_NAME} characters, as in count('signup')"
        )
    return check_text("metric", str(metric))


def check_name(name: Any) -> str:
    """The name of analytics, if it can be one. Raises: ConfigurationError."""
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f'analytics need a name that is not empty, as "shop", not {name!r:.80}')
    return check_text("name", name)


def check_text(name: str, text: str) -> str:
    """`text`, if it can be sent: here its caller is told, and no flush fails. Raises: ConfigurationError."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ConfigurationError(
                f"{name}={text!r:.80} holds a lone surrogate; it must be valid text"
            ) from error
    return text


def items_of(tags: Any) -> tuple[tuple[Any, Any], ...]:
    """Tags as `series_of` takes them, and does. Raises: ConfigurationError."""
    if not tags and (tags is None or isinstance(tags, Mapping)):
        return ()
    if not isinstance(tags, Mapping):
        raise ConfigurationError(f"tags={tags!r:.80} must be a mapping, as in tags={{'plan': 'pro'}}")
    items = tuple(tags.items())
    try:
        series_of(items)
    except TypeError:
        raise ConfigurationError(f"tags={tags!r:.80}: a value must be a str or an int") from None
    return items


@lru_cache(16_384)
def series_of(items: tuple[tuple[Any, Any], ...]) -> str:
    """The series of tags, as it stands in keys: sorted, and escaped. Raises: ConfigurationError."""
    if len(items) > MOST_TAGS:
        raise ConfigurationError(
            f"tags={dict(items)!r:.200}: at most {MOST_TAGS} tags, as one event has them"
        )
    return ",".join(sorted(f"{_name(name)}={_escape(_text(name, value))}" for name, value in items))


def _name(name: Any) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_TAG:
        raise ConfigurationError(
            f"tags: {name!r:.80} must be a str of 1 to {LONGEST_TAG} characters, as in tags={{'plan': 'pro'}}"
        )
    return _escape(check_text("tags: a name", name))


def _text(name: Any, value: Any) -> str:
    """Whole numbers and their text are one tag, as True and 1 are."""
    if isinstance(value, int):
        value = str(int(value))
    if not isinstance(value, str) or len(value) > LONGEST_TAG:
        raise ConfigurationError(
            f"tags: {name}={value!r:.80} must be a str of at most {LONGEST_TAG} characters, or an int"
        )
    return check_text(f"tags: {name}", str(value))


def _escape(text: str) -> str:
    return _PART.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: bytes.fromhex(found[0].replace("%", "")).decode(), text)


def wanted(tags: Mapping[str, Any] | None) -> frozenset[str]:
    """What the text of a series must hold to match `tags`. Raises: ConfigurationError."""
    items = items_of(tags)
    return frozenset(series_of(items).split(",")) if items else frozenset()


def matches(series: str, parts: frozenset[str]) -> bool:
    """Has a series all these tags? Without any: is it that of a combination of tags, or OTHER?"""
    return series != ALL and parts <= frozenset(series.split(","))


def tags_of(series: str) -> dict[str, str]:
    """The tags of a series, as they were given."""
    pairs = (part.partition("=") for part in series.split(",") if "=" in part)
    return {_plain(name): _plain(value) for name, _, value in pairs}


def group(series: str, by: Sequence[str]) -> tuple[str | None, ...]:
    """The values of the tags `by` in a series: None where it has none, REST for what is one too many."""
    if series == OTHER:
        return (REST,) * len(by)
    tags = tags_of(series)
    return tuple(tags.get(name) for name in by)


def names(by: Any) -> tuple[str, ...]:
    """The tags by which to group. Raises: ConfigurationError."""
    found = (by,) if isinstance(by, str) else tuple(by) if isinstance(by, Iterable) else ()
    if not found or not all(isinstance(one, str) and one for one in found):
        raise ConfigurationError(f"by={by!r:.80} must be the name of a tag, or several, as in by=('plan',)")
    return found
