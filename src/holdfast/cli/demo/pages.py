"""The page that is served: an airport, its ten nearest within 1,000 km, and its country's figures.

Three queries, several milliseconds of SQL, as services have them. Only an update of the airport itself
changes its page, so the version in the page says exactly how old the page is.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypedDict

import psycopg
from psycopg.rows import dict_row

from holdfast.cli.demo.messages import Load

READERS = "holdfast demo reader"  # how the readers' connections are called in the database
QUERIES = 3  # per page


class Airport(TypedDict):
    """One row; `elevation` in feet."""

    code: str
    name: str
    city: str
    country: str
    elevation: float
    lat: float
    lon: float
    version: int
    notice: str


class Neighbour(TypedDict):
    """One of the nearest."""

    code: str
    name: str
    km: float


class Country(TypedDict):
    """The figures of all airports of a country."""

    airports: int
    mean_elevation: float
    highest: float


class Page(TypedDict):
    """What a visitor sees."""

    airport: Airport
    nearest: list[Neighbour]
    country: Country


_AIRPORT = """
SELECT code, name, city, country, elevation, lat, lon, version, notice FROM airport WHERE code = %s"""

# A box of 1,000 km first (the index on lat, lon), then the great circle. The box wraps around at 180 degrees.
_NEAREST = """
SELECT code, name, km FROM (
    SELECT code, name, 12742 * asin(least(1, sqrt(
        power(sin(radians(lat - %(lat)s) / 2), 2)
        + cos(radians(lat)) * cos(radians(%(lat)s)) * power(sin(radians(lon - %(lon)s) / 2), 2)))) AS km
    FROM airport
    WHERE lat BETWEEN %(south)s AND %(north)s
      AND (lon BETWEEN %(west)s AND %(east)s
           OR lon - 360 BETWEEN %(west)s AND %(east)s OR lon + 360 BETWEEN %(west)s AND %(east)s)
      AND code <> %(code)s) AS around
WHERE km <= 1000 ORDER BY km LIMIT 10"""

_COUNTRY = """
SELECT count(*) AS airports, avg(elevation) AS mean_elevation, max(elevation) AS highest
FROM airport WHERE country = %s"""

_UPDATE = """
UPDATE airport SET version = version + 1, notice = %s WHERE code = %s RETURNING version"""


class Database:
    """The database as a service sees it: connections are opened when none is free, and kept.

    `loads`: every page loaded. `committed`: the version and moment of the last update. `opened`: connections.
    """

    def __init__(self, dsn: str, name: str) -> None:
        self.loads: list[Load] = []
        self.committed = (0, 0.0)
        self.opened = 0
        self._dsn = dsn
        self._name = name
        self._idle: deque[psycopg.Connection[dict[str, Any]]] = deque()

    def page(self, code: str) -> Page:
        """The page of the airport `code`."""
        began = time.monotonic()
        with self._connection() as database:
            airport = _one(database.execute(_AIRPORT, (code,)))
            nearest = database.execute(_NEAREST, {"code": code, **_around(airport["lat"], airport["lon"])})
            page: dict[str, Any] = {"airport": airport, "nearest": nearest.fetchall()}
            page["country"] = _one(database.execute(_COUNTRY, (airport["country"],)))
        self.loads.append(Load(code, began, time.monotonic()))
        return page  # type: ignore[return-value]  # (what the SQL above returns)

    def update(self, code: str, notice: str) -> None:
        """Give the airport a new notice, and so a new version; committed when this returns."""
        with self._connection() as database:
            version = _one(database.execute(_UPDATE, (notice, code)))["version"]
        self.committed = (version, time.monotonic())

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """A free connection, in autocommit: each statement is its own transaction."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = psycopg.Connection[dict[str, Any]].connect(
                self._dsn,
                autocommit=True,
                row_factory=dict_row,
                application_name=self._name,
                connect_timeout=5,
            )
            self.opened += 1
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)


def _one(cursor: psycopg.Cursor[dict[str, Any]]) -> dict[str, Any]:
    row = cursor.fetchone()
    if row is None:
        raise LookupError("no such airport")
    return row


def _around(lat: float, lon: float) -> dict[str, float]:
    """The place, and a box that holds every point within 1,000 km of it."""
    high = 9.0  # degrees of latitude in 1,000 km
    edge = min(abs(lat) + high, 89.0)  # a degree of longitude is shortest at the edge nearer to the pole
    wide = min(180.0, high / math.cos(math.radians(edge)))
    return {
        "lat": lat,
        "lon": lon,
        "south": lat - high,
        "north": lat + high,
        "west": lon - wide,
        "east": lon + wide,
    }
