#!/usr/bin/env python3
"""Holds every Lua script of the package to its header, so that a reader may trust the header alone.

    -- latches/arrive: count one party in, once.
    --
    -- KEYS[1]  latch    set of party ids that have arrived
    -- ARGV[1]  ttl      milliseconds the latch outlives its last arrival
    -- ARGV[2..] party   ids of this arrival, as many as there are
    -- returns  parties still missing, 0 when open
    -- retry:   safe (a repeated arrival changes nothing)
    -- cost:    O(1)

KEYS and ARGV are numbered without holes; what the body uses is declared, what is declared is used; times have
units; no KEYS, no SCAN, no global variable. `returns` may go on over several lines, and a `#!lua` line may
stand above it all.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

_SHEBANG = re.compile(r"\A#!lua[^\n]*\n")
_TITLE = re.compile(r"-- (\S+): \S.*")
_INPUT = re.compile(r"-- (KEYS|ARGV)\[(\d+)(\.\.)?\]\s+\w+(?:\s+\S.*)?")
_UNITLESS = re.compile(r"-- ARGV\[\d+\]\s+(?:age|delay|lease|now|timeout|ttl|until|wait)\b(?!.*second)")
_INPUT_LIKE = re.compile(r"-- (?:KEYS|ARGV)\b")
_TRAITS = {
    "returns": re.compile(r"-- returns\s+\S"),
    "retry:": re.compile(r"-- retry:\s+(safe|by request id|never)\b"),
    "cost:": re.compile(r"-- cost:\s+.*O\("),
}
_STRINGS = r"'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|\[\[.*?\]\]"
_NOISE = re.compile(rf"(?P<string>{_STRINGS})|--\[\[.*?\]\]|--[^\n]*", re.DOTALL)
_COMMAND = re.compile(r"redis\.p?call\s*\(\s*['\"](KEYS|SCAN|FLUSHALL|FLUSHDB)['\"]", re.IGNORECASE)
_USE = re.compile(r"\b(KEYS|ARGV)\[\s*(\d+)\s*\]")
_USE_MANY = re.compile(r"(#|\b|\bunpack\(\s*)(KEYS|ARGV)\b(?!\s*\[\s*\d+\s*\])")
_LOCALS = (
    re.compile(r"\blocal\s+(?!function\b)([\w\s,]+?)(?=\s*(?:=|\n|;|$))"),
    re.compile(r"\blocal\s+function\s+(\w+)"),
    re.compile(r"\bfunction\b[^(\n]*\(([^)]*)\)"),
    re.compile(r"\bfor\s+([\w\s,]+?)\s*(?:=|\bin\b)"),
)
_ASSIGNED = re.compile(
    r"(?<![\w.:\]])([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s*=(?!=)|(?<!local )\bfunction\s+(\w+)"
)
_BRACES = re.compile(r"\{[^{}]*\}")


def problems(name: str, text: str) -> list[str]:
    """What is wrong with the script called `name` (`room/file`, without `.lua`), as sentences."""
    text = _SHEBANG.sub("", text)
    header = list(takewhile(lambda line: line.startswith("--"), text.splitlines()))
    body = text.split("\n", len(header))[-1]
    return [*_header(name, header), *_inputs(header, _code(body)), *_commands(body), *_globals(_code(body))]


def _header(name: str, header: list[str]) -> Iterator[str]:
    title = _TITLE.fullmatch(header[0]) if header else None
    if title is None or title[1] != name:
        yield f"the first line must be '-- {name}: what it does.'"
    for trait, pattern in _TRAITS.items():
        found = sum(1 for line in header if line.startswith(f"-- {trait}"))
        if found != 1 or not any(pattern.match(line) for line in header):
            yield f"the header needs one valid line '-- {trait} ...'"


def _inputs(header: list[str], code: str) -> Iterator[str]:
    """KEYS and ARGV: numbered from 1 in order, each named and described, each used, none used beyond."""
    declared: dict[str, list[int]] = {"KEYS": [], "ARGV": []}
    endless = set()
    for line in header:
        if _UNITLESS.match(line):
            yield f"say milliseconds, or which unit it is, in {line!r}"
        if found := _INPUT.fullmatch(line):
            declared[found[1]].append(int(found[2]))
            if found[3]:
                endless.add(found[1])
        elif _INPUT_LIKE.match(line):
            yield f"write '-- {line[3:7]}[1]  name  what it is', not {line!r}"
    for kind, numbers in declared.items():
        used = {int(number) for what, number in _USE.findall(code) if what == kind}
        many = any(what == kind for _, what in _USE_MANY.findall(code))
        last = numbers[-1] if kind in endless else None
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"{kind} must be numbered 1, 2, 3, ... in the header, not {numbers}"
        if many and last is None:
            yield f"the body uses {kind} without a number: declare the last as '{kind}[n..]'"
        if last is not None and not many:
            yield f"{kind}[{last}..] is declared, but the body takes no open number of them"
        for number in sorted(used - set(numbers)):
            if last is None or number < last:
                yield f"{kind}[{number}] is used but not declared in the header"
        for number in sorted(set(numbers) - used - {last}):
            yield f"{kind}[{number}] is declared but not used"


def _commands(body: str) -> Iterator[str]:
    for command in _COMMAND.findall(_NOISE.sub(lambda found: found["string"] or "", body)):
        yield f"{command.upper()} walks the whole server: a script must touch its own keys only"


def _globals(code: str) -> Iterator[str]:
    known: set[str] = set()
    for pattern in _LOCALS:
        for names in pattern.findall(code):
            known.update(name.strip() for name in names.split(","))
    while _BRACES.search(code):  # in a table, `name = value` is a field
        code = _BRACES.sub("", code)
    for names, function in _ASSIGNED.findall(code):
        for name in (names or function).split(","):
            if name.split()[-1] not in known:
                yield f"{name.strip()} is a global variable: write 'local'"


def _code(body: str) -> str:
    """`body` without comments, its strings emptied."""
    return _NOISE.sub(lambda found: "''" if found["string"] else "", body)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Check the headers of the Lua scripts.")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="repository to check")
    root = parser.parse_args(arguments).root
    scripts = sorted(root.glob("src/**/*.lua"))
    wrong = [
        f"{script.relative_to(root)}: {sentence}"
        for script in scripts
        for sentence in problems(f"{script.parent.name}/{script.stem}", script.read_text("utf-8"))
    ]
    if not scripts:
        wrong.append(f"no script under {root}/src: nothing was checked")
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
