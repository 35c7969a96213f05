"""Rules of `watch`: what an object of a watched class makes wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast._coord.naming import text
from holdfast.cache._async import AsyncCache
from holdfast.cache._decorate_async import AsyncCachedFunction
from holdfast.cache._decorate_sync import CachedFunction
from holdfast.cache._sync import Cache
from holdfast.cache.tags import check
from holdfast.contrib.ledger import KEY, Wanted
from holdfast.errors import ConfigurationError

Finder = Callable[[Any], list[Wanted]]


def finder(kind: str, target: Any, function: Callable[[Any], Any]) -> Finder:
    """The rule `(target, function)` for keys or tags. Raises: ConfigurationError if it cannot be one."""
    cached = kind == KEY and isinstance(target, CachedFunction | AsyncCachedFunction)
    if not callable(function) or not (cached or isinstance(target, Cache | AsyncCache)):
        raise ConfigurationError(f"a rule is (cache, function), not ({target!r}, {function!r})")
    called: Any = target
    cache = called._cache if cached else target

    def written(found: Any) -> str:
        if cached:
            return text(called.key(*(found if isinstance(found, tuple) else (found,))))
        return text(found) if kind == KEY else check([found])[0]

    def find(view: Any) -> list[Wanted]:
        found = function(view)
        each = found if isinstance(found, list | set | frozenset) else [found]
        return [Wanted(cache, kind, written(one)) for one in each if one is not None]

    return find
