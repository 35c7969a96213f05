"""Session: what a request has in hand. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from holdfast.durations import Duration
from holdfast.sessions.ids import Asked
from holdfast.sessions.options import SessionInfo, lifetime
from holdfast.sessions.record import Record
from holdfast.sessions.shape import Delta, Shape

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Session(Generic[T]):
    """One session, as it was when it was loaded, and what the request changes in it.

        session.data["cart"] = [7]
        await sessions.save(session)

    `data` may be changed in place, at any depth, or replaced. `about` is what `create` was told. `is_new`:
    made by this process just now. `superseded`: its id was replaced by another request; it may be used to the
    end of this one, but send no cookie for it. `rotation_due`: its id is older than `renew_after`; call
    `rotate`.

    Nothing in it is shared: two requests that load one id have two of these.
    """

    __slots__ = (
        "_id",
        "_idle_ms",
        "_record",
        "_shape",
        "about",
        "data",
        "handle",
        "is_new",
        "rotation_due",
        "superseded",
    )

    def __init__(
        self,
        id: str,
        handle: str,
        record: Record,
        shape: Shape[T],
        data: T,
        *,
        is_new: bool = False,
        superseded: bool = False,
        rotation_due: bool = False,
    ) -> None:
        self._id = id
        self._record = record
        self._shape = shape
        self._idle_ms = record.idle
        self.handle = handle
        self.data = data
        self.about: Mapping[str, Any] = record.about
        self.is_new = is_new
        self.superseded = superseded
        self.rotation_due = rotation_due

    @property
    def id(self) -> str:
        """The secret: whoever has it is this session. For the cookie only; never for a log or a URL."""
        return self._id

    @property
    def _asked(self) -> Asked:
        return Asked(self._id, self.handle, self._id[23:])

    @property
    def user(self) -> str | None:
        """Whose session it is; None: nobody has signed in. Changed by `rotate` only."""
        return self._record.user

    @property
    def created_at(self) -> datetime:
        """When it was created, or its user signed in; UTC, of the server."""
        return _time(self._record.created)

    @property
    def last_seen(self) -> datetime:
        """When it was last used; may be older by `touch`."""
        return _time(self._record.last)

    @property
    def ends_at(self) -> datetime:
        """When it ends, however much it is used."""
        return _time(self._record.ends)

    @property
    def expires_at(self) -> datetime:
        """When it ends unless it is used before."""
        return _time(min(self._record.ends, self._record.last + self._idle_ms))

    @property
    def idle(self) -> float:
        """Seconds without a use after which it ends. May be set, as `= "5m"`; `save` writes it."""
        return self._idle_ms / 1000

    @idle.setter
    def idle(self, value: Duration) -> None:
        self._idle_ms = max(1, round(lifetime(value, "idle") * 1000))

    @property
    def version(self) -> int:
        """Grows with every save by anybody."""
        return self._record.version

    @property
    def changed(self) -> bool:
        """Is there anything to save? Compares what `data` is now with what was loaded, as bytes.

        Raises: CodecError for data that cannot be stored.
        """
        return bool(self._idle_ms != self._record.idle or self._delta())

    def _delta(self) -> Delta:
        return self._shape.delta(self._record.pieces, self._record.schema, self.data)

    def _moved(self, handle: str) -> None:
        """It was found under another id."""
        if handle != self.handle:
            self.handle = handle
            self.superseded = True

    def _took(self, name: str, version: int) -> None:
        """The piece `name` was taken out."""
        record = self._record
        pieces = {one: piece for one, piece in record.pieces.items() if one != name}
        version = version if version == record.version + 1 else record.version
        self._record = record._replace(pieces=pieces, version=version)
        if isinstance(self.data, dict):
            self.data.pop(name, None)

    def __repr__(self) -> str:
        state = "".join(f" {name}" for name in ("is_new", "superseded") if getattr(self, name))
        return f"<Session {self.handle[:8]} of {self.user!r}, version {self.version}{state}>"


def shown(handle: str, user: str, about: Mapping[str, Any], times: Sequence[int]) -> SessionInfo:
    """What `list` shows. `times`: created, last, ends and idle in ms."""
    created, last, ends, idle = times
    return SessionInfo(
        handle=handle,
        user=user,
        created_at=_time(created),
        last_seen=_time(last),
        expires_at=_time(min(ends, last + idle)),
        about=about,
    )


def _time(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)
