"""The command line: `holdfast demo`, `up`, `cache`, `locks`, `streams`, `limits`, ... and `worker`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from holdfast import ConfigurationError, HoldfastError, __version__
from holdfast.cli.analytics import arguments as analytics
from holdfast.cli.cache import arguments as cache
from holdfast.cli.limits import arguments as limits
from holdfast.cli.locks import arguments as locks
from holdfast.cli.streams import arguments as streams
from holdfast.cli.up import arguments as up
from holdfast.cli.worker import arguments as worker


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return 0, 1 (failed), 2 (wrong usage) or 130 (Ctrl-C).

    `holdfast up -- COMMAND` returns what the command does.
    """
    words = (sys.argv[1:] or ["--help"]) if arguments is None else list(arguments)
    ours, command = up.split(words) if words[:1] == ["up"] else (words, None)
    asked = parser().parse_args(ours)
    asked.command = command
    try:
        code: int = asked.run(asked)
        return code
    except ConfigurationError as error:
        print(f"holdfast: {error}", file=sys.stderr)
        return 2
    except HoldfastError as error:
        print(f"holdfast: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("holdfast: stopped; nothing is left running", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="holdfast",
        description=(
            "A toolkit over Redis and Valkey whose promises are stated and checked. `demo` shows a cache that"
            " cannot serve what was invalidated; `up` gives you real servers to try it all on: one, Sentinel,"
            " Cluster; `cache`, `locks` and `streams` look into what is in use, and help where it is stuck;"
            " `limits` shows who is limited, `analytics` what was counted; `worker` runs the subscribers of"
            " your program."
        ),
        epilog="Start with: holdfast demo, or: holdfast up sentinel",
    )
    top.add_argument("--version", action="version", version=f"holdfast {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands.add_parser("demo", help="watch several processes serve real data, correctly and fast"))
    _add_up(commands.add_parser("up", help=up.HELP))
    cache.declare(commands.add_parser("cache", help=cache.HELP))
    locks.declare(commands.add_parser("locks", help=locks.HELP))
    streams.declare(commands.add_parser("streams", help=streams.HELP))
    limits.declare(commands.add_parser("limits", help=limits.HELP))
    analytics.declare(commands.add_parser("analytics", help=analytics.HELP))
    worker.declare(commands.add_parser("worker", help=worker.HELP))
    return top


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.description = (
        "Several processes serve pages from PostgreSQL while another updates them: from the database alone,"
        " with textbook cache-aside, and with Holdfast. An auditor who knows every commit finds the stale"
        " reads. Starts its own PostgreSQL and Valkey, and leaves nothing behind."
    )
    demo.add_argument("--seconds", type=float, default=30.0, help="of all three phases (default: 30)")
    demo.add_argument("--processes", type=int, default=4, help="that read (default: 4)")
    demo.add_argument("--url", help="use this Redis or Valkey; it is not killed, and our keys are removed")
    demo.add_argument("--trace", type=Path, metavar="FILE", help="replay requests: xz, big-endian int32")
    demo.add_argument("--json", action="store_true", help="print nothing but the report, as JSON")
    demo.set_defaults(run=_demo)


def _demo(asked: argparse.Namespace) -> int:
    from holdfast.cli.demo.options import Options, check_installed

    options = Options(
        seconds=asked.seconds, processes=asked.processes, url=asked.url, trace=asked.trace, json=asked.json
    )
    check_installed()
    from holdfast.cli.demo.run import main as run  # only now: it imports what may be missing

    return run(options)


def _add_up(parser: argparse.ArgumentParser) -> None:
    up.declare(parser)
    parser.set_defaults(run=_up)


def _up(asked: argparse.Namespace) -> int:
    from holdfast.cli.up.options import Options

    options = Options(**{name: value for name, value in vars(asked).items() if name != "run"})
    from holdfast.cli.up.run import main as run

    return run(options)


if __name__ == "__main__":
    sys.exit(main())
