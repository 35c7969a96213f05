"""Rounds, and the command line."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.failover import load, outcome, tables
from benchmarks.failover.clients import CLIENTS
from benchmarks.failover.outcome import Moments
from benchmarks.failover.plan import FAULTS, GUARDED, TOPOLOGIES, Case, Options, Row, Track
from benchmarks.failover.stage import Stage
from benchmarks.harness import Worker
from holdfast import embedded
from holdfast.errors import Unavailable

LOOK = 0.02  # seconds between two looks at who calls itself a primary


def say(text: str) -> None:
    """Tell whoever watches what goes on."""
    print(f"... {text}", file=sys.stderr, flush=True)


class Crew:
    """A process for each client; one whose calls hang in the end of a round is ended and replaced."""

    def __init__(self, names: Sequence[str]) -> None:
        self._workers = {name: Worker(load.candidate(name), "", None) for name in names}

    def open(self, stage: Stage, rate: float) -> dict[str, str]:
        """Set all to work; what those said that could not begin."""
        for name, worker in self._workers.items():
            worker.send("open", *stage.order(name, rate))
        said = {name: worker.result() for name, worker in self._workers.items()}
        return {name: text for name, text in said.items() if text}

    def stop(self, void: Sequence[str]) -> dict[str, tuple[list[Track], float]]:
        """What all noted, but for those that are `void`."""
        at_work = {name: worker for name, worker in self._workers.items() if name not in void}
        for worker in at_work.values():
            worker.send("stop")
        notes = {name: worker.result() for name, worker in at_work.items()}
        self._replace(
            name
            for name in self._workers
            if name in void or any(track.pending is not None for track in notes[name][0])
        )
        return notes

    def start_over(self) -> None:
        """New processes for all, whatever the old ones are at."""
        self._replace(self._workers)

    def _replace(self, names: Iterable[str]) -> None:
        for name in list(names):
            self._workers[name].kill()
            self._workers[name] = Worker(load.candidate(name), "", None)

    def end(self) -> None:
        """End all."""
        for worker in self._workers.values():
            worker.kill()


# --- one round ----------------------------------------------------------------------------------------------


def play(case: Case, crew: Crew, options: Options, dice: random.Random) -> Row:
    """One fault, and what it came to for each client."""
    begun = time.monotonic()
    with Stage(case, options, dice) as stage:
        ready = time.monotonic()
        void = crew.open(stage, options.rate)
        opened = time.monotonic()
        time.sleep(options.warm + dice.uniform(0, 0.5))  # in no step with the servers' own clocks
        heal = dice.uniform(*options.heal)
        row: Row = {"case": case._asdict(), "heal": round(heal, 3), "void": void}
        moments, servers = _fault(stage, heal, options.window, opened)
        row |= servers
        notes = crew.stop(list(void))
        stopped = time.monotonic()
        try:
            stand, row["elections"] = stage.stand(), stage.elections()
        except Unavailable as error:
            row["unsettled"] = str(error)
            return row
    row["clients"] = {
        name: outcome.outcome(tracks, moments, stand) | {"closing": round(closing, 3)}
        for name, (tracks, closing) in notes.items()
    }
    spent = {"lab": ready - begun, "clients": opened - ready, "end": time.monotonic() - stopped}
    row["overhead"] = {name: round(seconds, 2) for name, seconds in spent.items()}
    return row


def _fault(stage: Stage, heal: float, window: float, begun: float) -> tuple[Moments, Row]:
    """Strike, heal, and watch; also, when a replica called itself a primary, and when others knew."""
    fault = time.monotonic()
    stage.strike()
    waits = {"promoted": stage.is_promoted, "named": stage.is_named}
    found: Row = dict.fromkeys(waits)
    healed = False
    while (now := time.monotonic() - fault) < window:
        if not healed and now >= heal:
            stage.heal()
            healed = True
        for name in [one for one in waits if waits[one]()]:
            found[name] = round(time.monotonic() - fault, 3)
            del waits[name]
        time.sleep(min(LOOK, window - now) if waits or not healed else window - now)
    return Moments(begun, fault, fault + window), found


def brief(row: Row) -> str:
    """A round in a line."""
    case = Case(**row["case"])
    if "clients" not in row:
        return f"{case.topology} {case.title}: unsettled: {row['unsettled'].splitlines()[0]}"
    told = []
    for name, one in row["clients"].items():
        marks = "".join(
            f" {mark} {one[mark]}" for mark in ("lost", "doubled", "denied", "errors_before") if one[mark]
        )
        told.append(f"{name} {tables.seconds(one['writes'])}{marks}")
    return f"{case.topology} {case.title}: new primary {tables.seconds(row['named'])}; " + "; ".join(told)


# --- all rounds ---------------------------------------------------------------------------------------------


def measure(options: Options, names: Sequence[str], out: Path | None) -> Row:
    """Every case in every round, in random order; written down after each, so that nothing is lost."""
    dice = random.Random()
    program = embedded.identify(embedded.find())
    found: Row = {"options": asdict(options), "server": f"{program.kind} {program.version}", "rounds": []}
    load_before = report.load()
    begun = time.monotonic()
    with ExitStack() as stack:
        crew = Crew(names)
        stack.callback(crew.end)
        for number in range(max(options.rounds, options.guarded_rounds)):
            cases = list(options.cases(number))
            for case in dice.sample(cases, len(cases)):
                try:
                    row = play(case, crew, options, dice)
                except (Unavailable, RuntimeError) as error:  # one round less is no reason to lose the others
                    row = {"case": case._asdict(), "void": {}, "promoted": None, "named": None}
                    row["unsettled"] = f"{type(error).__name__}: {error}"
                    crew.start_over()
                row["round"] = number + 1
                found["rounds"].append(row)
                say(f"round {number + 1}, {time.monotonic() - begun:.0f} s: {brief(row)}")
                found["machine"] = report.machine(load_before, found["server"], _how(options))
                if out is not None:
                    out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def _how(options: Options) -> str:
    return (
        f"{options.rounds} rounds of each fault ({options.guarded_rounds} with min-replicas), "
        f"{options.window:g} s watched, {options.rate:g} calls per second and lane; clusters with "
        f"{options.replicas} replicas per primary"
    )


def main(words: Sequence[str]) -> int:
    """Measure, print, and judge: 1 if Holdfast doubled something, or lost what it said was durable."""
    arguments = _parse(words)
    if arguments.show:
        found = json.loads(arguments.show.read_text(encoding="utf-8"))
    else:
        found = measure(_options(arguments), arguments.client or list(CLIENTS), arguments.out)
    sections = tables.sections(found)
    text = report.render(sections, found["machine"])
    print(text)
    if arguments.write:
        report.write(arguments.write, text, "failover")
    return report.broken(sections)


def _options(arguments: argparse.Namespace) -> Options:
    many = arguments.rounds if arguments.min_replicas_rounds is None else arguments.min_replicas_rounds
    if arguments.min_replicas:
        return Options(
            topologies=("sentinel",),
            faults=tuple(one for one in arguments.fault or GUARDED if one in GUARDED),
            rounds=0,
            guarded_rounds=many,
            **_shared(arguments),
        )
    return Options(
        topologies=tuple(arguments.topology or TOPOLOGIES),
        faults=tuple(arguments.fault or FAULTS),
        rounds=arguments.rounds,
        guarded_rounds=many,
        **_shared(arguments),
    )


def _shared(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "window": arguments.window,
        "heal": tuple(arguments.heal),
        "rate": arguments.rate,
        "replicas": arguments.replicas,
    }


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks failover", description=__doc__)
    parser.add_argument("--topology", action="append", choices=TOPOLOGIES, help="default: all")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="default: all")
    parser.add_argument("--client", action="append", choices=list(CLIENTS), help="default: all")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--min-replicas-rounds", type=int, metavar="N", help="default: as --rounds")
    parser.add_argument("--min-replicas", action="store_true", help="only the rounds with min-replicas")
    parser.add_argument("--window", type=float, default=10.0, help="seconds to watch after the fault")
    parser.add_argument("--heal", type=float, nargs=2, default=(3.0, 7.0), metavar=("FROM", "TO"),
                        help="seconds after the fault, at random between these, when it ends")  # fmt: skip
    parser.add_argument("--rate", type=float, default=100.0, help="calls per second of each lane")
    parser.add_argument("--replicas", type=int, default=1, help="of each primary of a cluster")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures into FILE, as JSON")
    parser.add_argument("--show", type=Path, metavar="FILE", help="measure nothing, print what is in FILE")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the tables into FILE")
    return parser.parse_args(words)
