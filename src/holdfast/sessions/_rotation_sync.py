# Generated from _rotation_async.py by tools/unasync.py. Do not edit.
"""Rotation: a session gets a new id. The order of the steps stands in `run`."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from holdfast._wire.reply import text
from holdfast.errors import ConflictError, HoldfastError, SessionGone
from holdfast.sessions import ids, rules
from holdfast.sessions._desk_sync import Desk
from holdfast.sessions.ids import Asked
from holdfast.sessions.record import Record
from holdfast.sessions.rules import ALIVE, GONE, OTHERWISE, REPLACED, REUSED
from holdfast.sessions.session import Session
from holdfast.sessions.shape import Delta

T = TypeVar("T")


class Wanted(NamedTuple):
    """What is to become of a session; None: as it is."""

    user: str | None
    signs_in: bool
    overlap_ms: int
    about: Mapping[str, Any] | None = None
    idle_ms: int | None = None
    absolute_ms: int | None = None
    generation: int | None = None


class Rotation(Generic[T]):
    """One attempt of one caller."""

    def __init__(self, desk: Desk, session: Session[T], wanted: Wanted, deadline: float) -> None:
        self._desk = desk
        self._session = session
        self._wanted = wanted
        self._deadline = deadline
        self._hint = ids.hint_of(desk.name, wanted.user)
        self._delta: Delta = session._delta()
        # The session to be copied: where it is, and what is in it.
        self._handle = session.handle
        self._record: Record = session._record
        self._merged: Any = None  # the data, if others have saved, too

    def run(self) -> Session[T] | None:
        """The session under its new id; None if somebody else was faster, and his id holds.

        First the copy is written, under an id that nobody knows yet. Then the old id is turned into a
        pointer, in one step, if the session is what was copied: before that, nobody sees the copy; after it,
        nobody writes to the old one. A crash in between leaves a copy that ends by itself.

        Raises: SessionGone, ConflictError, CodecError, Unavailable, NotDurable, Refused, Closed.
        """
        desk = self._desk
        for _ in range(rules.ATTEMPTS):
            asked = ids.make(secrets.token_bytes(ids.RANDOM), self._hint)
            copy = self._copy(asked)
            key = desk.layout.session(self._handle)
            args = (asked.handle, self._record.version, self._wanted.overlap_ms, rules.REPLACED_MS)
            ((code, *found),) = desk.end(rules.ROTATE, (key,), args, (), self._deadline)
            if code == ALIVE:
                desk.counters.rotated += 1
                return self._renewed(asked, copy)
            self._drop(asked)
            if code in {GONE, REUSED}:
                raise desk.gone()
            if code == OTHERWISE:
                self._reread(desk.seal.read(key, found[1]))
            elif code == REPLACED:
                if not self._wanted.signs_in:
                    self._session._moved(text(found[0]))
                    return None
                self._follow(text(found[0]))
        raise ConflictError("the session was saved again and again while its id was to be replaced")

    def _copy(self, asked: Asked) -> Record:
        """Write what the session is to be under its new id."""
        desk, wanted, record, delta = self._desk, self._wanted, self._record, self._delta
        absolute_ms = wanted.absolute_ms or desk.absolute_ms
        anew = wanted.signs_in or wanted.absolute_ms is not None
        ends = None if anew else record.ends
        lineage = desk.enter(self._hint, asked.handle, ends, absolute_ms, self._deadline)
        generation = int(lineage.generation or 0)
        if not wanted.signs_in and not desk.holds(self._hint, lineage, self._handle, record.generation):
            raise desk.gone()
        if wanted.generation is not None and wanted.generation != generation:
            raise SessionGone(f"all sessions of {wanted.user!r} were revoked while he signed in")
        idle = self._session._idle_ms if wanted.idle_ms is None else wanted.idle_ms
        copy = record._replace(
            pieces=rules.merged(record, delta),
            schema=desk.shape.version if delta.whole else record.schema,
            version=record.version + bool(delta or idle != record.idle),
            idle=idle,
            about=record.about if wanted.about is None else wanted.about,
            user=wanted.user,
            generation=generation,
        )
        created = None if wanted.signs_in else record.created
        return desk.put(asked, copy, absolute_ms, self._deadline, created=created, ends=ends)

    def _follow(self, handle: str) -> None:
        """Somebody has replaced the id, but nobody has signed in: that one is to be replaced, then."""
        desk, session = self._desk, self._session
        args = (desk.touch_ms,)
        asked = session._asked._replace(handle=handle)
        code, reply, self._handle = desk.follow(rules.LOAD, asked, lambda _: args, self._deadline)
        if code != ALIVE:
            raise desk.gone()
        self._reread(desk.seal.read(desk.layout.session(self._handle), reply[4]))

    def _reread(self, record: Record) -> None:
        """Somebody has saved: what this one has changed comes on top. Raises: what `run` raises."""
        if record.user != self._session.user:
            raise self._desk.gone()
        if record.schema != self._session._record.schema:
            raise ConflictError("another release has rewritten the session while its id was to be replaced")
        shape = self._desk.shape
        schema = shape.version if self._delta.whole else record.schema
        self._merged = shape.join(rules.merged(record, self._delta), schema)  # before anything is replaced
        self._record = record

    def _drop(self, asked: Asked) -> None:
        """The copy is not needed; what remains of it would end by itself."""
        with contextlib.suppress(HoldfastError):
            self._desk.many([("UNLINK", self._desk.layout.session(asked.handle))], self._deadline)

    def _renewed(self, asked: Asked, record: Record) -> Session[T]:
        data = self._session.data
        if isinstance(data, dict) and self._merged is not None:  # whoever holds it sees the same
            data.clear()
            data.update(self._merged)
        elif self._merged is not None:
            data = self._merged
        return Session(asked.id, asked.handle, record, self._desk.shape, data)
