"""Mishaps around a lock, and how each library takes them: one line per mishap, one column per library.

    python -m benchmarks.locks.probes               about a minute
    python -m benchmarks.locks.probes --json        the same for programs, every flavour for itself
    python -m benchmarks.locks.probes frozen        only those whose name says so
    python -m benchmarks.locks.probes --write docs/locks.md      put the table into the documentation
    python -m benchmarks.locks.probes --failovers 10 --cancels 500

Every library has the best settings that its documentation knows: a ttl, renewal where it renews by itself, a
deadline. "-" is where there is nothing to try: python-redis-lock has no tasks. The exit code is 1 if Holdfast
fails at any.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.locks import libraries
from benchmarks.locks.actors import Actor, there
from benchmarks.locks.failovers import ALL
from benchmarks.locks.mishaps import Mishap
from benchmarks.locks.stage import Stage, Verdict, stage


@dataclass(frozen=True)
class Finding:
    """How one library, in one flavour, took one mishap."""

    mishap: Mishap
    kind: type[Actor]
    verdict: Verdict

    def told(self) -> dict[str, Any]:
        """For programs."""
        flavour = "asyncio" if self.kind.tasks else "threads"
        return {"probe": self.mishap.name, "library": self.kind.library, "flavour": flavour,
                **self.verdict._asdict()}  # fmt: skip


async def play(mishaps: Sequence[Mishap], kinds: Sequence[type[Actor]], where: Stage) -> list[Finding]:
    """Each mishap, for all libraries side by side."""
    found = []
    for one in mishaps:
        print(f"... {one.name}", file=sys.stderr, flush=True)
        verdicts = await asyncio.gather(*(_one(one, kind, where) for kind in kinds))
        found += [Finding(one, kind, verdict) for kind, verdict in zip(kinds, verdicts, strict=True)]
    return found


async def _one(mishap: Mishap, kind: type[Actor], where: Stage) -> Verdict:
    try:
        return await asyncio.wait_for(mishap.probe(kind, where), 60)
    except Exception as error:  # noqa: BLE001 - a library that breaks the probe has not passed it
        return Verdict(False, f"breaks: {type(error).__name__}", str(error))


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
    texts = {one.kind.tasks: one.verdict.text for one in those if one.verdict.ok is not None}
    if len(set(texts.values())) <= 1:
        return next(iter(texts.values()), "-")
    return "; ".join(f"{'asyncio' if tasks else 'threads'}: {text}" for tasks, text in texts.items())


def main() -> int:
    """Play all, print, and judge Holdfast."""
    parser = argparse.ArgumentParser("python -m benchmarks.locks.probes", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("only", nargs="*", help="parts of the names of mishaps; default: all")
    parser.add_argument("--failovers", type=int, default=5, help="of each library, default: 5")
    parser.add_argument("--cancels", type=int, default=200, help="default: 200")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the table into FILE")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    arguments = parser.parse_args()
    mishaps = [one for one in ALL if any(part in one.name for part in arguments.only or [""])]
    threading.excepthook = lambda _: None  # the renewal of a peer ends with one; the probe says what it means
    logging.disable()  # as above
    before = report.load()
    with stage(arguments.failovers, arguments.cancels) as where:
        server = where.aside.info("server")
        found = asyncio.run(play(mishaps, there(), where))
    kind = f"{server.get('server_name', 'redis')} {server.get('valkey_version', server['redis_version'])}"
    how = f"{arguments.failovers} failovers, {arguments.cancels} cancelled acquires"
    facts = [*report.machine(before, kind, how), f"* {libraries.versions()}"]
    if arguments.json:
        print(json.dumps({"machine": facts, "probes": [one.told() for one in found]}, indent=1))
    else:
        text = "\n".join(
            [table(found), "", *(f"* *{one.name}*: {one.question}" for one in mishaps), "", *facts]
        )
        print(text)
        if arguments.write:
            report.write(arguments.write, f"{text}\n", "probes")
    return int(any(one.verdict.ok is False and one.kind.library == "Holdfast" for one in found))


if __name__ == "__main__":
    sys.exit(main())
