"""What you have seen: the table, the lies in words, the lines of code that did it, and the next command."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from holdfast.cli.demo import with_holdfast
from holdfast.cli.demo.auditor import Lie
from holdfast.cli.demo.figures import PhaseResult, Report
from holdfast.cli.demo.messages import WayName

_LIES = 3  # told in words
_MANY_FIRST = 0.05  # of the reads: then they are worth a word
_NEXT = """
 [bold]Next:[/bold]  holdfast demo --url redis://your-server:6379     the same on yours
        pip install -e ".\\[embedded]"                    and the lines above, in your program
"""


def tell(console: Console, report: Report) -> None:
    """Print the end of the demo."""
    console.print()
    console.print(table(report))
    for phase in reversed(report.phases):
        for paragraph in _SEEN[phase.way](report, phase):
            console.print(Padding(Text(paragraph), (1, 0, 0, 1)))
        for lie in phase.lies[:_LIES]:
            console.print(Text(f"     {in_words(lie, report.clock)}", "red"))
        for error in phase.error_samples[:_LIES]:
            console.print(Text(f"     {error}", "red"))
    console.print("\n [bold]The lines that did it[/bold] (they ran in every process):\n")
    source = Syntax(code(), "python", theme="ansi_dark", background_color="default", word_wrap=True)
    console.print(Padding(source, (0, 2)))
    console.print(_NEXT, highlight=False)


def table(report: Report) -> Table:
    """The figures of the three phases side by side."""
    grid = Table(title=f"{report.workload}; {report.processes} processes x {report.threads} threads")
    grid.add_column("")
    for phase in report.phases:
        grid.add_column(phase.title, justify="right", style="bold" if phase.way == "holdfast" else "")
    for name, figure in _ROWS:
        grid.add_row(name, *(figure(phase) for phase in report.phases))
    grid.add_section()
    stale = (Text(f"{one.stale:,}", "bold red" if one.stale else "bold green") for one in report.phases)
    grid.add_row("stale reads (audited)", *stale)
    return grid


def in_words(lie: Lie, clock: float) -> str:
    """A lie, told with the time of day."""
    return (
        f"{lie.airport}: {lie.newer} committed {_time(lie.committed + clock)};"
        f" served {lie.served} until {_time(lie.until + clock)} ({lie.reads:,} reads)"
    )


def code() -> str:
    """The lines of with_holdfast.py between its two rulers, as they ran."""
    text = Path(with_holdfast.__file__).read_text(encoding="utf-8")
    return textwrap.dedent(text.split("# ---\n")[1]).strip()


def _of_holdfast(report: Report, phase: PhaseResult) -> list[str]:
    """What Holdfast did, and what it did while the server was away."""
    seen = (
        f"Holdfast answered {_times(report.speedup)} times as many reads as the database alone;"
        f" {phase.stale or 'not one'} of {phase.reads:,} was stale, {phase.errors or 'none'} failed."
    )
    if phase.refused_fills:
        seen += (
            f" {phase.refused_fills} times a page loaded before an update came to be stored after it,"
            " and was refused: each could have been a lie."
        )
    if phase.pages > _MANY_FIRST * phase.reads:
        seen += (
            f" {phase.pages:,} of these reads were the first of their page, which no cache can answer:"
            " with more --seconds they weigh less."
        )
    away = phase.outage
    if away is None:
        return [seen, "Your server was not killed: run the demo without --url to see what happens then."]
    killed = (
        f"The cache server was killed. In the {away.seconds:.1f} s without it {away.reads:,} reads were"
        f" answered ({away.reads_per_second:,.0f}/s): {away.errors or 'none'} failed,"
        f" {away.stale or 'none'} was stale. The database had {away.connections} connections at most"
        f" ({away.limit} allowed by max_loads). {away.invalidations_kept} invalidations were kept and"
        " delivered when it was back."
    )
    return [seen, killed]


def _of_textbook(_: Report, phase: PhaseResult) -> list[str]:
    """How the textbook lied."""
    if not phase.stale:
        return ["The textbook had luck this time: no reader lost its race. Try --seconds 60."]
    seen = (
        f"The textbook lied {phase.stale:,} times, about {len({lie.airport for lie in phase.lies})} airports."
        " A reader misses and loads; meanwhile the writer commits and deletes; then the reader stores what it"
        " had loaded. The old page is served until the next update, or until its TTL: 5 minutes here."
    )
    return [seen]


_SEEN: dict[WayName, Callable[[Report, PhaseResult], list[str]]] = {
    "database": lambda _, __: [],
    "textbook": _of_textbook,
    "holdfast": _of_holdfast,
}


def _herds(one: PhaseResult) -> str:
    if one.loads_per_cold_key is None:
        return "-"
    return f"{one.loads_per_cold_key:.2f}, {one.loads_per_cold_key_max}"


def _times(factor: float) -> str:
    return f"{factor:,.0f}" if factor >= 10 else f"{factor:.1f}"


def _time(seconds: float) -> str:
    whole, milli = divmod(round(seconds * 1000), 1000)
    return time.strftime("%H:%M:%S", time.localtime(whole)) + f".{milli:03}"


_ROWS: list[tuple[str, Callable[[PhaseResult], str]]] = [
    ("reads/s", lambda one: f"{one.reads_per_second:,.0f}"),
    ("p50 / p99, ms", lambda one: f"{one.p50_ms:.2f} / {one.p99_ms:.1f}"),
    ("SQL queries", lambda one: f"{one.queries:,}"),
    ("database connections", lambda one: f"{one.connections}"),
    ("loads per cold key, worst", _herds),
    ("hit ratio", lambda one: "-" if one.hit_ratio is None else f"{one.hit_ratio:.1%}"),
    ("failed reads", lambda one: f"{one.errors}"),
]
