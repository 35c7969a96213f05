"""How the command line of `holdfast analytics` is written."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable

from holdfast.cli.cache.arguments import add_server, whole

HELP = "see what was counted: totals, different ones, active users, tops, percentiles"

_DESCRIPTION = """\
What was counted, and how it developed. The server is that of --url, of --config or of HOLDFAST_URL; nothing
is asked of it without a bound, and nothing is changed by looking. Without a command: list.
"""

KINDS = ("counter", "unique", "active", "top", "quantile")  # of a metric that has several, the first is shown

_EPILOG = """\
examples:
  holdfast analytics list                                  all metrics, and their last day
  holdfast analytics show signup --since 7d --resolution 1d
  holdfast analytics show signup --by plan                 one line for each value of a tag
  holdfast analytics show signup --tag plan=pro --json
  holdfast analytics show searches --top 20                the most frequent items
"""

_SHOW = """\
How a metric developed: a figure for each bucket of time, zero where nothing was counted. Of uniques and
active users also how many different ones there were in all, of observations their percentiles, of a top its
items.
"""


def declare(analytics: argparse.ArgumentParser) -> None:
    """Add the commands to the parser."""
    analytics.formatter_class = argparse.RawDescriptionHelpFormatter
    analytics.description = _DESCRIPTION
    analytics.epilog = _EPILOG
    _listed(analytics)
    analytics.set_defaults(run=_runner("listing"))
    commands = analytics.add_subparsers(title="commands", metavar="COMMAND")
    some = commands.add_parser(
        "list",
        help="the metrics that there are, and their last day",
        description="The metrics that there are, and their last day.",
        argument_default=argparse.SUPPRESS,  # what stands before the command counts as well
    )
    _listed(some)
    some.set_defaults(run=_runner("listing"))
    show = commands.add_parser(
        "show",
        help="how a metric developed",
        description=_SHOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    show.set_defaults(run=_runner("showing"))
    _shown(show)


def _listed(parser: argparse.ArgumentParser) -> None:
    add_server(parser)
    parser.add_argument("--of", metavar="NAME", help="one analytics, as in hf.analytics(NAME) (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")


def _shown(show: argparse.ArgumentParser) -> None:
    _listed(show)
    show.add_argument("metric", metavar="METRIC")
    show.add_argument(
        "--since", default="24h", metavar="WHEN", help="24h, or 2026-11-26T08:00 (default: 24h)"
    )
    show.add_argument("--until", default=None, metavar="WHEN", help="(default: now)")
    show.add_argument(
        "--resolution", default=None, metavar="LENGTH", help="of a bucket: 1m, 1h, 1d (default: as it fits)"
    )
    show.add_argument("--by", default=None, metavar="TAG", help="a line for each value of this tag")
    show.add_argument(
        "--tag",
        action="append",
        default=None,
        metavar="TAG=VALUE",
        help="only what has it; more of them: all",
    )
    show.add_argument(
        "--kind", default=None, choices=KINDS, help="if the metric has several kinds of figures"
    )
    show.add_argument(
        "--top", type=whole, nargs="?", const=10, default=None, metavar="N", help="the most frequent items"
    )
    show.add_argument(
        "--rows",
        type=whole,
        default=48,
        metavar="N",
        help="buckets to print at most, the latest (default: 48)",
    )


def _runner(module: str) -> Callable[[argparse.Namespace], int]:
    def run(asked: argparse.Namespace) -> int:
        command = importlib.import_module(f"holdfast.cli.analytics.{module}")
        code: int = command.run(asked)
        return code

    return run
