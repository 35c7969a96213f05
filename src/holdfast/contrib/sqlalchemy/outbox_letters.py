"""What a row of an outbox says that is to be published to a stream. Pure.

Its topic is "stream:<name>", its kind "publish"; its key is what keeps its order: the key of the value (a
long one is a digest), or its dedup id where it has none; and the payload is a Letter as msgpack.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from holdfast.contrib.ledger import backoff
from holdfast.contrib.rows import shortened

PUBLISH: Final = "publish"


class Letter(msgspec.Struct, frozen=True, array_like=True):
    """A message, as it will stand in its stream: written by the code that knew its type.

    `partition`: its number. `when`: '' at once, or as publish.lua is told it. `dedup`: its id. `fields`: of
    the entry, in pairs.
    """

    partition: int
    when: str
    dedup: str
    fields: list[Any]

    @property
    def lane(self) -> str:
        """What keeps its order, as the column `key` has room for it."""
        names = dict(zip(self.fields[::2], self.fields[1::2], strict=True))
        return shortened(str(names.get("key", self.dedup)))

    def encode(self) -> bytes:
        """The payload of its row."""
        return msgspec.msgpack.encode(self)


def topic_of(stream: Any) -> str:
    """The topic of a stream's rows."""
    return f"stream:{stream.name}"


def letter_of(payload: bytes) -> Letter:
    """What `encode` was given. Raises: msgspec.MsgspecError."""
    return msgspec.msgpack.decode(payload, type=Letter)


def bell_of(stream: Any) -> str:
    """The channel that tells of new rows of a stream."""
    bell: str = stream._desk.wire.keys.tagged("outbox", stream.name)
    return bell


class _Rest(NamedTuple):
    attempts: int
    until: float  # monotonic
    error: str


class Resting:
    """The keys whose oldest message could not be published: it is tried again later, and what is behind it
    waits. Points in time are monotonic seconds.
    """

    def __init__(self) -> None:
        self._keys: dict[str, _Rest] = {}

    def keys(self, now: float) -> list[str]:
        """Those whose pause is not over."""
        return [key for key, rest in self._keys.items() if rest.until > now]

    def failed(self, key: str, error: str, now: float, dice: float) -> int:
        """Have `key` rest, for 0.1 to 10 s, longer each time; returns how often it has failed."""
        attempts = self._keys[key].attempts + 1 if key in self._keys else 1
        self._keys[key] = _Rest(attempts, now + backoff(attempts, dice), error)
        return attempts

    def succeeded(self, key: str) -> None:
        """Its oldest message was published."""
        self._keys.pop(key, None)

    def failing(self) -> Iterator[tuple[str, tuple[int, str]]]:
        """Each key, how often it has failed, and the last error."""
        for key, rest in list(self._keys.items()):
            yield key, (rest.attempts, rest.error)
