"""How observations are distributed: a histogram in each bucket, whose steps grow by 2 %. Pure.

    await hits.observe("latency", 0.0123)
    found = await hits.quantiles("latency", [0.5, 0.9, 0.99], since="1h")
    found[0.99], found.mean, found.count

Step i holds what is above GAMMA**(i - 1) and up to GAMMA**i, and stands for the value that is at most 1 % off
either end (the idea is that of DDSketch, by Masson, Rim and Lee). Histograms of any buckets and tags are
added up, step by step, which makes the error no larger.

Promised: each quantile is within 1 % of the exact one: of the observation that has q * (count - 1) others
before it, rounded down. Negative values have steps of their own; what is nearer to zero than 1e-12 counts as
zero. `count`, `lowest` and `highest` are exact; `total` and `mean` as far as adding up floats is.

The memory follows the range: between 1 ms and 10 s there are 461 steps, of some 10 bytes each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, log
from typing import Any

from holdfast._wire.reply import mapping
from holdfast._wire.script import Script
from holdfast.analytics import packing
from holdfast.analytics.kinds import Arg, Call, Cell, Place
from holdfast.errors import ConfigurationError

WRITE = Script.load(__package__, "observe")

ACCURACY = 0.01
GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
SMALLEST, LARGEST = 1e-12, 1e200
MOST = (1 << 53) - 1
PAGE = 100  # buckets in one read

_LOG = log(GAMMA)
_MIDDLE = 1 << 20  # more than any step: above it the codes of positive values, below its negative the others


class Held:
    """Observations of this process: steps by their code, in whose order their values are."""

    __slots__ = ("highest", "lowest", "steps", "total")

    def __init__(self) -> None:
        self.steps: dict[int, int] = {}
        self.total = 0.0
        self.lowest = float("inf")
        self.highest = float("-inf")


class Quantiles:
    """The kind "quantile"."""

    name = "quantile"

    def fresh(self) -> Held:
        """No observations."""
        return Held()

    def add(self, aggregate: Held, item: float, n: int) -> int:
        """Take a value in, `n` times; 1 if its step is new."""
        code = code_of(item)
        had = aggregate.steps.get(code)
        aggregate.steps[code] = n + (had or 0)
        aggregate.total += item * n
        aggregate.lowest = min(aggregate.lowest, item)
        aggregate.highest = max(aggregate.highest, item)
        return had is None

    def merge(self, into: Held, more: Held) -> None:
        """Take the observations of `more` in."""
        for code, n in more.steps.items():
            into.steps[code] = into.steps.get(code, 0) + n
        into.total += more.total
        into.lowest = min(into.lowest, more.lowest)
        into.highest = max(into.highest, more.highest)

    def calls(
        self, place: Place, cells: Sequence[tuple[Cell, Held]], request: Callable[[], int]
    ) -> list[Call]:
        """What writes those cells."""
        found = packing.pieces(cells, _fields)
        keys = (place.memo(self.name),)
        return packing.calls(
            WRITE,
            found,
            lambda cell: (packing.key_of(place, self.name, cell),),
            keys,
            packing.numbered(request),
        )


QUANTILE = Quantiles()


def _fields(held: Held) -> Iterator[tuple[Arg, Arg]]:
    yield "s", repr(held.total)
    yield "l", repr(held.lowest)
    yield "h", repr(held.highest)
    for code, n in held.steps.items():
        yield field_of(code), n


# --- steps --------------------------------------------------------------------------------------------------


def check_value(value: Any, n: Any) -> float:
    """`value`, if it can be observed, `n` times. Raises: ConfigurationError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"value={value!r:.80} must be a number, as in observe('latency', 0.012)")
    if not -LARGEST <= value <= LARGEST:
        raise ConfigurationError(f"value={value!r:.80} must be finite, from -{LARGEST:g} to {LARGEST:g}")
    if isinstance(n, bool) or not isinstance(n, int) or not 0 < n <= MOST:
        raise ConfigurationError(f"n={n!r} must be a whole number from 1 to 2**53 - 1")
    return float(value)


def code_of(value: float) -> int:
    """The code of the step in which `value` lies."""
    if value >= SMALLEST:
        return ceil(log(value) / _LOG) + _MIDDLE
    if value <= -SMALLEST:
        return -ceil(log(-value) / _LOG) - _MIDDLE
    return 0


def value_of(code: int) -> float:
    """What a step stands for."""
    if not code:
        return 0.0
    middle: float = 2 * GAMMA ** (abs(code) - _MIDDLE) / (GAMMA + 1)
    return middle if code > 0 else -middle


def field_of(code: int) -> str:
    """A step as it stands in the hash: `z`, `12`, or below zero `n12`."""
    return str(code - _MIDDLE) if code > 0 else f"n{-code - _MIDDLE}" if code else "z"


def _code(field: str) -> int:
    if field == "z":
        return 0
    return -int(field[1:]) - _MIDDLE if field[0] == "n" else int(field) + _MIDDLE


# --- answers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """What was observed; `found[0.99]` is the quantile that was asked for. All None if there was nothing.

    `values`: the quantiles, as they were asked for. `total`: of all observations.
    """

    count: int
    total: float
    lowest: float | None
    highest: float | None
    mean: float | None
    values: Mapping[float, float | None]

    def __getitem__(self, q: float) -> float | None:
        """The quantile `q`. Raises: KeyError if it was not asked for."""
        return self.values[q]


def check_quantiles(qs: Any) -> tuple[float, ...]:
    """What to ask for. Raises: ConfigurationError."""
    found = (qs,) if isinstance(qs, int | float) else tuple(qs) if isinstance(qs, Iterable) else ()
    if not found or not all(
        isinstance(q, int | float) and not isinstance(q, bool) and 0 <= q <= 1 for q in found
    ):
        raise ConfigurationError(f"quantiles={qs!r:.80} must be numbers from 0 to 1, as in [0.5, 0.9, 0.99]")
    return tuple(found)


def held(replies: Iterable[Any]) -> Held:
    """All those histograms as one; `replies` are hashes as observe.lua writes them."""
    into = Held()
    for reply in replies:
        more = Held()
        for field, value in mapping(reply or {}).items():
            if field == "s":
                more.total = float(value)
            elif field == "l":
                more.lowest = float(value)
            elif field == "h":
                more.highest = float(value)
            else:
                more.steps[_code(field)] = int(value)
        QUANTILE.merge(into, more)
    return into


def distribution(held: Held, qs: Sequence[float]) -> Distribution:
    """What can be said of `held`."""
    codes = sorted(held.steps)
    reached = list(accumulate(held.steps[code] for code in codes))
    if not reached:
        return Distribution(
            count=0, total=0.0, lowest=None, highest=None, mean=None, values=dict.fromkeys(qs)
        )
    count = reached[-1]
    return Distribution(
        count=count,
        total=held.total,
        lowest=held.lowest,
        highest=held.highest,
        mean=held.total / count,
        values={q: _quantile(q, held, codes, reached) for q in qs},
    )


def _quantile(q: float, held: Held, codes: Sequence[int], reached: Sequence[int]) -> float:
    rank = int(q * (reached[-1] - 1))
    if rank == 0:
        return held.lowest
    if rank == reached[-1] - 1:
        return held.highest
    code = next(code for code, end in zip(codes, reached, strict=True) if end > rank)
    return min(max(value_of(code), held.lowest), held.highest)
