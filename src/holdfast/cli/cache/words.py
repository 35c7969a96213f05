"""Durations, sizes and counts as people read them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

_STEPS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")


def duration(seconds: float) -> str:
    """`seconds` by its two largest units: 850 ms, 1.5 s, 12 s, 3 m 20 s, 2 d 4 h."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    left = round(seconds)
    told: list[str] = []
    for size, unit in _STEPS:
        if left >= size or told:
            if left // size:
                told.append(f"{left // size} {unit}")
            left %= size
            if len(told) == 2:
                break
    return " ".join(told)


def size(count: float) -> str:
    """`count` bytes: 34 B, 1.2 KiB."""
    for unit in _SIZES[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_SIZES[-1]}"


def share(part: float, whole: float) -> str:
    """`part` of `whole` in percent."""
    if not whole or not part:
        return "0 %"
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent >= 1 else "< 1 %"


def many(count: int, one: str) -> str:
    """`count` of something: 1 key, 2,000 entries."""
    several = f"{one[:-1]}ies" if one.endswith("ry") else f"{one}s"
    return f"{count:,} {one if count == 1 else several}"


def short(text: str, most: int) -> str:
    """`text`, with its end cut off if it is longer than `most`."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def safe(text: str) -> str:
    """`text` for a terminal: what could move its cursor is written as Python writes it."""
    return text if text.isprintable() else ascii(text)[1:-1]


def listed(items: Sequence[str]) -> str:
    """`items` in a sentence: a, b and c."""
    return " and ".join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)
