"""What a kind of metric is: how its events are gathered here, and how they are written there. Pure.

Events of one metric, series (a combination of tags) and bucket of the finest resolution are gathered in an
`aggregate` of this process. A flush turns all aggregates of a metric into calls of scripts; each event then
stands in one cell per resolution and series, that of all events (`ALL`) included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from holdfast._wire.script import Script

ALL = ""
"""The series of all events, whatever their tags."""

REMEMBER_MS = 6 * 3600 * 1000
"""For which a call is recognised when it comes again; one in doubt is given up before that."""

Arg = str | int | float | bytes


class Cell(NamedTuple):
    """Where events are counted: a bucket of one series in one resolution.

    start   of the bucket, in seconds since 1970
    ttl     milliseconds until the cell may go
    """

    series: str
    resolution: str
    start: int
    ttl: int


class Call(NamedTuple):
    """One run of a script. It is sent again as it is until its reply has come."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[Arg, ...]


class Place(Protocol):
    """Where one metric lives; all its keys share a slot."""

    def key(self, kind: str, series: str, resolution: str, start: int, part: str = "") -> str:
        """A key of one cell."""
        ...

    def own(self, kind: str, part: str = "") -> str:
        """A key of the metric as a whole."""
        ...

    def memo(self, kind: str) -> str:
        """Where the number of this client's last request stands."""
        ...


class Kind(Protocol):
    """One kind of metric."""

    @property
    def name(self) -> str:
        """As it stands in keys and in the index of metrics."""
        ...

    def fresh(self) -> Any:
        """An aggregate without events."""
        ...

    def add(self, aggregate: Any, item: Any, n: int) -> int:
        """Take an event into `aggregate`; by how much its memory grew, in entries."""
        ...

    def merge(self, into: Any, more: Any) -> None:
        """Take all events of the aggregate `more` into another one."""
        ...

    def calls(
        self, place: Place, cells: Sequence[tuple[Cell, Any]], request: Callable[[], int]
    ) -> list[Call]:
        """What writes those cells of one metric; `request` gives the next number of this client."""
        ...


Items = tuple[tuple[Any, Any], ...]


class Base(NamedTuple):
    """A metric and its kind: what is written together."""

    kind: Kind
    metric: str


class Gathered(NamedTuple):
    """The events of one cell and one combination of tags; `weight`: in entries."""

    cell: int
    items: Items
    aggregate: Any
    weight: int
