"""`holdfast worker` from the beginning to the end."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from holdfast import __version__
from holdfast.cli.cache.paper import Paper
from holdfast.cli.up.screen import Part
from holdfast.cli.worker import logs, rules
from holdfast.cli.worker.health import Health
from holdfast.cli.worker.options import Options
from holdfast.cli.worker.supervisor import Supervisor
from holdfast.cli.worker.work import Work
from holdfast.errors import ConfigurationError, HoldfastError

log = logging.getLogger("holdfast.worker")


def main(options: Options) -> int:
    """Run until stopped; the exit code. Raises: ConfigurationError, Unavailable."""
    several = options.processes > 1
    logs.begin(options.log, logs.SUPERVISOR if several else 1)
    try:
        return _several(options) if several else _alone(options)
    except HoldfastError as error:
        if options.log == "text":
            raise
        log.critical("%s: %s", type(error).__name__, error)
        return rules.WRONG_USAGE if isinstance(error, ConfigurationError) else rules.FAILED


def _several(options: Options) -> int:
    supervisor = Supervisor(options, lambda told: _begun(options, told["server"], told["ready"], health.url))
    with (health := Health(options.health_host, options.health_port, supervisor)):
        code = supervisor.run()
    return _ended(code)


def _alone(options: Options) -> int:
    work = Work(options, 1)
    with Health(options.health_host, options.health_port, work) as health:
        work.run(lambda: _begun(options, work.server, work.rows(), health.url))
    return _ended(rules.OK)


def _begun(options: Options, server: str, rows: Sequence[Sequence[str]], url: str) -> None:
    """Say what runs."""
    if options.log == "json":
        told = [rules.Row(*row)._asdict() for row in rows]
        fields = {"event": "worker_started", "target": options.target, "processes": options.processes}
        log.info("worker started", extra={"holdfast": {**fields, "subscribers": told, "health": url}})
        return
    paper = Paper(json=False)
    processes = "1 process" if options.processes == 1 else f"{options.processes} processes"
    paper.say(Part(f"holdfast {__version__}", "bold"), f": {options.target} on {server}, {processes}")
    paper.table(rules.Row._fields, rows)
    if url:
        paper.say(Part("health  ", "dim"), url)


def _ended(code: int) -> int:
    log.info("worker ended", extra={"holdfast": {"event": "worker_ended", "code": code}})
    return code
