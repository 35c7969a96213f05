"""The command behind `--`: it finds the servers in its environment, and its exit code is ours."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping

from holdfast.cli.up.signals import Ended
from holdfast.cli.up.topology import Topology
from holdfast.errors import ConfigurationError

_POLITE = 10.0  # seconds the command gets after SIGTERM


def check(command: tuple[str, ...]) -> None:
    """Raises: ConfigurationError if there is no such program: better said before servers are started."""
    if shutil.which(command[0]) is None:
        raise ConfigurationError(f"{command[0]!r}: there is no such program, or it may not be executed")


def environment(topology: Topology) -> dict[str, str]:
    """What the command finds in its environment, in addition to ours."""
    return {"HOLDFAST_URL": topology.url, "HOLDFAST_URLS": " ".join(topology.urls)}


def run(command: tuple[str, ...], more: Mapping[str, str]) -> int:
    """Run it to its end; its exit code, as a shell would say it: 128 and the signal that killed it.

    Signals that end us are handed on, and we end when the command has ended.
    """
    with subprocess.Popen(command, env={**os.environ, **more}) as process:
        try:
            code = _wait(process)
        except BaseException:
            process.kill()
            raise
    return 128 - code if code < 0 else code


def _wait(process: subprocess.Popen[bytes]) -> int:
    patience: float | None = None
    while True:
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
        except Ended as ended:
            process.send_signal(ended.number)
            patience = _POLITE
        except KeyboardInterrupt:
            if not _before_a_terminal():
                process.send_signal(signal.SIGINT)


def _before_a_terminal() -> bool:
    """Did the Ctrl-C come from the terminal? Then the command has got it, too: a second one would make it
    give up what it does at its end.
    """
    try:
        with open("/dev/tty", "rb") as terminal:  # noqa: PTH123 (a device)
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
