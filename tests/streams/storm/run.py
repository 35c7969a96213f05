"""Storms over streams, from the command line.

    python -m tests.streams.storm.run --kind weather --seeds 1:20
    python -m tests.streams.storm.run --events 1000000 --seconds 3000       # all kinds in turn

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
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from holdfast.embedded import ClusterLab
from holdfast.testing.histories_messages import Forgot, MessageReport, Promise, judge_messages
from holdfast.testing.servers import start, start_lab, wanted
from tests.streams.storm.diary import Pages
from tests.streams.storm.plan import COURSES, KINDS, TOPOLOGY, Plan
from tests.streams.storm.weather import Weather, ask
from tests.streams.storm.world import World

STREAMS = tuple(f"{course.name}: " for course in COURSES)
PATIENCE = 15.0  # seconds without progress after which a stream has stalled
FAULTS = (
    "lost", "doubled", "unordered", "overtaken", "wrongly dead", "not dead", "dead twice", "dead and done",
    "unknown", "miscounted", "stalled", "left behind", "crashed",
)  # fmt: skip


def place_of(topology: str, folder: Path) -> Any:
    """The server or lab of a storm."""
    kind = wanted()[0]
    if topology == "single":
        return start(kind, path=folder / "data")
    options: dict[str, Any] = (
        {"down_after": "1200ms"} if topology == "sentinel" else {"node_timeout": "1500ms"}
    )
    return start_lab(topology, kind, cuttable=topology == "sentinel", **options)


def blow(plan: Plan, place: Any, *, keep: bool = False) -> tuple[Counter[str], list[str]]:
    """What a storm of this plan counts, and the faults that it shows. `keep`: leave the diary there."""
    namespace = f"s{secrets.token_hex(4)}"
    folder = Path(tempfile.mkdtemp(prefix="storm-"))
    weather = Weather(plan, place, folder, namespace)
    stalled, stuck = "", list[str]()
    try:
        world = World(place.url, namespace)
        weather.hire()
        weather.rage()
        weather.await_ready()
        (folder / "diary" / "over").touch()
        producers = [one for one in weather.workers if one.flavour == "producer"]
        stuck += [one.end(60.0) for one in producers]
        stalled = world.await_all(PATIENCE)
        consumers = [one for one in weather.workers if one.flavour != "producer"]
        for one in consumers:
            if stalled and keep:
                one.process.send_signal(signal.SIGUSR1)
                one.process.send_signal(signal.SIGUSR2)
                time.sleep(0.3)
            one.ask_to_end()
        stuck += [one.end() for one in consumers]
        report, counts = judged(plan, weather, world, Pages(folder / "diary"))
        world.hf.close()
    finally:
        for one in weather.workers:
            with contextlib.suppress(ProcessLookupError):
                one.kill()
        for proxy in weather.proxies:
            proxy.close()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    if stalled:
        report.add("stalled", stalled)
    for sentence in [one for one in stuck if one] + weather.crashed:
        report.add("crashed", sentence)
    counts.update({what: report.counts[what] for what in (*FAULTS, "sent", "handled", "effects", "dead")})
    counts.update({what: report.counts[what] for what in ("repeated", "redone", "forgotten")})
    if report.counts["lost"]:
        windows = [f"{one.since:.3f} to {one.end:.3f}" for one in weather.forgot if one.messages]
        report.faults.append(f"losses: {', '.join(windows) or 'none'} could be explained")
    if keep and report.faults:
        report.faults.append(f"diary: {folder}")
    return counts, report.faults


def judged(plan: Plan, weather: Weather, world: World, pages: Pages) -> tuple[MessageReport, Counter[str]]:
    """Hold the diaries and the server against what was promised."""
    whole, counts = MessageReport(), Counter(weather.counts)
    effects = world.effects()
    totals = world.totals()
    flushes = [one for one in weather.forgot if one.messages and one.since < 0]
    for course in COURSES:
        handled = pages.handled.get(course.name, [])
        forgot = [_for(one, course.name) for one in weather.forgot]
        promises = {
            group: Promise(effects=group == "billing", ordered=course.order == "key")
            for group in course.groups
        }
        dead = world.dead(course.name, course.groups)
        sent = pages.sent.get(course.name, [])
        if flushes:  # what was handled before says nothing of what came after
            handled = [one for one in handled if one.begin > flushes[-1].end]
        report = judge_messages(sent, handled, effects[course.name], dead, forgot, promises=promises)
        whole.counts.update(report.counts)
        whole.faults += [f"{course.name}: {one}" for one in report.faults]
    losses = sum(one.acks and one.since < 0 for one in weather.forgot)
    done = {one.id for of_course in effects.values() for one in of_course}
    for id in sorted(done | totals.keys()):
        far = plan.topology == "cluster" and "failover" in KINDS[plan.kind]
        if totals[id] > 1 + losses or (totals[id] < 1 and not far):
            whole.add("miscounted", f"{id} was counted {totals[id]} times")
    for sentence in pages.stumbled:
        whole.add("crashed", sentence)
    for sentence in world.litter() + world.strange(_keys(world, weather.place)):
        whole.add("left behind", sentence)
    counts["events"] = sum(pages.words.values()) + sum(weather.counts.values())
    return whole, counts


def _for(loss: Forgot, stream: str) -> Forgot:
    """A loss of a group, as those who judge one stream see it."""
    if loss.group is None:
        return loss
    name, _, group = loss.group.partition("/")
    return loss._replace(group=group if name == stream else "-")


def _keys(world: World, place: Any) -> list[str]:
    nodes = place.primaries if isinstance(place, ClusterLab) else [getattr(place, "primary", place)]
    return [key for node in nodes for key in ask(node, "KEYS", f"{world.namespace}:*")]


def plans(asked: argparse.Namespace) -> Any:
    first, end = map(int, asked.seeds.split(":"))
    kinds = [asked.kind] if asked.kind else list(KINDS)
    for seed in range(first, end):
        for kind in kinds:
            yield Plan(
                seed=seed, kind=kind, lasting=asked.lasting, workers=asked.workers, rate=asked.rate,
                lease=asked.lease,
            )  # fmt: skip


def some(faults: list[str]) -> list[str]:
    """The first few of each kind."""
    seen: Counter[str] = Counter()
    found = []
    for one in faults:
        kind = (
            one.partition(": ")[2].partition(": ")[0] if one.startswith(STREAMS) else one.partition(": ")[0]
        )
        seen[kind] += 1
        if seen[kind] <= 3:
            found.append(one)
    return found


def main(words: list[str] | None = None) -> int:
    """The command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--seeds", default="1:100000", help="first:end")
    parser.add_argument("--kind", choices=tuple(KINDS))
    parser.add_argument("--lasting", type=float, default=20.0, help="seconds of each storm")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=300.0, help="messages a second of each producer")
    parser.add_argument("--lease", type=float, default=1.0)
    parser.add_argument("--events", type=float, default=1e6, help="end after so many")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no storm after so long")
    parser.add_argument("--first", action="store_true", help="end with the first fault")
    parser.add_argument("--shows", default="", help="end with the first of these faults, and mind no others")
    parser.add_argument("--keep", action="store_true", help="keep the diaries")
    asked = parser.parse_args(words)
    sums: Counter[str] = Counter()
    give_up, bad = time.monotonic() + asked.seconds, 0
    for plan in plans(asked):
        if (
            time.monotonic() > give_up
            or sums["events"] >= asked.events
            or ((asked.first or asked.shows) and bad)
        ):
            break
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            place = stack.enter_context(place_of(TOPOLOGY.get(plan.kind, "single"), folder))
            begun = time.monotonic()
            counts, faults = blow(plan, place, keep=asked.keep)
        row = {"seed": plan.seed, "kind": plan.kind, "seconds": round(time.monotonic() - begun, 1)}
        print(json.dumps(row | {name: count for name, count in counts.items() if count}), flush=True)
        print("".join(f"  {one}\n" for one in some(faults)), end="", flush=True)
        sums.update(counts)
        sums["storms"] += 1
        bad += any(counts[what] for what in asked.shows.split(",")) if asked.shows else bool(faults)
    print(json.dumps({"with faults": bad, **sums, **{name: sums[name] for name in FAULTS}}), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its processes shall not survive it
    sys.exit(main())
