"""Sparklines and bars, as wide as there is room for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

_BLOCKS = "▁▂▃▄▅▆▇█"
_PLAIN = "_.:-=+*#"  # for a terminal that knows no blocks


def drawable(encoding: str | None) -> bool:
    """Can blocks be written in `encoding`?"""
    try:
        _BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def squeezed(
    values: Sequence[float], width: int, together: Callable[[Sequence[float]], float] = sum
) -> list[float]:
    """`values` in at most `width` places; neighbours share one, and then count `together`."""
    if len(values) <= width:
        return list(values)
    edges = [place * len(values) // width for place in range(width + 1)]
    return [together(values[begin:end]) for begin, end in pairwise(edges)]


def sparkline(values: Sequence[float], *, blocks: bool = True, most: float | None = None) -> str:
    """A character for each of `values`: the lowest one for nothing at all, the highest for `most` (None: the
    largest of them).
    """
    marks = _BLOCKS if blocks else _PLAIN
    highest = max(most or 0.0, *values, 0.0)
    if not highest:
        return marks[0] * len(values)
    last = len(marks) - 1
    # What is more than nothing shall be seen, however little it is.
    return "".join(marks[max(1, round(value / highest * last)) if value > 0 else 0] for value in values)


def bar(value: float, most: float, width: int, *, blocks: bool = True) -> str:
    """A bar of at most `width` characters, for `value` of `most`."""
    if most <= 0 or value <= 0 or width < 1:
        return ""
    return ("█" if blocks else "#") * max(1, round(value / most * width))


def figure(value: float) -> str:
    """A number as people read it: 1,234 or 0.0123."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}" if abs(value) < 1e9 else f"{value:.4g}"
