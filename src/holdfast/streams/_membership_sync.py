# Generated from _membership_async.py by tools/unasync.py. Do not edit.
"""Membership: the lease of a member of a group, in one partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast._coord.section import Section
from holdfast._coord.tenant import WeakTenant
from holdfast._wire.hub_keeping import Keeping, certain
from holdfast.streams import rules

if TYPE_CHECKING:
    from holdfast.streams._berth_sync import Berth


class Membership:
    """The lease of a member, renewed in the background; told by the thread that renews."""

    def __init__(self, berth: Berth, lease: float, asked: float) -> None:
        """Raises: Closed, Unavailable."""
        self._berth = berth
        self._section = Section()  # knows whether the thread is still there
        args = (berth.member, max(1, round(lease * 1000)))
        keys = (berth.keys.members,)
        until = certain(asked, lease)
        self._keeping = Keeping(WeakTenant(self), rules.BEAT, keys, args, ttl=lease, until=until)
        berth.desk.wire.leases.keep(self._keeping)

    @property
    def is_over(self) -> bool:
        """Has it ended?"""
        return self._keeping.state == "over"

    def close(self) -> None:
        """Renew it no more."""
        self._keeping.close()

    def _is_deserted(self) -> bool:
        return self._section.is_over

    def _renewed(self, until: float) -> None:
        """It is ours until then: the keeping knows."""

    def _wanted(self) -> None:
        """Nobody asks for a membership."""

    def _endangered(self) -> None:
        """There is nothing to be done before its end."""

    def _lost(self, cause: str) -> None:
        self._berth.lost(cause)
