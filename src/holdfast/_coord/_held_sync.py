# Generated from _held_async.py by tools/unasync.py. Do not edit.
"""Held: something that is ours under a lease, for as long as that is renewed.

Promise
* It is renewed in the background until it is given back; a blocked caller or thread changes nothing.
* `ensure`, `remaining` and `cause` go by the clock of this machine and the last answer of the server, and are
  never too optimistic: it is ours for sure as long as they say so (but see below).
* When it is lost, `lost` is set and, in `with`, the body is cancelled and LockLost raised at its end.
  An exception of the body's own is never hidden by that.
* One that is forgotten instead of given back is not renewed any more, and ends by itself.

Not promised: that nobody else has it after the server has forgotten it, by a flush or a failover, until that
is noticed; or that a body which is not cancelled, since it is a thread or does not await, stops in time. What
must not happen twice needs a fence, or a guard (`hf.transaction(guard=lease)`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self

from holdfast._compat import boottime
from holdfast._coord.section import Section
from holdfast._coord.tenant import WeakTenant
from holdfast._signals import LeaseLost
from holdfast._wire._sync import Wire
from holdfast._wire.hub_keeping import Keeping
from holdfast._wire.script import Script
from holdfast._wire.transport import Arg
from holdfast.errors import LockLost

WHY = {
    "expired": "its time was over before it was renewed: this process or machine stood still",
    "unreachable": "the server did not answer until its time was over",
    "vanished": "it is not on the server any more: deleted, flushed, or lost in a failover",
    "taken": "somebody else has it",
    "max_hold": "it was held as long as max_hold allows",
    "closed": "the client was closed",
    "forked": "it is the parent's, and this is the child of a fork",
}


class Renewal(NamedTuple):
    """The script that renews a lease, as `_wire/hub_keeping.py` says it must be; `least`: how many of its
    keys it can do with while a slot moves (None: all).
    """

    script: Script
    keys: Sequence[str]
    args: Sequence[Arg]
    least: int | None = None


class Held:
    """See the file's docstring.

    `what`: for messages, as "lock 'order:1'". `ttl`: seconds. `until`: boottime up to which it is certainly
    ours. `renewal` None: it is not renewed, only watched to its end. `max_hold`: seconds after which it is
    not renewed any more. The callbacks get this object, in the body's thread.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        what: str,
        name: str,
        ttl: float,
        until: float,
        renewal: Renewal | None,
        max_hold: float | None = None,
        on_lost: Callable[[Any], object] | None = None,
        on_danger: Callable[[Any], object] | None = None,
        on_wanted: Callable[[Any], object] | None = None,
    ) -> None:
        self.name = name
        self.ttl = ttl
        self._what = what
        self._wire = wire
        self._since = boottime()
        self._section = Section()
        self._on_lost, self._on_danger, self._on_wanted = on_lost, on_danger, on_wanted
        self._kept = False
        self._keeping = Keeping(
            WeakTenant(self),
            None if renewal is None else renewal.script,
            () if renewal is None else renewal.keys,
            () if renewal is None else renewal.args,
            ttl=ttl,
            until=until,
            max_until=float("inf") if max_hold is None else self._since + max_hold,
            least=None if renewal is None else renewal.least,
        )

    # --- how it stands -------------------------------------------------------------------------------------

    @property
    def cause(self) -> str | None:
        """Why it was lost, in a word; None if it was not."""
        return self._keeping.cause

    @property
    def lost(self) -> Any:
        """An event (of asyncio) that is set when it is lost."""
        return self._section.lost

    @property
    def wanted(self) -> Any:
        """An event (of asyncio) that is set when somebody asks for it back."""
        return self._section.wanted

    def remaining(self) -> float:
        """Seconds for which it is certainly ours if nothing is renewed; 0.0 when it is not."""
        return 0.0 if self._keeping.state == "over" else max(0.0, self._keeping.end - boottime())

    def ensure(self) -> None:
        """Make sure that it is ours, by what is known here: no question to the server.

        Raises: LockLost.
        """
        if self.cause is None and boottime() < self._keeping.end and self._keeping.state != "over":
            return
        self._keeping.lose("expired" if boottime() < self._keeping.max_until else "max_hold")
        raise self._error()

    def _error(self) -> Exception:
        """What tells that it is lost, or given back."""
        if self.cause is None:
            return LockLost(f"{self._what} was given back", name=self.name, cause="released")
        return self._loss_error(f"{self._what} was lost: {WHY.get(self.cause, self.cause)}", self.cause)

    def _loss_error(self, message: str, cause: str) -> Exception:
        return LockLost(message, name=self.name, cause=cause)

    # --- life ----------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Have it renewed from now on. Raises: Closed, Unavailable."""
        self._wire.leases.keep(self._keeping)
        self._kept = True

    def _let_go(self) -> bool:
        """Have it renewed no more, before it is given back; False if it was lost."""
        self._kept = False
        if boottime() >= self._keeping.end:
            self._keeping.lose("expired" if boottime() < self._keeping.max_until else "max_hold")
        return self._keeping.close()

    def _end(self) -> None:
        """Give it back, if it is ours. May be repeated."""
        held = boottime() - self._since
        if self._let_go():
            if self._give_back():
                self._over(held)
            else:
                self._lost("vanished")
        elif self.cause == "max_hold":
            self._give_back()  # the section has ended after all: nobody needs to wait for the ttl

    def _give_back(self) -> bool:
        """Tell the server that it is free; False if it was not ours any more. May be cancelled at any
        time.
        """
        raise NotImplementedError

    def _leave_it_to_the_hub(self) -> None:
        """Have it given back in the background: nobody here will."""

    def _over(self, held: float) -> None:
        """It was held for so many seconds, and has ended; `cause` says whether it was lost."""

    def __enter__(self) -> Self:
        if self._keeping.state == "over" and self.cause is None:
            raise self._error()  # it was given back: the body would run without it
        self._section.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ours = self._section.leave(kind)
        self._end()
        if self.cause is None:
            return
        if kind is None or ours:
            raise self._error() from error
        if error is not None:
            error.add_note(f"{self._what} was lost meanwhile ({self.cause})")

    def __del__(self) -> None:
        if self.__dict__.get("_kept") and self._keeping.forsake():
            ends = "it is not renewed any more, and ends by itself"
            warnings.warn(
                f"{self._what} was forgotten instead of released; {ends}", ResourceWarning, stacklevel=2
            )

    # --- told by the thread that renews --------------------------------------------------------------------

    def _is_deserted(self) -> bool:
        """Will nobody ever give it back, since the thread was closed in the middle of the body?"""
        if self._section.is_over:
            self._leave_it_to_the_hub()
        return self._section.is_over

    def _renewed(self, until: float) -> None:
        """It is ours until then: the keeping knows."""

    def _wanted(self) -> None:
        if not self._section.asked:
            self._section.ask()
            if self._on_wanted is not None:
                self._section.call(partial(self._on_wanted, self))

    def _endangered(self) -> None:
        if self._on_danger is not None:
            self._section.call(partial(self._on_danger, self))

    def _lost(self, cause: str) -> None:
        self._keeping.cause = cause
        self._kept = False
        held = boottime() - self._since
        self._section.tell()
        self._over(held)
        if cause not in {"closed", "forked"}:
            self._wire.observer.notify(LeaseLost(name=self.name, cause=cause, held=held))
        # Last, since it may raise; and not in the hook of a fork, where nothing of a user's may run.
        if self._on_lost is not None and cause != "forked":
            self._section.call(partial(self._on_lost, self))
