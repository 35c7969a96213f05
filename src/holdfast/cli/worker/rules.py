"""When a process that died is started again, and how several say how they are. Pure.

Promised: a process that dies is started again after a rest that doubles with each quick death, from half a
second to half a minute. After `MOST` quick deaths in a row, or at once after one that says "wrong usage" (2),
nobody tries again: all others are stopped, and the command fails.
Not promised: that a process which hangs is ended before the stop; /health says that it does not answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

OK, FAILED, WRONG_USAGE = 0, 1, 2  # exit codes

QUICK = 30.0  # seconds; a process that lived longer has worked
FIRST_REST, LONGEST_REST = 0.5, 30.0  # seconds
MOST = 6  # quick deaths in a row of one process
GRACE = 15.0  # seconds a process gets beyond the drain, for its last words and for closing its connections


class Row(NamedTuple):
    """What is told of each that runs. `name`: of the stream, or of the projection."""

    name: str
    group: str
    order: str
    concurrency: str


_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (.+)")


def deaths(before: int, lived: float) -> int:
    """Quick deaths in a row, after one more death of a process that had `lived` so many seconds."""
    return before + 1 if lived < QUICK else 1


def rest(quick: int) -> float:
    """Seconds until a process is started again after `quick` quick deaths."""
    return min(LONGEST_REST, FIRST_REST * 2.0 ** (quick - 1))


def is_hopeless(quick: int, code: int) -> bool:
    """Is it of no use to try again?"""
    return code == WRONG_USAGE or quick >= MOST


def ending(code: int) -> str:
    """How a process ended, by its exit code as `subprocess` tells it."""
    return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"


def health(phase: str, server: Mapping[str, Any], subscribers: Sequence[Mapping[str, Any]]) -> str:
    """How a process is, in a word: ok, stopping, or what is wrong with it."""
    if phase == "running" and not all(one["alive"] for one in subscribers):
        return "subscriber dead"
    if not server.get("ok"):
        return "server away"
    return "ok" if phase == "running" else phase


def overall(processes: Sequence[Mapping[str, Any]]) -> tuple[bool, Mapping[str, Any]]:
    """Are all `processes` well, and the answer to GET /health."""
    words = [str(one["status"]) for one in processes]
    wrong = [word for word in words if word not in {"ok", "stopping"}]
    status = wrong[0] if wrong else "stopping" if "stopping" in words else "ok"
    return not wrong, {"status": status, "processes": list(processes)}


def merged(texts: Mapping[int, str]) -> str:
    """The metrics of several processes, in Prometheus' text format, each with the label `process`."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for number, text in texts.items():
        family = ""
        for line in text.splitlines():
            if line.startswith("#"):
                family = line.split(" ", 3)[2]
                if line not in heads.setdefault(family, []):
                    heads[family].append(line)
            elif found := _SAMPLE.fullmatch(line):
                name, labels, value = found.groups()
                told = ",".join(part for part in (f'process="{number}"', labels) if part)
                samples.setdefault(family, []).append(f"{name}{{{told}}} {value}")
    lines = [line for family in heads for line in (*heads[family], *samples.get(family, ()))]
    return "\n".join([*lines, ""])
