# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncMultiLock: several names at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from holdfast._compat import boottime, monotonic
from holdfast._coord._ask_async import Asked, ask
from holdfast._coord._wait_async import LONGEST, Busy
from holdfast._coord.owner import owner
from holdfast._coord.owner import token as new_token
from holdfast._coord.section import AsyncSection
from holdfast._wire._batch_async import run_many
from holdfast._wire.hub_keeping import DANGER, Keeping, certain
from holdfast.durations import Duration, optional_seconds
from holdfast.errors import LockTimeout
from holdfast.locks import holder
from holdfast.locks._place_async import AsyncPlace
from holdfast.locks.holder import Holder
from holdfast.locks.multilock import rules
from holdfast.locks.multilock._lease_async import AsyncMultiLease, abandon
from holdfast.locks.multilock.options import MultiLockOptions
from holdfast.locks.multilock.part import Part, Unfinished
from holdfast.locks.options import AS_CHOSEN
from holdfast.locks.rules import HISTORY_MS, LOOK, Names, milliseconds


class AsyncMultiLock:
    """Several names that only one may hold at a time; all of them, or none.

        async with hf.multilock(["account:1", "account:2"]) as lease:
            ...                       # nobody else has a lock on either; cancelled if one of them is lost
            await transfer(fences=lease.fences)

    It excludes every `hf.lock` of these names. In which order they are given does not matter. As a lock, it
    is a cheap description that may be shared. What is promised stands in `holdfast.locks.multilock.rules`.
    """

    def __init__(self, place: AsyncPlace, names: Sequence[str], options: MultiLockOptions) -> None:
        self.names = rules.check_names(names)
        self.name = ", ".join(self.names)[:200]
        self.options = options
        self.what = f"multilock of {self.name}"
        self._locks = {name: Names(place.wire.keys, name) for name in self.names}
        self._place = place
        self._wire = place.wire
        self._tally = place.tallies.of(self.names[0])

    # --- having it -----------------------------------------------------------------------------------------

    async def acquire(self, wait: Duration | None = AS_CHOSEN) -> AsyncMultiLease:
        """The lease, once nobody else has any of the names; waits for `wait` at most (None: for ever).

        Raises: LockTimeout (`.name` and `.holder` say who has which), LockError if this very task holds one
        of the names in a `with`, Unavailable if the server was away at the end, Refused, Closed.
        """
        for name, names in self._locks.items():
            self._place.refuse_nesting(names.key, f"lock {name!r}", name)
        chosen = self.options.wait_s if wait is AS_CHOSEN else optional_seconds(wait, "wait", zero=True)
        begun = monotonic()
        give_up = float("inf") if chosen is None else begun + chosen
        if not self._place.has_warned:
            await self._place.warn(LONGEST if chosen is None else chosen)
        self._tally.waiting += 1
        was_busy = False
        try:
            while True:
                attempt = _Attempt(self)
                lease = await attempt.finish(give_up)
                was_busy = was_busy or attempt.was_busy
                if lease is not None:
                    break
        except LockTimeout:
            self._tally.gave_up()
            raise
        finally:
            self._tally.waiting -= 1
        self._tally.granted(monotonic() - begun, contended=was_busy)
        return lease

    async def try_acquire(self) -> AsyncMultiLease | None:
        """The lease if nobody has any of the names, else None; does not wait. Raises: as `acquire`."""
        lease = await _Attempt(self).once()
        if lease is None:
            self._tally.contended += 1
        else:
            self._tally.granted(0.0, contended=False)
        return lease

    async def __aenter__(self) -> AsyncMultiLease:
        lease = await self.acquire()
        for names in self._locks.values():
            self._place.enter(names.key, lease)
        return await lease.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lease = None
        for names in self._locks.values():
            lease = self._place.leave(names.key, self)
        assert lease is not None
        await lease.__aexit__(kind, error, trace)

    # --- seeing it -----------------------------------------------------------------------------------------

    async def inspect(self) -> Mapping[str, Holder | None]:
        """Who holds each of the names, or None where nobody does. Raises: Unavailable, Refused."""
        calls = [((one.key, one.fence, one.wanted, one.queue, one.count), ()) for one in self._locks.values()]
        replies = await run_many(self._wire, LOOK, calls, self._wire.timeout)
        return {name: holder.of(name, reply) for name, reply in zip(self._locks, replies, strict=True)}

    async def _groups(self, timeout: float) -> tuple[rules.Group, ...]:
        """What can be taken in one step each."""
        facts = await self._wire.facts(timeout)
        return rules.groups(self._locks, spread=facts.mode == "cluster")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.names)!r})"


class _Elsewhere(Exception):
    """Not what was waited for is held by somebody, but another name of the same slot."""

    def __init__(self, key: str, busy: Busy) -> None:
        super().__init__(key)
        self.key = key
        self.busy = busy


class _Attempt:
    """One acquire, with all its repetitions under one token: slot after slot."""

    def __init__(self, lock: AsyncMultiLock) -> None:
        self.token = new_token()
        self.was_busy = False
        self._lock = lock
        self._place = lock._place
        self._wire = lock._wire
        self._section = AsyncSection()
        self._groups: tuple[rules.Group, ...] = ()
        self._parts: list[Part] = []
        self._asked: dict[
            int, Asked
        ] = {}  # of the groups for which there is, or may be, something to give back
        self._busy_name = rules.in_order(lock._locks)[0]
        self._watched = lock._locks[self._busy_name].key  # the key that is waited for; "": none

    async def finish(self, give_up: float) -> AsyncMultiLease | None:
        """The lease; None if some of it was lost while the rest was waited for.

        Raises: LockTimeout after `give_up` (monotonic).
        """
        try:
            while not self._groups or len(self._parts) < len(self._groups):
                if self._groups:
                    self._watched = self._group.keys[0]
                self._parts.append(await self._obtain(give_up))
            return await self._whole()
        except BaseException:
            self.give_up()
            raise

    async def once(self) -> AsyncMultiLease | None:
        """The lease; None if one of the names is held."""
        self._watched = ""
        try:
            while not self._groups or len(self._parts) < len(self._groups):
                found = await self(self._wire.timeout)
                if isinstance(found, Busy):
                    self.give_up()
                    return None
                self._parts.append(found)
            return await self._whole()
        except BaseException:
            self.give_up()
            raise

    async def _obtain(self, give_up: float) -> Part:
        """The next part, once nobody has any of its names."""
        while True:
            key = self._watched
            try:
                part: Part = await self._place.waiting.obtain(
                    self, key=key, channel=key, give_up=give_up, timed_out=self._timed_out
                )
                return part
            except _Elsewhere as moved:
                if monotonic() >= give_up:
                    raise self._timed_out(moved.busy) from None
                self._watched = moved.key

    @property
    def is_over(self) -> bool:
        """Was the event loop closed in the middle? Then nobody will finish it."""
        return self._section.is_over

    @property
    def _group(self) -> rules.Group:
        """The one that is to be taken now."""
        return self._groups[len(self._parts)]

    async def __call__(self, timeout: float) -> Part | Busy:
        """The next part, or who has one of its names. Raises: _Elsewhere if that is not the one watched."""
        begun = monotonic()
        if not self._groups:
            self._groups = await self._lock._groups(timeout)
        group, options = self._group, self._lock.options
        renew = options.renew or len(self._groups) > 1  # else it would end while the rest is waited for
        part = await self._take(group, max(0.0, timeout - (monotonic() - begun)), renew=renew)
        if isinstance(part, Part):
            self._wire.leases.keep(part.keeping)
        return part

    async def _take(self, group: rules.Group, timeout: float, *, renew: bool) -> Part | Busy:
        ttl = self._lock.options.ttl_s
        ttl_ms = milliseconds(ttl)
        stray = self._asked.setdefault(group.place, Asked())
        place = group.keys.index(self._watched) + 1 if self._watched in group.keys else 0
        args = (
            self.token,
            ttl_ms,
            owner(self._lock.options.label),
            HISTORY_MS,
            "0" if self.was_busy else "1",
            max((part.fence for part in self._parts), default=0),
            place,
        )
        asked = boottime()
        reply = await ask(self._wire, stray, rules.ACQUIRE, group.acquire(self.token), args, timeout)
        fence = int(reply[1]) if reply[0] == 1 else None
        if fence is None:
            return self._refused(group, reply)
        until = certain(asked, ttl)
        if until - boottime() < ttl * DANGER:
            return Busy(ttl=0.0)  # ours, but its time is nearly over: asking again is renewing
        script, count = rules.KEEP if renew else None, len(group.names)
        told = (self.token, ttl_ms, count)
        keeping = Keeping(Unfinished(self), script, group.keep(), told, ttl=ttl, until=until, least=count)
        return Part(group, self.token, fence, keeping, stray.stray)

    def _refused(self, group: rules.Group, reply: Any) -> Busy:
        if not self._asked[group.place].stray:
            del self._asked[group.place]
        if reply[0] == -1:
            return Busy(ttl=0.0)
        self.was_busy = True
        self._busy_name = group.names[reply[3] - 1]
        key = group.keys[reply[3] - 1]
        who, tells = holder.owner(reply[2])
        busy = Busy(ttl=float("inf") if reply[1] < 0 else reply[1] / 1000, silent=not tells, holder=who)
        if self._watched and key != self._watched:
            raise _Elsewhere(key, busy)
        return busy

    async def _whole(self) -> AsyncMultiLease | None:
        """The lease, made of all parts; None if one of them was lost."""
        if len(self._parts) > 1 and not self._lock.options.renew:
            await self._level()
        lease = AsyncMultiLease(self._lock, self._parts)
        if lease._begin():
            return lease
        self.give_up()
        return None

    async def _level(self) -> None:
        """Let all parts have the whole ttl once more, from now on without renewal."""
        for place, part in enumerate(self._parts):
            part.keeping.close()
            self._watched = ""
            found = await self._take(part.group, self._wire.timeout, renew=False)
            if isinstance(found, Part):
                self._wire.leases.keep(found.keeping)
                self._parts[place] = found
            else:
                part.keeping.cause = "taken"

    def _timed_out(self, busy: Busy | None) -> LockTimeout:
        """What says that it was not acquired."""
        who = busy.holder if busy is not None else ""
        held = f"it is held by {who}" if who else "it is in use"
        name = self._busy_name
        message = f"{self._lock.what}: {name!r} was not acquired within the wait; {held}"
        return LockTimeout(message, name=name, holder=who)

    def give_up(self) -> None:
        """Nobody will use what was granted, or may be."""
        for part in self._parts:
            part.keeping.close()
        for place in sorted(self._asked, reverse=True):
            abandon(self._place, self._groups[place], self.token)
        self._asked.clear()
