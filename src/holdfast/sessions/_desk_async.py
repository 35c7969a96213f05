# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncDesk: the scripts of sessions, the generation beside them, and what is told. No decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast._compat import monotonic
from holdfast._signals import ServerWarning
from holdfast._wire._async import AsyncWire
from holdfast._wire.reply import text
from holdfast._wire.script import Script
from holdfast._wire.transport import Arg, Command, Reply
from holdfast.durations import seconds
from holdfast.errors import CodecError, Refused, SessionGone
from holdfast.sessions import rules
from holdfast.sessions.ids import Asked
from holdfast.sessions.layout import Layout
from holdfast.sessions.options import Counters, SessionsOptions
from holdfast.sessions.record import Record
from holdfast.sessions.rules import ALIVE, GONE, NOBODY, REPLACED, REUSED, Lineage
from holdfast.sessions.seal import Seal
from holdfast.sessions.shape import Shape

Args = Callable[[str], Sequence[Arg]]
Names = Callable[[str], Sequence[str]]


class AsyncDesk:
    """See the file's docstring."""

    def __init__(self, wire: AsyncWire, name: str, options: SessionsOptions) -> None:
        self.wire = wire
        self.name = name
        self.options = options
        self.counters = Counters()
        self.layout = Layout(wire.keys, name)
        self.seal = Seal(options.cipher)
        self.shape: Shape[Any] = Shape(options.type, options.version, options.upcast)
        times = (options.idle, options.absolute, options.touch, options.renew_after)
        self.idle_ms, self.absolute_ms, self.touch_ms, self.renew_after_ms = (
            round(seconds(one or 0.0, zero=True) * 1000) for one in times
        )
        self._warned = False

    def deadline(self) -> float:
        """When a call that begins now has to be over."""
        chosen = self.options.deadline
        return monotonic() + (self.wire.timeout if chosen is None else seconds(chosen))

    # --- asking ---------------------------------------------------------------------------------------------

    async def ask(
        self,
        script: Script,
        handle: str,
        args: Sequence[Arg],
        hint: str,
        deadline: float,
        keys: Sequence[str] | None = None,
    ) -> tuple[Any, Lineage]:
        """What `script` says of one session and, in the same round trip, the generation of its user.

        Raises: Unavailable, Refused, Closed.
        """
        keys = keys or (self.layout.session(handle),)
        if not hint:
            return await self.wire.run(script, keys, args, _left(deadline)), NOBODY
        asked = ("HMGET", self.layout.user(hint)[0], *rules.FIELDS)
        reply, found = await self.fly(script, [(keys, args)], [asked], deadline)
        return reply, Lineage.of(found)

    async def follow(
        self, script: Script, asked: Asked, args: Args, deadline: float, keys: Names | None = None
    ) -> tuple[int, Any, str]:
        """As `ask`, of the session to which the id leads: (what it is, the answer, its handle).

        `args`, `keys`: by the handle; by default the key is the session's.

        It is GONE unless its user's generation holds; for scripts that return it behind ALIVE.
        """
        handle = asked.handle
        for _ in range(rules.HOPS):
            named = keys(handle) if keys else None
            reply, lineage = await self.ask(script, handle, args(handle), asked.hint, deadline, named)
            code = reply[0]
            if code == REPLACED:
                handle = text(reply[1])
                continue
            if (
                code == REUSED
            ):  # `load` tells it; to the others it comes from a request that has loaded before
                code = GONE
            if code == ALIVE and not self.holds(asked.hint, lineage, handle, reply[1]):
                code = GONE
            return code, reply, handle
        return GONE, (GONE,), handle

    async def fly(
        self,
        script: Script,
        runs: Sequence[tuple[Sequence[str], Sequence[Arg]]],
        commands: Sequence[Command],
        deadline: float,
    ) -> list[Reply]:
        """The replies to `script` for each of `runs` (keys and arguments), and to `commands`, in one write.

        All of it must be repeatable. Raises: Unavailable, Refused, Closed.
        """
        spelled: list[Command] = [
            ("EVALSHA", script.digest, str(len(keys)), *keys, *args) for keys, args in runs
        ]
        try:
            return await self.wire.execute_many([*spelled, *commands], _left(deadline), script.retry)
        except Refused as error:
            if error.code != "NOSCRIPT":
                raise
        spelled = [("EVAL", script.text, *one[2:]) for one in spelled]
        return await self.wire.execute_many([*spelled, *commands], _left(deadline), script.retry)

    async def end(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Arg],
        commands: Sequence[Command],
        deadline: float,
    ) -> list[Reply]:
        """The replies to `script`, which ends or replaces sessions, and to `commands`; in one write, unless
        it has to wait for replicas.

        Raises: Unavailable, NotDurable, Refused, Closed.
        """
        durability = self.options.durability
        if durability is None and commands:
            return await self.fly(script, [(keys, args)], commands, deadline)
        reply = await self.wire.run(script, keys, args, _left(deadline), durability)
        rest = await self.many(commands, deadline) if commands else []
        return [reply, *rest]

    async def many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, which may be repeated. Raises: Unavailable, Refused, Closed."""
        return await self.wire.execute_many(commands, _left(deadline), "safe")

    async def enter(
        self, hint: str, handle: str, ends: int | None, absolute_ms: int, deadline: float
    ) -> Lineage:
        """The generation of a user, who is about to have a session more; of nobody: none.

        Raises: Unavailable, Refused, Closed.
        """
        if not hint:
            return NOBODY
        args = (handle, _or_now(ends), absolute_ms, rules.MOST_LISTED)
        reply = await self.wire.run(rules.ENTER, self.layout.user(hint), args, _left(deadline))
        return Lineage.of(reply)

    async def put(
        self,
        asked: Asked,
        record: Record,
        absolute_ms: int,
        deadline: float,
        *,
        created: int | None = None,
        ends: int | None = None,
    ) -> Record:
        """Write the new session `record`; as it is then. `created`, `ends`: ms; None: now, `absolute` later.

        Raises: SessionGone, CodecError, Unavailable, Refused, Closed.
        """
        key = self.layout.session(asked.handle)
        times = (record.idle, absolute_ms, _or_now(created), _or_now(ends))
        meta, data = self.seal.meta(key, record), self.seal.fields(key, record.salt, record.pieces)
        args: list[Arg] = [*times, *meta, *data]
        reply = await self.wire.run(rules.CREATE, (key,), args, _left(deadline))
        if not reply:
            raise SessionGone("the session has ended")
        begun, born, ends = reply
        return record._replace(created=begun, born=born, last=born, ends=ends)

    async def clean(self, record: str, index: str, handles: Sequence[str], deadline: float) -> None:
        """Take handles that are dead out of the index. Raises: Unavailable, Refused, Closed."""
        args: list[Arg] = [rules.REMEMBER_MS, *handles]
        await self.wire.run(rules.CLEAN, (record, index), args, _left(deadline))

    def holds(self, hint: str, lineage: Lineage, handle: str, carried: bytes | int) -> bool:
        """Does a session live, as far as its user's generation decides? `carried`: its own."""
        return lineage.holds(handle, carried) if hint else not carried

    # --- what is told ---------------------------------------------------------------------------------------

    def reused(self, handle: str) -> None:
        """An id came after its overlap."""
        self.counters.reused += 1
        self.wire.observer.notify(rules.SessionReused(sessions=self.name, handle=handle[:8]))

    def unreadable(self, handle: str, error: CodecError) -> None:
        """A session is none for us."""
        self.counters.unreadable += 1
        self.wire.observer.notify(
            rules.SessionUnreadable(sessions=self.name, handle=handle[:8], reason=error.reason)
        )

    def gone(self) -> SessionGone:
        """What whoever would change a session that has ended gets."""
        self.counters.gone += 1
        return SessionGone("the session has ended meanwhile: it was revoked, replaced, or has expired")

    async def warn(self, deadline: float) -> None:
        """Once: say what this server's settings mean for those who are signed in. Raises: Unavailable."""
        if self._warned:
            return
        facts = await self.wire.facts(_left(deadline))
        self._warned = True
        if facts.eviction_policy not in {None, "noeviction"}:
            consequence = f"users of sessions {self.name!r} may be signed out when its memory is short"
            self._warn("maxmemory-policy", consequence)
        if facts.rdb and facts.aof is False:
            consequence = (
                f"a restart goes back to the last snapshot: what was revoked since lives again in sessions "
                f"{self.name!r} (appendonly yes)"
            )
            self._warn("appendonly", consequence)

    def _warn(self, setting: str, consequence: str) -> None:
        warning = ServerWarning(server=self.wire.name, setting=setting, consequence=consequence)
        self.wire.observer.notify(warning)


def _or_now(ms: int | None) -> Arg:
    return "" if ms is None else ms


def _left(deadline: float) -> float:
    return max(0.001, deadline - monotonic())
