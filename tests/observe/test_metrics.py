"""Prometheus metrics as they are scraped."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from dataclasses import dataclass, field, fields
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

import holdfast.observe
from holdfast import Holdfast, _signals
from holdfast.cache.stats import CacheStats
from holdfast.errors import ConfigurationError
from holdfast.locks.stats import LockStats
from holdfast.observe import lock_metrics, prometheus, stream_metrics, structured_logs
from holdfast.streams import books
from holdfast.streams.counters import SubscriberStats
from holdfast.streams.options import Lag


@dataclass
class Cache:
    name: str
    numbers: CacheStats
    asked: int = 0

    def stats(self) -> CacheStats:
        self.asked += 1
        return self.numbers


@dataclass
class Stream:
    name: str
    groups: dict[str, SubscriberStats]
    known: dict[str, Lag] = field(default_factory=dict)

    def stats(self) -> dict[str, SubscriberStats]:
        return self.groups

    def lags(self) -> dict[str, Lag]:
        return self.known


@dataclass(eq=False)
class Client:
    all: list[Cache] = field(default_factory=list)
    observers: _signals.Observers = field(default_factory=_signals.Observers)

    locks: dict[str, LockStats] = field(default_factory=dict)
    all_streams: list[Stream] = field(default_factory=list)

    def streams(self) -> list[Stream]:
        return self.all_streams

    def caches(self) -> list[Cache]:
        return self.all

    def lock_stats(self) -> dict[str, LockStats]:
        return self.locks

    def meters(self) -> list[tuple[str, Any]]:
        return []


def scrape(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """{(sample, label values ...): number} out of the text that Prometheus would get."""
    text = generate_latest(registry).decode()
    families = text_string_to_metric_families(text)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


USERS = CacheStats(
    l1_hits=1,
    l2_hits=20,
    misses=3,
    bypassed=4,
    negative_hits=5,
    loads=6,
    load_errors=2,
    load_seconds=1.5,
    waits=7,
    fills=8,
    refused_fills=3,
    refused={"invalidated": 2, "out_of_memory": 1},
    served_expired=9,
    undecodable={"corrupt": 1},
    invalidations=10,
    undelivered=11,
    overloaded=12,
    l1_bypassed={"deaf": 26},
    stale_hits=18,
    l1_invalidations=13,
    l1_resets=14,
    l1_entries=15,
    l1_bytes=16,
    l1_evictions=17,
    refreshes=19,
    refresh_errors=21,
    soft_timeouts=22,
    hard_timeouts=23,
    audited=24,
    stale_reads=25,
)


def test_every_number_of_a_cache_is_there() -> None:
    registry, hf = CollectorRegistry(), Client([Cache("users", USERS)])
    prometheus(hf, registry)
    assert scrape(registry) == {
        ("holdfast_cache_requests_total", "users", "l1_hit"): 1,
        ("holdfast_cache_requests_total", "users", "l2_hit"): 20,
        ("holdfast_cache_requests_total", "users", "stale_hit"): 18,
        ("holdfast_cache_requests_total", "users", "miss"): 3,
        ("holdfast_cache_l1_bypassed_total", "users", "deaf"): 26,
        ("holdfast_cache_l1_invalidations_total", "users"): 13,
        ("holdfast_cache_l1_resets_total", "users"): 14,
        ("holdfast_cache_l1_entries", "users"): 15,
        ("holdfast_cache_l1_bytes", "users"): 16,
        ("holdfast_cache_l1_evictions_total", "users"): 17,
        ("holdfast_cache_refreshes_total", "users"): 19,
        ("holdfast_cache_refresh_errors_total", "users"): 21,
        ("holdfast_cache_soft_timeouts_total", "users"): 22,
        ("holdfast_cache_hard_timeouts_total", "users"): 23,
        ("holdfast_cache_audited_total", "users"): 24,
        ("holdfast_cache_stale_reads_total", "users"): 25,
        ("holdfast_cache_requests_total", "users", "bypassed"): 4,
        ("holdfast_cache_negative_hits_total", "users"): 5,
        ("holdfast_cache_load_duration_seconds_count", "users"): 8,
        ("holdfast_cache_load_duration_seconds_sum", "users"): 1.5,
        ("holdfast_cache_load_errors_total", "users"): 2,
        ("holdfast_cache_waits_total", "users"): 7,
        ("holdfast_cache_fills_total", "users"): 8,
        ("holdfast_cache_fills_refused_total", "users", "invalidated"): 2,
        ("holdfast_cache_fills_refused_total", "users", "out_of_memory"): 1,
        ("holdfast_cache_served_expired_total", "users"): 9,
        ("holdfast_cache_undecodable_total", "users", "corrupt"): 1,
        ("holdfast_cache_invalidations_total", "users"): 10,
        ("holdfast_cache_undelivered_invalidations", "users"): 11,
        ("holdfast_cache_overloaded_total", "users"): 12,
    }


ORDERS = LockStats(
    acquired=1,
    contended=2,
    timeouts=3,
    released=4,
    renewals=5,
    waiting=6,
    lost={"taken": 7, "max_hold": 8},
    wait_seconds=1.5,
    hold_seconds=2.5,
)


def test_every_number_of_a_family_of_locks_is_there() -> None:
    """Without it a loss of leases, or a queue that grows, would show nowhere."""
    registry, hf = CollectorRegistry(), Client(locks={"order": ORDERS})
    prometheus(hf, registry)
    assert scrape(registry) == {
        ("holdfast_lock_acquired_total", "order"): 1,
        ("holdfast_lock_contended_total", "order"): 2,
        ("holdfast_lock_timeouts_total", "order"): 3,
        ("holdfast_lock_released_total", "order"): 4,
        ("holdfast_lock_renewals_total", "order"): 5,
        ("holdfast_lock_waiting", "order"): 6,
        ("holdfast_lock_lost_total", "taken", "order"): 7,
        ("holdfast_lock_lost_total", "max_hold", "order"): 8,
        ("holdfast_lock_wait_duration_seconds_count", "order"): 1,
        ("holdfast_lock_wait_duration_seconds_sum", "order"): 1.5,
        ("holdfast_lock_hold_duration_seconds_count", "order"): 19,
        ("holdfast_lock_hold_duration_seconds_sum", "order"): 2.5,
    }


def test_no_number_of_the_stats_of_locks_is_forgotten() -> None:
    """A count that is added to LockStats must be scraped too; percentiles and hints are for people."""
    names = {one.name for one in fields(LockStats)} - {"wait_p50", "wait_p99", "hold_p50", "hold_p99", "hint"}
    told = {f"holdfast_lock_{name}" for name in names}
    told = {name.replace("_seconds", "_duration_seconds") for name in told}
    assert told <= {*lock_metrics.METRICS}


def test_locks_of_several_clients_are_added_up() -> None:
    registry = CollectorRegistry()
    one, two = Client(locks={"order": ORDERS}), Client(locks={"order": ORDERS, "job": LockStats(acquired=9)})
    prometheus(one, registry)
    prometheus(two, registry)
    numbers = scrape(registry)
    assert numbers["holdfast_lock_acquired_total", "order"] == 2
    assert numbers["holdfast_lock_lost_total", "taken", "order"] == 14
    assert numbers["holdfast_lock_hold_duration_seconds_sum", "order"] == 5
    assert numbers["holdfast_lock_acquired_total", "job"] == 9


def test_caches_are_asked_at_the_scrape_only() -> None:
    cache = Cache("users", USERS)
    registry, hf = CollectorRegistry(auto_describe=True), Client([cache])
    prometheus(hf, registry)
    hf.observers.notify(_signals.ServedExpired(cache="users", key="k", error="e"))
    assert cache.asked == 0
    scrape(registry)
    assert cache.asked == 1


def test_signals_become_counters_and_the_breakers_state() -> None:
    registry, hf = CollectorRegistry(), Client()
    prometheus(hf, registry)
    tell = hf.observers.notify
    for _ in range(2):
        tell(_signals.Connected(server="s", purpose="commands"))
    tell(_signals.Disconnected(server="s", purpose="commands", cause="x", unanswered=3))
    tell(_signals.Disconnected(server="s", purpose="hub", cause="x"))
    tell(_signals.BreakerChanged(name="cache users", state="open"))
    assert scrape(registry) == {
        ("holdfast_connections_made_total", "commands"): 2,
        ("holdfast_connections_lost_total", "commands"): 1,
        ("holdfast_connections_lost_total", "hub"): 1,
        ("holdfast_requests_unanswered_total", "commands"): 3,
        ("holdfast_requests_unanswered_total", "hub"): 0,
        ("holdfast_breaker_open", "cache users"): 1,
        ("holdfast_signals_total", "connected"): 2,
        ("holdfast_signals_total", "disconnected"): 2,
        ("holdfast_signals_total", "breaker_changed"): 1,
    }
    tell(_signals.BreakerChanged(name="cache users", state="closed"))
    assert scrape(registry)["holdfast_breaker_open", "cache users"] == 0


def test_clients_of_one_registry_are_added_up_and_may_be_given_twice() -> None:
    registry = CollectorRegistry(auto_describe=True)
    one, two = Client([Cache("users", USERS)]), Client([Cache("users", USERS), Cache("prices", CacheStats())])
    for hf in (one, two, one):
        prometheus(hf, registry)
    one.observers.notify(_signals.Connected(server="s", purpose="hub"))
    numbers = scrape(registry)
    assert numbers["holdfast_cache_requests_total", "users", "l2_hit"] == 40
    assert numbers["holdfast_cache_requests_total", "prices", "l2_hit"] == 0
    assert numbers["holdfast_connections_made_total", "hub"] == 1
    other = CollectorRegistry()
    prometheus(two, other)
    assert scrape(other)["holdfast_cache_requests_total", "users", "l2_hit"] == 20


def test_a_registry_keeps_no_client_alive() -> None:
    registry, hf = CollectorRegistry(), Client([Cache("users", USERS)])
    prometheus(hf, registry)
    del hf
    gc.collect()
    assert scrape(registry) == {}


def test_without_prometheus_client_the_error_names_the_extra(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigurationError, match=r'pip install "holdfast\[prometheus\]"'):
        prometheus(Client())


def test_names_are_lazy_and_few() -> None:
    assert holdfast.observe.__all__ == ["JsonFormatter", "prometheus", "structured_logs"]
    assert {*holdfast.observe.__all__} <= {*dir(holdfast.observe)}
    with pytest.raises(AttributeError):
        holdfast.observe.nonsense  # noqa: B018


def test_a_real_client(hf: Holdfast, caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    prometheus(hf, registry)
    structured_logs(hf)
    caplog.set_level(logging.DEBUG, "holdfast")
    users = hf.cache("users", ttl="1m")
    for _ in range(3):
        assert users.get_or_set("ann", lambda: 42) == 42
    numbers = scrape(registry)
    assert numbers["holdfast_cache_requests_total", "users", "miss"] == 1
    assert numbers["holdfast_cache_requests_total", "users", "l2_hit"] == 2
    assert numbers["holdfast_cache_load_duration_seconds_count", "users"] == 1
    hf.close()
    hf.observers.notify(_signals.InvalidationKept(cache="users", key="ann"))
    assert caplog.messages[-1] == "invalidation kept cache=users key=ann"


def test_the_locks_of_a_real_client(hf: Holdfast) -> None:
    """Without it the numbers of a client might never get from its locks to the scrape."""
    registry = CollectorRegistry()
    prometheus(hf, registry)
    with hf.lock("order:1"):
        assert hf.lock("order:1").try_acquire() is None
    lease = hf.lock("order:2").acquire()
    assert hf.lock("order:2").force_release()
    assert lease.lost.wait(10)
    numbers = scrape(registry)
    assert numbers["holdfast_lock_acquired_total", "order"] == 2
    assert numbers["holdfast_lock_contended_total", "order"] == 1
    assert numbers["holdfast_lock_released_total", "order"] == 1
    assert numbers["holdfast_lock_lost_total", "vanished", "order"] == 1
    assert numbers["holdfast_lock_hold_duration_seconds_count", "order"] == 2
    assert numbers["holdfast_lock_hold_duration_seconds_sum", "order"] > 0
    assert numbers["holdfast_signals_total", "lease_lost"] == 1
    assert numbers["holdfast_signals_total", "lock_dropped"] == 1


BILLING = SubscriberStats(
    handled=1, failed=2, died=3, lost=4, taken_over=5, running=6, in_flight=7, seconds=8.5
)


def test_every_number_of_a_stream_is_there() -> None:
    """Without it a group that fails, or falls behind, would be seen by its users first."""
    stream = Stream("orders", {"billing": BILLING}, {"billing": Lag(10, True, 11.5, 12, 13.5)})
    registry = CollectorRegistry()
    prometheus(hf := Client(all_streams=[stream]), registry)
    found = {name: number for (name, *labels), number in scrape(registry).items()}
    assert found == {
        "holdfast_stream_handled_total": 1,
        "holdfast_stream_failed_total": 2,
        "holdfast_stream_died_total": 3,
        "holdfast_stream_lost_total": 4,
        "holdfast_stream_taken_over_total": 5,
        "holdfast_stream_running": 6,
        "holdfast_stream_in_flight": 7,
        "holdfast_stream_handler_duration_seconds_count": 3,
        "holdfast_stream_handler_duration_seconds_sum": 8.5,
        "holdfast_stream_lag_entries": 10,
        "holdfast_stream_lag_seconds": 11.5,
        "holdfast_stream_pending": 12,
        "holdfast_stream_pending_seconds": 13.5,
    }
    assert {tuple(sorted(labels)) for _, *labels in scrape(registry)} == {("billing", "orders")}
    assert {*stream_metrics.SHARED} < {*stream_metrics.METRICS}
    del hf


def test_no_number_of_the_stats_of_streams_is_forgotten() -> None:
    """Without it a count that joins would never reach a graph."""
    told = {f"holdfast_stream_{one.name}" for one in fields(SubscriberStats)} - {"holdfast_stream_seconds"}
    assert told <= {*stream_metrics.METRICS}


def test_what_clients_have_done_is_added_up_but_not_the_lag_of_their_group() -> None:
    """Without it two clients in a process would make a backlog look twice as long."""
    lag = {"billing": Lag(10, True, 11.5, 12, 13.5)}
    one = Client(all_streams=[Stream("orders", {"billing": BILLING}, lag)])
    two = Client(all_streams=[Stream("orders", {"billing": BILLING}, lag)])
    registry = CollectorRegistry()
    prometheus(one, registry)
    prometheus(two, registry)
    found = {name: number for (name, *labels), number in scrape(registry).items()}
    assert (found["holdfast_stream_handled_total"], found["holdfast_stream_lag_entries"]) == (2, 10)


def test_the_streams_of_a_real_client(hf: Holdfast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the lag would never come from the consumer to the scrape, or a scrape would wait for it."""
    monkeypatch.setattr(books, "OFTEN", 0.05)
    registry = CollectorRegistry()
    prometheus(hf, registry)
    orders = hf.stream("orders")
    asked: list[str] = []
    free = threading.Event()

    @orders.subscriber(group="billing", max_deliveries=1)
    def bill(value: int) -> None:
        if value == 1:
            raise ValueError
        free.wait(20)

    orders.publish_many([0, 1, 2])
    runner = threading.Thread(target=hf.run)
    runner.start()
    own, run = threading.get_ident(), hf._wire.run

    def watched(*args: Any, **more: Any) -> Any:
        if threading.get_ident() == own:
            asked.append(args[0].name)
        return run(*args, **more)

    monkeypatch.setattr(hf._wire, "run", watched)
    try:
        give_up = time.monotonic() + 20
        while (numbers := scrape(registry)).get(("holdfast_stream_pending", "billing", "orders")) != 3:
            assert time.monotonic() < give_up, numbers
            time.sleep(0.02)
        assert numbers["holdfast_stream_running", "billing", "orders"] == 1
        assert asked == []
    finally:
        free.set()
        hf.stop()
        runner.join(20)
    numbers = scrape(registry)
    assert numbers["holdfast_stream_handled_total", "billing", "orders"] >= 1
