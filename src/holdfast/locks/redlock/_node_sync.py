# Generated from _node_async.py by tools/unasync.py. Do not edit.
"""Node: one of the independent servers of a Redlock, and how it is asked: once, within its time."""

from __future__ import annotations

import contextlib
from typing import Any

from holdfast._compat import boottime, monotonic
from holdfast._wire._sync import Wire
from holdfast._wire.script import Script
from holdfast._wire.transport import Arg
from holdfast.errors import Closed, HoldfastError, Refused, Unavailable, Unconfirmed
from holdfast.locks import rules as locks
from holdfast.locks.redlock import rules
from holdfast.locks.redlock.options import RedlockOptions
from holdfast.locks.redlock.rules import Answer, Said
from holdfast.locks.terms import STRAY_MS

LATE = 0.9  # part of the timeout after which no answer means: too slow, and not: unreachable
LEAST = 0.001
STUCK = 8  # questions of one Redlock without an answer: more would only cost threads and connections


class Node:
    """See the file's docstring. `has_disk`: may what it says of its disk be believed? Not where a replica can
    take over, which lacks what its primary had written down.
    """

    def __init__(self, wire: Wire, options: RedlockOptions, *, has_disk: bool) -> None:
        self.wire = wire.impatient(0)
        self.name = wire.name
        self._timeout = options.node_timeout_s
        self._longest = options.longest_s
        self._ttl_ms = locks.milliseconds(options.ttl_s)
        self._has_disk = has_disk
        self._known = rules.Acquaintance()
        self._open: dict[object, float] = {}  # questions under way, and until when they wait for an answer

    def claim(self, names: rules.Names, token: str, owner: str) -> Answer:
        """Take the lock here, if nobody has it and the node counts."""
        give_up = monotonic() + self._timeout
        answer = self._claim(names, token, owner, give_up)
        if answer.said is Said.YOUNG and answer.run_id and self._is_synced(answer.run_id, give_up):
            answer = self._claim(names, token, owner, give_up)
        return answer

    def _claim(self, names: rules.Names, token: str, owner: str, give_up: float) -> Answer:
        longest_ms = locks.milliseconds(self._longest)
        args = (token, self._ttl_ms, longest_ms, self._known.synced, owner)
        found = self._ask(rules.CLAIM, names.claim(token), args, give_up)
        if isinstance(found, Answer):
            return found
        answer = rules.claimed(found)
        if not answer.run_id:
            return answer
        other = self._known.met(answer.run_id, answer.uptime, boottime())
        if answer.said is Said.YES and self.is_new():
            return rules.took_over(answer)
        return rules.restarted(answer) if other and answer.said is Said.YOUNG else answer

    def confirm(self, names: rules.Names, token: str, fence: int) -> Answer:
        """Write the fence here, if the lock is ours."""
        args = (token, fence, locks.HISTORY_MS)
        return self._yes_or_no(self._ask(rules.CONFIRM, names.confirm(), args))

    def release(self, names: rules.Names, token: str) -> Answer:
        """Give it back here. YES: it was ours; NO: it was not."""
        args = (token, STRAY_MS)
        return self._yes_or_no(self._ask(rules.RELEASE, names.release(token), args))

    def undo(self, names: rules.Names, token: str) -> None:
        """Have it given back here, in the background, however often the node is away; and keep a claim that
        is still on its way from succeeding.
        """
        if self.wire.hub.undelivered() < locks.MANY_STRAYS:
            with contextlib.suppress(HoldfastError):  # closed: its ttl has to do
                self.wire.hub.deliver(("redlock", token), names.undo(token), lambda: None)

    def look(self, names: rules.Names) -> Any:
        """The reply to LOOK, or an Answer that says why there is none."""
        return self._ask(rules.LOOK, (names.key,), ())

    def counts(self, uptime: int, run_id: str) -> bool:
        """Would it count for a grant, as far as we know it?"""
        old = uptime - rules.MARGIN >= self._longest or (run_id != "" and run_id == self._known.synced)
        return old and not self.is_new()

    def is_new(self) -> bool:
        """Has it taken over from the server we knew, so lately that it must not count?"""
        return self._known.is_new(self._longest, boottime())

    def take_away(self, names: rules.Names) -> Answer:
        """Take it away from whoever has it here. YES: somebody had it; NO: nobody had."""
        keys = (names.key, names.wanted, names.key + ":q")
        return self._yes_or_no(self._ask(locks.BREAK, keys, ("",)))

    # --- asking --------------------------------------------------------------------------------------------

    def _ask(
        self, script: Script, keys: tuple[str, ...], args: tuple[Arg, ...], give_up: float | None = None
    ) -> Any:
        """The reply to `script`, or an Answer that says why there is none."""
        begun, question = monotonic(), object()
        timeout = self._timeout if give_up is None else max(LEAST, give_up - begun)
        if sum(1 for end in list(self._open.values()) if end > begun) >= STUCK:
            return Answer(said=Said.SLOW, why=f"{STUCK} earlier questions are still without an answer")
        self._open[question] = begun + timeout  # with its end: in the child of a fork nobody takes it out
        try:
            return self.wire.run(script, keys, args, timeout)
        except Closed as error:
            return Answer(said=Said.AWAY, why=str(error))
        except Unavailable as error:
            slow = monotonic() - begun >= timeout * LATE
            why = f"no answer within {self._timeout * 1000:.4g} ms" if slow else str(error)
            stray = isinstance(error, Unconfirmed)
            return Answer(said=Said.SLOW if slow else Said.AWAY, why=why, stray=stray)
        except HoldfastError as error:
            return Answer(said=Said.REFUSED, why=str(error))
        finally:
            self._open.pop(question, None)

    @staticmethod
    def _yes_or_no(found: Any) -> Answer:
        return found if isinstance(found, Answer) else Answer(said=Said.YES if found == 1 else Said.NO)

    def _is_synced(self, run_id: str, give_up: float) -> bool:
        """Does the process `run_id` have every write on disk before it confirms it? Asked once."""
        known = self._known
        if not self._has_disk or run_id in (known.synced, known.unsynced):
            return run_id == known.synced
        questions = (("INFO", "server"), ("CONFIG", "GET", *rules.SYNCED))
        try:
            info, config = self.wire.execute_many(
                questions, max(LEAST, give_up - monotonic()), retry="safe"
            )
        except Refused:
            known.unsynced = run_id  # CONFIG is forbidden: nobody knows
            return False
        except Unavailable:
            return False
        if f"run_id:{run_id}".encode() not in info:
            return False
        if rules.is_synced(config):
            known.synced = run_id
        else:
            known.unsynced = run_id
        return run_id == known.synced
