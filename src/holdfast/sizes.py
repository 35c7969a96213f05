"""Sizes as people write them: 65536, "64KiB", "1MB" -> bytes. Pure."""

from __future__ import annotations

import re

from holdfast.errors import ConfigurationError

Size = int | str

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)\s*")


def size(value: Size, name: str = "size", *, least: int = 1) -> int:
    """Bytes in `value`: a whole number of bytes, or text such as "64KiB" or "1.5MB".

    Raises: ConfigurationError, naming `name` and the value, for anything else or for less than `least`.
    """
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    result = int(float(found[1]) * _UNITS[found[2]]) if found else value
    if isinstance(result, bool) or not isinstance(result, int):
        raise ConfigurationError(f'{name}={value!r} is no size; write bytes (65536), or text such as "64KiB"')
    if result < least:
        raise ConfigurationError(f"{name}={value!r} must be at least {least} bytes")
    return result
