"""The scripts of sketches: what comes again or late, what it costs, and that nothing stays for ever."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from holdfast import ConfigurationError, Holdfast
from holdfast.analytics import actives, packing, quantiles, tops
from tests.analytics.sketchbook import DAY, Sketchbook

NOW = 1_790_000_000.0


def book(hf: Holdfast, **more: Any) -> Sketchbook:
    return Sketchbook(hf, now=NOW, **more)


def keys(hf: Holdfast) -> list[bytes]:
    found, cursor = [], b"0"
    while True:
        cursor, page = hf.execute("SCAN", cursor, "MATCH", f"{hf._wire.keys.namespace}:*", "COUNT", 1000)
        found += page
        if cursor == b"0":
            return sorted(found)


def fill(hits: Sketchbook) -> None:
    for number in range(30):
        tags = {"plan": "pro" if number % 3 else "free"}
        hits.unique("m", number, tags=tags)
        hits.active("m", number, tags=tags)
        hits.active("m", f"name{number}", tags=tags)
        hits.top("m", f"item{number % 7}", tags=tags)
        hits.observe("m", number / 7, tags=tags)


def told(hits: Sketchbook) -> tuple[Any, ...]:
    since = hits.at(NOW - 3600)
    return (
        hits.uniques("m", since=since),
        hits.actives("m", since=since),
        hits.top_items("m", 5, since=since),
        hits.quantiles("m", since=since),
    )


def test_a_request_counts_once_however_often_and_late_it_arrives(hf: Holdfast):
    """found: no memo; a memo that knows only the last request; effects before the memo."""
    hits = book(hf, capacity=3)
    first: list[Any] = []
    for _ in range(3):
        fill(hits)
        calls = hits.calls()
        first = first or calls
        for call in [*calls, *calls]:
            hf._wire.run(call.script, call.keys, call.args)
        before = told(hits)
        for call in [*calls, *first]:  # strays
            hf._wire.run(call.script, call.keys, call.args)
        assert told(hits) == before
    assert before[3].count == 90
    assert sum(one.least for one in hits.top_items("m", since=hits.at(NOW - 3600))) <= 90


def test_two_clients_do_not_hide_each_other(hf: Holdfast):
    one, two = book(hf, client="one"), book(hf, client="two")
    for hits in (one, two):
        hits.observe("m", 1.0)
        hits.top("m", "a")
        hits.flush()
    assert one.quantiles("m", since=one.at(NOW - 60)).count == 2
    assert one.top_items("m", since=one.at(NOW - 60)) == [tops.TopItem("a", 2, 0)]


def test_everything_ends_by_itself_and_the_numbers_of_names_last(hf: Holdfast):
    """found: a key without a time to live; scratch that is left behind; names forgotten while a day still
    needs them.
    """
    hits = book(hf, capacity=3)
    fill(hits)
    hits.flush()
    hits.active("m", "somebody", at=hits.at(NOW - 4 * 365 * DAY))  # whose cells end soon
    hits.flush()
    told(hits)
    hits.retention("m", "day", since=hits.at(NOW - 3 * DAY))
    lives = {key: hf.execute("PTTL", key) for key in keys(hf)}
    assert lives and all(life > 0 for life in lives.values()), lives
    numbers = hits._layout.place("m", "me").own("active", "numbers").encode()
    cells = [life for key, life in lives.items() if b"active:1d" in key]
    assert lives[numbers] >= max(cells) - 60_000
    assert max(lives.values()) < 6 * 365 * DAY * 1000


def test_all_keys_of_a_metric_share_its_slot(hf: Holdfast):
    hits = book(hf)
    fill(hits)
    hits.flush()
    assert all(b":{m}:" in key for key in keys(hf))


def test_memory_follows_the_ids_in_use(hf: Holdfast):
    """found: one bitmap from 0 to the largest id; a bitmap for each chunk, however few ids it has."""

    def taken() -> int:
        return sum(hf.execute("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys(hf))

    hits = book(hf)
    for number in range(100):
        hits.active("sparse", 40_000_000 * number)
    hits.flush()
    sparse = taken()
    assert sparse / 3 < 100 * 300, "three resolutions, a hundred ids"
    for number in range(100):
        hits.active("huge", (1 << 62) + 40_000_000 * number)
    hits.flush()
    assert (taken() - sparse) < 100 * 250, "names are kept once"
    before = taken()
    for number in range(1200):
        hits.active("dense", number)
    hits.flush()
    assert (taken() - before) / 3 < 1500, "one bit each"


def test_nobody_is_lost_when_a_set_becomes_a_bitmap(hf: Holdfast):
    hits = book(hf)
    ids = [*range(0, 2000, 5), 65_535, *range(1, 2000, 5)]
    for at in range(0, len(ids), 100):
        for id in ids[at : at + 100]:
            hits.active("app", id)
        hits.flush()
        assert hits.actives("app", since=hits.at(NOW - 60)) == len(ids[: at + 100])
    since = hits.at(NOW - 60)
    assert all(
        hits.was_active("app", id, since=since) == (id in ids) for id in (0, 1, 2, 1995, 65_534, 65_535)
    )


def test_what_is_big_is_sent_in_several_requests(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """found: a part that is left out, or sent twice, at a seam."""
    monkeypatch.setattr(packing, "WORK", 20)
    hits = book(hf, capacity=100)
    items: Counter[str] = Counter()
    for number in range(40):
        hits.unique("m", number, tags={"a": number % 2})
        hits.active("m", number, tags={"a": number % 2})
        hits.observe("m", 1.5**number)
        hits.top("m", f"i{number}", number + 1)
        items[f"i{number}"] = number + 1
    calls = hits.calls()
    assert len(calls) > 4 * 5
    assert all(len(call.keys) <= 20 and len(call.args) <= 100 for call in calls)
    for call in calls:
        hf._wire.run(call.script, call.keys, call.args)
    since = hits.at(NOW - 60)
    assert abs(hits.uniques("m", since=since) - 40) <= 1
    assert hits.actives("m", since=since) == 40 == hits.quantiles("m", since=since).count
    assert {one.item: one.count for one in hits.top_items("m", 100, since=since)} == items
    monkeypatch.setattr(packing, "LENGTH", 100)
    for number in range(40):
        hits.unique("long", f"{number:050}")
    assert len(hits.calls()) == 20


def test_counts_are_the_same_in_pages(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """found: those of the first period counted once for each page."""
    hits = book(hf)
    for day in range(6):
        for id in range(day, 300_000, 65_536 - day):
            hits.active("app", id, at=hits.at(NOW - day * DAY))
    times: dict[str, Any] = {"since": hits.at(NOW - 5 * DAY), "until": hits.at(NOW + 60)}
    hits.now = NOW + 60
    whole = hits.retention("app", "day", **times), hits.actives_by("app", "week", **times)
    assert whole[0][0].size > 0 and any(whole[0][0].kept)
    for page in (1, 2, 3, 7):
        monkeypatch.setattr(actives, "PAGE", page)
        assert (hits.retention("app", "day", **times), hits.actives_by("app", "week", **times)) == whole
    assert hits.was_active("app", 0, **times) and not hits.was_active("app", 7, **times)


def test_a_bucket_may_end_while_it_is_asked_about(hf: Holdfast):
    hits = book(hf)
    hits.active("app", 1)
    hits.flush()
    place = hits._layout.place("app", "me")
    gone, there = place.key("active", "", "1d", 0), place.key("active", "", "1d", int(NOW // DAY * DAY))
    scratch = place.own("active", "x"), place.own("active", "y")
    for groups, counts in (((gone, there), [0, 0]), ((there, gone), [1, 0]), ((there, there), [1, 1])):
        args = ("both", 2, 1, 1, 0)
        assert hf._wire.run(actives.COUNT, (*scratch, *groups), args) == counts


def test_a_top_keeps_what_is_frequent_however_much_else_comes(hf: Holdfast):
    """More than 1/capacity of all: it is in it, with an error of at most that."""
    hits = book(hf, capacity=20)
    for turn in range(10):
        hits.top("m", "often", 15)
        hits.top("m", "seldom", 6)
        for number in range(60):
            hits.top("m", f"once{turn}.{number}")
        hits.flush()
    total = 10 * (15 + 6 + 60)
    found = hits.top_items("m", 2, since=hits.at(NOW - 60))
    assert [one.item for one in found] == ["often", "seldom"]
    assert all(one.error <= total / 20 for one in found)
    assert found[0].least == 150, "it was never absent"
    place = hits._layout.place("m", "me")
    cell = place.key("top", "", "1d", int(NOW // DAY * DAY))
    assert hf.execute("ZCARD", cell) == 20
    assert hf.execute("HLEN", cell + tops.ERRORS) <= 21


def test_sums_keep_every_digit_and_bounds_are_numbers(hf: Holdfast):
    """found: digits lost between two flushes; 10 taken for less than 9."""
    hits, total = book(hf), 0.0
    for value in (9.0, 1 / 3, 10.0, 1e-7, 100.0):
        hits.observe("m", value)
        hits.flush()
        total += value
    found = hits.quantiles("m", since=hits.at(NOW - 60))
    assert (found.total, found.lowest, found.highest) == (total, 1e-7, 100.0)


def test_steps_are_one_percent_wide_on_either_side():
    for value in (1e-12, 1e-9, 0.00123, 0.999, 1.0, 1.01, 7.0, 123456.789, 1e50, 1e200):
        for one in (value, -value):
            code = quantiles.code_of(one)
            assert quantiles.value_of(code) == pytest.approx(one, rel=0.01 + 1e-9)
            assert quantiles._code(quantiles.field_of(code)) == code
    assert quantiles.code_of(0.0) == quantiles.code_of(1e-13) == quantiles._code("z") == 0
    codes = [quantiles.code_of(value) for value in (-1e9, -1.0, -1e-6, 0.0, 1e-6, 1.0, 1e9)]
    assert codes == sorted(set(codes))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e201, 10**400, "1", None, True])
def test_what_is_no_finite_number_is_refused(hf: Holdfast, value: Any):
    with pytest.raises(ConfigurationError, match="value="):
        book(hf).observe("m", value)


def test_nonsense_is_refused_and_named(hf: Holdfast):
    hits = book(hf)
    since = hits.at(NOW - 60)
    for n in (0, -1, 1.5, True, 1 << 53):
        with pytest.raises(ConfigurationError, match="n="):
            hits.top("m", "item", n)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="n="):
            hits.observe("m", 1.0, n)  # type: ignore[arg-type]
    for item in ("", 7, None, "x" * 513):
        with pytest.raises(ConfigurationError, match="item="):
            hits.top("m", item)  # type: ignore[arg-type]
    for id in (True, None, 1.5, "x" * 2000):
        with pytest.raises(ConfigurationError, match="id="):
            hits.active("m", id)
    with pytest.raises(ConfigurationError, match="member="):
        hits.unique("m", "x" * 2000)
    with pytest.raises(ConfigurationError):
        hits.unique("m", object())
    for k in (0, -1, 1.0, True):
        with pytest.raises(ConfigurationError, match="k="):
            hits.top_items("m", k, since=since)  # type: ignore[arg-type]
    for qs in ([], [1.1], [-0.1], [NAN], ["0.5"], [True], None):
        with pytest.raises(ConfigurationError, match="quantiles="):
            hits.quantiles("m", qs, since=since)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match='period=\'year\' must be one of "day", "week", "month"'):
        hits.actives_by("m", "year", since=since)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="more than 4000 days"):
        hits.actives_by("m", "day", since=hits.at(0.0))
    with pytest.raises(ConfigurationError, match="first="):
        hits.retained("m", since, (since, since))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="top_items"):
        hits.series("top", "m", "1m", since, hits.at(NOW))


def test_of_nothing_there_is_nothing(hf: Holdfast):
    hits = book(hf)
    since = hits.at(NOW - 3600)
    for tags in (None, {"plan": "none"}):
        assert hits.uniques("m", since=since, tags=tags) == hits.actives("m", since=since, tags=tags) == 0
        assert hits.top_items("m", since=since, tags=tags) == []
        assert hits.quantiles("m", since=since, tags=tags)[0.5] is None
        assert not hits.was_active("m", "ann", since=since, tags=tags)
        assert hits.retained("m", (since, since), (since, since), tags=tags).rate == 0.0
        for kind in ("unique", "active", "quantile"):
            assert set(hits.series(kind, "m", "1h", since, hits.at(NOW), **(tags or {}))) == {0.0}
