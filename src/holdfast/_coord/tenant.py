"""How the thread that renews a lease reaches whoever holds it, without keeping him alive.

A lease that was forgotten instead of given back must end: so what is renewed refers to its holder weakly, and
stops when there is none any more.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Protocol

from holdfast._wire.hub_keeping import Keeping

log = logging.getLogger("holdfast.leases")


class Told(Protocol):
    """A Held or an AsyncHeld. Called in the lease thread."""

    _keeping: Keeping

    def _is_deserted(self) -> bool: ...

    def _renewed(self, until: float) -> None: ...

    def _wanted(self) -> None: ...

    def _endangered(self) -> None: ...

    def _lost(self, cause: str) -> None: ...


class WeakTenant:
    """The tenant of a Keeping: passes on what it is told, as long as there is somebody to tell."""

    __slots__ = ("_told",)

    def __init__(self, told: Told) -> None:
        self._told = weakref.ref(told)

    def renewed(self, until: float) -> bool:
        """It is ours until then; False if nobody is there any more who could use it, or give it back."""
        told = self._told()
        if told is None or told._is_deserted():
            return False
        told._renewed(until)
        return True

    def wanted(self) -> None:
        """Somebody asks for it back."""
        if (told := self._told()) is not None:
            self._guard(told._wanted)

    def endangered(self) -> None:
        """A third of its ttl is left."""
        if (told := self._told()) is not None:
            self._guard(told._endangered)

    def lost(self, cause: str) -> None:
        """It is not ours any more."""
        if (told := self._told()) is not None:
            self._guard(lambda: told._lost(cause))

    @staticmethod
    def _guard(call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:
            log.exception("a callback of a lease raised")  # it must not end the thread that renews the others
