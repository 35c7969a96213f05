"""The locks of one slot, as they are held by a multilock; for both flavours.

While the lease is not whole yet nobody is told what becomes of a part: whoever puts it together looks at
`keeping.cause`.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast._coord.guard import Guard
from holdfast._wire.hub_keeping import Keeping
from holdfast._wire.keys import Keys
from holdfast.locks.multilock.rules import Group
from holdfast.locks.rules import Names


class Taker(Protocol):
    """Whoever takes part after part."""

    @property
    def is_over(self) -> bool:
        """Was its event loop closed in the middle?"""

    def give_up(self) -> None:
        """Give back what was taken."""


class Unfinished:
    """The tenant of a part that belongs to no lease yet: it lasts as long as somebody takes the others."""

    __slots__ = ("_taker",)

    def __init__(self, taker: Taker) -> None:
        self._taker = weakref.ref(taker)

    def renewed(self, until: float) -> bool:  # noqa: ARG002 (the keeping knows)
        """Is anybody there who needs it?"""
        taker = self._taker()
        if taker is None:
            return False
        if taker.is_over:
            taker.give_up()
        return not taker.is_over

    def wanted(self) -> None:
        """It will be said again."""

    def endangered(self) -> None:
        """It is lost soon, or it is not."""

    def lost(self, cause: str) -> None:
        """The keeping knows."""


@dataclass(slots=True)
class Part:
    """The locks of `group`, ours under `token` as long as `keeping` lasts. `stray`: an older request for them
    may still be on its way.
    """

    group: Group
    token: str
    fence: int
    keeping: Keeping
    stray: bool

    @property
    def ttl(self) -> float:
        """Seconds."""
        return self.keeping.ttl


class OneName:
    """One name of a multilock's lease: what a transaction or a script takes as its guard.

    `fence`: of this name. It goes with the lease: there is nothing to give back.
    """

    __slots__ = ("_keys", "_lease", "_names", "_token", "fence", "name")

    def __init__(self, lease: Any, keys: Keys, name: str, names: Names, *, token: str, fence: int) -> None:
        self.name = name
        self.fence = fence
        self._lease = lease
        self._keys = keys
        self._names = names
        self._token = token

    def key(self, name: str) -> str:
        """The key `name` in this client's namespace and in this name's slot."""
        return self._keys.user(name, self._names.tag)

    def ensure(self) -> None:
        """Make sure that the whole lease is ours. Raises: LockLost."""
        self._lease.ensure()

    def guard(self) -> Guard:
        """For `hf.transaction(guard=...)` and `script.run(guard=...)`, which take this object itself.

        Raises: LockLost.
        """
        self._lease.ensure()
        return Guard(self.name, self._names.key, self._token)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self._lease!r}>"
