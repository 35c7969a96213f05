# Generated from _lock_async.py by tools/unasync.py. Do not edit.
"""Lock: what only one may hold at a time, in the whole fleet."""

from __future__ import annotations

from typing import Any

from holdfast._coord._line_sync import obtain_in_line
from holdfast._coord.owner import owner
from holdfast._wire.durability import Durability
from holdfast.errors import FenceHistoryLost, Refused
from holdfast.locks import holder, rules
from holdfast.locks._attempt_sync import Attempt
from holdfast.locks._member_sync import Member
from holdfast.locks._place_sync import Place
from holdfast.locks.holder import Holder
from holdfast.locks.options import LockOptions, check_name
from holdfast.locks.rules import Names
from holdfast.locks.terms import Request, Terms

HISTORY = str(rules.HISTORY_MS)


class Lock(Member):
    """What only one may hold at a time, in the whole fleet.

        with hf.lock("order:1024", ttl="30s", wait="5s") as lease:
            ...                       # cancelled if the lease is lost
            save(fence=lease.fence)

    A lock is a cheap description, made anew for every call or kept and shared by all threads; what is held is
    the `lease`. What is promised, and what is not, stands in `holdfast.locks.rules`.
    """

    options: LockOptions
    _names: Names

    def __init__(self, place: Place, name: str, options: LockOptions, *, room: str = "lock") -> None:
        names = Names(place.wire.keys, check_name(name, room), options.key, room=room)
        super().__init__(place, name, options, names, name if room == "lock" else room)
        self.what = f"{room} {name!r}"
        self.leaves_a_trace = options.fair

    # --- what is asked for it ------------------------------------------------------------------------------

    def _request(self, attempt: Attempt) -> Request:
        options, names = self.options, self._names
        args = (
            attempt.token,
            str(rules.milliseconds(options.ttl_s)),
            owner(options.label),
            HISTORY,
            "0" if attempt.was_busy else "1",
            "1" if options.fence == "strict" else "0",
        )
        keys = names.acquire(attempt.token)
        if not options.fair:
            return rules.ACQUIRE, keys, args
        patience = rules.PATIENCE_MS if attempt.waits else 0
        return rules.FAIR, (*keys, names.queue, names.beats), (*args, patience, *attempt.others)

    def _terms(self, token: str) -> Terms:
        return self._names.terms(token)

    @property
    def _policy(self) -> Durability | None:
        return self.options.policy

    def _obtain(self, attempt: Attempt, give_up: float) -> Any:
        if not self.options.fair:
            return super()._obtain(attempt, give_up)
        place, key, channel = self._place, self.key, self._names.channel(attempt.token)
        return obtain_in_line(
            place.wire, place.lines, attempt, key=key, channel=channel, give_up=give_up
        )

    def _check(self, reply: Any) -> None:
        if reply[0] == -2:
            raise FenceHistoryLost(
                f"{self.what}: the server does not know how far the fences had come; another one has taken "
                f"over, or the counter is gone. Look for the greatest fence that your resources have seen, "
                f"and begin anew above it: lock.begin_fences(above=...)",
                name=self.name,
            )

    # --- seeing it -----------------------------------------------------------------------------------------

    def inspect(self) -> Holder | None:
        """Who holds it, or None. Raises: Unavailable, Refused."""
        names = self._names
        keys = (names.key, names.fence, names.wanted, names.queue, names.count)
        try:
            return holder.of(self.name, self._wire.run(rules.LOOK, keys))
        except Refused as error:
            raise rules.no_lock(error, self.what, self.key) from error

    def force_release(self, value: str = "") -> bool:
        """Take it away from whoever has it; False if nobody does. Its holder is told that it is lost.

        `value`: only if that is what `inspect().value` was, so that nobody is hit who came meanwhile.
        Raises: Unavailable, Unconfirmed, Refused.
        """
        found = self.inspect()
        names = self._names
        expected = value.encode("utf-8", "surrogateescape")
        taken = self._wire.run(rules.BREAK, (names.key, names.wanted, names.queue), (expected,))
        if taken:
            self._place.notify(rules.LockDropped(name=self.name, holder=found.owner if found else ""))
        return bool(taken)

    def request_release(self, reason: str = "") -> bool:
        """Ask whoever has it to give it back: his `lease.wanted` is set, and `on_wanted` called. False if
        nobody has it, or another program does.

        Raises: Unavailable, Refused.
        """
        return bool(self._wire.run(rules.WANT, (self._names.key, self._names.wanted), (reason,)))

    def begin_fences(self, above: int = 0) -> None:
        """Begin the fences of a lock with `fence="strict"`, greater than `above`: the greatest that any
        resource has seen. Needed once, and again when FenceHistoryLost says so.

        Raises: FenceHistoryLost if the server does not tell which one it is (INFO is forbidden), Unavailable,
        ConfigurationError if `above` is no fence.
        """
        rules.check_above(above)
        if not self._wire.run(rules.BEGIN, (self._names.history, self._names.fence), (above,)):
            raise FenceHistoryLost(
                f"{self.what}: the server does not tell its replication id", name=self.name
            )
