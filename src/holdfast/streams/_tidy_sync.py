# Generated from _tidy_async.py by tools/unasync.py. Do not edit.
"""Tidy: keeps to a stream's retention, and a group's books in order, from time to time, beside other
work.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Sequence
from functools import partial

from holdfast._compat import gather, monotonic
from holdfast._wire.transport import Arg
from holdfast.durations import seconds
from holdfast.errors import Closed, HoldfastError, Unavailable
from holdfast.streams import books, rules
from holdfast.streams._books_sync import Group
from holdfast.streams._desk_sync import Desk
from holdfast.streams.layout import Partition
from holdfast.streams.options import Lag, SubscriberOptions

log = logging.getLogger("holdfast.streams")


class Tidy:
    """See the file's docstring. `group`: whose books; "" none, for a publisher. `lease`: seconds after which
    a consumer that no membership knows counts as dead; 0.0 where such ones are left alone.
    """

    def __init__(self, desk: Desk, group: str = "", lease: float = 0.0) -> None:
        self._desk = desk
        self._group = group
        self._limits = books.limits(desk.options.retention)
        self._trims = any(self._limits)
        self._lease_ms = round(lease * 1000)
        self._told: dict[tuple[int, str], float] = {}
        self._published: dict[int, int] = {}
        self._due: dict[int, float] = {}

    def published(self, part: Partition, count: int) -> None:
        """So many entries were added: tidy up, if it is time. Does not raise: they are published anyhow."""
        if not self._trims:
            return
        number, now = part.number, monotonic()
        added = self._published.get(number, 0) + count
        self._published[number] = added
        if added >= books.MANY or now >= self._due.setdefault(number, now + books.OFTEN):
            self._published[number] = 0
            self._due[number] = now + books.OFTEN
            with contextlib.suppress(Closed):
                if self.part(part):
                    self._published[number] = books.MANY

    def part(self, part: Partition) -> bool:
        """Tidy up a partition, a step; True if there is more to remove at once. What the server refuses is
        told as a signal. Raises: Closed.
        """
        keys = part.group(self._group)
        names = (part.stream, keys.members, keys.retries, keys.saved)
        args: tuple[Arg, ...] = (self._group, self._lease_ms, *self._limits)
        try:
            _, more, held, _, _ = self._desk.wire.run(books.TIDY, names, args)
        except Closed:
            raise
        except Unavailable as error:
            log.debug("stream %s: %s", self._desk.name, error)
            return False
        except HoldfastError as error:
            if self._is_news(part.number, "!"):
                cause = f"retention: {rules.described(error)}"
                self._desk.notify(
                    rules.ConsumerStumbled(stream=self._desk.name, group=self._group, cause=cause)
                )
            return False
        group = held.decode("utf-8", "replace")
        if group and self._is_news(part.number, group):
            self._desk.notify(books.RetentionHeld(stream=self._desk.name, group=group, partition=part.number))
        return bool(more)

    def _is_news(self, partition: int, what: str) -> bool:
        """Was it told long ago, if ever?"""
        now = monotonic()
        if now < self._told.get((partition, what), now):
            return False
        self._told[partition, what] = now + books.REMIND
        return True


class Caretaker:
    """What a consumer does beside its work: it tidies up, and keeps the lag of its group for the metrics."""

    def __init__(self, desk: Desk, group: str, options: SubscriberOptions, *, alone: bool) -> None:
        self._lease = seconds(options.lease)
        self._tidy = Tidy(desk, group, 0.0 if alone else self._lease)
        self._books = Group(desk, group, options.start)
        self._desk, self._group = desk, group
        self._start = books.start_of(options.start)
        self._has_begun = False
        self._tidy_at = self._lag_at = self._wanted_until = 0.0
        self._lag: Lag | None = None

    def lag(self) -> Lag | None:
        """The lag as it was some seconds ago; None until it is known. It is asked for in the background."""
        now = monotonic()
        self._wanted_until = now + books.WATCHED
        return self._lag if now < self._lag_at + books.OFTEN * 2 else None  # a consumer that has ended

    def look(self, parts: Sequence[Partition]) -> None:
        """Do what is due, at `parts`. Raises: Closed; the first time also Unavailable, Refused."""
        now = monotonic()
        if not self._has_begun:
            gather([partial(self._begin, part) for part in self._desk.layout.parts])
            self._has_begun = True
            # Not at once: other groups that start together with this one shall have begun, too.
            self._tidy_at = now + books.rest(self._lease, random.random())
        if parts and now >= self._tidy_at:
            self._tidy_at = now + books.rest(self._lease, random.random())
            for part in parts:
                if self._tidy.part(part):
                    self._tidy_at = 0.0
        if now < self._wanted_until and now >= self._lag_at:
            try:
                self._lag = self._books.lag()
            except Closed:
                raise
            except HoldfastError as error:  # unknown is better than old
                self._lag = None
                log.debug("stream %s: %s", self._desk.name, error)
            asked, now = now, monotonic()
            self._lag_at = now + max(books.OFTEN, (now - asked) * 50)  # there is other work to do

    def _begin(self, part: Partition) -> None:
        """Make the group in a partition, also if another member is alone there: else what others acknowledge
        could be removed before it has seen it.
        """
        keys = (part.stream, part.group(self._group).saved)
        self._desk.wire.run(books.BEGIN, keys, (self._group, self._start))
