"""Mishaps between a message and its handler, and how each library takes them: one line per mishap.

    python -m benchmarks.streams.probes               about three minutes
    python -m benchmarks.streams.probes --json        the same for programs, every flavour for itself
    python -m benchmarks.streams.probes killed        only those whose name says so
    python -m benchmarks.streams.probes --write docs/benchmarks.md  put the table into the documentation

Every library has the settings that its documentation recommends, and where it has an idle time, or a lease,
this is 2 s. Each has a server of its own. walrus is not asked: it has commands, and no worker. The exit code
is 1 if Holdfast fails at any.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from benchmarks import harness, report
from benchmarks.streams import libraries
from benchmarks.streams.crew import Crew, there
from benchmarks.streams.mishaps import ALL, Mishap
from benchmarks.streams.stage import Stage, Verdict
from holdfast import embedded

PATIENCE = 240.0  # seconds for a probe


@dataclass(frozen=True)
class Finding:
    """How one library, in one flavour, took one mishap."""

    mishap: Mishap
    kind: type[Crew]
    verdict: Verdict

    def told(self) -> dict[str, Any]:
        """For programs."""
        flavour = "asyncio" if self.kind.tasks else "threads"
        return {"probe": self.mishap.name, "library": self.kind.library, "flavour": flavour,
                **self.verdict._asdict()}  # fmt: skip


async def play(mishaps: Sequence[Mishap], stage: Stage) -> list[Finding]:
    """Each mishap, for one library."""
    found = []
    for one in mishaps:
        try:
            verdict = await asyncio.wait_for(one.probe(stage), PATIENCE)
        except Exception as error:  # noqa: BLE001 - a library that breaks the probe has not passed it
            verdict = Verdict(False, f"breaks: {type(error).__name__}", str(error))
        print(f"... {stage.kind.__name__}, {one.name}: {verdict.text}", file=sys.stderr, flush=True)
        found.append(Finding(one, stage.kind, verdict))
    return found


async def play_all(
    mishaps: Sequence[Mishap], kinds: Sequence[type[Crew]], idle: float = 2.0
) -> list[Finding]:
    """All libraries side by side, each with a server of its own."""
    with ExitStack() as stack:
        stages = []
        for kind in kinds:
            server = stack.enter_context(embedded.start(port=True, password=""))
            aside = stack.enter_context(redis.Redis(**harness.address(server.url)))
            stages.append(Stage(server.url, aside, kind, idle))
        return [
            one for those in await asyncio.gather(*(play(mishaps, one) for one in stages)) for one in those
        ]


def table(found: Sequence[Finding]) -> str:
    """All findings as Markdown; where the flavours of a library differ, both are said."""
    names = list(dict.fromkeys(one.kind.library for one in found))
    rows: list[Sequence[str]] = [("mishap", *names)]
    for mishap in dict.fromkeys(one.mishap for one in found):
        those = [one for one in found if one.mishap is mishap]
        cells = [_cell([one for one in those if one.kind.library == name]) for name in names]
        rows.append((mishap.name, *cells))
    return report.table(rows)


def _cell(those: Sequence[Finding]) -> str:
    texts = {one.kind.tasks: one.verdict.text for one in those}
    if len(set(texts.values())) <= 1:
        return next(iter(texts.values()), "-")
    return "; ".join(f"{'asyncio' if tasks else 'threads'}: {text}" for tasks, text in texts.items())


def main() -> int:
    """Play all, print, and judge Holdfast."""
    parser = argparse.ArgumentParser("python -m benchmarks.streams.probes", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("only", nargs="*", help="parts of the names of mishaps; default: all")
    parser.add_argument("--of", default="", help="only libraries whose class's name contains this")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the table into FILE")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    arguments = parser.parse_args()
    mishaps = [one for one in ALL if any(part in one.name for part in arguments.only or [""])]
    kinds = [one for one in there() if arguments.of in one.__name__]
    before = report.load()
    with embedded.start(port=True, password="") as server:
        kind = f"{server.kind} {server.version}"
    found = asyncio.run(play_all(mishaps, kinds))
    facts = [*report.machine(before, kind, "once")[:3], f"* {libraries.versions()}"]
    if arguments.json:
        print(json.dumps({"machine": facts, "probes": [one.told() for one in found]}, indent=1))
    else:
        asked = "\n".join(f"* *{one.name}*: {one.question}" for one in mishaps)
        text = "\n".join([table(found), "", asked, "", *facts])
        print(text)
        if arguments.write:
            report.write(arguments.write, f"{text}\n", "probes")
    return int(any(not one.verdict.ok and one.kind.library == "Holdfast" for one in found))


if __name__ == "__main__":
    sys.exit(main())
