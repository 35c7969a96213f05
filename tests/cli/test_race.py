"""The race by which the textbook lies, step by step, on a real database and a real server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from holdfast import embedded
from holdfast.cli.demo import data
from holdfast.cli.demo.auditor import Auditor
from holdfast.cli.demo.messages import Phase, Update, WayName
from holdfast.cli.demo.pages import Database, Page
from holdfast.cli.demo.postgres import Postgres
from holdfast.cli.demo.ways import Way

PATIENCE = 20.0


class Halting(Database):
    """Its first page waits, loaded, until it may go on."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn, "race")
        self.loaded, self.go_on = threading.Event(), threading.Event()

    def page(self, code: str) -> Page:
        page = super().page(code)
        if not self.loaded.is_set():
            self.loaded.set()
            assert self.go_on.wait(PATIENCE)
        return page


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    rows = [row for row in data.airports() if row[3] in {"IS", "IE"}]
    with Postgres() as postgres, psycopg.connect(postgres.dsn, autocommit=True) as connection:
        data.fill(connection, rows)
        yield postgres.dsn


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.Server]:
    with embedded.start() as server:
        yield server


def lies(name: WayName, dsn: str, server: embedded.Server, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The race, lost on purpose; then one more read. What does the auditor say?"""
    monkeypatch.setattr("holdfast.cli.demo.ways.Database", lambda dsn, _: Halting(dsn))
    way = Way(Phase(name, server.url, f"race-{name}"), dsn, "race")
    assert isinstance(way.database, Halting)
    reader = threading.Thread(target=way.page, args=("DUB",))
    reader.start()
    assert way.database.loaded.wait(PATIENCE)
    assert way.update("DUB", "fog")
    version, committed = way.database.committed
    update = Update(0, version, committed, time.monotonic())
    way.database.go_on.set()
    reader.join(PATIENCE)
    began = time.monotonic()
    served = way.page("DUB")["airport"]["version"]
    way.close()
    auditor = Auditor([update], ["DUB"])
    auditor.judge([0], [served], [began], [time.monotonic()])
    return [f"{lie.airport}: {lie.newer - lie.served} behind" for lie in auditor.lies()]


def test_the_textbook_stores_what_it_loaded_before_the_update(
    dsn: str, server: embedded.Server, monkeypatch: pytest.MonkeyPatch
):
    assert lies("textbook", dsn, server, monkeypatch) == ["DUB: 1 behind"]


@pytest.mark.parametrize("name", ["holdfast", "database"])
def test_the_others_do_not(name: WayName, dsn: str, server: embedded.Server, monkeypatch: pytest.MonkeyPatch):
    assert lies(name, dsn, server, monkeypatch) == []


def test_the_page_has_ten_neighbours_in_order_and_the_figures_of_its_country(dsn: str):
    database = Database(dsn, "page")
    page = database.page("DUB")
    database.close()
    assert page["airport"]["country"] == "IE"
    distances = [one["km"] for one in page["nearest"]]
    assert len(distances) == 10
    assert distances == sorted(distances)
    assert 0 < distances[0] < distances[-1] <= 1000
    assert page["country"]["airports"] > 20
    assert page["country"]["highest"] > page["country"]["mean_elevation"]
