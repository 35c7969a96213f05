"""Bugs that are planted into a copy of the package: does the storm find them?

    python -m tests.metering.storm.planted [--only NAME] [--seeds 3]

One line for each. A bug whose place is not in the package any more is stale, and an error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.streams.storm.weather import ROOT


@dataclass(frozen=True)
class Bug:
    """In `file` of the package `old` becomes `new`. `shows`: the kinds of faults of which one tells it."""

    file: str
    old: str
    new: str
    shows: tuple[str, ...]
    kind: str = "weather"

    @property
    def room(self) -> str:
        return self.file.partition("/")[0]


BUGS = {
    "a bucket leaks twice as fast": Bug(
        "limits/gcra.lua",
        "book.before, book.now) * limit.drain)", "book.before, book.now) * 2 * limit.drain)",
        ("admitted",),
    ),
    "a denial outlives a reset": Bug(
        "limits/denials.py",
        "self._dropped[hash(subject) % STRIPES] = now\n            self._all.pop(subject, None)",
        "pass",
        ("denied",),
    ),
    "one slot too many": Bug(
        "limits/concurrency/take.lua",
        "if mine or out + rank < limit then",
        "if mine or out + rank <= limit then",
        ("crowded",),
    ),
    "a revoke by an id that was replaced ends nothing": Bug(
        "sessions/revoke.lua", "then return {2, known[4]} end\n", "then return {1, ''} end\n", ("came back",),
    ),
    "the generation stays": Bug(
        "sessions/revoke_all.lua", "redis.call('HSET', KEYS[1], 'g', generation, 'r', ARGV[1])",
        "redis.call('HSET', KEYS[1], 'g', known[1] or generation, 'r', ARGV[1])", ("came back",),
    ),
    "a repeated submit counts again": Bug(
        "leaderboards/write.lua", "if found[1] then return found[1] end", "", ("sum",)
    ),
    "a repeated count counts again": Bug(
        "analytics/count.lua",
        "if tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[1]) then return {0, 0} end", "",
        ("counted",),
    ),
}  # fmt: skip


def spoiled(bug: Bug, source: Path) -> str:
    """The file with the bug in it; "" if its place is not there any more."""
    text = (source / "holdfast" / bug.file).read_text()
    return text.replace(bug.old, bug.new) if bug.old in text else ""


def hunt(bug: Bug, seeds: int, lasting: float) -> str:
    """How it was found; "" if it was not."""
    if not (text := spoiled(bug, ROOT / "src")):
        return "stale"
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(ROOT / "src", Path(place, "src"), ignore=shutil.ignore_patterns("__pycache__"))
        Path(place, "src", "holdfast", bug.file).write_text(text)
        command = [sys.executable, "-m", "tests.metering.storm.run", "--kind", bug.kind, "--rooms", bug.room]
        command += ["--seeds", f"1:{seeds + 1}", "--lasting", str(lasting), "--first"]
        environment = {**os.environ, "PYTHONPATH": f"{place}/src{os.pathsep}{ROOT}"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
    lines = done.stdout.splitlines()
    if not lines or not lines[-1].startswith("{"):
        return f"?? {done.stderr[-300:]}"
    sums = json.loads(lines[-1])
    found = {what: sums[f"fault {what}"] for what in bug.shows if f"fault {what}" in sums}
    return f"{found} after {sums['storms']} storms" if found else ""


def main(words: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lasting", type=float, default=12.0)
    asked = parser.parse_args(words)
    missed = 0
    for name, bug in BUGS.items():
        if asked.only and asked.only not in name:
            continue
        found = hunt(bug, asked.seeds, asked.lasting)
        missed += not found.startswith("{")
        print(f"{name}: {found or 'NOT FOUND'}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
