"""How the command line of `holdfast cache` is written."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable

HELP = "look into a cache, switch it off and on, invalidate, and find stale reads"

_DESCRIPTION = """\
What is in a cache, whether it is right, and what to do when it is not. The server is that of --url, of
--config or of HOLDFAST_URL; nothing is asked of it without a bound.
"""

_EPILOG = """\
examples:
  holdfast cache off users                       the whole fleet goes without it, within a second
  holdfast cache inspect users ann               a str as key; --int 42 or '%int(42)' for an int
  holdfast cache invalidate users --tag org:7 --dry-run
  holdfast cache audit shop.prices:prices        does it serve what its source has?
"""

_AUDIT = """\
Compare what a cache serves with what its source has. MODULE:ATTRIBUTE is a cache with source=, or a cached
function, sync or async; it is imported, and its own client is used. What differs is looked at again after
--delay, so that an invalidation under way is not reported. Ends with 1 if something stale is served.

The keys come from the entries themselves. A function's arguments are read off them where its template
names whole arguments; otherwise give calls with --args, or audit where it runs: hf.cache(..., audit=0.01).
"""


def declare(cache: argparse.ArgumentParser) -> None:
    """Add the commands to the parser."""
    cache.formatter_class = argparse.RawDescriptionHelpFormatter
    cache.description = _DESCRIPTION
    cache.epilog = _EPILOG
    commands = cache.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, module: str, help: str, *, server: bool = True) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        if server:
            add_server(parser)
        parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
        parser.set_defaults(run=_runner(module), action=name)
        return parser

    for name, help in (
        ("off", "have the whole fleet go without a cache, within a second"),
        ("on", "have the fleet use it again, empty"),
    ):
        add(name, "switch", help).add_argument("name", metavar="NAME")
    _bounds(add("list", "listing", "the caches seen on the server"))
    inspect = add("inspect", "inspecting", "what is stored under a key, and what it is for a reader")
    inspect.add_argument("name", metavar="NAME")
    _typed(inspect).add_argument("key", metavar="KEY")
    _bounds(inspect)
    stats = add("stats", "stats", "how much is in a cache, how long it lives, and who listens")
    stats.add_argument("name", metavar="NAME")
    _bounds(stats, sample=500)
    _invalidate(add("invalidate", "invalidating", "remove keys, all that carry a tag, or everything"))
    tags = add("tags", "tags", "the tags of a cache, and how many entries carry them")
    tags.add_argument("name", metavar="NAME")
    tags.add_argument("tag", metavar="TAG", nargs="?", help="show the entries that carry it")
    _bounds(tags, sample=1000)
    _audit(
        add("audit", "audit", "find what a cache serves although its source has something else", server=False)
    )


def add_server(parser: argparse.ArgumentParser) -> None:
    """Say where the server is."""
    where = parser.add_argument_group("where")
    where.add_argument("--url", help="of the server (default: of the config file, or HOLDFAST_URL)")
    where.add_argument("--namespace", help="what all keys start with (default: holdfast)")
    where.add_argument("--config", metavar="FILE", help="a YAML or TOML file that says both")


def _bounds(parser: argparse.ArgumentParser, sample: int | None = None) -> None:
    parser.add_argument(
        "--limit", type=whole, default=10_000, metavar="N", help="keys to find at most (default: 10,000)"
    )
    if sample is not None:
        parser.add_argument(
            "--sample", type=whole, default=sample, metavar="N",
            help=f"entries to look at more closely, at random (default: {sample})",
        )  # fmt: skip


def _typed(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--int", action="store_true", dest="is_int", help="KEY is an int, not a str")
    kind.add_argument(
        "--text", action="store_true", dest="is_text", help="KEY is a str, also if it is '%%int(42)'"
    )
    return parser


def _invalidate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    _typed(parser).add_argument("keys", metavar="KEY", nargs="*")
    parser.add_argument("--tag", nargs="+", action="extend", default=[], dest="tags", metavar="TAG")
    parser.add_argument("--all", action="store_true", dest="all_", help="clear the cache")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and change nothing")
    _bounds(parser, sample=1000)


def _audit(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _AUDIT
    parser.add_argument("target", metavar="MODULE:ATTRIBUTE")
    parser.add_argument("--delay", default="1s", help="between the two looks (default: 1s)")
    parser.add_argument(
        "--args", metavar="FILE", help='calls of a function, a line each: [42] or {"user_id": 42}; -: stdin'
    )  # fmt: skip
    _bounds(parser, sample=200)


def whole(text: str) -> int:
    """The number that `text` says, at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


whole.__name__ = "whole number, at least 1,"  # what argparse says it wanted


def _runner(module: str) -> Callable[[argparse.Namespace], int]:
    def run(asked: argparse.Namespace) -> int:
        command = importlib.import_module(f"holdfast.cli.cache.{module}")
        code: int = command.run(asked)
        return code

    return run
