"""Many keys of one question, and what a loader of many returns. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from holdfast.errors import ConfigurationError


class Wanted(NamedTuple):
    """One key of many: what its loader calls it, and what else is known of it."""

    key: Any
    tags: tuple[str, ...] = ()
    tagger: Callable[[Any], Iterable[str]] | None = None


def mapping(loaded: Mapping[Any, Any], loader: Callable[..., Any]) -> Mapping[Any, Any]:
    """What `loader` has returned. Raises: ConfigurationError."""
    if not isinstance(loaded, Mapping):
        raise ConfigurationError(
            f"{loader!r} must return a mapping of key to value, not a {type(loaded).__name__}"
        )
    return loaded


def distinct(wanted: Mapping[str, Wanted]) -> Mapping[str, Wanted]:
    """`wanted`, if a mapping can hold its keys: 1, 1.0 and True are equal, but three entries.

    Raises: ConfigurationError.
    """
    seen: dict[Any, Wanted] = {}
    for one in wanted.values():
        if (other := seen.setdefault(one.key, one)) is not one:
            raise ConfigurationError(
                f"the keys {other.key!r} and {one.key!r} are equal: no mapping can hold both, ask one by one"
            )
    return wanted
