"""The same with Holdfast. The lines between the two rulers are shown at the end of the demo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast import Cache, Holdfast
from holdfast.cli.demo.pages import Database, Page


@dataclass(frozen=True, slots=True)
class Site:
    """Pages through Holdfast."""

    hf: Holdfast
    pages: Cache[Page]
    page: Callable[[str], Page]
    update: Callable[[str, str], bool]

    def close(self) -> None:
        """Close the client; invalidations that are still to be delivered get a moment."""
        self.hf.close(drain="2s")


def open_site(url: str, namespace: str, database: Database) -> Site:
    """Serve the pages of `database`, cached on the server at `url`."""
    # ---
    hf = Holdfast(url, namespace=namespace)
    pages = hf.cache("pages", ttl="5m", max_loads=2, type=Page)

    @pages.cached("airport:{code}")
    def page(code: str) -> Page:
        return database.page(code)  # three SELECTs

    def update(code: str, notice: str) -> bool:
        database.update(code, notice)  # commits
        return page.invalidate(code)

    # ---
    return Site(hf, pages, page, update)
