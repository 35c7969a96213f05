"""How the command line of `holdfast up` is written."""

from __future__ import annotations

import argparse
from pathlib import Path

from holdfast.cli.up.options import TOPOLOGIES

HELP = "start a real topology on this machine, until Ctrl-C: one server, Sentinel, Cluster, or Redlock's five"

_DESCRIPTION = """\
Start real servers on this machine and keep them until Ctrl-C. Nothing is left of them.

  single     one server
  sentinel   a primary, 2 replicas, and 3 sentinels that promote a replica when the primary fails
  cluster    3 primaries that share the slots, each with a replica
  redlock    5 servers that know nothing of each other

While they run, type `kill 1`, `freeze 1`, `resume 1`, `restart 1`, `list`, `quit` or `help`.
"""

_EPILOG = """\
examples:
  holdfast up
  holdfast up sentinel --replicas 1 --tls
  holdfast up cluster -- pytest            HOLDFAST_URL is set; ends with it, with its exit code
  holdfast up redlock -- python app.py     HOLDFAST_URLS has all of them, with blanks in between
  holdfast up single --keep ./data         the same data the next time
  holdfast up cluster --json --for 60      one JSON object, then a minute of silence
"""


def declare(up: argparse.ArgumentParser) -> None:
    """Add the arguments to the parser."""
    up.formatter_class = argparse.RawDescriptionHelpFormatter
    up.usage = "holdfast up [single|sentinel|cluster|redlock] [options] [-- COMMAND ...]"
    up.description = _DESCRIPTION
    up.epilog = _EPILOG
    up.add_argument(
        "topology", nargs="?", choices=TOPOLOGIES, default="single", metavar="TOPOLOGY",
        help="single (default), sentinel, cluster or redlock",
    )  # fmt: skip
    size = up.add_argument_group("how many")
    size.add_argument("--replicas", type=int, metavar="N", help="of each primary (sentinel: 2, cluster: 1)")
    size.add_argument("--sentinels", type=int, metavar="N", help="that watch (3)")
    size.add_argument("--primaries", type=int, metavar="N", help="that share the slots of a cluster (3)")
    size.add_argument("--count", type=int, metavar="N", help="servers for redlock (5)")
    secret = up.add_mutually_exclusive_group()
    secret.add_argument("--password", metavar="TEXT", help="of every node (default: a random one)")
    secret.add_argument(
        "--no-password", action="store_const", const="", dest="password", help="let anyone in"
    )
    up.add_argument("--tls", action="store_true", help="talk TLS only, with certificates made for it")
    up.add_argument(
        "--keep", type=Path, metavar="DIR",
        help="single: keep data in DIR and go on with it the next time; sentinel: leave data and logs there",
    )  # fmt: skip
    up.add_argument("--binary", metavar="PATH", help="the server program to run")
    up.add_argument("--for", type=float, dest="seconds", metavar="SECONDS", help="end by itself")
    up.add_argument("--json", action="store_true", help="print one JSON object when ready, and nothing else")


def split(arguments: list[str]) -> tuple[list[str], tuple[str, ...] | None]:
    """What is ours, and the command behind `--`, None if there is no `--`.

    argparse would take the command's first word for the topology.
    """
    if "--" not in arguments:
        return arguments, None
    at = arguments.index("--")
    return arguments[:at], tuple(arguments[at + 1 :])
