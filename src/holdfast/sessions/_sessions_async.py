# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncSessions: sessions of a web application, kept by the server. What it promises stands in rules.py."""

from __future__ import annotations

import builtins
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from holdfast._coord.owner import token
from holdfast._wire._async import AsyncWire
from holdfast._wire.transport import Arg
from holdfast.durations import Duration
from holdfast.errors import (
    CodecError,
    ConfigurationError,
    ConflictError,
    SessionGone,
)
from holdfast.sessions import ids, rules
from holdfast.sessions._desk_async import AsyncDesk
from holdfast.sessions._roll_async import AsyncRoll
from holdfast.sessions._rotation_async import AsyncRotation, Wanted
from holdfast.sessions.ids import Asked
from holdfast.sessions.options import (
    KEEP,
    Keep,
    SessionInfo,
    SessionsOptions,
    SessionsStats,
    lifetime,
    overlapping,
)
from holdfast.sessions.record import Record
from holdfast.sessions.rules import ALIVE, OTHERWISE, REUSED
from holdfast.sessions.seal import SALT, checked_about
from holdfast.sessions.session import Session
from holdfast.sessions.shape import Delta

T = TypeVar("T")


class AsyncSessions(Generic[T]):
    """Sessions of a web application, kept by the server.

        sessions = hf.sessions(idle="30m", absolute="12h")
        session = await sessions.create(user="ann", data={"cart": []})
        session = await sessions.load(cookie)             # None: there is no such session
        session.data["cart"].append(7)
        await sessions.save(session)

    Made by `hf.sessions(...)`. What is promised, and what is not, stands in holdfast.sessions.rules.
    """

    def __init__(self, wire: AsyncWire, name: str, options: SessionsOptions) -> None:
        """Raises: ConfigurationError."""
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f'sessions need a name that is not empty, as "sessions", not {name!r}')
        self.name = name
        self.options = options
        self._desk = AsyncDesk(wire, name, options)
        self._roll = AsyncRoll(self._desk)

    async def create(
        self,
        user: str | None = None,
        data: T | None = None,
        *,
        about: Mapping[str, Any] | None = None,
        idle: Duration | None = None,
        absolute: Duration | None = None,
        generation: int | None = None,
    ) -> Session[T]:
        """A new session, of `user` or (None) of nobody yet.

        `data`: None is an empty dict, or the type with its defaults. `about`: what `list` shows, such as
        device and address; plain msgpack values. `idle`, `absolute`: of this one, instead of the options',
        as for "stay signed in". `generation`: what `generation(user)` said before the password was checked;
        the login fails if `revoke_all` has come since.

        Raises: SessionGone (with `generation` only); CodecError; ConfigurationError; Unavailable (there may
        be a session whose id nobody knows), Refused, Closed.
        """
        desk, deadline = self._desk, self._desk.deadline()
        hint = ids.hint_of(self.name, user)
        if generation is not None and user is None:
            raise ConfigurationError(f"generation={generation!r} is a user's; give user=, too")
        asked = ids.make(secrets.token_bytes(ids.RANDOM), hint)
        value: Any = desk.shape.empty() if data is None else data
        absolute_ms = _ms(absolute, "absolute") or desk.absolute_ms
        record = Record(
            *(0, 0, 0, 0, _ms(idle, "idle") or desk.idle_ms, 1, desk.shape.version, 0, user),
            about=checked_about(about),
            salt=secrets.token_bytes(SALT) if desk.seal.is_on else b"",
            pieces=desk.shape.split(value),
        )
        await desk.warn(deadline)
        lineage = await desk.enter(hint, asked.handle, None, absolute_ms, deadline)
        if generation is not None and lineage.generation != b"%d" % generation:
            raise SessionGone(f"all sessions of {user!r} were revoked while he signed in")
        record = record._replace(generation=int(lineage.generation or 0))
        record = await desk.put(asked, record, absolute_ms, deadline)
        desk.counters.created += 1
        own = desk.shape.join(record.pieces, record.schema)  # what was given may be everybody's
        return Session(asked.id, asked.handle, record, desk.shape, own, is_new=True)

    async def load(self, id: str | None) -> Session[T] | None:
        """The session of `id`; None if there is none that lives. Anything that is no id is None, too.

        One round trip. Within the overlap after a rotation it is the session under its old id, `superseded`.
        Raises: Unavailable, Refused, Closed.
        """
        desk = self._desk
        asked = ids.parse(id)
        if asked is None:
            desk.counters.refused += bool(id)
            return None
        args = (desk.touch_ms,)
        code, reply, handle = await desk.follow(rules.LOAD, asked, lambda _: args, desk.deadline())
        if code != ALIVE:
            if reply[0] == REUSED:
                desk.reused(handle)
            desk.counters.missing += 1
            return None
        _, _, now, noted, fields = reply
        try:
            record = desk.seal.read(desk.layout.session(handle), fields)
            if not ids.fits(asked.hint, self.name, record.user):
                raise CodecError("the session of another user", reason="corrupt")
            data: T = desk.shape.join(record.pieces, record.schema)
        except CodecError as error:
            desk.unreadable(handle, error)
            return None
        desk.counters.loaded += 1
        desk.counters.touched += noted
        superseded = handle != asked.handle
        due = not superseded and rules.is_due(record, now, desk.renew_after_ms)
        return Session(asked.id, handle, record, desk.shape, data, superseded=superseded, rotation_due=due)

    async def save(self, session: Session[T], *, strict: bool = False) -> bool:
        """Write what was changed in `session`; False if nothing was, then the server is not asked.

        A save is a use. `strict`: only if nobody has saved since `session` was loaded.
        Raises: SessionGone, ConflictError (strict; or another release has rewritten it), CodecError;
        Unavailable (it may have been saved), Refused, Closed.
        """
        delta = session._delta()
        if not delta and session._idle_ms == session._record.idle:
            self._desk.counters.unchanged += 1
            return False
        await self._write(session, delta, strict=strict)
        return True

    async def touch(self, session: Session[T]) -> bool:
        """Note a use of `session` now, whatever `touch` says; False if it has ended.

        Raises: Unavailable, Refused, Closed.
        """
        desk = self._desk
        code, reply, handle = await desk.follow(rules.TOUCH, session._asked, lambda _: (), desk.deadline())
        if code != ALIVE:
            return False
        session._moved(handle)
        session._record = session._record._replace(last=reply[2])
        desk.counters.touched += 1
        return True

    async def pop(self, session: Session[T], key: str, default: Any = None) -> Any:
        """Take the value of the top-level `key` out, in the server and in `session.data`: of several requests
        only one gets it, as with a message that is shown once. `default` if it is not there.

        Raises: ConfigurationError unless the type is dict; SessionGone; CodecError; Unavailable, Refused,
        Closed.
        """
        desk, request = self._desk, token()[:12]
        if not desk.shape.is_plain:
            raise ConfigurationError("pop() is for data of type dict: other types need all of their fields")
        if session._record.schema != desk.shape.version:
            pieces = desk.shape.split(session.data)
            await self._write(session, Delta(pieces, (), whole=True), strict=False)
        field = desk.seal.field(session._record.salt, key)

        def keys(handle: str) -> Sequence[str]:
            return desk.layout.session(handle), desk.layout.memo(handle, request)

        args = (field, rules.REMEMBER_MS)
        code, reply, handle = await desk.follow(
            rules.POP, session._asked, lambda _: args, desk.deadline(), keys
        )
        if code != ALIVE:
            raise desk.gone()
        session._moved(handle)
        session._took(key, reply[2])
        if not reply[3]:
            return default
        return desk.shape.piece(desk.seal.piece(desk.layout.session(handle), field, reply[3]))

    async def rotate(
        self,
        session: Session[T],
        *,
        user: str | Keep | None = KEEP,
        overlap: Duration | None = None,
        about: Mapping[str, Any] | None = None,
        idle: Duration | None = None,
        absolute: Duration | None = None,
        generation: int | None = None,
    ) -> Session[T]:
        """The same session under a new id; what was changed is saved with it.

        `user`: who has signed in, if `session` had no user; then `created_at` and `absolute` begin anew, and
        the old id is dead at once. A session of one user never becomes another's: revoke it, and create one.
        `overlap`: instead of the options'. The others as in `create`; None: as they are.

        If another request was faster, its id holds: what returns is the session under the id it had, and is
        `superseded`. Where the user is to change, that is followed, not obeyed: the result has a new id.

        Raises: SessionGone; ConfigurationError; CodecError; Unavailable (the id may have been replaced; then
        the new one is lost, and the old one lives for the overlap), Refused, Closed.
        """
        known = session.user
        target = known if isinstance(user, Keep) else user
        if known is not None and target != known:
            raise ConfigurationError(
                f"user={user!r}: this is a session of {known!r}, and what is in it is his; "
                f"revoke it and create another"
            )
        signs_in = target != known
        if session.superseded and not signs_in:
            return await self._stayed(session)
        chosen = self.options.overlap if overlap is None else overlap
        wanted = Wanted(
            user=target,
            signs_in=signs_in,
            overlap_ms=0 if signs_in else round(overlapping(chosen) * 1000),
            about=None if about is None else checked_about(about),
            idle_ms=_ms(idle, "idle"),
            absolute_ms=_ms(absolute, "absolute"),
            generation=generation,
        )
        rotation = AsyncRotation(self._desk, session, wanted, self._desk.deadline())
        return await rotation.run() or await self._stayed(session)

    async def revoke(self, session: str | Session[T] | SessionInfo) -> bool:
        """End a session: sign out. By its id, also by one that was replaced (with an overlap, in the last ten
        minutes); False if there was none.

        Raises: Unavailable (it may live: try again), NotDurable, Refused, Closed.
        """
        if isinstance(session, Session):
            return await self._roll.end(session._asked)
        if isinstance(session, SessionInfo):
            return await self._roll.end(Asked("", session.handle, ids.hint_of(self.name, session.user)))
        asked = ids.parse(session)
        if asked is None:
            self._desk.counters.refused += bool(session)
            return False
        return await self._roll.end(asked)

    async def revoke_handle(self, user: str, handle: str) -> bool:
        """End the session of `user` that `list` showed as `handle`; False if he has no such session.

        Raises: as `revoke`.
        """
        return await self._roll.end_of(user, handle)

    async def revoke_all(self, user: str, *, keep: Session[T] | str | None = None) -> int:
        """End all sessions of `user`, and every login that is under way; his new generation. O(1).

        `keep`: all but this one, if it lives and is his. Raises: ConfigurationError if it is another's;
        Unavailable (they may live: try again), NotDurable, Refused, Closed.
        """
        asked = None
        if keep is not None:
            asked = keep._asked if isinstance(keep, Session) else ids.parse(keep)
            if asked is None:
                raise ConfigurationError("keep= must be a session or its id; this text is none")
        return await self._roll.end_all(user, asked)

    async def generation(self, user: str) -> int:
        """The generation of `user`: take it before his password is checked, and give it to `create` or
        `rotate`. Raises: Unavailable, Refused, Closed.
        """
        return await self._roll.generation(user)

    async def list(self, user: str) -> builtins.list[SessionInfo]:
        """The sessions of `user` that live, the last used first. Raises: Unavailable, Refused, Closed."""
        return await self._roll.list(user)

    def stats(self) -> SessionsStats:
        """What this process has done."""
        return self._desk.counters.snapshot()

    # --- what several of them do ----------------------------------------------------------------------------

    async def _write(self, session: Session[T], delta: Delta, *, strict: bool) -> None:
        desk, record = self._desk, session._record
        schema = desk.shape.version if delta.whole else record.schema
        idle = session._idle_ms
        head = (
            record.version if strict else "",
            *(
                secrets.token_urlsafe(6),
                record.schema,
                schema,
                "" if idle == record.idle else idle,
                int(delta.whole),
            ),
        )
        removed = () if delta.whole else [desk.seal.field(record.salt, name) for name in delta.removed]

        def args(handle: str) -> Sequence[Arg]:
            fields = desk.seal.fields(desk.layout.session(handle), record.salt, delta.written)
            return (*head, len(removed), *removed, *fields)

        code, reply, handle = await desk.follow(rules.SAVE, session._asked, args, desk.deadline())
        if code == OTHERWISE:
            desk.counters.conflicts += 1
            raise ConflictError(
                f"somebody has saved the session since it was loaded: its version is {reply[1]}, "
                f"not {record.version}",
                expected=record.version,
                actual=reply[1],
            )
        if code != ALIVE:
            raise desk.gone()
        session._moved(handle)
        session._record = rules.saved(record, delta, idle, schema, reply[2], reply[3])
        desk.counters.saved += 1

    async def _stayed(self, session: Session[T]) -> Session[T]:
        """Another request has rotated it."""
        await self.save(session)
        self._desk.counters.superseded += 1
        return session

    async def _aclose(self, patience: float) -> None:
        """Nothing runs in the background."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def _ms(value: Duration | None, name: str) -> int | None:
    return None if value is None else max(1, round(lifetime(value, name) * 1000))
