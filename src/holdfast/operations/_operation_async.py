# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncOperation: one attempt of an operation, for as long as its lease is renewed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Generic, TypeVar

from holdfast._coord._held_async import AsyncHeld, Renewal
from holdfast._values.codecs import Codec
from holdfast._wire.hub_keeping import certain
from holdfast.errors import ConfigurationError, HoldfastError, NotDurable, NotSettled, OperationError, Refused
from holdfast.operations import record, rules
from holdfast.operations._desk_async import AsyncDesk
from holdfast.operations.layout import Id
from holdfast.operations.options import OperationLost
from holdfast.operations.record import Grant

T = TypeVar("T")


class AsyncOperation(AsyncHeld, Generic[T]):
    """One attempt of an operation; made by `run` and handed to handlers. Settle it: `complete` or `fail`.

    `data` is what the first `run` gave; `checkpoints` are what this and earlier attempts kept, by name, in
    the order in which they were kept. `fence` is greater than that of every earlier attempt of any operation
    of the same resource. `attempt` counts from 1. `lost` is an asyncio.Event that is set when somebody else
    may have taken it up; `cause` then says why. In `async with` the body is cancelled then.
    """

    def __init__(self, desk: AsyncDesk, grant: Grant, asked: float, result: Codec[Any] | None = None) -> None:
        """Raises: CodecError if its data cannot be read."""
        place, part = grant.place, grant.place.part
        self.data: T = desk.data.decode(grant.data)
        self._points = {name: desk.plain.decode(raw) for name, raw in grant.checkpoints.items()}
        title = f"operation {place.id!r} of {place.resource!r} ({desk.name})"
        args = (place.name, grant.fence, desk.lease_ms, desk.keep_ms)
        super().__init__(
            desk.wire,
            what=title,
            name=place.record,
            ttl=desk.lease,
            until=certain(asked, desk.lease),
            renewal=Renewal(rules.BEAT, (place.record, part.due, part.names), args),
            max_hold=desk.max_hold,
        )
        self.fence = grant.fence
        self.attempt = grant.attempt
        self._desk = desk
        self._place = place
        self._result = result or desk.result
        self._number = grant.number
        self._settled = self._in_doubt = self._completed = False

    @property
    def id(self) -> Id:
        """What `run` was given as `operation_id`."""
        return self._place.id

    @property
    def resource(self) -> Id:
        """What `run` was given as `resource`."""
        return self._place.resource

    @property
    def checkpoints(self) -> Mapping[str, Any]:
        """What was kept, by name."""
        return MappingProxyType(self._points)

    @property
    def settled(self) -> bool:
        """Was it completed, or said to have failed?"""
        return self._settled

    @property
    def completed(self) -> bool:
        """Was it completed?"""
        return self._completed

    # --- what the body says ---------------------------------------------------------------------------------

    async def checkpoint(self, name: str, data: Any = None) -> None:
        """Keep how far it has come: `data`, a plain msgpack value, under `name`, in place of an earlier one.

        Raises: OperationLost if it is not this attempt's any more; CodecError, OutOfMemory, Refused: nothing
        was kept; Unavailable, NotDurable: it may have been.
        """
        self._require_open()
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"checkpoint {name!r} must be a str that is not empty")
        raw = self._desk.plain.encode(data)
        self._number = min(self._number + 1, record.MOST)
        answer = await self._desk.checkpoint(self._place, self.fence, name, self._number, raw)
        if answer != rules.OURS:
            raise self._refused(answer, "checkpoint")
        self._points.pop(name, None)
        self._points[name] = self._desk.plain.decode(raw)

    async def complete(self, result: Any = None) -> None:
        """It is done; `result` is kept for `ttl`, for whoever comes with the same id.

        The server decides: also an attempt whose lease has ended completes it, as long as nobody has taken it
        up. Raises: OperationLost if somebody has, or it was removed; CodecError: nothing happened;
        Unavailable: it may be done, and is sent again in the background; NotDurable: it is done; Refused.
        """
        self._require_open()
        raw = self._result.encode(result)
        self._stop_renewing()
        self._in_doubt = True
        try:
            answer = await self._desk.complete(self._place, self.fence, raw)
        except NotDurable:
            self._settled = self._completed = True
            raise
        except Refused:
            self._in_doubt = False
            raise
        except BaseException:  # no answer, or cancelled: it may be done
            self._desk.complete_later(self._place, self.fence, raw)
            raise
        self._in_doubt = False
        if answer != rules.OURS:
            raise self._refused(answer, "complete")
        self._settled = self._completed = True
        self._desk.counters.completed += 1

    async def fail(self, error: BaseException | str = "", *, retry: bool = True) -> None:
        """This attempt has failed, because of `error`. The next one comes after a rest, unless this was the
        last; with `retry=False` it was.

        Raises: OperationLost, Unavailable, NotDurable, Refused.
        """
        self._require_open()
        why = rules.described(error) if isinstance(error, BaseException) else error
        self._stop_renewing()
        answer, rest = await self._desk.fail(self._place, self.fence, why, random.random(), again=retry)
        if answer <= 0:
            raise self._refused(answer, "fail")
        self._settled = True
        self._desk.counters.failed += 1
        if answer == rules.BURIED:
            self._desk.died(self._place, self.attempt, why)
        else:
            told = self._desk.named(self._place)
            self._desk.notify(rules.OperationFailed(**told, attempt=self.attempt, error=why, rest=rest))

    def _require_open(self) -> None:
        if self.cause == "forked":
            raise self._error()  # it is the parent's, under the same fence
        if self._settled or self._in_doubt:
            raise OperationError(f"{self._what} is settled already; `complete` or `fail` end it")

    def _stop_renewing(self) -> None:
        """From here on the server's answer alone counts."""
        if self.cause is None:
            self._let_go()

    def _refused(self, answer: int, what: str) -> Exception:
        """It is not ours any more, says the server."""
        self._desk.rejected(self._place, self.fence, what)
        self._keeping.lose(rules.cause_of(answer))
        if self.cause is None:  # it was not renewed any more
            self._lost(rules.cause_of(answer))
        return self._error()

    def _loss_error(self, message: str, cause: str) -> Exception:
        return OperationLost(message, name=self.name, cause=cause)

    def _lost(self, cause: str) -> None:
        self._desk.counters.lost += 1
        super()._lost(cause)

    # --- its body -------------------------------------------------------------------------------------------

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ours = self._section.leave(kind)
        self._desk.counters.running -= 1
        if not (self._settled or self._in_doubt):
            self._stop_renewing()
            if self.cause is None:
                await self._fail_for(error or NotSettled("the body ended without complete or fail"))
        elif not ours:
            return
        if self.cause is not None and (error is None or ours):
            raise self._error() from error
        if error is None:
            raise NotSettled(
                f"{self._what}: the body ended without `complete` or `fail`; it counts as failed"
            )
        if self.cause is not None:
            error.add_note(f"{self._what} was lost meanwhile ({self.cause})")

    async def _fail_for(self, error: BaseException) -> None:
        """Tell that the attempt failed, if that is possible; if not, its lease ends by itself."""
        with contextlib.suppress(HoldfastError):
            await self.fail(error)

    def __repr__(self) -> str:
        state = (
            "settled"
            if self._settled
            else f"lost: {self.cause}"
            if self.cause
            else f"{self.remaining():.3g} s left"
        )
        return f"<{type(self).__name__} {self._what}, attempt {self.attempt}, fence {self.fence}, {state}>"


def granted(
    desk: AsyncDesk, grant: Grant, asked: float, result: Codec[Any] | None = None
) -> AsyncOperation[Any]:
    """The operation of `grant`, asked for at `asked` (boottime), which is renewed from now on.

    Raises: CodecError, Closed, Unavailable.
    """
    operation: AsyncOperation[Any] = AsyncOperation(desk, grant, asked, result)
    operation._keep()
    desk.counters.started += 1
    desk.counters.running += 1
    return operation
