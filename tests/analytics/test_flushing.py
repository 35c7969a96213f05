"""Flushes whose replies are lost, servers that are away, empty, full, or have another time of day."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import Closed, Holdfast, HoldfastError, Refused, Unavailable
from holdfast._compat import boottime
from holdfast.analytics import _analytics_sync, _flusher_sync, rules
from holdfast.analytics._analytics_sync import Analytics
from holdfast.analytics.kinds import REMEMBER_MS
from holdfast.analytics.options import AnalyticsOptions
from tests.analytics.world import Elsewhere, Observer, analytics, until, values


def test_a_lost_reply_counts_nothing_twice(hf: Holdfast, faults: Any, namespace: str):
    """found: a call that is made anew when it is sent again; a number that is not looked at."""
    with Holdfast(faults.url, namespace=namespace, timeout="5s") as far, analytics(far, flush="1m") as hits:
        hits.count("x")
        hits.flush()
        for number in range(20):
            hits.count("x", tags={"n": number % 3})
            hits.count("y")
            faults.drop_replies(1, match=b"EVALSHA")
            hits.flush()
        assert hits.total("x", since="1h") == 21
        assert hits.total("x", since="1h", tags={"n": 1}) == 7
        assert hits.total("y", since="1h") == 20
        assert hits.stats().repeated > 0


def test_cut_again_and_again_counts_exactly(hf: Holdfast, faults: Any, namespace: str):
    """found: as above, where the call is repeated by the next flush."""
    rng, expected = random.Random(3), Counter[str]()
    with (
        Holdfast(faults.url, namespace=namespace, timeout="60ms") as far,
        analytics(far, flush="3ms") as hits,
    ):
        for _ in range(120):
            for _ in range(rng.randrange(5)):
                metric, n = f"m{rng.randrange(4)}", rng.randrange(9)
                hits.count(metric, n, tags={"n": rng.randrange(30)} if rng.random() < 0.5 else None)
                expected[metric] += n
            fault = rng.randrange(8)
            if fault == 0:
                faults.cut()
            elif fault == 1:
                faults.drop_replies(2, match=b"EVAL")
            elif fault == 2:
                faults.swallow_replies()
            elif fault > 4:
                faults.heal()
            try:
                hits.flush()
            except HoldfastError:
                pass
        faults.heal()
        until(lambda: hits.stats().pending == 0)
    with analytics(hf) as judge:
        for metric, n in expected.items():
            assert judge.total(metric, since="1h") == n


def test_a_call_in_doubt_is_given_up_before_the_server_forgets_its_number(
    hf: Holdfast, faults: Any, namespace: str, monkeypatch
):
    """found: repeating it for ever."""
    now = [5000.0]
    monkeypatch.setattr(_flusher_sync, "boottime", lambda: now[0])
    monkeypatch.setattr(_analytics_sync, "boottime", lambda: now[0])
    with (
        Holdfast(faults.url, namespace=namespace, timeout="100ms") as far,
        analytics(far, flush="1m") as hits,
    ):
        observer = Observer(far)
        hits.count("x")
        hits.flush()
        hits.count("x", 10)
        faults.drop_replies(10_000, match=b"EVALSHA")
        with pytest.raises(Unavailable):
            hits.flush()
        assert hits._flusher._calls, "it is in doubt"
        hits.count("x", 100)
        now[0] += REMEMBER_MS / 1000 - 1
        faults.heal()
        hits.flush()
        assert hits.stats().abandoned == 1 and hits.stats().repeated == 0
        assert [one.reason for one in observer.of(rules.AnalyticsLost)] == ["doubt"]
        (memo,) = hf.execute("KEYS", hf._wire.keys.prefix("analytics", "shop") + "x}:counter/memo:*")
        assert REMEMBER_MS - 60_000 < hf.execute("PTTL", memo) <= REMEMBER_MS
        with analytics(hf) as judge:
            assert judge.total("x", since="1d") == 111, "the server had executed it"


def test_an_empty_server_begins_anew(hf: Holdfast):
    """found: a number that the server does not know is not taken."""
    with analytics(hf, flush="1m") as hits:
        for n in (1, 2):
            hits.count("x", n, tags={"plan": "pro"})
            hits.flush()
        assert hits.total("x", since="1h") == 3
        for key in hf.execute("KEYS", hf._wire.keys.prefix("analytics", "shop") + "*"):
            hf.execute("DEL", key)
        hits.count("x", 4, tags={"plan": "pro"})
        assert hits.total("x", since="1h") == 4


def test_what_the_server_refuses_is_kept_and_does_not_hold_up_the_rest(hf: Holdfast):
    """found: one metric that cannot be written, and all others wait for it."""
    observer = Observer(hf)
    with analytics(hf, flush="1m") as hits:
        hits.count("bad", tags={"plan": "pro"})
        hits.count("good", tags={"plan": "pro"})
        registry = hits._flusher.place("bad").own("counter", "series")
        hf.execute("SET", registry, "no zset")
        with pytest.raises(Refused):
            hits.flush()
        assert hits.stats().pending == 1, "the other one is written"
        hits.count("bad", 2, tags={"plan": "pro"})
        hf.execute("DEL", registry)
        hits.flush()
        assert hits.total("bad", since="1h") == 3 and hits.total("good", since="1h") == 1
        assert [one.pending for one in observer.of(rules.AnalyticsDelayed)] == [1]


def test_a_call_that_the_server_refuses_is_sent_again_later(hf: Holdfast):
    """found: sending it again at once, and for ever."""
    with analytics(hf, flush="1m") as hits:
        memo = hits._flusher.place("bad").memo("counter")
        hf.execute("HSET", memo, "no", "string")
        hits.count("bad")
        hits.count("good")
        for _ in range(3):
            with pytest.raises(Refused):
                hits.flush()
            assert hits.stats().pending == 1
        hf.execute("DEL", memo)
        hits.count("bad", 10)
        assert hits.total("bad", since="1h") == 11 and hits.total("good", since="1h") == 1


def test_a_bucket_that_takes_nothing_spoils_no_other(hf: Holdfast):
    """found: an error in the middle of a batch, which is then repeated for ever."""
    observer = Observer(hf)
    with analytics(hf, flush="1m") as hits:
        hits.count("x", 2**53)
        hits.flush()
        (key,) = hf.execute("KEYS", hf._wire.keys.prefix("analytics", "shop") + "x}:counter:1h:*")
        (field,) = hf.execute("HKEYS", key)
        hf.execute("HSET", key, field, 2**63 - 5)
        hits.count("x", 10)
        hits.flush()
        assert sum(values(hits.query("x", "1d", since="1h"))) == 2**53 + 10
        assert [(one.reason, one.entries) for one in observer.of(rules.AnalyticsLost)] == [("refused", 1)]


@pytest.mark.parametrize("ahead", [-5 * 3600, 7 * 3600 + 11, 400 * 86400])
def test_the_servers_clock_decides_whatever_ours_says(hf: Holdfast, monkeypatch, ahead: int):
    """found: the time of day of this machine; the clock before it was measured."""
    shift = random.Random(ahead).uniform(-1e6, 1e6)
    real = boottime
    monkeypatch.setattr(_analytics_sync, "boottime", lambda: real() + shift)
    monkeypatch.setattr(_flusher_sync, "boottime", lambda: real() + shift)
    wire: Any = Elsewhere(hf._wire, ahead)
    hits = Analytics(wire, "shop", AnalyticsOptions(flush="1m"))
    try:
        begun = _time(hf) + timedelta(seconds=ahead)
        for turn in range(3):
            hits.count("x", 10**turn)
            hits.count("y", tags={"turn": turn})
            hits.flush()
        ended = _time(hf) + timedelta(seconds=ahead)
        found = hits.query("x", "1m", since=begun - timedelta(seconds=2), until=ended + timedelta(seconds=2))
        assert sum(values(found)) == 111
        assert hits.stats().late == 0
    finally:
        hits._aclose(10.0)


def test_a_clock_that_is_set_is_followed_by_the_next_flush(hf: Holdfast):
    wire: Any = Elsewhere(hf._wire, 0)
    hits = Analytics(wire, "shop", AnalyticsOptions(flush="1m"))
    try:
        hits.count("x")
        hits.flush()
        wire.ahead = 5 * 3600
        hits.flush()
        hits.count("x", 10)
        hits.count("x", 10)
        hits.flush()
        begun = _time(hf) + timedelta(hours=4, minutes=50)
        assert sum(values(hits.query("x", "1m", since=begun, until=begun + timedelta(minutes=20)))) == 20
    finally:
        hits._aclose(10.0)


def test_a_server_that_is_away_from_the_start_misses_nothing(hf: Holdfast, faults: Any, namespace: str):
    """found: events without a time, since nobody has told us what time it is."""
    faults.refuse()
    with (
        Holdfast(faults.url, namespace=namespace, timeout="100ms", require_server=False) as far,
        analytics(far, flush="5ms") as hits,
    ):
        begun = _time(hf)
        for _ in range(3):
            hits.count("x")
            hits.count("x", tags={"plan": "pro"})
            with pytest.raises(Unavailable):
                hits.flush()
        faults.heal()
        until(lambda: hits.stats().pending == 0)
        found = hits.query(
            "x", "1m", since=begun - timedelta(seconds=2), until=_time(hf) + timedelta(seconds=2)
        )
        assert sum(values(found)) == 6
        assert hits.total("x", since="1h", tags={"plan": "pro"}) == 3


def test_what_is_left_when_it_is_closed_is_told(hf: Holdfast, faults: Any, namespace: str):
    with Holdfast(faults.url, namespace=namespace, timeout="100ms") as far:
        observer = Observer(far)
        hits = Analytics(far._wire, "shop", AnalyticsOptions(flush="1m"))
        hits.count("x")
        hits.flush()
        faults.refuse()
        faults.cut()
        hits.count("x")
        hits.count("y")
        hits._aclose(0.3)
        assert [(one.reason, one.entries) for one in observer.of(rules.AnalyticsLost)] == [("closed", 2)]
        faults.heal()


class Clocks:
    """A wire and a clock of ours that say what they are told to."""

    def __init__(self) -> None:
        self.ours: list[float] = []
        self.server = 0

    def boottime(self) -> float:
        return self.ours.pop(0)

    def execute(self, *command: Any, **options: Any) -> Any:
        return [b"%d" % self.server, b"0"]


def test_a_slow_answer_about_the_time_does_not_replace_a_quick_one(hf: Holdfast, monkeypatch):
    clocks: Any = Clocks()
    hits = Analytics(hf._wire, "shop", AnalyticsOptions())
    flusher = hits._flusher
    flusher.wire = clocks
    monkeypatch.setattr(_flusher_sync, "boottime", clocks.boottime)
    for asked, answered, server, ahead in (
        (10.0, 10.0, 1000, 990.0),
        (20.0, 22.0, 1010, 990.0),  # it may have been said at once, or two seconds later
        (30.0, 32.0, 1060, 1029.0),  # it was set
        (40.0, 40.5, 1069, 1029.0),
        (50.0, 50.01, 1079, 1028.995),
    ):
        clocks.ours, clocks.server = [asked, answered], server
        flusher._measure(1.0)
        assert hits._pending.ahead == pytest.approx(ahead)


def test_a_mistake_of_ours_does_not_end_the_background(hf: Holdfast, monkeypatch):
    observer = Observer(hf)
    with analytics(hf, flush="5ms") as hits:
        failures = [ZeroDivisionError("oh"), ZeroDivisionError("oh")]
        fold = hits._flusher._fold

        def fails(undecided: Any) -> None:
            if failures:
                raise failures.pop()
            fold(undecided)

        monkeypatch.setattr(hits._flusher, "_fold", fails)
        hits.count("x")
        until(lambda: hits.stats().pending == 0)
        assert hits.total("x", since="1h") == 1
        assert "ZeroDivisionError" in observer.of(rules.AnalyticsDelayed)[0].cause


def test_nothing_is_taken_after_the_close(hf: Holdfast):
    """found: an event that the hot path takes when nobody will write it any more."""
    hits = Analytics(hf._wire, "shop", AnalyticsOptions(flush="1m"))
    hits.count("x")
    hits._aclose(0.0)
    for _ in range(3):
        with pytest.raises(Closed):
            hits.count("x")


def test_chunks_end_by_themselves_and_stay_compact(hf: Holdfast):
    with analytics(hf, flush="1m") as hits:
        now = _time(hf)
        for minutes in range(0, 2800, 4):
            hits.count("x", minutes + 1, at=now - timedelta(minutes=minutes))
        hits.flush()
        prefix = hf._wire.keys.prefix("analytics", "shop") + "x}:counter:"
        keys = hf.execute("KEYS", prefix + "*")
        assert 4 < len(keys) < 20  # by the time of the day
        for key in keys:
            assert hf.execute("OBJECT", "ENCODING", key) == b"listpack"
            assert hf.execute("PTTL", key) > 0
        for resolution, days in (("1m", 2), ("1h", 90), ("1d", 5 * 365)):
            ttls = [hf.execute("PTTL", key) for key in keys if f":{resolution}:" in key.decode()]
            assert max(ttls) >= days * 86_400_000


def _time(hf: Holdfast) -> datetime:
    whole, micros = hf.execute("TIME")
    return datetime.fromtimestamp(int(whole) + int(micros) / 1e6, UTC)
