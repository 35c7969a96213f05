"""Measures what Holdfast promises about speed and prints the figures as Markdown.

    python -m benchmarks                                everything but failover, about half an hour
    python -m benchmarks tasks races                    only these
    python -m benchmarks --quick                        a smoke run: everything works, figures mean little
    python -m benchmarks --write docs/benchmarks.md     put the figures into the documentation
    python -m benchmarks cluster --out FILE             write every round's figures into FILE, as JSON
    python -m benchmarks write_behind --storm 200       kill -9 of whoever writes behind, so many rounds
    python -m benchmarks failover                       what a failing primary costs, about forty minutes;
                                                        it has arguments of its own: see failover --help

The exit code is 1 if a load was done twice, a read was stale, or a call failed. A missed target of speed is
printed but is no failure: a busy machine misses it too.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import (
    cluster,
    hit_ratio,
    hits,
    locks,
    metering,
    near,
    news,
    races,
    report,
    stampede,
    startup,
    streams,
    tags,
    tasks,
    threads,
    tls,
    write_behind,
)
from benchmarks.harness import Run, server

FILES = {
    "tasks": tasks,
    "threads": threads,
    "cluster": cluster,
    "tls": tls,
    "stampede": stampede,
    "races": races,
    "near": near,
    "news": news,
    "hits": hits,
    "tags": tags,
    "hit_ratio": hit_ratio,
    "startup": startup,
    "write_behind": write_behind,
    "locks": locks,
    "streams": streams,
    "metering": metering,
}


def main() -> int:
    """Measure, print, and judge."""
    if sys.argv[1:2] == ["failover"]:
        from benchmarks.failover import run as failover

        return failover.main(sys.argv[2:])
    if sys.argv[1:3] == ["write_behind", "--storm"]:
        return write_behind.storm(sys.argv[3:])
    arguments = _parse()
    load_before = report.load()
    sections = []
    with server() as running:
        run = Run(server=running, rounds=arguments.rounds, seconds=arguments.seconds, quick=arguments.quick)
        for name in arguments.only or FILES:
            sections += FILES[name].measure(run)
        how = f"{run.rounds} rounds of {run.seconds:g} s per candidate and cell"
        facts = report.machine(load_before, f"{running.kind} {running.version}", how)
    text = report.render(sections, facts)
    print(text)
    if arguments.write:
        report.write(arguments.write, text)
    if arguments.out:
        told = {"machine": facts, "sections": [asdict(section) for section in sections]}
        arguments.out.write_text(json.dumps(told, indent=1), encoding="utf-8")
    return report.broken(sections)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("only", nargs="*", choices=[[], *FILES], metavar="|".join(FILES), help="default: all")
    parser.add_argument("--quick", action="store_true", help="a smoke run of a few seconds")
    parser.add_argument("--rounds", type=int, help="default: 9; 1 with --quick")
    parser.add_argument("--seconds", type=float, help="per visit, default: 0.5; 0.02 with --quick")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the figures into FILE")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures into FILE, as JSON")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 9)
    arguments.seconds = arguments.seconds or (0.02 if arguments.quick else 0.5)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
