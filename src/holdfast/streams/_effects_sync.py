# Generated from _effects_async.py by tools/unasync.py. Do not edit.
"""Effects: what a handler writes together with the acknowledgement of its message."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from holdfast._wire.cluster.slots import slot_of
from holdfast._wire.transport import Arg
from holdfast.durations import Duration
from holdfast.errors import ConfigurationError
from holdfast.streams import rules
from holdfast.streams.writes import Letter, Writes

if TYPE_CHECKING:
    from holdfast.streams._message_sync import Message
    from holdfast.streams._stream_sync import Stream


class Effects:
    """See `Message.effects`. Keys are literal; in a Cluster they must share the message's slot."""

    def __init__(self, message: Message[Any]) -> None:
        self._message = message
        self._writes = Writes()

    def set(self, key: str, value: Arg, ttl: Duration | None = None) -> None:
        """Set a string; `ttl`: how long it is kept. Raises: ConfigurationError."""
        self._writes.set(key, value, ttl)

    def incrby(self, key: str, amount: int = 1) -> None:
        """Add to a number. Raises: ConfigurationError."""
        self._writes.incrby(key, amount)

    def hset(self, key: str, field: str | Mapping[str, Arg], value: Arg | None = None) -> None:
        """Set a field of a hash, or several. Raises: ConfigurationError."""
        self._writes.hset(key, field, value)

    def hincrby(self, key: str, field: str, amount: int = 1) -> None:
        """Add to a field of a hash. Raises: ConfigurationError."""
        self._writes.hincrby(key, field, amount)

    def delete(self, *keys: str) -> None:
        """Delete keys. Raises: ConfigurationError."""
        self._writes.delete(*keys)

    def publish(
        self,
        stream: Stream[Any],
        value: Any,
        *,
        key: str | int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Publish `value` to `stream`. In another slot of a Cluster it arrives a moment later, once.

        Raises: ConfigurationError, CodecError.
        """
        part, fields = stream._letter(value, key=key, headers=headers)
        self._writes.letters.append(Letter(part.stream, fields))

    def __enter__(self) -> Self:
        self._message.ensure()
        if self._message.is_acked:
            raise ConfigurationError(
                f"{self._message!r} has had its effects; put all of them into one effects()"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._apply()

    def _apply(self) -> None:
        message, berth = self._message, self._message.part
        written, commands = self._told()
        who = (berth.group, berth.member, message.id, message.deliveries)
        answer = berth.desk.effects(berth.partition, berth.keys, who, written, commands)
        if isinstance(answer, list):
            key = written[answer[0] - 1] if answer[0] <= len(written) else "a key"
            raise ConfigurationError(f"effects(): {key!r} cannot be written: {answer[1].decode()}")
        if answer != rules.DONE:
            cause = "fenced" if answer == rules.FENCED else "gone"
            message.lose(cause)
            raise message.lost_error(cause)
        message.is_acked = True

    def _told(self) -> tuple[list[str], list[Arg]]:
        """Keys and commands, as effects.lua is told them. Raises: ConfigurationError for another slot."""
        own = self._message.part.partition.stream
        is_cluster = self._message.part.desk.is_cluster()
        slot = slot_of(own)
        written: list[str] = []
        commands: list[Arg] = []
        for name, key, args in self._writes.commands():
            if is_cluster and slot_of(key) != slot:
                raise ConfigurationError(
                    f"effects(): key {key!r} is in another slot of the Cluster than the message; "
                    f"message.key(...) names keys in its slot"
                )
            written.append(key)
            commands += (name, len(written), len(args), *args)
        for letter in self._writes.letters:
            if is_cluster and slot_of(letter.stream) != slot:
                packed = msgspec.msgpack.encode([_bytes(one) for one in letter.fields])
                commands += ("OUTBOX", 0, 4, "to", letter.stream, "fields", packed)
                continue
            written.append(letter.stream)
            commands += ("PUBLISH", len(written), len(letter.fields), *letter.fields)
        return written, commands


def _bytes(arg: Arg) -> bytes:
    return arg if isinstance(arg, bytes) else str(arg).encode()
