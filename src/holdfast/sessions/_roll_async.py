# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncRoll: the sessions of each user, and how sessions are ended."""

from __future__ import annotations

import builtins
import contextlib
from typing import Any

from holdfast._coord.owner import token
from holdfast._wire.reply import text
from holdfast._wire.transport import Command
from holdfast.errors import CodecError, ConfigurationError, HoldfastError
from holdfast.sessions import ids, rules
from holdfast.sessions._desk_async import AsyncDesk
from holdfast.sessions.ids import Asked
from holdfast.sessions.options import SessionInfo
from holdfast.sessions.rules import ALIVE, NOBODY, REPLACED, Lineage
from holdfast.sessions.session import shown


class AsyncRoll:
    """See the file's docstring. What the methods raise stands in AsyncSessions."""

    def __init__(self, desk: AsyncDesk) -> None:
        self._desk = desk

    async def end(self, asked: Asked) -> bool:
        """End the session to which an id leads; did it live?"""
        desk, deadline = self._desk, self._desk.deadline()
        handle, request = asked.handle, token()
        for _ in range(rules.HOPS):
            commands: builtins.list[Command] = []
            if asked.hint:
                record, index = desk.layout.user(asked.hint)
                commands = [("ZREM", index, handle), ("HMGET", record, *rules.FIELDS)]
            key, args = desk.layout.session(handle), (request, rules.REMEMBER_MS)
            reply, *rest = await desk.end(rules.REVOKE, (key,), args, commands, deadline)
            if reply[0] == REPLACED:
                handle = text(reply[1])
                continue
            lineage = Lineage.of(rest[1]) if rest else NOBODY
            lived = reply[0] == ALIVE and desk.holds(asked.hint, lineage, handle, reply[1])
            desk.counters.revoked += lived
            return lived
        return False

    async def end_of(self, user: str, handle: str) -> bool:
        """End the session `handle` if it is of `user`; did it live?"""
        desk, deadline = self._desk, self._desk.deadline()
        hint = self._hint(user)
        if not ids.is_handle(handle):
            return False
        found, lineage = await desk.ask(rules.LOOK, handle, (), hint, deadline)
        if self._info(handle, found, user, lineage) is None:
            return False
        return await self.end(Asked("", handle, hint))

    async def end_all(self, user: str, keep: Asked | None) -> int:
        """End all sessions of `user` but the one of an id; his new generation."""
        desk, deadline = self._desk, self._desk.deadline()
        hint = self._hint(user)
        kept, carried = "", b""
        if keep is not None:
            if keep.hint != hint:
                raise ConfigurationError(f"keep= is no session of {user!r}")
            # Where it is now: its id may have been replaced since it was loaded.
            code, reply, handle = await desk.follow(rules.TOUCH, keep, lambda _: (), deadline)
            if code == ALIVE:
                kept, carried = handle, reply[1]
        args = (token(), kept, carried, desk.absolute_ms)
        (generation,) = await desk.end(rules.REVOKE_ALL, desk.layout.user(hint), args, (), deadline)
        desk.counters.revoked_all += 1
        return int(generation)

    async def generation(self, user: str) -> int:
        """His generation, which begins here if he has none."""
        desk = self._desk
        lineage = await desk.enter(self._hint(user), "", None, desk.absolute_ms, desk.deadline())
        return int(lineage.generation)

    async def list(self, user: str) -> builtins.list[SessionInfo]:
        """His sessions that live, the last used first."""
        desk, deadline = self._desk, self._desk.deadline()
        record, index = desk.layout.user(self._hint(user))
        questions: builtins.list[Command] = [("HMGET", record, *rules.FIELDS), ("ZRANGE", index, "0", "-1")]
        answer = await desk.many(questions, deadline)
        lineage, handles = Lineage.of(answer[0]), [text(one) for one in answer[1]]
        found: builtins.list[SessionInfo] = []
        dead: builtins.list[str] = []
        for first in range(0, len(handles), rules.PAGE):
            page = handles[first : first + rules.PAGE]
            runs = [((desk.layout.session(handle),), ()) for handle in page]
            for handle, reply in zip(page, await desk.fly(rules.LOOK, runs, (), deadline), strict=True):
                info = self._info(handle, reply, user, lineage)
                if info is not None:
                    found.append(info)
                elif not reply:
                    dead.append(handle)
        if dead:
            with contextlib.suppress(HoldfastError):  # it only spares the next one work
                await desk.clean(record, index, dead, deadline)
        return sorted(found, key=lambda one: one.last_seen, reverse=True)

    def _info(self, handle: str, reply: Any, user: str, lineage: Lineage) -> SessionInfo | None:
        """What `reply` of look.lua shows, if it is a session of `user` that lives."""
        if not reply or reply[4] is None or not lineage.holds(handle, reply[4]):
            return None
        desk = self._desk
        try:
            name, about, _ = desk.seal.about(desk.layout.session(handle), *reply[5:8])
        except CodecError as error:
            desk.unreadable(handle, error)
            return None
        return shown(handle, user, about, [int(one) for one in reply[:4]]) if name == user else None

    def _hint(self, user: str) -> str:
        hint = ids.hint_of(self._desk.name, user)
        if not hint:
            raise ConfigurationError("user=None: nobody has no sessions of his own; name the user")
        return hint
