# Generated from _analytics_async.py by tools/unasync.py. Do not edit.
"""Analytics: figures of what happens now, over time. What is promised: rules.py."""

from __future__ import annotations

import os
import weakref
from collections.abc import Hashable, Mapping
from datetime import datetime
from typing import Any

from holdfast._compat import boottime, monotonic
from holdfast._coord.background import Background
from holdfast._wire._sync import Wire
from holdfast._wire.mutex import MUTEX
from holdfast.analytics import layout, rules
from holdfast.analytics._flusher_sync import Flusher
from holdfast.analytics._queries_sync import Queries
from holdfast.analytics.counters import COUNTER, LARGEST
from holdfast.analytics.kinds import Base, Items, Kind
from holdfast.analytics.options import AnalyticsOptions, AnalyticsStats
from holdfast.analytics.pending import Pending
from holdfast.analytics.tops import Top
from holdfast.durations import seconds
from holdfast.errors import Closed, ConfigurationError, HoldfastError, Overloaded

AGAIN = 0.05  # seconds between two attempts of a close to write what is left


class Analytics(Queries):
    """Counters, uniques, active users, tops and percentiles, in buckets of time.

        hits = hf.analytics("shop")
        hits.count("signup", tags={"plan": "pro"})
        hits.query("signup", "1h", since="7d")

    Events are gathered in this process, and written together in the background.
    """

    def __init__(self, wire: Wire, name: str, options: AnalyticsOptions) -> None:
        self.name = layout.check_name(name)
        self.options = options
        self._wire = wire
        self._calendar = options.calendar()
        self._top = Top(options.top_capacity)
        self._pending = Pending(self._calendar)
        self._flusher = Flusher(wire, name, options, self._calendar, self._pending)
        self._layout = self._flusher.layout
        self._background: Background | None = None
        self._pid = 0
        self._closed = False

    # --- counting -------------------------------------------------------------------------------------------

    def count(
        self,
        metric: str,
        n: int = 1,
        *,
        tags: Mapping[str, str | int] | None = None,
        at: datetime | None = None,
    ) -> None:
        """Count that something happened, `n` times (a whole number; to sum up money, count its cents).

        `tags`: how it is told apart from others of the metric, as {"plan": "pro"}; the totals hold it all the
        same. `at`: when it happened, if not just now. It is written within `flush`; only if the buffer is
        full does the call wait.
        Raises: ConfigurationError; Overloaded, if there is no room; Closed.
        """
        if at is None:
            try:
                key: Hashable = metric if not tags else (metric, *tags.items())
                if n.__class__ is int and -LARGEST <= n <= LARGEST:
                    pending = self._pending
                    with pending.lock:
                        held = pending.counts.get(key)
                        if held is not None and boottime() < pending.until:
                            held[0] += n
                            return
            except (TypeError, AttributeError):
                pass  # what is wrong is told below
        if isinstance(n, bool) or not isinstance(n, int) or not -LARGEST <= n <= LARGEST:
            raise ConfigurationError(f"n={n!r:.80} must be a whole number, at most 2**53")
        self._record(COUNTER, metric, None, int(n), tags, at)

    def _record(
        self,
        kind: Kind,
        metric: str,
        item: Any,
        n: int,
        tags: Mapping[str, Any] | None,
        at: datetime | None,
    ) -> None:
        """Gather one event of any kind. Raises: ConfigurationError, Overloaded, Closed."""
        layout.check_metric(metric)
        items: Items = layout.items_of(tags)
        when = None if at is None else rules.moment(at, "at")
        pending = self._pending
        key: Hashable = metric if kind is COUNTER and not items else (metric, *items)
        if kind is not COUNTER:
            key = (kind.name, key)
        if when is not None and pending.ahead is not None and when > boottime() + pending.ahead + rules.AHEAD:
            raise ConfigurationError(f"at={at} is more than a day in the future")
        self._check_open()
        if boottime() >= pending.until:  # after each flush, and once a second
            self._start()
        if pending.size >= self.options.max_pending and not self._make_room(kind, key, when):
            return
        with pending.lock:
            self._check_open()
            was = pending.size
            entry = pending.entry(key, lambda: (Base(kind, metric), items), when, boottime())
            pending.put(entry, item, n)
            size = pending.size
        if was == 0 or (was < self.options.max_pending // 2 <= size):
            self._flusher.hurry()

    def _make_room(self, kind: Kind, key: Hashable, when: float | None) -> bool:
        """The buffer is full. False: the event is dropped. Raises: Overloaded, Closed."""
        pending, options = self._pending, self.options
        if kind is COUNTER:
            with pending.lock:
                if pending.knows(key, when, boottime()):
                    return True
        if options.on_full == "drop_oldest":
            with pending.lock:
                gone = pending.drop_oldest(1 + options.max_pending // 100)
            self._flusher.dropped(gone or 1)
            return gone > 0
        self._start()  # its thread may have ended
        patience = seconds(options.wait, zero=True) if options.on_full == "wait" else 0.0
        give_up = monotonic() + patience
        while pending.size >= options.max_pending:
            left = give_up - monotonic()
            if left <= 0:
                raise Overloaded(
                    f"analytics {self.name!r}: {pending.size} entries wait to be written "
                    f"(max_pending={options.max_pending}), and the server took none for {patience:g} s",
                    retry_after=seconds(options.flush),
                )
            self._flusher.room(left)
            self._check_open()
        return True

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"analytics {self.name!r} were closed; make a new client")

    # --- life -----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write now what was gathered so far.

        Raises: Unavailable, Refused, Closed; what was gathered is kept, and tried again.
        """
        self._flusher.flush()

    def stats(self) -> AnalyticsStats:
        """Counts of this process; see AnalyticsStats."""
        return self._flusher.counters.snapshot(self._pending.size)

    def _start(self) -> None:
        """Have the flusher in the background, from now on."""
        background = self._background
        if background is not None and background.alive and self._pid == os.getpid():
            return
        with MUTEX:
            background = self._background
            if background is not None and background.alive and self._pid == os.getpid():
                return
            first = background is None
            self._pid = os.getpid()
            self._background = Background(f"holdfast analytics {self.name}", self._flusher.run)
        if first:  # the flusher does not hold us, so a client that was forgotten ends it
            weakref.finalize(self, self._flusher.end).atexit = False

    def _aclose(self, patience: float) -> None:
        """Take no more, write what was gathered within `patience`, and end."""
        with self._pending.lock:
            self._closed = True
            self._pending.renew()  # whoever counts from now on comes by where it is refused
        give_up = monotonic() + patience
        while self._pending.size and (left := give_up - monotonic()) > 0:
            try:
                self._flusher.flush(left)
            except Closed:
                break
            except HoldfastError:
                self._flusher.rest(min(AGAIN, max(0.0, give_up - monotonic())))
        self._flusher.end()
        if self._pending.size:
            self._flusher.lost("closed", self._pending.size)
        background = self._background
        if background is not None:
            background.cancel()
