# Generated from _sharing_async.py by tools/unasync.py. Do not edit.
"""Sharing: how many partitions one member aims at, where each partition has one member at a time.

Cooperative, as Kafka's rebalancing since KIP-429: whoever has more than its share gives one up after the
other, when what it has begun there is done; whoever has less takes what is free, or whose lease has ended.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.durations import seconds
from holdfast.streams import rules
from holdfast.streams._berth_sync import Berth

if TYPE_CHECKING:
    from holdfast.streams._consumer_sync import Consumer


class Sharing:
    """See the file's docstring. With order "none" it does nothing: there all members have all partitions."""

    def __init__(self, consumer: Consumer, member: str, berths: Sequence[Berth]) -> None:
        self._consumer = consumer
        self._member = member
        self._berths = berths
        self._is_needed = consumer.order != "none"
        self._lease = seconds(consumer.options.lease)
        self._share = 0
        self._at = 0.0  # monotonic time of the next look at who else is there

    @property
    def wants_more(self) -> bool:
        """Has this member less than its share?"""
        return sum(1 for one in self._berths if one.epoch) < self._share

    def fire(self) -> bool:
        """The members of the group have changed; from any thread."""
        self._at = 0.0
        self._consumer.ring()
        return True

    def look(self, now: float) -> None:
        """Aim at this member's share. Raises: Unavailable, Refused, Closed."""
        if not self._is_needed:
            return
        desk, group = self._consumer.desk, self._consumer.group
        if now >= self._at:
            self._at = now + self._lease / 3 * (0.75 + random.random() / 4)
            rank, members = desk.share(group, self._member, round(self._lease * 1000))
            self._share = rules.share(len(self._berths), members, rank)
        own = [one for one in self._berths if one.epoch]
        if len(own) > self._share and not any(one.is_leaving for one in own):
            own[-1].is_leaving = True
            self._consumer.give_back(own[-1])
        for berth in own:
            if berth.is_leaving and not berth.verdicts and not berth.acks and not berth.is_working:
                berth.leave()
                berth.is_leaving, berth.next_at = False, now + rules.SAFETY_POLL
                self._consumer.ring()  # there may be another one to give up

    def leave(self) -> None:
        """Tell the others that it is gone. Raises: as `look`."""
        if self._is_needed:
            self._consumer.desk.share(self._consumer.group, self._member, 0)
