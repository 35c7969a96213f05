"""The three ways to serve a page, side by side."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.cli.demo.messages import Phase, WayName
from holdfast.cli.demo.pages import Database, Page
from holdfast.cli.demo.textbook import Textbook
from holdfast.cli.demo.with_holdfast import open_site

TITLES: dict[WayName, str] = {
    "database": "database only",
    "textbook": "textbook cache-aside",
    "holdfast": "Holdfast",
}


class Way:
    """How pages are served in one phase.

    `page(code)`; `update(code, notice)`: True if caches are known to have dropped the page; `undelivered()`:
    invalidations on their way; `refused()`: fills that came too late and were not stored.
    """

    def __init__(self, phase: Phase, dsn: str, name: str) -> None:
        self.database = database = Database(dsn, name)
        self.page: Callable[[str], Page] = database.page
        self.update: Callable[[str, str], bool] = self._commit_only
        self.undelivered: Callable[[], int] = lambda: 0
        self.refused: Callable[[], int] = lambda: 0
        self.max_loads = 0
        self._closing: list[Callable[[], None]] = [database.close]
        if phase.way == "textbook":
            textbook = Textbook(phase.url, phase.namespace, database)
            self.page, self.update = textbook.page, textbook.update
            self._closing.append(textbook.close)
        elif phase.way == "holdfast":
            site = open_site(phase.url, phase.namespace, database)
            self.page, self.update = site.page, site.update
            self.undelivered = lambda: site.pages.stats().undelivered
            self.refused = lambda: site.pages.stats().refused.get("invalidated", 0)
            self.max_loads = site.pages.options.max_loads
            self._closing.append(site.close)

    def close(self) -> None:
        """Close every connection."""
        for close in reversed(self._closing):
            close()

    def _commit_only(self, code: str, notice: str) -> bool:
        self.database.update(code, notice)
        return True
