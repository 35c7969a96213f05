"""What a handler wants to happen together with the acknowledgement of its message. Pure.

The server executes a script step by step and undoes nothing, so nothing in it may fail in the middle. What
could fail (a key of another type, a number that is none) the script looks at first; for that to be enough, no
two commands may write the same place. So writes of one place are put together here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast._wire.transport import Arg
from holdfast.durations import Duration, optional_seconds
from holdfast.errors import ConfigurationError

MOST = 2**53
MOST_KEYS = 4_000  # of one effects()


@dataclass(slots=True)
class Letter:
    """An entry for another stream: its partition's key, and its fields."""

    stream: str
    fields: Sequence[Arg]


class Writes:
    """The writes of one `effects()`, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}
        self._strings: dict[str, tuple[Arg, ...]] = {}
        self._sums: dict[str, int] = {}
        self._fields: dict[tuple[str, str], Arg] = {}
        self._field_sums: dict[tuple[str, str], int] = {}
        self.letters: list[Letter] = []

    def set(self, key: str, value: Arg, ttl: Duration | None = None) -> None:
        """SET; `ttl`: how long it is kept. Raises: ConfigurationError."""
        seconds = optional_seconds(ttl, "ttl")
        self._of_kind(key, "set")
        ends = () if seconds is None else ("PX", max(1, round(seconds * 1000)))
        self._strings[key] = (_plain(value), *ends)

    def incrby(self, key: str, amount: int = 1) -> None:
        """INCRBY. Raises: ConfigurationError."""
        self._of_kind(key, "incrby")
        self._sums[key] = _sum(self._sums.get(key, 0), amount)

    def hset(self, key: str, field: str | Mapping[str, Arg], value: Arg | None = None) -> None:
        """HSET of one field, or of a mapping. Raises: ConfigurationError."""
        self._of_kind(key, "hash")
        given = dict(field) if isinstance(field, Mapping) else {field: value}
        for name, one in given.items():
            _field(name)
            if (key, name) in self._field_sums:
                raise ConfigurationError(
                    f"field {name!r} of {key!r} is both set and counted in one effects()"
                )
            self._fields[key, name] = _plain(one)

    def hincrby(self, key: str, field: str, amount: int = 1) -> None:
        """HINCRBY. Raises: ConfigurationError."""
        self._of_kind(key, "hash")
        _field(field)
        if (key, field) in self._fields:
            raise ConfigurationError(f"field {field!r} of {key!r} is both set and counted in one effects()")
        self._field_sums[key, field] = _sum(self._field_sums.get((key, field), 0), amount)

    def delete(self, *keys: str) -> None:
        """DEL. Raises: ConfigurationError."""
        for key in keys:
            self._of_kind(key, "delete")

    def _of_kind(self, key: str, kind: str) -> None:
        if not isinstance(key, str) or not key:
            raise ConfigurationError(f"key={key!r} must be a str, and not empty")
        if self._kinds.setdefault(key, kind) != kind:
            raise ConfigurationError(
                f"key {key!r} is written by {self._kinds[key]} and by {kind} in one effects()"
            )
        if len(self._kinds) > MOST_KEYS:
            raise ConfigurationError(f"one effects() may write at most {MOST_KEYS} keys")

    @property
    def keys(self) -> Sequence[str]:
        """What is written, entries for streams aside."""
        return list(self._kinds)

    def commands(self) -> list[tuple[str, str, tuple[Arg, ...]]]:
        """Name, key and arguments of each."""
        made: list[tuple[str, str, tuple[Arg, ...]]] = []
        for key, kind in self._kinds.items():
            if kind == "delete":
                made.append(("DEL", key, ()))
        made += [("SET", key, args) for key, args in self._strings.items()]
        made += [("INCRBY", key, (amount,)) for key, amount in self._sums.items()]
        made += [("HSET", key, (field, value)) for (key, field), value in self._fields.items()]
        made += [("HINCRBY", key, (field, by)) for (key, field), by in self._field_sums.items()]
        return made


def _field(name: Any) -> None:
    if not isinstance(name, str):
        raise ConfigurationError(f"field={name!r:.80} must be a str")


def _plain(value: Any) -> Arg:
    if isinstance(value, bool) or not isinstance(value, str | bytes | int | float):
        raise ConfigurationError(f"value={value!r:.80} must be a str, bytes, int or float")
    return value


def _sum(before: int, amount: Any) -> int:
    if isinstance(amount, bool) or not isinstance(amount, int) or abs(before + amount) > MOST:
        raise ConfigurationError(f"amount={amount!r} must be a whole number below 2**53")
    return before + amount
