"""What has to be run to keep, give back or undo one lease. Pure."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from holdfast._wire.script import Script
from holdfast.errors import ConfigurationError
from holdfast.locks import holder
from holdfast.locks.holder import Holder

Request = tuple[Script, tuple[str, ...], tuple[Any, ...]]

STRAY_MS: Final = 60_000  # for which a request that nobody waits for may still be on its way
TOLD: Final = 1000  # holders that `inspect` tells of at most


class Terms(NamedTuple):
    """The scripts of one kind of lease, and the keys of this one. `key`: where it stands; `tag`: its slot's;
    `least`: with how many of its keys `keep` can do while a slot moves (None: all).

    `keep` takes the token and the ttl, `release` the token, `abandon` the token and for how long a request
    may still be on its way; it gives back as well, and keeps such a request from being granted.
    """

    key: str
    tag: str
    keep: Script
    keep_keys: tuple[str, ...]
    release: Script
    release_keys: tuple[str, ...]
    abandon: Script
    abandon_keys: tuple[str, ...]
    least: int | None = None

    def undo(self, token: str) -> Request:
        """What leaves nothing of `token`, whatever became of it."""
        return self.abandon, self.abandon_keys, (token, STRAY_MS)

    def give_back(self, token: str, *, stray: bool) -> Request:
        """What ends the lease. It is not repeated by itself: the second time it is not ours any more."""
        if stray:
            script, keys, args = self.undo(token)
            return script.once(), keys, args
        return self.release, self.release_keys, (token,)


def again(script: Script) -> Script:
    """`script`, for a caller who knows that it may have been executed before."""
    return Script(script.name, script.text, script.digest, "safe")


def holders(name: str, told: list[Any]) -> tuple[Holder, ...]:
    """The holders in `told`: value, milliseconds left, value, ..."""
    pairs = zip(told[::2], told[1::2], strict=True)
    return tuple(Holder(name=name, **holder.read(value), ttl=int(left) / 1000) for value, left in pairs)


def refuse_wanted(what: str, on_wanted: object) -> None:
    """Nobody can ask for a place of several back. Raises: ConfigurationError."""
    if on_wanted is not None:
        raise ConfigurationError(f"{what}: on_wanted is for locks; nobody can ask for the lease of a {what}")
