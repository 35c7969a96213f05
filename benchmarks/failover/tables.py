"""Many rounds as Markdown. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from benchmarks.failover.plan import BOUND_TEXTS, BOUNDS, TOPOLOGIES, Case, Row
from benchmarks.report import Promise, Section

OURS = "Holdfast"
DURABLE = "Holdfast, durable"


def seconds(value: float | None, window: float | None = None) -> str:
    """A time; None is longer than the window."""
    if value is not None and not math.isinf(value):
        return f"{value:.2f}"
    return "never" if window is None else f"> {window:g}"


def percentile(values: Sequence[float | None], part: float) -> float:
    """By nearest rank; None is longer than anything."""
    ordered = sorted(math.inf if one is None else one for one in values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def spread(values: Sequence[float | None], window: float) -> str:
    """Median, 95th percentile and maximum."""
    return " / ".join(seconds(percentile(values, part), window) for part in (0.5, 0.95, 1.0))


def sections(found: Row) -> list[Section]:
    """For each topology: how long it took, and what went wrong."""
    window, replicas = found["options"]["window"], found["options"]["replicas"]
    groups: dict[Case, list[Row]] = {}
    for row in sorted(found["rounds"], key=lambda row: tuple(row["case"].values())):
        groups.setdefault(Case(**row["case"]), []).append(row)
    made: list[Section] = []
    for topology in TOPOLOGIES:
        mine = {case: rows for case, rows in groups.items() if case.topology == topology}
        if mine:
            alone = topology == "cluster" and replicas < 2
            made += [
                _times(topology, mine, window, alone=alone),
                _faults(topology, mine),
                _servers(topology, mine),
            ]
    return made


def _of(rows: Sequence[Row], name: str) -> list[Row]:
    return [row["clients"][name] for row in rows if name in row.get("clients", {})]


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.get("clients", {})))


def _times(topology: str, groups: dict[Case, list[Row]], window: float, *, alone: bool) -> Section:
    heading = ["fault", "client", "writes s", "reads s", "writes steady s", "of it the client's s"]
    cluster = topology == "cluster"
    table = [[*heading, "other shards s", "before s"] if cluster else heading]
    promises: list[Promise] = []
    for case, rows in groups.items():
        for name in _names(rows):
            mine = _of(rows, name)
            line = [case.title, name]
            times = ("writes", "reads", "writes_back")
            line += [spread([one[what] for one in mine], window) for what in times]
            line.append(spread(_shares(rows, name), window))
            if cluster:
                line.append(spread([one["healthy"] for one in mine], window))
                line.append(seconds(percentile([one["healthy_before"] for one in mine], 0.95)))
            table.append(line)
            if name.startswith(OURS) and not case.guarded and not (alone and name == DURABLE):
                promises.append(_bound(case, name, mine, window))
    text = (
        "Longest time without a successful call, of the worst lane of each round: median / 95th percentile / "
        "maximum over the rounds. Steady: seconds from the fault until writes neither failed nor paused any "
        "more; the client's part of that begins when the servers would have told it of the new primary."
    )
    if cluster:
        text += " Other shards: writes to primaries that were well; before: ahead of the fault, p95."
    if alone:
        text += (
            " Each primary has one replica: once that is promoted nobody can confirm its writes, so those "
            "that are to be durable fail until the old primary is back."
        )
    return Section(f"{topology.title()}: unavailability", text, table, promises)


def _shares(rows: Sequence[Row], name: str) -> list[float | None]:
    """How long after the servers knew a client was back."""
    told = [row for row in rows if name in row.get("clients", {}) and row["named"] is not None]
    pairs = [(row["clients"][name]["writes_back"], row["named"]) for row in told]
    return [None if back is None else back - named for back, named in pairs]


def _bound(case: Case, name: str, mine: Sequence[Row], window: float) -> Promise:
    p95, bound = percentile([one["writes"] for one in mine], 0.95), BOUNDS[case.topology]
    limit = f"{BOUND_TEXTS[case.topology]} = {bound:.2f} s"
    text = f"{name}, {case.topology}, {case.title}: writes within {limit} (p95)"
    return Promise(text, f"{seconds(p95, window)} s", p95 <= bound)


def _faults(topology: str, groups: dict[Case, list[Row]]) -> Section:
    table = [["fault", "client", "acknowledged", "lost", "in rounds", "doubled", "denied", "longest call s",
              "errors per round"]]  # fmt: skip
    promises: list[Promise] = []
    for case, rows in groups.items():
        for name in _names(rows):
            mine = _of(rows, name)
            total = {what: sum(one[what] for one in mine)
                     for what in ("acknowledged", "lost", "doubled", "denied")}  # fmt: skip
            table.append(
                [
                    case.title,
                    name,
                    f"{total['acknowledged']:,}",
                    f"{total['lost']:,}",
                    f"{sum(bool(one['lost']) for one in mine)} of {len(mine)}",
                    str(total["doubled"]),
                    str(total["denied"]),
                    seconds(max(one["longest"] for one in mine)),
                    _errors(mine),
                ]
            )
            if name.startswith(OURS):
                promises += _safe(f"{name}, {topology}, {case.title}", name, total)
    text = (
        "Over all rounds. Lost: acknowledged writes that the servers do not have in the end. Doubled: INCR "
        "that counted more than was asked for, all errors allowed for. Denied: writes that are there, though "
        "the client said that they had not happened; redis-py does not say."
    )
    return Section(f"{topology.title()}: what went wrong", text, table, promises)


def _safe(where: str, name: str, total: dict[str, int]) -> list[Promise]:
    safe = [Promise(f"{where}: no effect doubled, none denied", f"{total['doubled']}, {total['denied']}",
                    not total["doubled"] and not total["denied"], safety=True)]  # fmt: skip
    if name == DURABLE:
        safe.append(Promise(f"{where}: no acknowledged write lost", str(total["lost"]), not total["lost"],
                            safety=True))  # fmt: skip
    return safe


def _errors(mine: Sequence[Row]) -> str:
    kinds: Counter[str] = Counter()
    for one in mine:
        kinds.update(one["errors"])
    each = [f"{count / len(mine):.0f} {kind}" if count >= len(mine) else f"{count / len(mine):.1f} {kind}"
            for kind, count in kinds.most_common()]  # fmt: skip
    return ", ".join(each) or "none"


def _servers(topology: str, groups: dict[Case, list[Row]]) -> Section:
    table = [["fault", "rounds", "void", "promoted s", "known s", "more than one election"]]
    for case, rows in groups.items():
        void = sum("clients" not in row or bool(row["void"]) for row in rows)
        again = sum(row.get("elections", 1) > 1 for row in rows)
        moments = [spread([row[what] for row in rows], math.inf) for what in ("promoted", "named")]
        table.append([case.title, str(len(rows)), str(void), *moments, str(again)])
    teller = "a sentinel" if topology == "sentinel" else "a primary of another shard"
    text = (
        "What the servers took: seconds from the fault until a replica called itself a primary, and until "
        f"{teller} would have told a client."
    )
    return Section(f"{topology.title()}: the servers", text, table)
