"""Prometheus metrics, read at scrape time: the hot path counts what it counts anyway, and nothing else.

`_METRICS` below says which there are and what they mean; those of the other rooms stand in files of their
own.

Alert when `holdfast_cache_undelivered_invalidations` stays above 0, on `holdfast_breaker_open == 1`, and when
`holdfast_lock_lost_total` or `holdfast_stream_died_total` grow.
Clients that share a registry are added up. The numbers are those of one process; prometheus_client's
multiprocess mode, which reads files instead of asking collectors, does not show them.
"""

from __future__ import annotations

import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from holdfast import _signals
from holdfast._wire.mutex import MUTEX
from holdfast.errors import ConfigurationError
from holdfast.observe import lock_metrics, meter_metrics, stream_metrics
from holdfast.observe.about import About, Sample
from holdfast.observe.logs import Observed, event_name

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric


Numbers = defaultdict[str, defaultdict[tuple[str, ...], float]]

_BY_CACHE = ("cache",)
_BY_REASON = ("cache", "reason")
_BY_PURPOSE = ("purpose",)  # commands, hub, dedicated

_METRICS = {
    "holdfast_cache_requests": About(
        "counter",
        ("cache", "result"),
        "Lookups by result: l1_hit, l2_hit, stale_hit, miss, bypassed (off, or server away)",
    ),
    "holdfast_cache_negative_hits": About("counter", _BY_CACHE, "Hits on a cached absence or None"),
    "holdfast_cache_served_expired": About(
        "counter", _BY_CACHE, "Expired values served as the source failed"
    ),
    "holdfast_cache_overloaded": About("counter", _BY_CACHE, "Calls refused as enough loads were under way"),
    "holdfast_cache_load_errors": About("counter", _BY_CACHE, "Loads that raised"),
    "holdfast_cache_waits": About("counter", _BY_CACHE, "Calls that waited for the load of another process"),
    "holdfast_cache_fills": About("counter", _BY_CACHE, "Loaded values that were stored"),
    "holdfast_cache_fills_refused": About("counter", _BY_REASON, "Loaded values not stored, by reason"),
    "holdfast_cache_undecodable": About("counter", _BY_REASON, "Entries that could not be read, by reason"),
    "holdfast_cache_refreshes": About("counter", _BY_CACHE, "Loads in the background"),
    "holdfast_cache_refresh_errors": About("counter", _BY_CACHE, "Loads in the background that raised"),
    "holdfast_cache_soft_timeouts": About("counter", _BY_CACHE, "Readers served stale after soft_timeout"),
    "holdfast_cache_hard_timeouts": About("counter", _BY_CACHE, "Readers who gave up after hard_timeout"),
    "holdfast_cache_audited": About("counter", _BY_CACHE, "Hits that were compared with the source"),
    "holdfast_cache_stale_reads": About("counter", _BY_CACHE, "Audited hits that the source contradicts"),
    "holdfast_cache_l1_bypassed": About("counter", _BY_REASON, "Copies that could not be trusted, by reason"),
    "holdfast_cache_l1_invalidations": About("counter", _BY_CACHE, "Copies dropped as they had changed"),
    "holdfast_cache_l1_resets": About("counter", _BY_CACHE, "How often all copies were dropped"),
    "holdfast_cache_l1_evictions": About("counter", _BY_CACHE, "Copies that had to go for others"),
    "holdfast_cache_l1_entries": About("gauge", _BY_CACHE, "Copies held in this process"),
    "holdfast_cache_l1_bytes": About("gauge", _BY_CACHE, "Bytes of the copies held in this process"),
    "holdfast_cache_invalidations": About("counter", _BY_CACHE, "Keys that this process invalidated"),
    "holdfast_cache_undelivered_invalidations": About(
        "gauge", _BY_CACHE, "Invalidations not confirmed by the server yet; others may read the old values"
    ),
    "holdfast_cache_load_duration_seconds": About(
        "summary", _BY_CACHE, "Loads from the source, failed ones too, and the seconds they took"
    ),
    **lock_metrics.METRICS,
    **stream_metrics.METRICS,
    **meter_metrics.METRICS,
    "holdfast_breaker_open": About(
        "gauge", ("name",), "1 while calls are answered without asking the server"
    ),
    "holdfast_connections_made": About("counter", _BY_PURPOSE, "Connections made"),
    "holdfast_connections_lost": About("counter", _BY_PURPOSE, "Connections lost"),
    "holdfast_requests_unanswered": About(
        "counter", _BY_PURPOSE, "Requests under way when a connection was lost"
    ),
    "holdfast_signals": About(
        "counter", ("type",), "Signals by type, named as in the logs: invalidation_kept"
    ),
}
_PLAIN = (
    "negative_hits", "served_expired", "overloaded", "load_errors", "waits", "fills", "invalidations",
    "refreshes", "refresh_errors", "soft_timeouts", "hard_timeouts", "audited", "stale_reads",
    "l1_invalidations", "l1_resets", "l1_evictions", "l1_entries", "l1_bytes",
)  # fmt: skip


class Measured(Observed, Protocol):
    """A client: Holdfast or AsyncHoldfast."""

    def caches(self) -> Iterable[Any]:
        """Its caches, which have a `name` and `stats()`."""

    def lock_stats(self) -> Mapping[str, Any]:
        """What was counted of its locks, by family."""

    def streams(self) -> Iterable[Any]:
        """Its streams, which have a `name`, `stats()` and `lags()`."""

    def meters(self) -> Iterable[tuple[str, Any]]:
        """Its limiters, sessions, leaderboards and analytics, by kind."""


def prometheus(hf: Measured, registry: CollectorRegistry | None = None) -> None:
    """Offer the metrics of `hf` in `registry` (default: the global one), which several clients may share.

    Raises: ConfigurationError if prometheus_client is not installed.
    """
    try:
        from prometheus_client import REGISTRY
    except ImportError as error:
        fix = 'prometheus(hf) needs prometheus_client; pip install "holdfast[prometheus]"'
        raise ConfigurationError(fix) from error
    registry = REGISTRY if registry is None else registry
    with MUTEX:
        collector = _COLLECTORS.get(registry)
        if collector is None:
            collector = _Collector()
            registry.register(collector)
            _COLLECTORS[registry] = collector
        if hf not in collector.clients:
            collector.clients.add(hf)
            hf.observers.add(collector.tally)


_COLLECTORS: weakref.WeakKeyDictionary[Any, _Collector] = weakref.WeakKeyDictionary()


class _Tally:
    """The observer that counts signals; they are rare."""

    def __init__(self) -> None:
        self.signals: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        self.breakers: dict[str, int] = {}

    def numbers(self) -> list[Sample]:
        """What was counted so far."""
        with MUTEX:
            counted = {
                "holdfast_signals": self.signals,
                "holdfast_connections_made": self.made,
                "holdfast_connections_lost": self.lost,
                "holdfast_requests_unanswered": self.unanswered,
                "holdfast_breaker_open": self.breakers,
            }
            return [
                (name, (label,), count) for name, counts in counted.items() for label, count in counts.items()
            ]

    def notify(self, signal: _signals.Signal) -> None:
        """Count `signal`."""
        with MUTEX:
            self.signals[event_name(type(signal))] += 1
            match signal:
                case _signals.Connected(purpose=purpose):
                    self.made[purpose] += 1
                case _signals.Disconnected(purpose=purpose, unanswered=unanswered):
                    self.lost[purpose] += 1
                    self.unanswered[purpose] += unanswered
                case _signals.BreakerChanged(name=name, state=state):
                    self.breakers[name] = int(state != "closed")


class _Collector:
    """Asked by the registry at every scrape. Does not keep clients alive."""

    def __init__(self) -> None:
        self.clients: weakref.WeakSet[Any] = weakref.WeakSet()
        self.tally = _Tally()

    def describe(self) -> list[Metric]:
        """What the registry wants to know beforehand: the names, without asking the clients."""
        return [*self._metrics([])]

    def collect(self) -> Iterator[Metric]:
        """The numbers of this moment."""
        return self._metrics([sample for hf in list(self.clients) for sample in _of_client(hf)])

    def _metrics(self, samples: Iterable[Sample]) -> Iterator[Metric]:
        numbers: Numbers = defaultdict(lambda: defaultdict(float))
        for name, labels, number in (*samples, *self.tally.numbers()):
            known = numbers[name][labels]
            numbers[name][labels] = max(known, number) if name in stream_metrics.SHARED else known + number
        for name, about in _METRICS.items():
            yield _summary(name, about, numbers) if about.kind == "summary" else _family(name, about, numbers)


def _of_client(hf: Any) -> Iterator[Sample]:
    for cache in hf.caches():
        yield from _of_cache(cache.name, cache.stats())
    for family, stats in hf.lock_stats().items():
        yield from lock_metrics.of_locks(family, stats)
    for stream in hf.streams():
        yield from stream_metrics.of_stream(stream)
    for kind, meter in hf.meters():
        yield from meter_metrics.of_meter(kind, meter)


def _of_cache(cache: str, stats: Any) -> Iterator[Sample]:
    requests = {
        "l1_hit": stats.l1_hits, "l2_hit": stats.l2_hits, "stale_hit": stats.stale_hits,
        "miss": stats.misses, "bypassed": stats.bypassed,
    }  # fmt: skip
    for result, count in requests.items():
        yield "holdfast_cache_requests", (cache, result), count
    for reason, count in stats.refused.items():
        yield "holdfast_cache_fills_refused", (cache, reason), count
    for reason, count in stats.l1_bypassed.items():
        yield "holdfast_cache_l1_bypassed", (cache, reason), count
    for reason, count in stats.undecodable.items():
        yield "holdfast_cache_undecodable", (cache, reason), count
    for name in _PLAIN:
        yield f"holdfast_cache_{name}", (cache,), getattr(stats, name)
    yield "holdfast_cache_undelivered_invalidations", (cache,), stats.undelivered
    yield "holdfast_cache_load_duration_seconds_count", (cache,), stats.loads + stats.load_errors
    yield "holdfast_cache_load_duration_seconds_sum", (cache,), stats.load_seconds


def _family(name: str, about: About, numbers: Numbers) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    kind = CounterMetricFamily if about.kind == "counter" else GaugeMetricFamily
    family = kind(name, about.meaning, labels=about.labels)
    for labels, number in numbers[name].items():
        family.add_metric(labels, number)
    return family


def _summary(name: str, about: About, numbers: Numbers) -> Metric:
    from prometheus_client.core import SummaryMetricFamily

    family = SummaryMetricFamily(name, about.meaning, labels=about.labels)
    for labels, count in numbers[f"{name}_count"].items():
        family.add_metric(labels, count_value=int(count), sum_value=numbers[f"{name}_sum"][labels])
    return family
