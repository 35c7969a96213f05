"""What a loader may know and say about the load it is doing: `current_load()`.

def load_page() -> Page:
    load = current_load()
    answer = http.get(url, headers={"If-None-Match": load.etag} if load.etag else {})
    if answer.status_code == 304:
        return load.not_modified()
    load.etag = answer.headers.get("ETag")
    load.set_ttl(answer.headers.get("X-Good-For", "10m"))
    load.add_tags(f"site:{site}")
    return parse(answer)
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

from holdfast.cache.entry import MISSING
from holdfast.cache.rules import check_version
from holdfast.cache.tags import check
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError


class Load:
    """One load that is under way. It is told to the loader's own thread or task, and what those start.

    `key`: what is loaded, as the cache writes it. `previous`: the value that is replaced, if it is there yet
    (the cache has `stale=`, or it was expired), otherwise MISSING. `etag`: what the earlier load set here, or
    None; set it to what the next one shall see. `version`: None; set it to the version of what was loaded (a
    row's, a log position), so that nothing older can replace it, see `invalidate(version=)`.
    """

    __slots__ = ("_before", "etag", "key", "previous", "tags", "ttl", "version")

    def __init__(
        self,
        key: str,
        previous: Any = MISSING,
        etag: str | None = None,
        version: int | None = None,
        tags: tuple[str, ...] = (),
    ) -> None:
        """`etag`, `version` and `tags` are those of `previous`."""
        self.key = key
        self.previous = previous
        self.etag = etag
        self.version: int | None = None
        self.ttl: float | None = None
        self.tags: tuple[str, ...] = ()
        self._before = (version, tags)

    def not_modified(self) -> Any:
        """The previous value with its version and its tags, for another ttl: `return load.not_modified()`.

        Raises: ConfigurationError if there is none, so that a loader that did not look loads instead.
        """
        if self.previous is MISSING:
            raise ConfigurationError(
                f"not_modified(): nothing of {self.key!r} is left; look at `previous` first"
            )
        version, tags = self._before
        self.version = version if self.version is None else self.version
        self.add_tags(*tags)
        return self.previous

    def set_ttl(self, ttl: Duration) -> None:
        """Store what this load returns for `ttl`. Raises: ConfigurationError."""
        self.ttl = seconds(ttl, "ttl", zero=True)

    def add_tags(self, *tags: str) -> None:
        """Give what this load returns these tags, beside those it has. Raises: ConfigurationError."""
        self.tags = check((*self.tags, *tags))

    def checked(self, found: Iterable[str]) -> tuple[str, ...]:
        """All tags: those added, and `found`. Raises: ConfigurationError, for all that was set wrongly."""
        check_version(self.version)
        if self.etag is not None and (not isinstance(self.etag, str) or len(self.etag) > 1024):
            raise ConfigurationError(f"etag={self.etag!r:.80} must be a str of at most 1024 characters")
        return check((*found, *self.tags))


CURRENT: ContextVar[Load] = ContextVar("CURRENT")


def current_load() -> Load:
    """The load that the caller, a loader or a cached function, is doing.

    Raises: ConfigurationError where none is under way.
    """
    load = CURRENT.get(None)
    if load is None:
        raise ConfigurationError(
            "current_load() is for loaders and cached functions, while a cache calls them"
        )
    return load
