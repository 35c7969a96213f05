"""Figures as Markdown: promises first, then what they were measured on, then each section's table."""

from __future__ import annotations

import os
import platform
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "holdfast", "redis", "hiredis", "msgspec", "uvloop", "aiocache", "cashews", "dogpile.cache",
    "django-redis", "cachetools", "python-redis-lock", "pottery", "limits", "throttled-py", "pyrate-limiter",
    "starsessions", "flask-session",
)  # fmt: skip


@dataclass(frozen=True)
class Promise:
    """A target and what was found. `safety`: one that no busy machine excuses."""

    text: str
    found: str
    met: bool
    safety: bool = False


@dataclass(frozen=True)
class Section:
    """One file's findings. `rows` are cells of text, the first row the heading; `data`: their source."""

    title: str
    text: str
    rows: Sequence[Sequence[str]]
    promises: Sequence[Promise] = field(default_factory=list)
    data: Any = None


def render(sections: Iterable[Section], facts: Sequence[str]) -> str:
    """The whole report. `facts`: what `machine` says."""
    sections = list(sections)
    promises = [promise for section in sections for promise in section.promises]
    rows = [("promise", "measured", "met")]
    rows += [(promise.text, promise.found, "yes" if promise.met else "**no**") for promise in promises]
    parts = [table(rows), "", *facts]
    for section in sections:
        parts += ["", f"### {section.title}", "", textwrap.fill(section.text, 116), "", table(section.rows)]
    return "\n".join(parts) + "\n"


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its columns in line; all but the first are right-aligned if they hold figures."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    figures = [
        place > 0 and any(row[place][:1].isdigit() for row in rows[1:]) and len(rows[0]) > 3
        for place in range(len(widths))
    ]
    rule = ["-" * (width - 1) + ":" if right else "-" * width
            for width, right in zip(widths, figures, strict=True)]  # fmt: skip
    lines = [
        [cell.rjust(width) if right else cell.ljust(width)
         for cell, width, right in zip(row, widths, figures, strict=True)]
        for row in rows
    ]  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def machine(load_before: str, servers: str, how: str) -> list[str]:
    """What all this ran on, as a list. `servers`: kinds and versions; `how`: rounds and their length."""
    versions = ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name)))
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    return [
        f"* {datetime.now(UTC):%Y-%m-%d}, {how}",
        f"* {_processor()}, {os.cpu_count()} CPUs, {system}; load {load_before} before, {load()} after",
        f"* Python {platform.python_version()}, {servers}",
        f"* {versions}",
    ]


def load() -> str:
    """The machine's load average over the last minute."""
    return f"{os.getloadavg()[0]:.2f}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def broken(sections: Iterable[Section]) -> int:
    """The exit code: 1 if a promise of safety was broken, which is said on stderr."""
    found = [promise for section in sections for promise in section.promises
             if promise.safety and not promise.met]  # fmt: skip
    for promise in found:
        print(f"broken: {promise.text}: {promise.found}", file=sys.stderr)
    return 1 if found else 0


def write(path: Path, text: str, name: str = "figures") -> None:
    """Put `text` between the marks `name` in `path`; what stands around them is the author's."""
    opening, closing = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = path.read_text(encoding="utf-8").partition(opening)
    _, end, after = rest.partition(closing)
    if not (begin and end):
        raise SystemExit(f"{path} has no lines {opening} and {closing} to write between")
    path.write_text(f"{before}{opening}\n\n{text}\n{closing}{after}", encoding="utf-8")
