"""Prometheus metrics, read at scrape time: the hot path counts what it counts anyway, and nothing else.

`_METRICS` below says which there are and what they mean; beside them `holdfast_cache_load_duration_seconds`,
a summary by cache: how many loads from the source there were, failed ones too, and how long they took.

Alert when `holdfast_cache_undelivered_invalidations` stays above 0, and on `holdfast_breaker_open == 1`.
Clients that share a registry are added up. The numbers are those of one process; prometheus_client's
multiprocess mode, which reads files instead of asking collectors, does not show them.
"""

from __future__ import annotations

import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from holdfast import _signals
from holdfast._wire.mutex import MUTEX
from holdfast.errors import ConfigurationError
from holdfast.observe.logs import Observed, event_name

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric


Sample = tuple[str, tuple[str, ...], float]  # metric, values of its labels, number


class _About(NamedTuple):
    """What a metric is. A counter's name gets `_total` appended."""

    kind: str
    labels: tuple[str, ...]
    meaning: str


_BY_CACHE = ("cache",)
_BY_REASON = ("cache", "reason")
_BY_PURPOSE = ("purpose",)  # commands, hub, dedicated

_METRICS = {
    "holdfast_cache_requests": _About(
        "counter",
        ("cache", "result"),
        "Lookups by result: l1_hit, l2_hit, stale_hit, miss, bypassed (off, or server away)",
    ),
    "holdfast_cache_negative_hits": _About("counter", _BY_CACHE, "Hits on a cached absence or None"),
    "holdfast_cache_served_expired": _About(
        "counter", _BY_CACHE, "Expired values served as the source failed"
    ),
    "holdfast_cache_overloaded": _About("counter", _BY_CACHE, "Calls refused as enough loads were under way"),
    "holdfast_cache_load_errors": _About("counter", _BY_CACHE, "Loads that raised"),
    "holdfast_cache_waits": _About("counter", _BY_CACHE, "Calls that waited for the load of another process"),
    "holdfast_cache_fills": _About("counter", _BY_CACHE, "Loaded values that were stored"),
    "holdfast_cache_fills_refused": _About("counter", _BY_REASON, "Loaded values not stored, by reason"),
    "holdfast_cache_undecodable": _About("counter", _BY_REASON, "Entries that could not be read, by reason"),
    "holdfast_cache_refreshes": _About("counter", _BY_CACHE, "Loads in the background"),
    "holdfast_cache_refresh_errors": _About("counter", _BY_CACHE, "Loads in the background that raised"),
    "holdfast_cache_soft_timeouts": _About("counter", _BY_CACHE, "Readers served stale after soft_timeout"),
    "holdfast_cache_hard_timeouts": _About("counter", _BY_CACHE, "Readers who gave up after hard_timeout"),
    "holdfast_cache_audited": _About("counter", _BY_CACHE, "Hits that were compared with the source"),
    "holdfast_cache_stale_reads": _About("counter", _BY_CACHE, "Audited hits that the source contradicts"),
    "holdfast_cache_l1_bypassed": _About(
        "counter", _BY_REASON, "Copies that could not be trusted, by reason"
    ),
    "holdfast_cache_l1_invalidations": _About("counter", _BY_CACHE, "Copies dropped as they had changed"),
    "holdfast_cache_l1_resets": _About("counter", _BY_CACHE, "How often all copies were dropped"),
    "holdfast_cache_l1_evictions": _About("counter", _BY_CACHE, "Copies that had to go for others"),
    "holdfast_cache_l1_entries": _About("gauge", _BY_CACHE, "Copies held in this process"),
    "holdfast_cache_l1_bytes": _About("gauge", _BY_CACHE, "Bytes of the copies held in this process"),
    "holdfast_cache_invalidations": _About("counter", _BY_CACHE, "Keys that this process invalidated"),
    "holdfast_cache_undelivered_invalidations": _About(
        "gauge", _BY_CACHE, "Invalidations not confirmed by the server yet; others may read the old values"
    ),
    "holdfast_breaker_open": _About(
        "gauge", ("name",), "1 while calls are answered without asking the server"
    ),
    "holdfast_connections_made": _About("counter", _BY_PURPOSE, "Connections made"),
    "holdfast_connections_lost": _About("counter", _BY_PURPOSE, "Connections lost"),
    "holdfast_requests_unanswered": _About(
        "counter", _BY_PURPOSE, "Requests under way when a connection was lost"
    ),
    "holdfast_signals": _About(
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
        """What the registry wants to know beforehand: the names, without asking the caches."""
        return [*self._metrics([])]

    def collect(self) -> Iterator[Metric]:
        """The numbers of this moment."""
        return self._metrics([cache for hf in list(self.clients) for cache in hf.caches()])

    def _metrics(self, caches: Iterable[Any]) -> Iterator[Metric]:
        from prometheus_client.core import SummaryMetricFamily

        numbers = {name: defaultdict[tuple[str, ...], float](float) for name in _METRICS}
        attempts: Counter[str] = Counter()
        seconds: defaultdict[str, float] = defaultdict(float)
        for cache in caches:
            stats = cache.stats()
            for name, labels, number in _of_cache(cache.name, stats):
                numbers[name][labels] += number
            attempts[cache.name] += stats.loads + stats.load_errors
            seconds[cache.name] += stats.load_seconds
        for name, labels, number in self.tally.numbers():
            numbers[name][labels] += number
        for name, about in _METRICS.items():
            yield _family(name, about, numbers[name])
        meaning = "Loads from the source, failed ones too, and the seconds they took"
        summary = SummaryMetricFamily("holdfast_cache_load_duration_seconds", meaning, labels=_BY_CACHE)
        for name, count in attempts.items():
            summary.add_metric([name], count_value=count, sum_value=seconds[name])
        yield summary


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


def _family(name: str, about: _About, numbers: Mapping[tuple[str, ...], float]) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    kind = CounterMetricFamily if about.kind == "counter" else GaugeMetricFamily
    family = kind(name, about.meaning, labels=about.labels)
    for labels, number in numbers.items():
        family.add_metric(labels, number)
    return family
