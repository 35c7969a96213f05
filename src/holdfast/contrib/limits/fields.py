"""Structured fields of HTTP (RFC 9651), as far as headers of limits need them. Pure."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

MOST: Final = 999_999_999_999_999
"""The largest Integer of a structured field."""

Bare = int | str | bytes | bool
_PLAIN = "".join(map(chr, range(0x20, 0x7F)))


def whole(number: float) -> int:
    """`number` as a structured field can hold it: not below 0, rounded up, at most MOST."""
    if number >= MOST:  # infinity too
        return MOST
    return max(0, math.ceil(number))


def plain(text: str) -> str:
    """`text` in printable ASCII, all other characters %-escaped, since a String can hold no others."""
    return text if text.isascii() and text.isprintable() else quote(text, safe=_PLAIN, errors="replace")


def bare(value: Bare) -> str:
    """An Integer, a String, a Byte Sequence or a Boolean."""
    match value:
        case bool():
            return "?1" if value else "?0"
        case int():
            return str(min(max(value, -MOST), MOST))
        case bytes():
            return f":{b64encode(value).decode()}:"
        case _:
            escaped = plain(value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'


def item(value: Bare, parameters: Iterable[tuple[str, Bare | None]]) -> str:
    """`value` with those of its parameters that are not None."""
    told = [
        f";{name}" if one is True else f";{name}={bare(one)}" for name, one in parameters if one is not None
    ]
    return bare(value) + "".join(told)
