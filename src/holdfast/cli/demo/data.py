"""The airports, and the sequences that every phase replays: requests from readers, updates by the writer."""

from __future__ import annotations

import itertools
import lzma
import random
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.errors import ConfigurationError

if TYPE_CHECKING:
    import psycopg

SEED = 20_26
POPULAR = 400  # airports that visitors ask for
SKEW = 1.1  # Zipf: the n-th airport is asked for n ** -SKEW as often as the first
REQUESTS = 400_000  # then the sequence starts over
UPDATES_PER_SECOND = 20.0
CORRECTED = 0.3  # of the updates are corrected,
CORRECTED_AFTER = 0.010  # this many seconds later on average
_TRACED = 1_000_000  # requests taken from a trace

# What visitors ask for most; all others follow in random order.
_KNOWN = """
    ATL DXB LHR DFW HND DEN ORD IST LAX CDG JFK AMS BOS FRA MAD SIN SFO ICN LAS MIA SEA BKK MUC BCN DEL PEK
    HKG MCO SYD FCO EWR YYZ GRU MEX ZRH CPH LIS VIE DUB KEF HNL NBO CPT AKL EZE LIM BOG SCL JNB CAI
"""


@dataclass(frozen=True, slots=True)
class Workload:
    """`codes`: of the airports that are asked for, `requests`: which, in order; `source`: in words."""

    codes: list[str]
    requests: array[int]
    source: str

    def updates(self, seconds: float) -> list[tuple[float, int]]:
        """When the writer updates which airport, in the first `seconds` of a phase.

        At random, popular airports more often, as events happen; and a part is corrected soon after.
        """
        dice = random.Random(SEED)
        found: list[tuple[float, int]] = []
        at = dice.expovariate(UPDATES_PER_SECOND)
        while at < seconds:
            airport = self.requests[dice.randrange(len(self.requests))]
            found.append((at, airport))
            if dice.random() < CORRECTED:
                found.append((at + dice.expovariate(1 / CORRECTED_AFTER), airport))
            at += dice.expovariate(UPDATES_PER_SECOND)
        return sorted(one for one in found if one[0] < seconds)


def airports() -> list[tuple[Any, ...]]:
    """Code (IATA where there is one, else ICAO), name, city, country, elevation, latitude, longitude."""
    import airportsdata

    rows: dict[str, tuple[Any, ...]] = {}
    for icao, one in airportsdata.load("ICAO").items():
        code = one["iata"] if one["iata"] and one["iata"] not in rows else icao
        rows[code] = (
            code,
            one["name"],
            one["city"],
            one["country"],
            one["elevation"],
            one["lat"],
            one["lon"],
        )
    return list(rows.values())


def by_popularity(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    """All codes: those everybody knows, then the other IATA codes, then the rest, each in random order."""
    codes = {row[0] for row in rows}
    known = [code for code in _KNOWN.split() if code in codes]
    rest = sorted(codes.difference(known))
    random.Random(SEED).shuffle(rest)
    return known + sorted(rest, key=len)  # a stable sort: three letters before four


def skewed(codes: list[str]) -> Workload:
    """Requests for the popular ones among `codes` (in order of popularity), skewed as visitors are."""
    popular = codes[:POPULAR]
    weights = itertools.accumulate(rank**-SKEW for rank in range(1, len(popular) + 1))
    requests = random.Random(SEED).choices(range(len(popular)), cum_weights=list(weights), k=REQUESTS)
    return Workload(popular, array("I", requests), f"the {len(popular)} most popular airports, Zipf {SKEW:g}")


def traced(codes: list[str], path: Path) -> Workload:
    """The requests in the file `path`: its n-th object becomes the n-th airport (after the last, the first).

    Format: xz; big-endian signed 32-bit integers, one per request; a number names an object (its type, id and
    index, which do not matter here). Raises: ConfigurationError.
    """
    try:
        with lzma.open(path) as file:
            data = file.read(4 * _TRACED)
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise ConfigurationError(f"--trace {path}: cannot be read as an xz file: {error}") from error
    if not data or len(data) % 4:
        raise ConfigurationError(f"--trace {path}: {len(data)} bytes are no sequence of 32-bit numbers")
    values = array("i", data)
    if sys.byteorder == "little":
        values.byteswap()
    numbers: dict[int, int] = {}
    requests = array("I", (numbers.setdefault(value, len(numbers)) % len(codes) for value in values))
    source = f"{len(requests):,} requests for {len(numbers):,} objects in {path.name}"
    return Workload(codes[: len(numbers)], requests, source)


def fill(database: psycopg.Connection[Any], rows: Sequence[tuple[Any, ...]]) -> None:
    """Make the table and copy the airports in, with the indexes that the page's queries want."""
    database.execute(
        "CREATE TABLE airport (code text PRIMARY KEY, name text NOT NULL, city text NOT NULL,"
        " country text NOT NULL, elevation double precision NOT NULL, lat double precision NOT NULL,"
        " lon double precision NOT NULL, version int NOT NULL DEFAULT 1, notice text NOT NULL DEFAULT '')"
    )
    copy = "COPY airport (code, name, city, country, elevation, lat, lon) FROM STDIN"
    with database.cursor().copy(copy) as lines:
        for row in rows:
            lines.write_row(row)
    database.execute("CREATE INDEX ON airport (lat, lon)")
    database.execute("CREATE INDEX ON airport (country, elevation)")
    database.execute("VACUUM (ANALYZE) airport")
