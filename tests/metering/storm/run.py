"""Storms over limits, sessions, leaderboards and analytics, from the command line.

    python -m tests.metering.storm.run --kind weather --seeds 1:20
    python -m tests.metering.storm.run --seconds 3000               # all kinds in turn

One line of JSON for each storm, the faults it showed, and at the end a line of sums. Exit status 1 if there
was any fault.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from holdfast import Holdfast
from tests.leaderboards.world import check_beside
from tests.metering.storm import judges
from tests.metering.storm.diary import pages
from tests.metering.storm.judges import Diaries, Faults, Loss
from tests.metering.storm.plan import ALL_TIME, ANALYTICS, BOARDS, KINDS, ROOMS, TOPOLOGY, Plan
from tests.metering.storm.weather import Weather
from tests.streams.storm.run import place_of

LAGGING = 0.5  # seconds by which a replica may be behind


def blow(
    plan: Plan, place: Any, words: tuple[str, ...] = (), *, keep: bool = False
) -> tuple[Counter[str], Faults]:
    """What a storm of this plan counts, and the faults that it shows. `words`: go on until each was written.
    `keep`: leave the diary there.
    """
    namespace = f"s{secrets.token_hex(4)}"
    folder = Path(tempfile.mkdtemp(prefix="storm-"))
    weather = Weather(plan, place, folder, namespace)
    try:
        weather.hire()
        weather.rage()
        weather.await_ready()
        weather.await_words(words)
        for one in weather.workers:
            one.ask_to_end()
        faults = [f"stuck: {said}" for one in weather.workers if (said := one.end())]
        faults += [f"crashed: {said}" for said in weather.crashed]
        (folder / "losses").write_text(f"{weather.forgot}\n{weather.frozen}\n")
        told = pages(folder / "diary")
        with Holdfast(place.url, namespace=namespace, timeout="10s", require_server=False) as hf:
            faults += judged(plan, weather, told, hf)
    finally:
        for one in weather.workers:
            with contextlib.suppress(ProcessLookupError):
                one.kill()
        for proxy in weather.proxies:
            proxy.close()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    counts = weather.counts + Counter({word: len(some) for word, some in told.items()})
    counts.update(f"{one['kind']}" for one in told["error"])
    counts["degraded"] = sum(one["degraded"] for one in told["checked"])
    counts["admitted"] = sum(one["ok"] and not one["degraded"] for one in told["checked"])
    counts["events"] = sum(len(some) for some in told.values())
    if keep and faults:
        faults.append(f"diary: {folder}")
    return counts, faults


def judged(plan: Plan, weather: Weather, told: Diaries, hf: Holdfast) -> Faults:
    """Hold the diaries and the server against what was promised."""
    losses = [
        Loss(one.begin, one.end, one.since - LAGGING, False)
        if one.since > 0
        else Loss(one.begin, one.end, one.begin, True)
        for one in weather.forgot
    ]
    faults: Faults = []
    if "limits" in plan.rooms:
        faults += judges.judge_limits(told, losses, weather.frozen)
    if "sessions" in plan.rooms:
        faults += judges.judge_sessions(told, losses)
    if "leaderboards" in plan.rooms:
        faults += _boards(plan, told, losses, hf)
    if "analytics" in plan.rooms:
        hits: Any = hf.analytics("storm", **ANALYTICS)
        by = {
            who: int(sum(point.value for point in points))
            for who, points in hits.query("hit", "1d", since="2d", by="p").items()
        }
        total = int(sum(point.value for point in hits.query("hit", "1d", since="2d")))
        faults += judges.judge_counts(told, losses, total, by)
        fine = int(sum(point.value for point in hits.query("hit", "1m", since="1h")))
        if fine != total:
            faults.append(f"total: {fine} by minutes, {total} by days")
    return faults


def _boards(plan: Plan, told: Diaries, losses: list[Loss], hf: Holdfast) -> Faults:
    faults: Faults = []
    scores: dict[str, dict[str, int]] = {}
    for name, options in BOARDS.items():
        board = hf.leaderboard(name, **options)
        rows = board.top(1000)
        scores[name] = {row.member: int(row.score) for row in rows}
        faults += judges.judge_ranks(name, [(int(row.score), row.rank) for row in rows])
        if {row.member: row.score for row in board.top(1000, period=ALL_TIME)} != scores[name]:
            faults.append(f"periods: {name} differs between its periods")
        if plan.topology != "cluster":  # KEYS knows one node only
            try:
                check_beside(hf, board)
            except AssertionError as error:
                faults.append(f"beside: {name}: {error}")
    return faults + judges.judge_sums(told, losses, scores)


def plans(asked: argparse.Namespace) -> Any:
    first, end = map(int, asked.seeds.split(":"))
    rooms = tuple(asked.rooms.split(","))
    for seed in range(first, end):
        for kind in [asked.kind] if asked.kind else KINDS:
            yield Plan(
                seed=seed, kind=kind, rooms=rooms, lasting=asked.lasting, workers=asked.workers,
                hands=asked.hands, pause=asked.pause,
            )  # fmt: skip


def main(words: list[str] | None = None) -> int:
    """The command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--seeds", default="1:100000", help="first:end")
    parser.add_argument("--kind", choices=tuple(KINDS))
    parser.add_argument("--rooms", default=",".join(ROOMS))
    parser.add_argument("--lasting", type=float, default=15.0, help="seconds of each storm")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--hands", type=int, default=2, help="of each process in each room")
    parser.add_argument("--pause", type=float, default=0.02)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no storm after so long")
    parser.add_argument("--first", action="store_true", help="end with the first fault")
    parser.add_argument("--keep", action="store_true", help="keep the diaries of storms with faults")
    asked = parser.parse_args(words)
    sums: Counter[str] = Counter()
    give_up = time.monotonic() + asked.seconds
    for plan in plans(asked):
        if time.monotonic() > give_up or (asked.first and sums["with faults"]):
            break
        with tempfile.TemporaryDirectory() as folder:
            with place_of(TOPOLOGY.get(plan.kind, "single"), Path(folder)) as place:
                begun = time.monotonic()
                counts, faults = blow(plan, place, keep=asked.keep)
        row = {"seed": plan.seed, "kind": plan.kind, "seconds": round(time.monotonic() - begun, 1)}
        print(json.dumps(row | {name: count for name, count in counts.items() if count}), flush=True)
        shown: Counter[str] = Counter()
        for one in faults:
            shown[kind := one.partition(": ")[0]] += 1
            if shown[kind] <= 3:
                print(f"  {one}", flush=True)
        sums.update(counts)
        sums.update({"storms": 1, "with faults": bool(faults)})
        sums.update({f"fault {kind}": count for kind, count in judges.kinds(faults).items()})
    print(json.dumps(sums), flush=True)
    return 1 if sums["with faults"] else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its processes shall not survive it
    sys.exit(main())
