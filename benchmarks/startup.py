"""What it costs to have Holdfast: `import holdfast` takes under 30 ms more than Python itself; and the sizes
of what its installation brings.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median
from typing import NamedTuple

import holdfast
from benchmarks import harness
from benchmarks.harness import Run
from benchmarks.report import Promise, Section

MOST = 30.0  # ms
PROGRAMS = {
    "python": "pass",
    "import holdfast": "import holdfast",
    "from holdfast import Holdfast": "from holdfast import Holdfast",
    "from holdfast import AsyncHoldfast": "from holdfast import AsyncHoldfast",
    "import asyncio": "import asyncio",
    "import redis": "import redis",
    "import redis.asyncio": "import redis.asyncio",
}


class Start(NamedTuple):
    """What one process took: milliseconds on the wall and of CPU."""

    wall: float
    cpu: float


def measure(run: Run) -> list[Section]:
    """Two tables: time, size."""
    return [_imports(run), _footprint()]


def _imports(run: Run) -> Section:
    run.say("imports")
    found: dict[str, list[Start]] = {program: [] for program in PROGRAMS}
    for number in range(-1, run.rounds if run.quick else 5 * run.rounds):
        for program in run.dice.sample(list(PROGRAMS), len(PROGRAMS)):
            start = _start(PROGRAMS[program])
            if number >= 0:  # the first one compiles, and warms the disk's cache
                found[program].append(start)
    rows: list[Sequence[str]] = [("program", "ms", "ms over bare Python", "CPU ms over bare Python")]
    for program, starts in found.items():
        more = (median(getattr(start, part) - getattr(bare, part)
                       for start, bare in zip(starts, found["python"], strict=True))
                for part in ("wall", "cpu"))  # fmt: skip
        rows.append((program, f"{median(start.wall for start in starts):.1f}",
                     *(f"{figure:.1f}" for figure in more)))  # fmt: skip
    promise = Promise(
        f"import holdfast: under {MOST:g} ms over bare Python", f"{rows[2][2]} ms", float(rows[2][2]) < MOST
    )
    text = (
        "Processes that import and end, in random order; the median of each round's difference. Holdfast "
        "imports what a name needs when that name is first used, and redis-py only where it is asked for."
    )
    return Section("Import", text, rows, [promise])


def _start(program: str) -> Start:
    """Run a program in a Python of its own, on the clients' CPU."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    harness.pin(process.pid, harness.cpus()[1])
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, program
    return Start(1000 * wall, 1000 * (usage.ru_utime + usage.ru_stime))


# --- what an installation brings ----------------------------------------------------------------------------


def _footprint() -> Section:
    sizes = {name: _size(name) for name in sorted(_closure("holdfast"), key=lambda name: name != "holdfast")}
    rows = [("package", "version", "files", "KiB")]
    for name, (version, files, size) in sizes.items():
        rows.append((name, version, str(files), f"{size / 1024:,.0f}"))
    total = sum(size for _, _, size in sizes.values())
    rows.append(("together", "", str(sum(files for _, files, _ in sizes.values())), f"{total / 1024:,.0f}"))
    text = "What `pip install holdfast` brings, without compiled bytecode, on the machine of this run."
    return Section("Footprint", text, rows)


def _closure(name: str) -> Iterator[str]:
    """The package `name` and all that it cannot do without, here."""
    waiting, seen = [name], set()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        try:
            needed = distribution(one).requires or []
        except PackageNotFoundError:
            continue  # it is for other systems or Pythons
        yield one
        waiting += [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in needed if "extra ==" not in text]


def _size(name: str) -> tuple[str, int, int]:
    """Version, number of files and bytes."""
    found = distribution(name)
    files = [Path(str(file.locate())) for file in found.files or []]
    if name == "holdfast":  # it may be installed in place, as a link
        files = [file for file in Path(holdfast.__file__).parent.rglob("*") if file.is_file()]
    files = [file for file in files if file.suffix != ".pyc" and file.is_file()]
    return found.version, len(files), sum(file.stat().st_size for file in files)
