# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Uniques, active users, tops and quantiles of whole analytics: buffered, tagged, in every topology."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError
from holdfast.analytics._analytics_async import AsyncAnalytics
from holdfast.analytics.options import AnalyticsOptions


@asynccontextmanager
async def analytics(ahf: AsyncHoldfast, name: str = "shop", **options: Any) -> AsyncIterator[AsyncAnalytics]:
    hits = AsyncAnalytics(ahf._wire, name, AnalyticsOptions(**options))
    try:
        yield hits
    finally:
        await hits._aclose(10.0)


async def now(ahf: AsyncHoldfast, hits: AsyncAnalytics) -> datetime:
    seconds, _ = await ahf.execute("TIME")
    return hits._calendar.moment(int(seconds))


async def fill(hits: AsyncAnalytics, times: list[datetime]) -> None:
    """Twenty users, ten of each plan; item0 once, item1 twice, ...; 1 to 100."""
    for at in times:
        for number in range(20):
            tags = {"plan": "pro" if number % 2 else "free"}
            await hits.unique("visitors", f"user{number}", tags=tags, at=at)
            await hits.active("users", number, tags=tags, at=at)
            await hits.active("users", f"guest {number}", at=at)
        for number in range(5):
            await hits.top("searches", f"item{number}", number + 1, tags={"land": "at"}, at=at)
        for number in range(1, 101):
            await hits.observe("latency", number, tags={"path": number % 2}, at=at)


@pytest.mark.everywhere
async def test_all_kinds_answer_for_any_period_and_tags(
    ahf: AsyncHoldfast, topology: str, transport: str, server_kind: str
):
    async with analytics(ahf) as hits:
        end = await now(ahf, hits)
        times = [end - timedelta(days=days) for days in (0, 1, 40)]
        await fill(hits, times)
        for since, count in (("12h", 1), (end - timedelta(days=3), 2), ("60d", 3)):
            assert abs(await hits.uniques("visitors", since=since) - 20) <= 1
            assert abs(await hits.uniques("visitors", since=since, tags={"plan": "pro"}) - 10) <= 1
            assert await hits.actives("users", since=since) == 40
            assert await hits.actives("users", since=since, tags={"plan": "free"}) == 10
            top = await hits.top_items("searches", 2, since=since)
            assert [(one.item, one.count, one.error) for one in top] == [
                ("item4", 5 * count, 0),
                ("item3", 4 * count, 0),
            ]
            found = await hits.quantiles("latency", [0.5, 0.99], since=since)
            assert (found.count, found.lowest, found.highest) == (100 * count, 1, 100)
            assert found.mean == pytest.approx(50.5)
            assert found[0.5] == pytest.approx(50, rel=0.0101)
            odd = await hits.quantiles("latency", since=since, tags={"path": 1})
            assert (odd.count, odd.highest) == (50 * count, 99)
        assert await hits.was_active("users", "guest 7", since="1h")
        assert not await hits.was_active("users", "7", since="1h")
        yesterday = times[1] - timedelta(hours=1), times[1] + timedelta(hours=1)
        kept = await hits.retained("users", yesterday, (end, end + timedelta(minutes=1)))
        assert (kept.size, kept.kept) == (40, 40)
        cohorts = await hits.retention("users", "day", since=times[1])
        assert (cohorts[0].size, cohorts[0].kept) == (40, (40,))
        assert {one.name: one.kinds for one in await hits.metrics()} == {
            "latency": ("quantile",),
            "searches": ("top",),
            "users": ("active",),
            "visitors": ("unique",),
        }


async def test_query_shows_each_kind_bucket_by_bucket_also_by_tags(ahf: AsyncHoldfast):
    async with analytics(ahf) as hits:
        end = await now(ahf, hits)
        await fill(hits, [end, end - timedelta(days=2)])
        for metric, value in (("users", 40), ("latency", 100)):
            points = await hits.query(metric, "1d", since=end - timedelta(days=2))
            assert [point.value for point in points] == [value, 0, value]
        points = await hits.query("visitors", "1d", since=end - timedelta(days=2))
        assert [round(point.value, -1) for point in points] == [20, 0, 20]
        grouped = await hits.query("users", "1d", since=end, by="plan")
        assert {key: points[0].value for key, points in grouped.items()} == {"pro": 10, "free": 10}
        with pytest.raises(ConfigurationError, match="top_items"):
            await hits.query("searches", "1d", since="1d")


async def test_lost_replies_and_dead_links_count_nothing_twice(
    ahf: AsyncHoldfast, faults: Any, namespace: str
):
    """found: a memo that is not asked; a call that is made anew when it is repeated."""
    rng = random.Random(8)
    items: Counter[str] = Counter()
    total = 0
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="20s") as far:
        async with analytics(far, top_capacity=10, flush="1ms") as hits:
            for _ in range(25):
                for _ in range(20):
                    item = f"item{int(rng.paretovariate(1))}"
                    items[item] += 1
                    total += 1
                    await hits.top("searches", item)
                    await hits.observe("latency", rng.random())
                if rng.random() < 0.6:
                    faults.cut()
                await hits.flush()
            found = await hits.top_items("searches", 10, since="1d")
            assert (await hits.quantiles("latency", since="1d")).count == total
    assert all(one.least <= items[one.item] <= one.count for one in found)
    assert found[0].item == items.most_common(1)[0][0]


async def test_a_reply_that_is_lost_is_asked_for_again(ahf: AsyncHoldfast, faults: Any, namespace: str):
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="20s") as far:
        async with analytics(far, flush="60s") as hits:
            for turn in range(1, 4):
                await hits.top("searches", "boots")
                await hits.observe("latency", 1.0)
                faults.drop_replies(2, match=b"latency}")
                faults.drop_replies(2, match=b"searches}")
                await hits.flush()
                assert (await hits.quantiles("latency", since="1h")).count == turn
                assert (await hits.top_items("searches", since="1h"))[0].count == turn


async def test_what_is_gathered_here_is_asked_for_with_the_rest_and_forgotten_by_drop(ahf: AsyncHoldfast):
    async with analytics(ahf, flush="60s") as one, analytics(ahf, flush="60s") as two:
        await one.active("users", 1)
        await one.unique("users", "a")
        assert await one.actives("users", since="1h") == await two.actives("users", since="1h") == 1
        assert await two.uniques("users", since="1h") == 1, "one metric, two kinds"
        assert await two.drop("users") > 0
        assert await two.actives("users", since="1h") == await two.uniques("users", since="1h") == 0
        await one.active("users", "new")
        assert await one.actives("users", since="1h") == 1
