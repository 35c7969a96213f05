"""The metrics of streams, by stream and group: what this process has handled, and how far the group is
behind.

The lag is that of the whole group, told by every process that consumes for it: take `max` over them, not
`sum`. A scrape does not ask the server; it has the consumer ask, so that the first one finds no lag yet, and
later ones find it as it was some ten seconds ago. Beyond 10,000 entries it may be more than what is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.observe.about import About, Sample

_BY_GROUP = ("stream", "group")

METRICS = {
    "holdfast_stream_handled": About("counter", _BY_GROUP, "Messages that this process has acknowledged"),
    "holdfast_stream_failed": About("counter", _BY_GROUP, "Handlers that raised"),
    "holdfast_stream_died": About("counter", _BY_GROUP, "Messages that became dead letters here"),
    "holdfast_stream_lost": About("counter", _BY_GROUP, "Messages taken away while a handler had them"),
    "holdfast_stream_taken_over": About("counter", _BY_GROUP, "Messages delivered again, to this process"),
    "holdfast_stream_running": About("gauge", _BY_GROUP, "Handlers at this moment"),
    "holdfast_stream_in_flight": About("gauge", _BY_GROUP, "Messages taken and not finished"),
    "holdfast_stream_handler_duration_seconds": About(
        "summary", _BY_GROUP, "Messages handled and handlers that raised, and the seconds that they took"
    ),
    "holdfast_stream_lag_entries": About("gauge", _BY_GROUP, "Entries that the group has not read"),
    "holdfast_stream_lag_seconds": About("gauge", _BY_GROUP, "Age of the oldest entry that it has not read"),
    "holdfast_stream_pending": About("gauge", _BY_GROUP, "Entries it has read and not acknowledged"),
    "holdfast_stream_pending_seconds": About("gauge", _BY_GROUP, "Age of the oldest one of these"),
}
SHARED = frozenset(
    f"holdfast_stream_{one}" for one in ("lag_entries", "lag_seconds", "pending", "pending_seconds")
)
"""Those that are the group's: clients that say the same are not added up."""

_PLAIN = ("handled", "failed", "died", "lost", "taken_over", "running", "in_flight")


def of_stream(stream: Any) -> Iterator[Sample]:
    """The numbers of one stream."""
    for group, stats in stream.stats().items():
        labels = (stream.name, group)
        for name in _PLAIN:
            yield f"holdfast_stream_{name}", labels, getattr(stats, name)
        yield "holdfast_stream_handler_duration_seconds_count", labels, stats.handled + stats.failed
        yield "holdfast_stream_handler_duration_seconds_sum", labels, stats.seconds
    for group, lag in stream.lags().items():
        labels = (stream.name, group)
        yield "holdfast_stream_lag_entries", labels, lag.entries
        yield "holdfast_stream_lag_seconds", labels, lag.age
        yield "holdfast_stream_pending", labels, lag.pending
        yield "holdfast_stream_pending_seconds", labels, lag.oldest_pending
