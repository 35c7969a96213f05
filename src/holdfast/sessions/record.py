"""What a session is in the server. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Record(NamedTuple):
    """One session; times in milliseconds, of the server.

    `born`: when its id was made. `generation`: 0 if it is nobody's (`user` None). `salt`: see seal.py.
    `pieces`: of the data, see shape.py.
    """

    created: int
    born: int
    last: int
    ends: int
    idle: int
    version: int
    schema: int
    generation: int
    user: str | None
    about: Mapping[str, Any]
    salt: bytes
    pieces: Mapping[str, bytes]
