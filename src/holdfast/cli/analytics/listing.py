"""`holdfast analytics list`: the metrics, and their last day."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from typing import Any, NamedTuple

from holdfast import Holdfast
from holdfast.analytics._analytics_sync import Analytics
from holdfast.cli.analytics import drawing
from holdfast.cli.analytics.find import Metric, every, opened
from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import client
from holdfast.cli.cache.words import duration, many, safe
from holdfast.cli.up.screen import Part

_HEADS = ("last day", "", "seen", "kinds", "of", "metric")
_HOURS = 24


class Row(NamedTuple):
    """A metric, and what was counted in each of the last hours; none of a top."""

    metric: Metric
    hours: list[float]
    ago: float


def run(asked: argparse.Namespace) -> int:
    """Say which there are. Raises: ConfigurationError, Unavailable, Refused."""
    paper = Paper(json=asked.json)
    with client(asked) as hf:
        rows = look(hf, asked.of)
        namespace = hf._wire.keys.namespace
    paper.data({"metrics": [_data(one) for one in rows]})
    if not rows:
        paper.say(f"nothing was counted in the namespace {safe(namespace)}")
        return 0
    blocks = drawing.drawable(sys.stdout.encoding)
    paper.table(
        _HEADS,
        [_cells(one, blocks=blocks) for one in rows],
        right=(0, 2),
        looks=("", "cyan", "", "", "", "bold"),
    )
    paper.say()
    paper.say(Part(many(len(rows), "metric"), "bold"))
    return 0


def look(hf: Holdfast, of: str | None) -> list[Row]:
    """Every metric, and its last day."""
    seconds, _ = hf.execute("TIME")
    opens: dict[str, Analytics] = {}
    rows = []
    for metric in every(hf, of):
        hits = opens.get(metric.of) or opens.setdefault(metric.of, opened(hf, metric.of))
        rows.append(Row(metric, _day(hits, metric), max(0.0, float(seconds) - metric.seen)))
    return rows


def _day(hits: Analytics, metric: Metric) -> list[float]:
    """What was counted in each of the last hours, or in longer buckets if there are none of an hour."""
    if metric.kinds[0] == "top":
        return []
    steps = [one for one in hits._calendar.resolutions if one.step <= 3600] or hits._calendar.resolutions
    points = hits.query(metric.name, steps[-1].name, since=f"{_HOURS}h")
    return [point.value for point in points]


def _cells(row: Row, *, blocks: bool) -> list[str | Part]:
    drawn = drawing.squeezed(row.hours, _HOURS + 1)
    counted = metric_total(row)
    return [
        "" if counted is None else drawing.figure(counted),
        drawing.sparkline(drawn, blocks=blocks) if row.hours else "",
        f"{duration(row.ago)} ago" if row.ago >= 3600 else "this hour",
        ", ".join(row.metric.kinds), safe(row.metric.of), safe(row.metric.name),
    ]  # fmt: skip


def metric_total(row: Row) -> float | None:
    """All of the last day; None for what cannot be added up."""
    return sum(row.hours) if row.metric.kinds[0] in ("counter", "quantile") else None


def _data(row: Row) -> dict[str, Any]:
    return {
        "analytics": row.metric.of,
        "metric": row.metric.name,
        "kinds": row.metric.kinds,
        "last_seen": datetime.fromtimestamp(row.metric.seen).astimezone().isoformat(),
        "last_day": metric_total(row),
        "hours": row.hours,
    }
