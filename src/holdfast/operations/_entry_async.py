# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncEntry: the way into an operation: begin it, or wait until whoever is at it has settled it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

from holdfast._compat import ASignal, boottime, monotonic
from holdfast._coord.owner import token
from holdfast._values.codecs import Codec
from holdfast.errors import (
    AlreadyDone,
    Closed,
    ConfigurationError,
    ConflictError,
    HoldfastError,
    NotDurable,
    OperationBusy,
    OperationDead,
    OperationError,
    Refused,
    Unavailable,
)
from holdfast.operations import rules
from holdfast.operations._desk_async import AsyncDesk
from holdfast.operations._operation_async import AsyncOperation, granted
from holdfast.operations.layout import Place
from holdfast.operations.record import Begun, Buried, Done, Grant, Other, Taken

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be begun. `data` is encoded. `fingerprint`: "" fits any. `again`: may an attempt follow one
    that was interrupted? `wait`: seconds for which to wait while somebody else is at it; 0 does not.
    """

    place: Place
    data: bytes
    fingerprint: str = ""
    again: bool = True
    wait: float = 0.0


class AsyncEntry:
    """See the file's docstring."""

    def __init__(self, desk: AsyncDesk, result: Codec[Any] | None = None) -> None:
        self.desk = desk
        self.result = result or desk.result

    async def begin(self, request: Request) -> AsyncOperation[Any]:
        """The operation, which is ours now; enter it with `async with`.

        Raises: AlreadyDone (`.result`), OperationBusy (`.holder`), OperationDead, ConflictError (another
        fingerprint), CodecError (the attempt has failed then), Unavailable, NotDurable, Refused, Closed.
        """
        await self.desk.check()
        answer, asked = await self._ask(request)
        if isinstance(answer, Taken) and request.wait > 0:
            answer, asked = await self._wait(request)
        if isinstance(answer, Grant):
            return await self._granted(answer, asked)
        raise self._refusal(request.place, answer)

    async def _ask(self, request: Request, timeout: float | None = None) -> tuple[Begun, float]:
        """The answer, and when it was asked for (boottime)."""
        asked, name = boottime(), token()
        wire = self.desk.wire
        patience = wire.timeout if timeout is None else timeout
        try:
            answer = await self.desk.begin(
                request.place, name, request.data, request.fingerprint, again=request.again, timeout=patience
            )
        except (Refused, ConfigurationError):  # nothing has happened
            raise
        except BaseException:  # no answer, or cancelled: nobody will settle what may have begun
            self.desk.abandon(request.place, name)
            raise
        return answer, asked

    async def _wait(self, request: Request) -> tuple[Begun, float]:
        """The answer once it is not Taken, or the last one when there is no time left.

        While the server is away, waiting goes on.
        """
        self.desk.counters.waits += 1
        give_up = monotonic() + request.wait
        signal = ASignal()
        with self.desk.wire.hub.watch(request.place.record, signal):
            while True:
                signal.clear()  # before asking: what is told from now on fires again
                left = give_up - monotonic()
                try:
                    answer, asked = await self._ask(request, min(self.desk.wire.timeout, max(0.1, left)))
                except (Closed, NotDurable):
                    raise
                except Unavailable:
                    if left <= 0:
                        raise
                    await signal.wait(min(left, rules.AWAY))
                    continue
                if not isinstance(answer, Taken) or left <= 0:
                    return answer, asked
                await signal.wait(min(left, rules.SAFETY_POLL, answer.left + rules.LATE))

    async def _granted(self, grant: Grant, asked: float) -> AsyncOperation[Any]:
        self.desk.counters.resumed += grant.attempt > 1
        try:
            return granted(self.desk, grant, asked, self.result)
        except HoldfastError as error:  # its data cannot be read, or no thread can be started to renew it
            with contextlib.suppress(HoldfastError):
                await self.desk.fail(grant.place, grant.fence, rules.described(error), 1.0, again=True)
            raise

    def _refusal(self, place: Place, answer: Begun) -> Exception:
        """Why it was not begun."""
        counters = self.desk.counters
        what = f"operation {place.id!r} of {place.resource!r} ({self.desk.name})"
        match answer:
            case Done(raw):
                counters.replayed += 1
                return AlreadyDone(f"{what} was completed before", result=self.result.decode(raw))
            case Taken(left, holder):
                counters.busy += 1
                return OperationBusy(
                    f"{what} is being worked on by {holder}, at most {left:.3g} s", holder=holder
                )
            case Buried(error, attempts):
                counters.dead += 1
                return OperationDead(f"{what} is dead after {attempts} attempts: {error}; see `retry`")
            case Other(known):
                counters.conflicts += 1
                return ConflictError(f"{what} was begun by another request", expected=known)
            case _:
                raise AssertionError(answer)


class AsyncRun(Generic[T]):
    """What `run` returns: `async with` it, once."""

    def __init__(self, entry: AsyncEntry, request: Request) -> None:
        self._entry = entry
        self._request = request
        self._operation: AsyncOperation[T] | None = None

    async def __aenter__(self) -> AsyncOperation[T]:
        if self._operation is not None:
            raise OperationError("`run` was entered before; call it again")
        self._operation = operation = await self._entry.begin(self._request)
        return await operation.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._operation is not None
        await self._operation.__aexit__(kind, error, trace)
