"""What can be chosen about sessions, and what their methods hand out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal, TypedDict

from holdfast._values.evolution import Upcast
from holdfast._values.wrapping import Cipher, Wrapping
from holdfast._wire.durability import Durability
from holdfast.durations import Duration, optional_seconds, seconds
from holdfast.errors import ConfigurationError
from holdfast.sessions.shape import Shape

LONGEST_OVERLAP = 10.0  # seconds


class Keep(Enum):
    """The only member, KEEP, says: as it is."""

    KEEP = "keep"

    def __repr__(self) -> str:
        return self.name


KEEP: Final = Keep.KEEP


class SessionsKeywords(TypedDict, total=False):
    """What `hf.sessions(...)` takes besides the name and `type`; see SessionsOptions."""

    idle: Duration
    absolute: Duration
    overlap: Duration
    touch: Duration | None
    renew_after: Duration | None
    cipher: Cipher | None
    version: int
    upcast: Upcast | None
    deadline: Duration | None
    durability: Durability | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SessionsOptions:
    """The settings of sessions. Durations may be given as people write them; they are kept as seconds.

    idle            a session ends when nobody has used it for so long.
    absolute        and so long after it was created, or after its user has signed in, whatever happens.
    type            what `data` is: dict (the default: str keys, plain msgpack values), a TypedDict, a
                    msgspec.Struct, a dataclass, a model of pydantic.
    overlap         how long an id that `rotate` has replaced still leads to the session, for the requests
                    that were under way; from 0 to 10 s. Never where the user changed.
    touch           a use is noted at most so often: a session may end up to so much before `idle` is over.
                    None: a tenth of `idle`, and at most a minute. 0: at every `load`.
    renew_after     the age from which an id wants to be replaced (`Session.rotation_due`); None: never.
    cipher          seals data, user and `about` in the server; see holdfast.Cipher. Sessions that are not
                    sealed are then not accepted: whoever adds one signs everybody out.
    version, upcast schema version of `type`, and how data of older versions become today's. Processes that
                    only know older versions cannot read what this one has written: for them it is no session.
    deadline        how long a call may take; None: the client's timeout.
    durability      when what ends or replaces sessions counts as done; None: a failover may undo the last of
                    it.
    """

    idle: Duration = "30m"
    absolute: Duration = "12h"
    type: Any = dict
    overlap: Duration = "10s"
    touch: Duration | None = None
    renew_after: Duration | None = None
    cipher: Cipher | None = None
    version: int = 1
    upcast: Upcast | None = None
    deadline: Duration | None = None
    durability: Durability | None = None

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        put = object.__setattr__
        for name in ("idle", "absolute"):
            put(self, name, lifetime(getattr(self, name), name))
        idle, absolute = seconds(self.idle), seconds(self.absolute)
        if idle > absolute:
            raise ConfigurationError(
                f"idle={self.idle!r} s must be at most absolute={self.absolute!r} s, which ends every session"
            )
        put(self, "overlap", overlapping(self.overlap))
        touch = optional_seconds(self.touch, "touch", zero=True)
        put(self, "touch", min(idle / 10, 60.0) if touch is None else touch)
        if touch is not None and touch > idle / 2:
            raise ConfigurationError(
                f"touch={self.touch!r} s must be at most half of idle={self.idle!r} s: by so much a session "
                f"may end too early"
            )
        for name in ("renew_after", "deadline"):
            put(self, name, optional_seconds(getattr(self, name), name))
        Wrapping(cipher=self.cipher)
        Shape(self.type, self.version, self.upcast)

    def difference(self, other: SessionsOptions) -> str:
        """What `other` wants otherwise, in words; "" if both describe the same sessions."""
        return ", ".join(
            f"{one.name}={getattr(self, one.name)!r}, not {getattr(other, one.name)!r}"
            for one in fields(self)
            if getattr(self, one.name) != getattr(other, one.name)
        )


def lifetime(value: Duration, name: str) -> float:
    """`value`, of an `idle` or `absolute`, in seconds. Raises: ConfigurationError."""
    found = seconds(value, name)
    if found < 0.001:
        raise ConfigurationError(f"{name}={value!r} must be at least a millisecond")
    return found


def overlapping(value: Duration) -> float:
    """`value`, of an `overlap`, in seconds. Raises: ConfigurationError."""
    found = seconds(value, "overlap", zero=True)
    if found > LONGEST_OVERLAP:
        raise ConfigurationError(
            f"overlap={value!r} must be at most {LONGEST_OVERLAP:g} s: an id that was replaced has to die"
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A session as the page "my sessions" shows it: no id, no data.

    `handle` names it in the server and gives no right to anything; `revoke_handle` takes it. `about` is what
    `create` was told. Times are UTC, of the server; `last_seen` may be older than the last use by `touch`.
    """

    handle: str
    user: str
    created_at: datetime
    last_seen: datetime
    expires_at: datetime
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsStats:
    """Counts since the object was made, of this process.

    `created`; `loaded`; `missing`: ids of no session that lives (unknown, ended, revoked); `refused`: what is
    no id at all; `reused`: ids that came again after they had been replaced, and their overlap was over;
    `unreadable`: sessions whose data is none of the type, or not sealed as it must be. `saved`; `unchanged`:
    saves with nothing to write; `conflicts`: strict saves that somebody else was ahead of; `gone`: saves and
    rotations of a session that had ended. `touched`: uses that were noted. `rotated`; `superseded`: rotations
    that found the id replaced already. `revoked`: one by one; `revoked_all`: users.
    """

    created: int = 0
    loaded: int = 0
    missing: int = 0
    refused: int = 0
    reused: int = 0
    unreadable: int = 0
    saved: int = 0
    unchanged: int = 0
    conflicts: int = 0
    gone: int = 0
    touched: int = 0
    rotated: int = 0
    superseded: int = 0
    revoked: int = 0
    revoked_all: int = 0


Counted = Literal[
    "created",
    "loaded",
    "missing",
    "refused",
    "reused",
    "unreadable",
    "saved",
    "unchanged",
    "conflicts",
    "gone",
    "touched",
    "rotated",
    "superseded",
    "revoked",
    "revoked_all",
]


class Counters:
    """Plain integers to add to; see SessionsStats. Threads may lose a count, never more."""

    __slots__ = tuple(SessionsStats.__dataclass_fields__)

    created: int
    loaded: int
    missing: int
    refused: int
    reused: int
    unreadable: int
    saved: int
    unchanged: int
    conflicts: int
    gone: int
    touched: int
    rotated: int
    superseded: int
    revoked: int
    revoked_all: int

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    def snapshot(self) -> SessionsStats:
        """The counts at this moment."""
        return SessionsStats(**{name: getattr(self, name) for name in self.__slots__})
