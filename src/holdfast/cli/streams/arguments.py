"""How the command line of `holdfast streams` is written."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable

from holdfast.cli.cache.arguments import add_server, whole

HELP = "see streams, how far their groups are behind, and what died; have it handled again"

_DESCRIPTION = """\
What is in a stream, how far its groups are behind, who consumes, and what nobody could handle. The server is
that of --url, of --config or of HOLDFAST_URL; in a Cluster all primaries are asked. Nothing is asked of a
server without a bound. Nothing is consumed by looking.
"""

_EPILOG = """\
examples:
  holdfast streams list                               all that there are
  holdfast streams lag orders billing --max-age 60s   ends with 1 if the oldest unread one is older
  holdfast streams lag --watch                        of all groups, as it changes, until Ctrl-C
  holdfast streams tail orders                        the last entries, and what is published from now on
  holdfast streams dead orders billing --error timeout
  holdfast streams replay orders billing --error timeout --since 1h
"""

_LAG = """\
How far groups are behind: entries that they have not read, the age of the oldest one, and what they have read
and not acknowledged. It is counted; where that would be too much, it says "at least". Ends with 1 if a limit
that was given is exceeded, so that a monitor can ask.
"""

_REPLAY = """\
Have dead letters handled again: those with these ids, those that fit the filters, or all. Each goes back into
the stream as a new message that only its group handles, in one step: it can be neither lost nor doubled.
"""


def declare(streams: argparse.ArgumentParser) -> None:
    """Add the commands to the parser."""
    streams.formatter_class = argparse.RawDescriptionHelpFormatter
    streams.description = _DESCRIPTION
    streams.epilog = _EPILOG
    commands = streams.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, module: str, help: str, description: str = "") -> argparse.ArgumentParser:
        told = description or f"{help[0].upper()}{help[1:]}."
        parser = commands.add_parser(
            name, help=help, description=told, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        add_server(parser)
        parser.set_defaults(run=_runner(module), action=name)
        return parser

    some = add("list", "listing", "the streams that there are, and what is in them")
    some.add_argument("pattern", metavar="PATTERN", nargs="?", help="a glob, as 'order*'")
    _bound(some)
    _json(some)
    lag = add("lag", "lagging", "how far groups are behind; 1 if a limit is exceeded", _LAG)
    lag.add_argument("name", metavar="NAME", nargs="?", help="of one stream (default: all)")
    lag.add_argument("group", metavar="GROUP", nargs="?", help="of one group (default: all)")
    lag.add_argument("--max-age", metavar="DURATION", help="of the oldest one that is unread or pending: 60s")
    lag.add_argument("--max-entries", type=whole, metavar="N", help="that are unread or pending")
    _watched(lag)
    _bound(lag)
    _json(lag)
    groups = add("groups", "grouping", "the groups of a stream, and who consumes for them")
    groups.add_argument("name", metavar="NAME")
    groups.add_argument("group", metavar="GROUP", nargs="?")
    _json(groups)
    tail = add("tail", "tailing", "the last entries, and then what is published, until Ctrl-C")
    tail.add_argument("name", metavar="NAME")
    tail.add_argument("-n", type=whole, default=10, metavar="N", help="entries to begin with (default: 10)")
    tail.add_argument("--once", action="store_true", help="do not wait for more")
    tail.add_argument("--json", action="store_true", help="print one JSON object a line, and nothing else")
    _dead(add("dead", "burying", "what a group could not handle, and why, the oldest first"), most=20)
    replay = _dead(add("replay", "burying", "have dead letters handled again", _REPLAY))
    purge = _dead(add("purge", "burying", "throw dead letters away"))
    purge.add_argument("--yes", action="store_true", help="do not ask whether it is meant")
    for parser in (replay, purge):
        parser.add_argument("--dry-run", action="store_true", help="say how many, and change nothing")


def _dead(parser: argparse.ArgumentParser, most: int | None = None) -> argparse.ArgumentParser:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("group", metavar="GROUP")
    if most is None:
        parser.add_argument("ids", metavar="ID", nargs="*", help="of dead letters, as `dead` shows them")
    else:
        parser.add_argument("--limit", type=whole, default=most, metavar="N", help=f"(default: {most})")
    which = parser.add_argument_group("which")
    which.add_argument("--error", metavar="TEXT", help="that is in the error")
    which.add_argument("--key", metavar="KEY", help="of the message")
    which.add_argument("--since", metavar="DURATION", help="those that died within it: 1h")
    _json(parser)
    return parser


def _watched(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watch", action="store_true", help="go on until Ctrl-C; with --json a line each time"
    )
    parser.add_argument("--every", default="2s", help="with --watch: between two looks (default: 2s)")


def _bound(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit", type=whole, default=1000, metavar="N", help="streams to find at most (default: 1,000)"
    )


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")


def _runner(module: str) -> Callable[[argparse.Namespace], int]:
    def run(asked: argparse.Namespace) -> int:
        command = importlib.import_module(f"holdfast.cli.streams.{module}")
        code: int = command.run(asked)
        return code

    return run
