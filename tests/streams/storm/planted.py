"""Bugs that are planted into a copy of the package: does the storm find them?

    python -m tests.streams.storm.planted [--only NAME] [--seeds 4]

One line for each: by which fault it was found, and in which storm. A bug whose place is not in the package
any more is stale, and an error.
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
    """In `file` of the room (of both flavours, if it has two) `old` becomes `new`. `shows`: what tells it."""

    file: str
    old: str
    new: str
    shows: tuple[str, ...]
    kind: str = "weather"


BUGS = {
    "effects ask nobody whose the message is": Bug(
        "effects.lua",
        "if not row or row[2] ~= ARGV[2] or row[4] ~= tonumber(ARGV[4]) then",
        "if false then",
        ("doubled", "miscounted", "unordered"),
    ),
    "effects without the acknowledgement": Bug(
        "effects.lua", "redis.call('XACK', stream, group, id)", "", ("doubled", "stalled")
    ),
    "a dedup id is not looked for": Bug("publish.lua", "  if id then\n", "  if false then\n", ("doubled",)),
    "a repeated request is executed again": Bug(
        "publish.lua",
        "\nif known then\n",
        "\nif false then\n",
        ("doubled",),
    ),
    "a delayed message stays": Bug(
        "turn.lua", "  redis.call('ZREM', KEYS[7], token)\n", "", ("stalled", "left behind")
    ),
    "two members at one partition": Bug(
        "turn.lua", "    if other[at] ~= me then\n", "    if false then\n", ("unordered", "overtaken")
    ),
    "new before what is pending": Bug(
        "turn.lua",
        "\nwhile from ~= '' and room > 0 do",
        "\nfrom = ''\nwhile from ~= '' and room > 0 do",
        ("unordered", "overtaken", "stalled"),
    ),  # fmt: skip
    "a dead consumer is deleted with what it has": Bug(
        "turn.lua", "    claim_all(rows)\n", "", ("lost", "stalled")
    ),
    "a lost group begins at the end": Bug(
        "turn.lua",
        "local start = is_there and (redis.call('GET', KEYS[9]) or ARGV[6]) or '0'",
        "local start = '$'",
        ("lost", "not dead"),
        "flush",
    ),
    "a member that leaves takes its messages along": Bug(
        "leave.lua", "if left.err or not left[1] then", "if true then", ("lost", "not dead")
    ),
    "a lost reply is not looked into": Bug(
        "_berth_async.py",
        "        again, self.has_lost, self.is_in_doubt = self.has_lost, False, False\n",
        "        again, self.has_lost, self.is_in_doubt = self.has_lost, False, False\n        return []\n",
        ("stalled", "unordered", "overtaken"),
    ),
    "a failed message lets others pass": Bug(
        "_worker_async.py",
        "            lanes.rest([one for one, _ in staying], max(until for _, until in staying))\n",
        "            lanes.done(jobs)\n"
        "            for one, until in staying:\n"
        "                one.lane = None\n"
        "                lanes.add_resting(one, until)\n",
        ("unordered", "overtaken"),
    ),
    "acknowledged before it is handled": Bug(
        "_worker_async.py",
        "        error = await (self._one(jobs[0])",
        "        if consumer.group == 'audit':\n"
        "            for one in jobs:\n"
        "                one.part.ack(one)\n"
        "            consumer.wake()\n"
        "        error = await (self._one(jobs[0])",
        ("lost", "overtaken"),
    ),
    "dead letters stay pending": Bug(
        "settle.lua",
        "'~error', why, unpack(entry[2]))\n    redis.call('XACK', stream, group, id)\n",
        "'~error', why, unpack(entry[2]))\n",
        ("dead twice", "stalled"),
    ),
    "a dead letter is not written": Bug(
        "settle.lua",
        "  elseif what == 'dead' then\n",
        "  elseif what == 'dead' then\n    redis.call('XACK', stream, group, id)\n  elseif false then\n",
        ("not dead",),
    ),
    "a work queue keeps what is done": Bug(
        "effects.lua", "if ARGV[5] == '1' then redis.call('XDEL', stream, id) end", "", ("left behind",)
    ),
    "the relay publishes without an id": Bug(
        "_relay_async.py", 'Item("", dedup, fields)', 'Item("", None, fields)', ("doubled",), "cluster"
    ),
    "one entry of what a lost reply brought is forgotten": Bug(
        "_berth_async.py",
        "            return []\n        return unknown\n",
        "            return []\n        return unknown[1:]\n",
        ("stalled", "unordered", "overtaken"),
    ),
}


def spoiled(bug: Bug, source: Path) -> dict[str, str]:
    """The files with the bug in them, by name; none if its place is not there any more."""
    found = {}
    for name in {bug.file, bug.file.replace("_async.py", "_sync.py")}:
        text = (source / "holdfast" / "streams" / name).read_text()
        old, new = bug.old, bug.new
        if name.endswith("_sync.py"):
            old, new = (one.replace("await ", "") for one in (old, new))
        if old not in text:
            return {}
        found[name] = text.replace(old, new)
    return found


def hunt(bug: Bug, source: Path, seeds: int, lasting: float) -> str:
    """How it was found; "" if it was not."""
    with tempfile.TemporaryDirectory() as place:
        files = spoiled(bug, source)
        if not files:
            return "stale"
        shutil.copytree(source, Path(place, "src"), ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in files.items():
            Path(place, "src", "holdfast", "streams", name).write_text(text)
        command = [sys.executable, "-m", "tests.streams.storm.run", "--kind", bug.kind]
        command += ["--seeds", f"1:{seeds + 1}", "--lasting", str(lasting)]
        command += ["--shows", ",".join(bug.shows)]
        environment = {**os.environ, "PYTHONPATH": f"{place}/src{os.pathsep}{ROOT}"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                row = json.loads(line)
                if "seed" in row and (found := {what: row[what] for what in bug.shows if what in row}):
                    return f"{found} in {row['kind']}, seed {row['seed']}"
        return "" if done.returncode == 0 else f"?? {done.stdout[-300:]} {done.stderr[-300:]}"


def main(words: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--source", type=Path, default=ROOT / "src", help="the package, without the bugs")
    parser.add_argument("--lasting", type=float, default=6.0)
    asked = parser.parse_args(words)
    missed = 0
    for name, bug in BUGS.items():
        if asked.only and asked.only not in name:
            continue
        found = hunt(bug, asked.source, asked.seeds, asked.lasting)
        missed += not found.startswith("{")
        print(f"{name}: {found or 'NOT FOUND'}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
