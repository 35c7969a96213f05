"""How the command line of `holdfast worker` is written."""

from __future__ import annotations

import argparse

HELP = "run the subscribers of your program, in one process or several"

_DESCRIPTION = """\
Run the subscribers, projections and relays that were declared on a Holdfast or AsyncHoldfast client until
SIGTERM or SIGINT. MODULE is imported with the working directory on its path, ATTRIBUTE is the client.

With --processes N, a supervisor starts N processes that import the module each for itself, starts anew what
dies, and ends with all of them. They end with it, too, however it dies.
"""

_EPILOG = """\
the first SIGTERM or SIGINT stops: nothing new is taken up, what is in work may end within --drain.
The second gives up what is in work; it is delivered again elsewhere.

exit codes:
  0  stopped, as it was told
  1  a subscriber or a process failed, or the server cannot be reached; the log says which and why
  2  wrong usage: no such module or client, nothing to run, options that make no sense

examples:
  holdfast worker shop.app:hf
  holdfast worker shop.app:hf --groups billing,mail --processes 4 --health-port 8081 --log json
"""


def declare(worker: argparse.ArgumentParser) -> None:
    """Add the options to the parser."""
    worker.formatter_class = argparse.RawDescriptionHelpFormatter
    worker.description = _DESCRIPTION
    worker.epilog = _EPILOG
    worker.add_argument("target", metavar="MODULE:ATTRIBUTE", help="the client whose subscribers are run")
    worker.add_argument("--groups", type=_names, metavar="A,B", help="run these groups only (default: all)")
    worker.add_argument("--processes", type=int, default=1, metavar="N", help="that run them (default: 1)")
    worker.add_argument(
        "--health-port", type=int, metavar="PORT", help="answer GET /health, /alive and /metrics there"
    )
    worker.add_argument(
        "--health-host", default="127.0.0.1", metavar="HOST", help="and at this address (default: 127.0.0.1)"
    )
    worker.add_argument(
        "--drain", default="10s", help="how long what is in work may take at the end (default: 10s)"
    )
    worker.add_argument(
        "--log", choices=("text", "json"), default="text", help="how lines of the log look (default: text)"
    )
    worker.set_defaults(run=_run)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _run(asked: argparse.Namespace) -> int:
    from holdfast.cli.worker.options import Options

    options = Options(
        target=asked.target,
        groups=asked.groups,
        processes=asked.processes,
        health_host=asked.health_host,
        health_port=asked.health_port,
        drain=asked.drain,
        log=asked.log,
    )
    from holdfast.cli.worker.command import main

    return main(options)
