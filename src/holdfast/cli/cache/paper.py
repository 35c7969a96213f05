"""Where a command says what it has found: on a terminal, in plain lines, or as one JSON object."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from holdfast.cli.cache import words
from holdfast.cli.up.screen import Part, Screen, for_people

_WORTH_A_BAR = 20_000  # keys; fewer are over before one could be read

Tell = Callable[[int], object]
Line = Sequence[Part | str]


class Paper:
    """Says things to people, or, with `json`, one object to a program."""

    def __init__(self, *, json: bool) -> None:
        self.is_json = json
        self._screen = Screen() if json else for_people()
        self._width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 160

    def say(self, *parts: Part | str) -> None:
        """A line."""
        self._screen.say(*parts)

    def data(self, found: Any) -> None:
        """The object, if one is wanted."""
        if self.is_json:
            print(json.dumps(found, ensure_ascii=False, default=str), flush=True)

    def facts(self, rows: Sequence[tuple[str, Line]]) -> None:
        """A row for each fact: its name, and what is to be said of it."""
        width = max((len(name) for name, _ in rows), default=0)
        for name, line in rows:
            self.say("  ", Part(name.ljust(width), "dim"), "  ", *line)

    def table(
        self,
        heads: Sequence[str],
        rows: Sequence[Sequence[str | Part]],
        *,
        right: Sequence[int] = (),
        looks: Any = (),
    ) -> None:
        """A row for each of `rows`, in aligned columns; the columns `right` hold numbers.

        `looks`: a style for each column, but for cells that are Parts. The last column is cut where the
        terminal ends.
        """
        widths = [max(len(_text(row[column])) for row in (heads, *rows)) for column in range(len(heads))]
        self._row(heads, widths, right, ["dim"] * len(heads))
        for row in rows:
            self._row(row, widths, right, looks)

    def _row(
        self, cells: Sequence[str | Part], widths: Sequence[int], right: Sequence[int], looks: Sequence[str]
    ) -> None:
        line: list[Part | str] = []
        room = self._width - 1
        last = len(cells) - 1
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            text = _text(cell)
            if column in right:
                shown = text.rjust(width)
            else:
                shown = words.short(text, max(20, room - 2)) if column == last else text.ljust(width)
            look = cell.style if isinstance(cell, Part) else looks[column] if column < len(looks) else ""
            line += ["  ", Part(shown, look)]
            room -= width + 2
        self.say(*line)

    @contextmanager
    def progress(self, text: str, total: int) -> Iterator[Tell]:
        """While this is entered, a bar on a terminal: what is yielded tells how much of `total` is done."""
        watched = not self.is_json and sys.stdout.isatty() and sys.stderr.isatty()
        if not watched or total < _WORTH_A_BAR or find_spec("rich") is None:
            yield lambda _: None
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(text, total=total)
            yield lambda done: bar.update(task, completed=min(done, total))


def _text(cell: str | Part) -> str:
    return cell.text if isinstance(cell, Part) else cell
