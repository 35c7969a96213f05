"""How the command line of `holdfast limits` is written."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable

from holdfast.cli.cache.arguments import add_server, whole

HELP = "see who is limited and how far each is; give a subject limits of its own, or a fresh start"

_DESCRIPTION = """\
Who uses which limiter, and how much is left. The server is that of --url, of --config or of HOLDFAST_URL;
in a Cluster all primaries are asked. Nothing is asked of a server without a bound, and nothing is charged by
looking. Limits are those with which a subject was charged last: the program's options are not known here.
"""

_EPILOG = """\
examples:
  holdfast limits list                                   the busiest subjects of all limiters
  holdfast limits peek api user:42                       ends with 1 if a check would be denied
  holdfast limits override api user:42 --limit 100/1s,burst=200 --ttl 1d
  holdfast limits override api user:42 --none            the limits of everybody again
  holdfast limits reset api user:42
"""

_OVERRIDE = """\
Give a subject limits of its own, in force with the next check, everywhere. LIMIT is a quota and a duration,
and what else hf.limiter takes: 100/1s or 100/1s,burst=200,algorithm=sliding,name=fast,shadow.
"""


def declare(limits: argparse.ArgumentParser) -> None:
    """Add the commands to the parser."""
    limits.formatter_class = argparse.RawDescriptionHelpFormatter
    limits.description = _DESCRIPTION
    limits.epilog = _EPILOG
    commands = limits.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, module: str, help: str, description: str = "") -> argparse.ArgumentParser:
        told = description or f"{help[0].upper()}{help[1:]}."
        parser = commands.add_parser(
            name, help=help, description=told, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        add_server(parser)
        parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
        parser.set_defaults(run=_runner(module), action=name)
        return parser

    some = add("list", "listing", "the limiters that there are, and their busiest subjects")
    some.add_argument("name", metavar="NAME", nargs="?", help="of one limiter (default: all)")
    some.add_argument("--rows", type=whole, default=20, metavar="N", help="subjects to print (default: 20)")
    some.add_argument(
        "--limit", type=whole, default=1000, metavar="N", help="subjects to look at, at most (default: 1,000)"
    )
    peek = _of_one(
        add("peek", "peeking", "how far a subject is with its limits; 1 if a check would be denied")
    )
    peek.add_argument("--cost", type=whole, default=1, metavar="N", help="of the check (default: 1)")
    own = _of_one(
        add("override", "changing", "give a subject limits of its own, or take them away", _OVERRIDE)
    )
    own.add_argument(
        "--limit",
        action="append",
        dest="limits",
        metavar="LIMIT",
        help="as 100/1s,burst=200; may be repeated",
    )
    own.add_argument("--plan", metavar="PLAN", help="instead: those of a plan that was set with set_plan")
    own.add_argument("--none", action="store_true", help="instead: none of its own any more")
    own.add_argument("--ttl", metavar="DURATION", help="for how long (default: until it is changed)")
    own.add_argument("--new", action="store_true", help="also if nobody has used such a limiter yet")
    _of_one(add("reset", "changing", "forget what a subject has used; limits of its own stay"))


def _of_one(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", metavar="NAME", help="of the limiter")
    parser.add_argument("subject", metavar="SUBJECT", help="who is limited, as `list` shows it")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--int", action="store_true", dest="is_int", help="SUBJECT is an int, not a str")
    kind.add_argument(
        "--text", action="store_true", dest="is_text", help="SUBJECT is a str, also if it is '%%int(42)'"
    )
    return parser


def _runner(module: str) -> Callable[[argparse.Namespace], int]:
    def run(asked: argparse.Namespace) -> int:
        command = importlib.import_module(f"holdfast.cli.limits.{module}")
        code: int = command.run(asked)
        return code

    return run
