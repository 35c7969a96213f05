"""Measures what Holdfast promises about speed and prints the figures as Markdown.

    python -m benchmarks                                everything, about seven minutes
    python -m benchmarks tasks races                    only these
    python -m benchmarks --quick                        a smoke run: everything works, figures mean little
    python -m benchmarks --write docs/benchmarks.md     put the figures into the documentation

The exit code is 1 if a load was done twice, a read was stale, or a call failed. A missed target of speed is
printed but is no failure: a busy machine misses it too.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import races, report, stampede, startup, tasks, threads
from benchmarks.harness import Run, server

FILES = {"tasks": tasks, "threads": threads, "stampede": stampede, "races": races, "startup": startup}


def main() -> int:
    """Measure, print, and judge."""
    arguments = _parse()
    load_before = report.load()
    sections = []
    with server() as running:
        run = Run(server=running, rounds=arguments.rounds, seconds=arguments.seconds, quick=arguments.quick)
        for name in arguments.only or FILES:
            sections += FILES[name].measure(run)
        text = report.render(run, sections, load_before)
    print(text)
    if arguments.write:
        report.write(arguments.write, text)
    broken = [promise for section in sections for promise in section.promises
              if promise.safety and not promise.met]  # fmt: skip
    for promise in broken:
        print(f"broken: {promise.text}: {promise.found}", file=sys.stderr)
    return 1 if broken else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("only", nargs="*", choices=[[], *FILES], metavar="|".join(FILES), help="default: all")
    parser.add_argument("--quick", action="store_true", help="a smoke run of a few seconds")
    parser.add_argument("--rounds", type=int, help="default: 9; 1 with --quick")
    parser.add_argument("--seconds", type=float, help="per visit, default: 0.5; 0.02 with --quick")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the figures into FILE")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 9)
    arguments.seconds = arguments.seconds or (0.02 if arguments.quick else 0.5)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
