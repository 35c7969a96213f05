"""How `holdfast locks watch` looks: a table on a terminal, plain lines elsewhere, or JSON, one a line."""

from __future__ import annotations

import json
import shutil
import sys
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any, Self

from holdfast.cli.cache.words import safe
from holdfast.cli.locks.changes import Change
from holdfast.cli.locks.listing import rows, summary
from holdfast.cli.locks.sight import Sight, by_age, iso
from holdfast.cli.up.screen import Lines, Part

_LATEST = 5  # changes below the table
_AROUND = 6  # lines of the terminal that are no rows


class View:
    """Says what happened; the base says nothing. A context manager."""

    def __init__(self) -> None:
        self._is_away = False

    def show(self, seen: Sequence[Sight], happened: Sequence[Change]) -> None:
        """What is held now, and what happened since the last time."""

    def away(self, error: Exception) -> None:
        """The server does not answer."""
        if not self._is_away:
            self._is_away = True
            self.note("the server does not answer; still trying", error=str(error))

    def back(self) -> None:
        """It answers."""
        if self._is_away:
            self._is_away = False
            self.note("the server answers again")

    def note(self, text: str, **more: str) -> None:
        """Something is to be said that is no change of a lock."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing more is said."""


class Objects(View):
    """For programs."""

    def show(self, seen: Sequence[Sight], happened: Sequence[Change]) -> None:  # noqa: ARG002 (the View's)
        """A line for each change."""
        for one in happened:
            self._print(one.data())

    def note(self, text: str, **more: str) -> None:
        """A line with the event `note`."""
        self._print({"event": "note", "text": text, **more})

    def _print(self, told: dict[str, Any]) -> None:
        print(json.dumps({"at": iso(datetime.now(UTC)), **told}, ensure_ascii=False, default=str), flush=True)


class Plain(View):
    """For pipes and files."""

    def __init__(self, pattern: str | None) -> None:
        super().__init__()
        self._lines = Lines()
        self._pattern = pattern
        self._began = False

    def show(self, seen: Sequence[Sight], happened: Sequence[Change]) -> None:
        """A line for each change."""
        if not self._began:
            self._began = True
            if not seen:
                self._lines.event("no lock is held; waiting for one")
        for one in happened:
            self._lines.event(one.text())

    def note(self, text: str, **more: str) -> None:
        """A line."""
        self._lines.event(": ".join([text, *more.values()]))


class Table(View):
    """For a terminal: what is held, the longest first, and below it the latest changes."""

    def __init__(self, pattern: str | None) -> None:
        from rich.live import Live

        super().__init__()
        self._pattern = pattern
        self._latest: deque[tuple[str, str]] = deque(maxlen=_LATEST)
        self._seen: Sequence[Sight] = ()
        self._live = Live(auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, seen: Sequence[Sight], happened: Sequence[Change]) -> None:
        """Paint."""
        self._seen = by_age(seen)
        for one in happened:
            self._add(one.text())
        self._live.update(self._painted(), refresh=True)

    def note(self, text: str, **more: str) -> None:
        """Among the changes."""
        self._add(": ".join([text, *more.values()]))
        self._live.update(self._painted(), refresh=True)

    def _add(self, text: str) -> None:
        self._latest.append((datetime.now().astimezone().strftime("%H:%M:%S"), text))

    def _painted(self) -> Any:
        from rich.console import Group
        from rich.table import Table as Grid
        from rich.text import Text

        size = shutil.get_terminal_size()
        heads, cells = rows(self._seen, wide=size.columns >= 110)
        fit = max(1, size.lines - _AROUND - len(self._latest))
        grid = Grid(box=None, pad_edge=True, header_style="dim", padding=(0, 2, 0, 0))
        last = len(heads) - 2
        for place, head in enumerate(heads):
            grid.add_column(
                head, justify="right" if place < last else "left", no_wrap=True, overflow="ellipsis"
            )
        for row in cells[:fit]:
            grid.add_row(
                *[Text(*((cell.text, cell.style) if isinstance(cell, Part) else (cell,))) for cell in row]
            )
        which = f" that fit {safe(self._pattern)}" if self._pattern is not None else ""
        told: list[Any] = [Text.assemble(*_parts(summary(self._seen)), (which, "dim"))]
        if cells:
            told += [Text(), grid]
        if len(cells) > fit:
            told.append(Text(f"  and {len(cells) - fit:,} more", "dim"))
        told.append(Text())
        for when, text in self._latest:
            told.append(Text.assemble(("  " + when + "  ", "dim"), text, no_wrap=True, overflow="ellipsis"))
        told.append(Text("  Ctrl-C ends", "dim"))
        return Group(*told)


def _parts(line: Sequence[str | Part]) -> list[str | tuple[str, str]]:
    return [part if isinstance(part, str) else (part.text, part.style) for part in line]


def view(*, json: bool, pattern: str | None) -> View:
    """What suits the standard output."""
    if json:
        return Objects()
    if sys.stdout.isatty() and find_spec("rich") is not None:
        return Table(pattern)
    return Plain(pattern)
