#!/usr/bin/env python3
"""Writes the synchronous twin of every source of truth: `_async.py` -> `_sync.py`, line for line.

Tokens, not syntax trees: comments, blank lines and line numbers stay, so a traceback through a twin points at
the line of its source. What has no meaning in threads (`asyncio`, `Awaitable`, ...) is refused instead of
guessed; it belongs in `_compat.py`, as a pair with two names of the same shape.

    tools/unasync.py            write the twins
    tools/unasync.py --check    fail if a twin differs or lacks its source, or a rule serves nobody
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = "# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.\n"
GENERATED = "# Generated from {} by tools/unasync.py. Do not edit.\n"

# Whole identifiers, wherever they stand: in code, strings, comments.
NAMES = {
    "aclose": "close",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "AbstractAsyncContextManager": "AbstractContextManager",
    "asynccontextmanager": "contextmanager",
    "asleep": "sleep",
    "adrop": "drop",
    "aoff_loop": "off_loop",
    "aopen_replicas": "open_replicas",
    "aopen_transport": "open_transport",
    "agather": "gather",
    "arun": "run",
    "ashow": "show",
    "aspawn": "spawn",
    "ascope": "scope",
    "acurrent_task": "current_task",
    "ame": "me",
    "ASignal": "Signal",
    "ASemaphore": "Semaphore",
    "ahf": "hf",
}
# Wording, in comments and docstrings only.
WORDS = {
    r"\b([Tt])ask(s?)\b": r"\1hread\2",
    r"\bfor asyncio\b": "for threads",
    r" and event loops\b": "",
    r"\bevent loop\b": "thread",
}
# Names that mean nothing in threads, and what to write instead.
REFUSED = {
    "asyncio": "put a pair into _compat.py",
    "anyio": "put a pair into _compat.py",
    "create_task": "use aspawn of _compat.py",
    "Awaitable": "name a pair of types: AsyncLoader and Loader",
    "Coroutine": "name a pair of types: AsyncLoader and Loader",
    "AsyncGenerator": "write AsyncIterator; Generator takes other arguments",
}

_CLASS = re.compile(r"(_*)Async([A-Z]\w*)")
_MODULE = re.compile(r"((?:_|test_)\w*)?_async")
_WORD = re.compile(r"[^\W\d]\w*")
_CODE_IN_TEXT = re.compile(r"\basync (?=def\b|with\b|for\b)|\bawait (?=[\w.]+\()")
_BLANK = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT}


class Refusal(Exception):
    """The source cannot have a twin; the text says where and why."""


@dataclass
class Rules:
    """The tables, and which of their rules were of use so far."""

    names: Mapping[str, str] = field(default_factory=lambda: NAMES)
    words: Mapping[str, str] = field(default_factory=lambda: WORDS)
    used: set[str] = field(default_factory=set)

    def name(self, name: str) -> str:
        """The twin's word for the identifier `name`."""
        if name in self.names:
            self.used.add(name)
            return self.names[name]
        if found := _CLASS.fullmatch(name):
            return found[1] + found[2]
        return f"{found[1] or ''}_sync" if (found := _MODULE.fullmatch(name)) else name

    def text(self, text: str) -> str:
        """The twin of a string or of code quoted in prose."""
        text = _CODE_IN_TEXT.sub("", text.replace("redis.asyncio", "redis"))
        return _WORD.sub(lambda found: self.name(found[0]), text)

    def prose(self, text: str) -> str:
        """The twin of a comment or docstring."""
        text = self.text(text)
        for pattern, replacement in self.words.items():
            text, count = re.subn(pattern, replacement, text)
            if count:
                self.used.add(pattern)
        return text

    def unused(self) -> list[str]:
        """Rules that served nobody: dead, or misspelt."""
        return [rule for rule in (*self.names, *self.words) if rule not in self.used]


def convert(source: str, name: str, rules: Rules) -> str:
    """The twin of `source`, which came from the file called `name`. Raises: Refusal."""
    if not source.startswith(SOURCE):
        raise Refusal(f"{name}:1: the first line must be: {SOURCE.strip()}")
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    twin, at = [], 0
    for start, end, replacement in _edits(source, name, rules, starts):
        twin += [source[at:start], replacement]
        at = end
    text = GENERATED.format(name) + ("".join(twin) + source[at:])[len(SOURCE) :]
    compile(text, name, "exec", dont_inherit=True)
    if text.count("\n") != source.count("\n"):
        raise Refusal(f"{name}: the twin has another number of lines; this is a bug of a rule")
    return text


def _edits(source: str, name: str, rules: Rules, starts: list[int]) -> Iterator[tuple[int, int, str]]:
    """Replacements as (start, end, text), in order; the banner is left alone."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    spans = [
        (starts[token.start[0] - 1] + token.start[1], starts[token.end[0] - 1] + token.end[1])
        for token in tokens
    ]
    index = 1
    while index < len(tokens):
        token, (start, end) = tokens[index], spans[index]
        first, index = index, index + 1
        if token.type == tokenize.COMMENT:
            yield start, end, rules.prose(token.string)
        elif token.type == tokenize.STRING:
            docstring = tokens[first - 1].type in _BLANK and tokens[index].type == tokenize.NEWLINE
            yield start, end, (rules.prose if docstring else rules.text)(token.string)
        elif tokenize.tok_name[token.type] == "FSTRING_START":  # Python 3.12 cuts f-strings up, 3.11 does not
            index = _end_of_fstring(tokens, index)
            yield start, spans[index - 1][1], rules.text(source[start : spans[index - 1][1]])
        elif token.string in ("async", "await"):
            yield start, spans[index][0], ""
        elif token.type == tokenize.NAME:
            if token.string == "asyncio" and source[:start].endswith("redis."):
                yield start - 1, end, ""
                continue
            if token.string in REFUSED:
                raise Refusal(f"{name}:{token.start[0]}: {token.string} has no twin; {REFUSED[token.string]}")
            yield start, end, rules.name(token.string)


def _end_of_fstring(tokens: list[tokenize.TokenInfo], index: int) -> int:
    depth = 1
    while depth:
        kind = tokenize.tok_name[tokens[index].type]
        depth += (kind == "FSTRING_START") - (kind == "FSTRING_END")
        index += 1
    return index


def twin_of(source: Path) -> Path:
    """Where the twin of `source` lives: beside it."""
    return source.with_name(source.name.removesuffix("_async.py") + "_sync.py")


def sources(root: Path) -> list[Path]:
    """Every source of truth: in src by name, in tests by name and banner (races are written twice)."""
    tests = (
        path for path in root.glob("tests/**/test_*_async.py") if path.read_text("utf-8").startswith(SOURCE)
    )
    return sorted([*root.glob("src/**/*_async.py"), *tests])


def orphans(root: Path, twins: set[Path]) -> list[Path]:
    """Twins whose source is gone: generated files, and in src whatever is named like one."""
    start = GENERATED.partition("{}")[0]
    named = root.glob("src/**/*_sync.py")
    marked = (path for path in root.glob("tests/**/*.py") if path.read_text("utf-8").startswith(start))
    return sorted({*named, *marked} - twins)


def check(root: Path, rules: Rules, *, write: bool) -> list[str]:
    """Compare every twin with its source, or write it; what is wrong, as sentences."""
    found, wrong, twins = sources(root), [], set()
    for source in found:
        twin = twin_of(source)
        twins.add(twin)
        try:
            text = convert(source.read_text("utf-8"), source.name, rules)
        except (Refusal, SyntaxError, tokenize.TokenError) as error:
            wrong.append(f"{source.relative_to(root)}: {error}")
            continue
        if not twin.exists() or twin.read_text("utf-8") != text:
            if write:
                twin.write_text(text, "utf-8")
            else:
                wrong.append(f"{twin.relative_to(root)} is not what its source says: run tools/unasync.py")
    wrong += [f"{path.relative_to(root)} has no source: remove it" for path in orphans(root, twins)]
    if not found:
        wrong.append(f"no source of truth under {root}: nothing was checked")
    elif not write:
        wrong += [
            f"rule {rule!r} serves no source: remove it from tools/unasync.py" for rule in rules.unused()
        ]
    return wrong


def main(arguments: list[str] | None = None, rules: Rules | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write the synchronous twins.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if something is wrong")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="repository to work on")
    options = parser.parse_args(arguments)
    wrong = check(options.root, rules or Rules(), write=not options.check)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
