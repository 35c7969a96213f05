"""The tables of limits, sessions, leaderboards and analytics, by themselves.

python -m benchmarks.metering                                    all
python -m benchmarks.metering limits sessions                    only these
python -m benchmarks.metering --write docs/benchmarks.md         put the figures into the documentation
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import report
from benchmarks.harness import Run, server
from benchmarks.metering import analytics, boards, limits, sessions

FILES = {"limits": limits, "sessions": sessions, "boards": boards, "analytics": analytics}


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.metering", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("only", nargs="*", choices=[[], *FILES], metavar="|".join(FILES), help="default: all")
    parser.add_argument("--quick", action="store_true", help="a smoke run")
    parser.add_argument("--rounds", type=int, help="default: 5; 1 with --quick")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the figures into FILE")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures into FILE, as JSON")
    arguments = parser.parse_args()
    before, sections = report.load(), []
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    with server() as running:
        run = Run(server=running, rounds=rounds, seconds=0.05 if arguments.quick else 0.5,
                  quick=arguments.quick)  # fmt: skip
        for name in arguments.only or FILES:
            sections += FILES[name].measure(run)
        facts = report.machine(before, f"{running.kind} {running.version}", f"{rounds} rounds")
    text = report.render(sections, facts)
    print(text)
    if arguments.write:
        report.write(arguments.write, text, "metering")
    if arguments.out:
        told = {"machine": facts, "sections": [asdict(section) for section in sections]}
        arguments.out.write_text(json.dumps(told, indent=1), encoding="utf-8")
    return report.broken(sections)


if __name__ == "__main__":
    sys.exit(main())
