"""How the aggregates of a flush become the arguments of scripts. Pure.

An aggregate goes to several cells, one per resolution: its items are sent once, behind the ttls of its cells.
A script finds, one piece after the other:

    cells, items, ttl ..., item ...        as many ttls as cells; KEYS has the cells in the same order

What is big is sent in several calls, so that no script keeps the server busy for long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from holdfast._wire.script import Script
from holdfast.analytics.kinds import REMEMBER_MS, Arg, Call, Cell, Place

WORK = 4_000  # items times cells in one call: some milliseconds of the server
LENGTH = 128 * 1024  # of the items of one call, in characters


class Piece(NamedTuple):
    """A part of one aggregate, for all its cells."""

    cells: Sequence[Cell]
    items: Sequence[Arg]
    number: int
    length: int


def pieces(
    cells: Iterable[tuple[Cell, Any]], flat: Callable[[Any], Iterable[Sequence[Arg]]]
) -> Iterator[Piece]:
    """The aggregates of a flush, cut up; `flat` gives the items of one, each as its arguments."""
    targets: dict[int, tuple[Any, list[Cell]]] = {}
    for cell, aggregate in cells:
        targets.setdefault(id(aggregate), (aggregate, []))[1].append(cell)
    for aggregate, wanted in targets.values():
        room = max(1, WORK // len(wanted))
        part: list[Arg] = []
        count = length = 0
        for item in flat(aggregate):
            if count and (count >= room or length >= LENGTH):
                yield Piece(wanted, part, count, length)
                part, count, length = [], 0, 0
            part += item
            count += 1
            length += sum(len(one) if isinstance(one, str | bytes) else 8 for one in item)
        if count:
            yield Piece(wanted, part, count, length)


def calls(
    script: Script,
    found: Iterable[Piece],
    keys: Callable[[Cell], Sequence[str]],
    first_keys: Sequence[str] = (),
    first_args: Callable[[], Sequence[Arg]] = tuple,
) -> list[Call]:
    """Those pieces in as few calls as may be; each begins with `first_keys` and its own `first_args()`."""
    made: list[Call] = []
    names: list[str] = []
    args: list[Arg] = []
    work = length = 0
    for piece in found:
        weight = len(piece.cells) * piece.number
        if args and (work + weight > WORK or length + piece.length > LENGTH):
            made.append(Call(script, (*first_keys, *names), (*first_args(), *args)))
            names, args, work, length = [], [], 0, 0
        work += weight
        length += piece.length
        args += (len(piece.cells), piece.number, *(cell.ttl for cell in piece.cells), *piece.items)
        for cell in piece.cells:
            names += keys(cell)
    if args:
        made.append(Call(script, (*first_keys, *names), (*first_args(), *args)))
    return made


def numbered(request: Callable[[], int]) -> Callable[[], Sequence[Arg]]:
    """The first arguments of a call that must be recognised when it comes again."""
    return lambda: (request(), REMEMBER_MS)


def key_of(place: Place, kind: str, cell: Cell, part: str = "") -> str:
    """The key of `cell`."""
    return place.key(kind, cell.series, cell.resolution, cell.start, part)
