"""`holdfast analytics show METRIC`: how it developed."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, NamedTuple

from holdfast import Holdfast
from holdfast.analytics import layout, rules
from holdfast.analytics._analytics_sync import Analytics
from holdfast.analytics.kinds import Kind
from holdfast.analytics.options import Point
from holdfast.analytics.quantiles import Distribution
from holdfast.analytics.tops import TopItem
from holdfast.cli.analytics import drawing
from holdfast.cli.analytics.find import Metric, called, opened
from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import client
from holdfast.cli.cache.words import many, safe
from holdfast.cli.up.screen import Part
from holdfast.errors import ConfigurationError

_POINTS = 100  # that a resolution may have to be taken of itself
_QUANTILES = (0.5, 0.9, 0.99, 0.999)
_COUNTED = {"counter": "counter", "unique": "unique", "active": "active", "quantile": "observed"}
_NOUNS = {
    "counter": "in all",
    "unique": "different ones",
    "active": "different ids",
    "quantile": "observations",
}


class Question(NamedTuple):
    """What is asked: of which metric, which kind of its figures, from when to when, with which tags."""

    metric: str
    kind: Kind
    since: datetime
    until: datetime
    tags: Mapping[str, str] | None
    by: str | None
    resolution: str


class Group(NamedTuple):
    """A line of figures: `name` is the value of the tag, None for all together; `total` as it can be had."""

    name: str | None
    points: Sequence[Point]
    total: float


class Style(NamedTuple):
    """How wide it may be, and whether blocks can be drawn."""

    width: int
    blocks: bool


def run(asked: argparse.Namespace) -> int:
    """Show it. Raises: ConfigurationError, Unavailable, Refused."""
    paper = Paper(json=asked.json)
    with client(asked) as hf:
        metric = called(hf, asked.of, asked.metric)
        hits = opened(hf, metric.of)
        question = _question(hf, hits, metric, asked)
        told = {
            "analytics": metric.of, "metric": metric.name, "kind": question.kind.name,
            "since": question.since.isoformat(), "until": question.until.isoformat(),
        }  # fmt: skip
        if question.kind.name == "top":
            items = hits.top_items(
                metric.name, asked.top or 10, since=question.since, until=question.until, tags=question.tags
            )
            paper.data({**told, "items": [asdict(one) for one in items]})
            _say_items(paper, items, _style())
            return 0
        groups = _groups(hits, question)
        spread = _spread(hits, question)
    paper.data({**told, "resolution": question.resolution, **_data(question, groups, spread)})
    if not paper.is_json:
        _say(paper, question, groups, spread, asked.rows)
    return 0


# --- what is asked ------------------------------------------------------------------------------------------


def _question(hf: Holdfast, hits: Analytics, metric: Metric, asked: argparse.Namespace) -> Question:
    """Raises: ConfigurationError."""
    wanted = "top" if asked.top is not None else asked.kind or metric.kinds[0]
    if wanted not in metric.kinds:
        raise ConfigurationError(
            f"metric {safe(metric.name)!r} has no figures of the kind {wanted}; it has: "
            f"{', '.join(metric.kinds)}"
        )
    if wanted == "top" and (asked.by is not None or asked.resolution is not None):
        raise ConfigurationError(
            "--by and --resolution show a figure for each bucket; a top has none: leave them out"
        )
    seconds, micros = hf.execute("TIME")
    now = int(seconds) + int(micros) / 1e6
    since, until = _moment(asked.since, "--since", hits, now), now
    if asked.until is not None:
        until = _moment(asked.until, "--until", hits, now)
    if since >= until:
        raise ConfigurationError(f"--since {asked.since} is not before --until {asked.until or 'now'}")
    moment = hits._calendar.moment
    resolution = asked.resolution or _resolution(hits, since, until, now)
    if wanted != "top":  # from the first bucket that is shown, so that all figures are of the same time
        since = hits._calendar.start(rules.resolution(hits._calendar, resolution, since, until, now), since)
    kind = hits._kinds()[wanted]
    return Question(metric.name, kind, moment(since), moment(until), _tags(asked.tag), asked.by, resolution)


def _moment(said: str, name: str, hits: Analytics, now: float) -> float:
    """How long ago it was, or when. Raises: ConfigurationError."""
    try:
        when = datetime.fromisoformat(said)
    except ValueError:
        return rules.before(said, name, now)
    return (when if when.tzinfo is not None else when.replace(tzinfo=hits._calendar.zone)).timestamp()


def _resolution(hits: Analytics, since: float, until: float, now: float) -> str:
    """The finest one that is kept since then, and has not too many buckets to look at."""
    for one in hits._calendar.resolutions:
        if since + one.keeps > now and (until - since) / one.step <= _POINTS:
            return one.name
    return hits._calendar.resolutions[-1].name


def _tags(said: Sequence[str] | None) -> dict[str, str] | None:
    """Raises: ConfigurationError."""
    found = {}
    for one in said or ():
        name, is_equal, value = one.partition("=")
        if not name or not is_equal:
            raise ConfigurationError(f"--tag {safe(one)}: write it as --tag plan=pro")
        found[name] = value
    return found or None


# --- what is answered ---------------------------------------------------------------------------------------


def _groups(hits: Analytics, asked: Question) -> list[Group]:
    """The figures; one line for each value of the tag, the largest first."""
    is_split = asked.by is not None
    now, steps = hits._steps(
        asked.kind, asked.metric, asked.resolution, asked.since, asked.until, asked.tags, every=is_split
    )
    del now
    if not is_split:
        points = hits._points(steps, hits._values(asked.kind, steps), None)
        return [Group(None, points, _total(hits, asked, points))]
    names = layout.names(asked.by)
    split = rules.grouped(steps.series, lambda one: layout.group(one, names))
    groups = []
    for name, series in split.items():
        points = hits._points(steps, hits._values(asked.kind, steps._replace(series=series)), None)
        tags = None if name in (None, layout.REST) else {**(asked.tags or {}), str(asked.by): name}
        total = sum(one.value for one in points)
        if tags is not None:
            total = _total(hits, asked._replace(tags=tags), points)
        groups.append(Group(name or "(none)", points, total))
    return sorted(groups, key=lambda one: -one.total)


def _total(hits: Analytics, asked: Question, points: Sequence[Point]) -> float:
    """What was counted in all; of different ones each once."""
    times: dict[str, Any] = {"since": asked.since, "until": asked.until, "tags": asked.tags}
    if asked.kind.name == "unique":
        return hits.uniques(asked.metric, **times)
    if asked.kind.name == "active":
        return hits.actives(asked.metric, **times)
    return sum(one.value for one in points)


def _spread(hits: Analytics, asked: Question) -> Distribution | None:
    """How observations are distributed; None if it is another kind."""
    if asked.kind.name != "quantile":
        return None
    return hits.quantiles(asked.metric, _QUANTILES, since=asked.since, until=asked.until, tags=asked.tags)


def _data(asked: Question, groups: Sequence[Group], spread: Distribution | None) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if asked.by is None:
        told = _line(groups[0])
    else:
        told = {"by": asked.by, "groups": [{"value": one.name, **_line(one)} for one in groups]}
    if asked.tags:
        told["tags"] = asked.tags
    if spread is not None:
        told["distribution"] = asdict(spread)
    return told


def _line(group: Group) -> dict[str, Any]:
    points = [{"start": one.start.isoformat(), "value": one.value} for one in group.points]
    return {"total": group.total, "points": points}


# --- for people ---------------------------------------------------------------------------------------------


def _style() -> Style:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
    return Style(width - 1, drawing.drawable(sys.stdout.encoding))


def _say(
    paper: Paper, asked: Question, groups: Sequence[Group], spread: Distribution | None, rows: int
) -> None:
    style = _style()
    head = f"{safe(asked.metric)}, {asked.since:%Y-%m-%d %H:%M} to {asked.until:%Y-%m-%d %H:%M %Z}"
    paper.say(Part(head, "bold"), f", by {asked.resolution}")
    paper.say()
    if asked.by is not None:
        _say_groups(paper, groups, asked, style)
    else:
        _say_points(paper, groups[0], asked, style, rows)
    if spread is not None and spread.count:
        paper.say()
        paper.facts([(name, [text]) for name, text in _facts(spread)])


def _say_groups(paper: Paper, groups: Sequence[Group], asked: Question, style: Style) -> None:
    if not groups:
        paper.say(f"nothing with the tag {safe(asked.by or '')} was counted in this time")
        return
    names = [safe(one.name or "") for one in groups]
    totals = [drawing.figure(one.total) for one in groups]
    taken = 6 + max(map(len, [*names, asked.by or ""])) + max(map(len, [*totals, "total"]))
    lines = [_drawn(one, asked, style.width - taken) for one in groups]
    most = max((value for line in lines for value in line), default=0.0)
    paper.table(
        ("total", "", safe(asked.by or "")),
        [
            (total, drawing.sparkline(line, blocks=style.blocks, most=most), name)
            for name, total, line in zip(names, totals, lines, strict=True)
        ],
        right=(0,),
        looks=("", "cyan", "bold"),
    )


def _say_points(paper: Paper, group: Group, asked: Question, style: Style, rows: int) -> None:
    line = drawing.sparkline(_drawn(group, asked, style.width - 2), blocks=style.blocks)
    paper.say("  ", Part(line, "cyan"))
    paper.say()
    shown, counted = group.points[-rows:], _COUNTED[asked.kind.name]
    most = max((one.value for one in shown), default=0.0)
    form = "%Y-%m-%d" if asked.resolution.endswith(("d", "w")) else "%Y-%m-%d %H:%M:%S"
    times = [f"{one.start:{form}}".removesuffix(":00") for one in shown]
    figures = [drawing.figure(one.value) for one in shown]
    taken = 6 + max(map(len, times), default=0) + max(map(len, [*figures, counted]), default=0)
    bars = [drawing.bar(one.value, most, style.width - taken, blocks=style.blocks) for one in shown]
    paper.table(
        ("begins", counted, ""),
        list(zip(times, figures, bars, strict=True)),
        right=(1,),
        looks=("", "bold", "cyan"),
    )
    paper.say()
    told: list[str | Part] = [Part(f"{drawing.figure(group.total)} {_NOUNS[asked.kind.name]}", "bold")]
    if len(shown) < len(group.points):
        told.append(
            Part(f"; the last {len(shown)} of {many(len(group.points), 'bucket')}: --rows shows more", "dim")
        )
    paper.say(*told)


def _drawn(group: Group, asked: Question, width: int) -> list[float]:
    """The figures in the room that there is; of different ones the most, since they cannot be added up."""
    together = sum if asked.kind.name in ("counter", "quantile") else max
    return drawing.squeezed([one.value for one in group.points], max(10, width), together)


def _facts(spread: Distribution) -> list[tuple[str, str]]:
    told = [(f"p{q * 100:g}", value) for q, value in spread.values.items()]
    told += [("lowest", spread.lowest), ("highest", spread.highest), ("mean", spread.mean)]
    return [(name, f"{value:.4g}") for name, value in told if value is not None]


def _say_items(paper: Paper, items: Sequence[TopItem], style: Style) -> None:
    if not items:
        paper.say("nothing was counted in this time")
        return
    counts = [f"{one.count:,}" for one in items]
    errors = [f"-{one.error:,}" if one.error else "" for one in items]
    names = [safe(one.item) for one in items]
    taken = 8 + max(map(len, [*counts, "count"])) + max(map(len, [*errors, "error"]))
    room = max(8, style.width - taken - min(60, max(map(len, names))))
    bars = [drawing.bar(one.count, items[0].count, min(30, room), blocks=style.blocks) for one in items]
    paper.table(
        ("count", "error", "", "item"),
        list(zip(counts, errors, bars, names, strict=True)),
        right=(0, 1),
        looks=("bold", "dim", "cyan", ""),
    )
    if any(errors):
        paper.say()
        paper.say(
            Part("  error: by so much a count may be too high, since rare items had to make room", "dim")
        )
