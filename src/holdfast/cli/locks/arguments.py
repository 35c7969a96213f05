"""How the command line of `holdfast locks` is written."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable

from holdfast.cli.cache.arguments import add_server, whole
from holdfast.cli.locks.rooms import ROOMS

HELP = "see who holds which lock and who waits, ask for it back, take it away"

_DESCRIPTION = """\
Who holds which lock, since when, and who waits for it. The server is that of --url, of --config or of
HOLDFAST_URL; in a Cluster all primaries are asked. Nothing is asked of a server without a bound.
"""

_EPILOG = """\
examples:
  holdfast locks list                            all that are held, the longest first
  holdfast locks list 'order:*'                  those that fit; `order` means order and order:...
  holdfast locks show order:1024                 ends with 1 if nobody holds it
  holdfast locks break order:1024 --ask deploy   ask its holder to give it back, and wait for that
  holdfast locks break order:1024                take it away from whoever has it now
  holdfast locks watch --json                    a line for each change, until Ctrl-C
"""

_BREAK = """\
Take a lock away from the holder that is shown, or ask him for it with --ask. Taken away means: others can
have it at once, while its holder may still be at work; he finds out at his next renewal, or at once where
the server tracks keys for him. Ends with 1 if he has it still, or if it was free.
"""

_WATCH = """\
Who gets and gives which lock, as it happens: a table on a terminal, else a line for each change. What comes
and goes between two looks is not seen. Ends with Ctrl-C.
"""


def declare(locks: argparse.ArgumentParser) -> None:
    """Add the commands to the parser."""
    locks.formatter_class = argparse.RawDescriptionHelpFormatter
    locks.description = _DESCRIPTION
    locks.epilog = _EPILOG
    commands = locks.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, module: str, help: str, description: str = "") -> argparse.ArgumentParser:
        told = description or f"{help[0].upper()}{help[1:]}."
        parser = commands.add_parser(
            name, help=help, description=told, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        add_server(parser)
        parser.set_defaults(run=_runner(module), action=name)
        return parser

    some = add("list", "listing", "the locks that are held, the longest first")
    _pattern(some)
    _json(some)
    one = add("show", "showing", "who holds a lock, who waits, and what to do about it; 1 if nobody holds it")
    _name(one)
    _json(one)
    away = add("break", "breaking", "take a lock away, or ask its holder for it", _BREAK)
    _name(away)
    away.add_argument("--room", choices=ROOMS, default="lock", help="what it is (default: lock)")
    away.add_argument("--yes", action="store_true", help="do not ask whether it is meant")
    away.add_argument("--ask", metavar="REASON", help="ask the holder to give it back, and say why")
    away.add_argument("--wait", default="10s", help="with --ask: for the holder, at most (default: 10s)")
    _json(away)
    watch = add("watch", "watching", "who gets and gives which lock, as it happens", _WATCH)
    _pattern(watch)
    watch.add_argument("--every", default="1s", help="between two looks, at least (default: 1s)")
    watch.add_argument("--json", action="store_true", help="print one JSON object a line, and nothing else")


def _pattern(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pattern", metavar="PATTERN", nargs="?", help="a glob ('order:*'), or a name and its family (order)"
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=whole, default=10_000, metavar="N", help="locks to find at most (default: 10,000)"
    )


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--key", action="store_true", help="NAME is the lock's key on the server, as in key=")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")


def _runner(module: str) -> Callable[[argparse.Namespace], int]:
    def run(asked: argparse.Namespace) -> int:
        command = importlib.import_module(f"holdfast.cli.locks.{module}")
        code: int = command.run(asked)
        return code

    return run
