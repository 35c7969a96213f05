"""What a projection writes, together with the position it has reached. Pure.

The server executes a script step by step and undoes nothing, so nothing in it may fail in the middle. What
could fail (a key of another type, a number that is none) commit.lua looks at first; for that to be enough, no
two commands may write the same place. So the writes of all events of a batch are put together here, which
also makes one INCRBY of a thousand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from holdfast._wire.transport import Arg
from holdfast.errors import ConfigurationError
from holdfast.events.layout import written

MOST = 2**53  # of a number, as Lua counts
MOST_WRITES = 10_000  # of one event
CHUNK = 2_000  # arguments of one command: Lua's unpack takes no more than about 8,000

_WHOLE = re.compile(rb"-?\d{1,16}")

Write = tuple[str, str, tuple[Any, ...]]


class ProjectionEffects:
    """The writes of one event; a handler of a projection gets it as its first argument.

        def totals(fx, event):
            fx.hincrby(fx.key("totals"), event.value.day, event.value.amount)

    They are done when the position of the projection moves beyond the event, in one step: each of them once,
    whoever is killed. `replaying`: this event was handled before (by an older version of this projection, or
    before there was any): side effects elsewhere, such as mail, are not wanted.
    """

    __slots__ = ("_prefix", "_writes", "replaying")

    def __init__(self, prefix: str, *, replaying: bool) -> None:
        self.replaying = replaying
        self._prefix = prefix
        self._writes: list[Write] = []

    def key(self, name: str) -> str:
        """The key `name` of this version of the projection. Raises: ConfigurationError."""
        return self._prefix + written(name, "key")

    def set(self, key: str, value: Arg) -> None:
        """Make `key` the string `value`. Raises: ConfigurationError, as all of these."""
        self._add("SET", key, (_bytes(value),))

    def incrby(self, key: str, amount: int = 1) -> None:
        """Add to the number at `key`."""
        self._add("INCRBY", key, (_whole(amount),))

    def hset(self, key: str, field: Arg | Mapping[Any, Arg], value: Arg | None = None) -> None:
        """Set a field of a hash, or those of a mapping."""
        given = field if isinstance(field, Mapping) else {field: value}
        for name, one in given.items():
            self._add("HSET", key, (_bytes(name), _bytes(one)))

    def hincrby(self, key: str, field: Arg, amount: int = 1) -> None:
        """Add to the number in a field of a hash."""
        self._add("HINCRBY", key, (_bytes(field), _whole(amount)))

    def hdel(self, key: str, *fields: Arg) -> None:
        """Delete fields of a hash."""
        for field in fields:
            self._add("HDEL", key, (_bytes(field),))

    def sadd(self, key: str, *members: Arg) -> None:
        """Put members into a set."""
        for member in members:
            self._add("SADD", key, (_bytes(member),))

    def srem(self, key: str, *members: Arg) -> None:
        """Take members out of a set."""
        for member in members:
            self._add("SREM", key, (_bytes(member),))

    def zadd(self, key: str, scores: Mapping[Any, float]) -> None:
        """Give members of a sorted set their scores."""
        for member, score in scores.items():
            self._add("ZADD", key, (_bytes(member), _score(score)))

    def zincrby(self, key: str, member: Arg, amount: float = 1) -> None:
        """Add to the score of a member of a sorted set."""
        self._add("ZINCRBY", key, (_bytes(member), _score(amount)))

    def zrem(self, key: str, *members: Arg) -> None:
        """Take members out of a sorted set."""
        for member in members:
            self._add("ZREM", key, (_bytes(member),))

    def delete(self, *keys: str) -> None:
        """Delete keys."""
        for key in keys:
            self._add("DEL", key, ())

    def _add(self, command: str, key: str, args: tuple[Any, ...]) -> None:
        if not isinstance(key, str) or not key.startswith(self._prefix):
            raise ConfigurationError(
                f"key={key!r:.80} is none of this projection's: name it with fx.key(...), so that a rebuilt "
                f"version has keys of its own"
            )
        if len(self._writes) >= MOST_WRITES:
            raise ConfigurationError(f"an event may write at most {MOST_WRITES} times")
        self._writes.append((command, key, args))


class _Place:
    """What is to become of one key."""

    __slots__ = ("amount", "deleted", "kind", "members", "value")

    def __init__(self, *, deleted: bool = False) -> None:
        self.deleted = deleted
        self.kind = ""
        self.value: bytes | None = None  # of a string
        self.amount = 0  # that is added to it
        self.members: dict[bytes, tuple[str, Any]] = {}  # set, add or drop, and what


_KIND = {"SET": "string", "INCRBY": "string", "H": "hash", "S": "set", "Z": "sorted set"}


class Batch:
    """The writes of some events, as commands of which no two write the same place."""

    def __init__(self) -> None:
        self.size = 0  # writes that were put together
        self._places: dict[str, _Place] = {}

    @classmethod
    def of(cls, all_effects: Iterable[ProjectionEffects]) -> Batch:
        """The writes of these. Raises: ConfigurationError."""
        batch = cls()
        for effects in all_effects:
            batch.add(effects)
        return batch

    def add(self, effects: ProjectionEffects) -> None:
        """Add the writes of the next event.

        Raises: ConfigurationError if they do not fit those before, and this batch is of no use any more.
        """
        self.size += len(effects._writes)
        for command, key, args in effects._writes:
            self._write(command, key, args)

    def _write(self, command: str, key: str, args: tuple[Any, ...]) -> None:
        if command in ("DEL", "SET"):
            self._places[key] = place = _Place(deleted=True)
            if command == "SET":
                place.kind, place.value = "string", args[0]
            return
        place = self._places.setdefault(key, _Place())
        kind = _KIND.get(command) or _KIND[command[0]]
        if place.kind not in ("", kind):
            raise ConfigurationError(f"{command} of {key!r}: it holds a {place.kind}")
        place.kind = kind
        if command == "INCRBY":
            if place.deleted:
                place.value = b"%d" % _sum(place.value or b"0", args[0], key)
            else:
                place.amount = _sum(place.amount, args[0], key)
        elif command in ("HINCRBY", "ZINCRBY"):
            place.members[args[0]] = self._counted(place, args[0], args[1], key)
        elif command in ("HDEL", "SREM", "ZREM"):
            place.members[args[0]] = ("drop", None)
        else:  # HSET, SADD, ZADD
            place.members[args[0]] = ("set", args[-1])

    def _counted(self, place: _Place, member: bytes, amount: Any, key: str) -> tuple[str, Any]:
        how, before = place.members.get(member, ("drop" if place.deleted else "add", None))
        if place.kind == "hash":
            total = _sum(before or 0, amount, key)
            return ("add", total) if how == "add" else ("set", b"%d" % total)
        return "add" if how == "add" else "set", _score((before or 0.0) + amount)

    def commands(self) -> list[Write]:
        """Name, key and arguments of each."""
        made: list[Write] = []
        for key, place in self._places.items():
            if place.deleted and place.value is None:
                made.append(("DEL", key, ()))
            if place.value is not None:
                made.append(("SET", key, (place.value,)))
            elif place.kind == "string":
                made.append(("INCRBY", key, (place.amount,)))
            elif place.kind:
                made += _of_members(key, place)
        return made


def _of_members(key: str, place: _Place) -> Iterable[Write]:
    letter = {"hash": "H", "set": "S", "sorted set": "Z"}[place.kind]
    put: list[Any] = []
    drop: list[Any] = []
    for member, (how, value) in place.members.items():
        if how == "drop":
            drop.append(member)
        elif how == "add":
            yield (f"{letter}INCRBY", key, (member, value) if letter == "H" else (value, member))
        elif letter == "S":
            put.append(member)
        else:
            put += (member, value) if letter == "H" else (value, member)
    for command, args in (
        ("SET" if letter == "H" else "ADD", put),
        ("DEL" if letter == "H" else "REM", drop),
    ):
        for at in range(0, len(args), CHUNK):
            yield letter + command, key, tuple(args[at : at + CHUNK])


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigurationError(f"value={value!r:.80} must be a str, bytes, int or float")
    return str(value).encode()


def _whole(amount: Any) -> int:
    if isinstance(amount, bool) or not isinstance(amount, int) or abs(amount) > MOST:
        raise ConfigurationError(f"amount={amount!r} must be a whole number of at most 2**53")
    return amount


def _sum(before: int | bytes, amount: int, key: str) -> int:
    if isinstance(before, bytes):
        if not _WHOLE.fullmatch(before):
            raise ConfigurationError(f"INCRBY of {key!r}: it holds no whole number")
        before = int(before)
    return _whole(before + amount)


def _score(score: Any) -> float:
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise ConfigurationError(f"score={score!r} must be a finite number")
    return score
