"""The demo from beginning to end."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any, get_args

import msgspec
import psycopg
from rich.console import Console

from holdfast.cli.demo import data, ending
from holdfast.cli.demo.figures import Report
from holdfast.cli.demo.fleet import Fleet
from holdfast.cli.demo.messages import Setup, WayName
from holdfast.cli.demo.options import THREADS, Options
from holdfast.cli.demo.phase import Stage, play
from holdfast.cli.demo.picture import Lines, Picture
from holdfast.cli.demo.postgres import Postgres
from holdfast.cli.demo.server import CacheServer
from holdfast.cli.demo.terminal import Terminal

_WAYS: tuple[WayName, ...] = get_args(WayName)


def main(options: Options) -> int:
    """Run the demo and print what it found; 0 if Holdfast kept its word."""
    console = Console()
    picture = Picture() if options.json else Terminal(console) if console.is_terminal else Lines(console)
    with picture:
        report = run(options, picture)
    if options.json:
        print(msgspec.json.encode(_public(report)).decode())
    else:
        ending.tell(console, report)
    return 0 if report.kept_its_word else 1


def run(options: Options, picture: Picture) -> Report:
    """Start everything, play the three phases, and end everything."""
    seconds = options.seconds / len(_WAYS)
    picture.banner(
        f"{options.processes} processes serve pages about airports, one process updates them: three times"
        f" {seconds:g} s over the same requests, from PostgreSQL alone, with the cache-aside of the textbook,"
        " and with Holdfast. An auditor who knows every commit checks every read."
    )
    with ExitStack() as stack:
        stage, about = _build(options, seconds, picture, stack)
        results = []
        for way in _WAYS:
            results.append(play(stage, way, seconds))
            picture.result(results[-1])
    return Report(**about, phases=results, clock=time.time() - time.monotonic())


def _build(
    options: Options, seconds: float, picture: Picture, stack: ExitStack
) -> tuple[Stage, dict[str, Any]]:
    """Start the servers and the processes; `stack` ends them."""
    fleet = stack.enter_context(Fleet(options.processes + 1))  # they come up while the servers do
    picture.step("the cache server")
    server = stack.enter_context(CacheServer(options.url))
    picture.done(server.name if server.ours else f"{server.name}: it will not be killed")
    picture.step("the airports, and the requests for them")
    rows = data.airports()
    codes = data.by_popularity(rows)
    workload = data.traced(codes, options.trace) if options.trace else data.skewed(codes)
    picture.step("PostgreSQL: making a database and copying the airports in")
    postgres = stack.enter_context(Postgres())
    database = stack.enter_context(psycopg.connect(postgres.dsn, autocommit=True))
    data.fill(database, rows)
    name = f"PostgreSQL {database.info.server_version // 10_000}"
    picture.done(f"{name}: {len(rows):,} airports; a page takes three queries")
    picture.step("the processes")
    fleet.set_up(_setups(options, seconds, postgres.dsn, workload))
    picture.done(f"{options.processes} processes read ({workload.source}), 1 writes")
    about = {
        "database": name,
        "server": server.name,
        "workload": workload.source,
        "airports": len(rows),
        "processes": options.processes,
        "threads": THREADS,
    }
    return Stage(fleet, server, database, workload.codes, options.processes, picture), about


def _setups(options: Options, seconds: float, dsn: str, workload: data.Workload) -> list[Setup]:
    """Who reads which part of the requests, and what the writer does."""
    requests = workload.requests.tobytes()
    readers = [
        Setup(
            "reader",
            dsn,
            workload.codes,
            requests,
            threads=THREADS,
            first=number * THREADS,
            stride=options.processes * THREADS,
        )
        for number in range(options.processes)
    ]
    return [*readers, Setup("writer", dsn, workload.codes, updates=workload.updates(seconds))]


def _public(report: Report) -> dict[str, Any]:
    """The report as JSON has it: with the derived figures, and points in time as seconds since 1970."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    clock = found.pop("clock")
    for phase in found["phases"]:
        for lie in phase["lies"]:
            for moment in ("committed", "since", "until"):
                lie[moment] += clock
    return {**found, "speedup": report.speedup, "ok": report.kept_its_word}
