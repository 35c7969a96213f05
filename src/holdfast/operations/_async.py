# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncOperations: pending operations that survive their process. What they promise stands in rules.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from holdfast._compat import ASignal, monotonic
from holdfast._values.codecs import Format, codec_for
from holdfast._wire._async import AsyncWire
from holdfast.durations import Duration, optional_seconds
from holdfast.errors import ConfigurationError, OperationBusy, OperationDead, OperationError
from holdfast.operations import rules
from holdfast.operations._books_async import AsyncBooks
from holdfast.operations._calls_async import AsyncCalls
from holdfast.operations._decorate_async import (
    AsyncIdempotentFunction,
    CallOptions,
    Interrupted,
    OnDuplicate,
)
from holdfast.operations._desk_async import AsyncDesk
from holdfast.operations._entry_async import AsyncEntry, AsyncRun, Request
from holdfast.operations._operation_async import AsyncOperation
from holdfast.operations._sweep_async import AsyncSweep, AsyncWatcher
from holdfast.operations.flavour import AsyncFunction, P, R
from holdfast.operations.layout import Id, Place
from holdfast.operations.options import (
    OperationsBacklog,
    OperationsOptions,
    OperationsStats,
    OperationStatus,
)

T = TypeVar("T")

LONGEST = 1_000_000.0  # seconds; what "for ever" is to a timer
AS_CHOSEN: Any = object()


class AsyncOperations(Generic[T]):
    """Pending operations of one name.

        async with ops.run("account:7", payment_id, {"amount": 500}) as op:
            await op.checkpoint("charged", await charge(op.data))
            await op.complete("paid")

        async def handler(op): ...    # goes on from op.checkpoints, and completes
        watcher = ops.watch(handler)  # in every process, or in some

    Made by `hf.operations(name)`. What is promised, and what is not, stands in holdfast.operations.rules.
    """

    def __init__(self, wire: AsyncWire, name: str, options: OperationsOptions) -> None:
        """Raises: ConfigurationError, also for types that cannot be stored."""
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f'operations need a name that is not empty, as "payments", not {name!r}')
        self.name = name
        self.options = options
        self._desk = AsyncDesk(wire, name, options)
        self._entry = AsyncEntry(self._desk)
        self._books = AsyncBooks(self._desk)
        self._watchers: list[AsyncWatcher] = []

    # --- working --------------------------------------------------------------------------------------------

    def run(
        self,
        resource: Id,
        operation_id: Id,
        data: T | None = None,
        *,
        fingerprint: str = "",
        wait: Duration | None = 0,
    ) -> AbstractAsyncContextManager[AsyncOperation[T]]:
        """The operation `operation_id` of `resource`, to be entered with `async with`; plain call, nothing is
        sent before that.

        It enters if nobody else is at the operation: as the first attempt, with `data`; or after one that
        failed or was interrupted, with that one's data and checkpoints. An exception in the body is a failed
        attempt, and propagates. `fingerprint`: if the first attempt had another one, that is a
        ConflictError. `wait`: how long to wait for somebody else who is at it (None: for ever).

        Entering raises: AlreadyDone (`.result`), OperationBusy (`.holder`), OperationDead, ConflictError;
        CodecError, UnsafeServer, ConfigurationError, Refused, OutOfMemory, Closed: nothing has begun, or the
        attempt has failed; Unavailable: it may have begun, and is undone in the background; NotDurable.
        Leaving raises: NotSettled without `complete` or `fail`, which counts as a failed attempt;
        OperationLost if it was lost.
        """
        seconds = optional_seconds(wait, "wait", zero=True)
        request = Request(
            self._desk.layout.place(resource, operation_id),
            self._desk.data.encode(data),
            fingerprint,
            wait=LONGEST if seconds is None else seconds,
        )
        return AsyncRun(self._entry, request)

    def idempotent(
        self,
        template: str,
        *,
        on_duplicate: OnDuplicate = "wait",
        wait: Duration | None = AS_CHOSEN,
        interrupted: Interrupted = "run",
        exclude: Iterable[str] = (),
        resource: str = "",
    ) -> Callable[[AsyncFunction[P, R]], AsyncIdempotentFunction[P, R]]:
        """Decorate a function so that calls with one key run once at a time, and its result is replayed for
        `ttl`: `@ops.idempotent("{request_id}")`.

        The key is `template`, filled with the function's arguments. All others form the request's
        fingerprint: another one under the same key is a ConflictError; `exclude` names those that do not
        count. The return annotation is the result's type. A call that raised is not replayed: the next one
        runs. Inside, `holdfast.current_operation()` is the operation, with its checkpoints.

        `on_duplicate`: what a call does while another one with its key is running: "wait" for its end, for
        `wait` at most (by default as chosen for these operations), or "raise" OperationBusy at once.
        `interrupted`: what is done about a call whose process died in the middle, when the next one comes:
        "run" it again, or "raise" OperationDead, since nobody knows how it ended. `resource`: the name under
        which keys are told from those of other functions; by default the function's.

        Raises: ConfigurationError.
        """
        if on_duplicate not in ("wait", "raise"):
            raise ConfigurationError(f'on_duplicate={on_duplicate!r} must be "wait" or "raise"')
        if interrupted not in ("run", "raise"):
            raise ConfigurationError(f'interrupted={interrupted!r} must be "run" or "raise"')
        chosen = self.options.wait if wait is AS_CHOSEN else wait
        patience = optional_seconds(chosen, "wait", zero=True)
        options = CallOptions(
            template=template,
            resource=resource,
            exclude=exclude,
            wait=0.0 if on_duplicate == "raise" else LONGEST if patience is None else patience,
            again=interrupted == "run",
        )

        def decorate(function: AsyncFunction[P, R]) -> AsyncIdempotentFunction[P, R]:
            return AsyncIdempotentFunction(
                self._desk, function, options, self._books.inspect, self._books.forget
            )

        return decorate

    def calls(
        self,
        resource: str,
        *,
        result: Any = Any,
        format: Format = "msgpack",
        wait: Duration | None = AS_CHOSEN,
        interrupted: Interrupted = "run",
    ) -> AsyncCalls:
        """What `idempotent` builds on, for a middleware: `begin(key, fingerprint)` gives an operation or a
        Replay. `result` and `format` say how results are kept: bytes and "raw" as they are. The rest: as for
        `idempotent`. Raises: ConfigurationError.
        """
        patience = optional_seconds(self.options.wait if wait is AS_CHOSEN else wait, "wait", zero=True)
        seconds = LONGEST if patience is None else patience
        codec = codec_for(result, format)
        return AsyncCalls(self._desk, resource, codec, wait=seconds, again=interrupted == "run")

    # --- recovering -----------------------------------------------------------------------------------------

    async def recover(self, handler: Callable[[AsyncOperation[T]], Any]) -> int:
        """Take up all that is interrupted, and what has rested after a failure, one after the other; how many
        of these `handler` completed.

        `handler(op)` goes on from `op.checkpoints` and says `complete` or `fail`; an exception, or neither,
        is a failed attempt: it is logged, and the sweep goes on. Calls of idempotent functions are left to
        the next call with their key.

        Whatever had its lease from a process that has died waits for the end of that lease, unless `slot` is
        set: then the leases of an earlier process of this slot end now. That the earlier one is dead is your
        promise, nobody can prove it; if it still runs, its writes to the operation are refused, and what
        it does elsewhere only a check of the fence can refuse.

        Raises: ConfigurationError, UnsafeServer, Unavailable, Refused, Closed; what was recovered before
        that stays so.
        """
        return await AsyncSweep(self._desk, handler).once()

    def watch(self, handler: Callable[[AsyncOperation[T]], Any], *, concurrency: int = 4) -> AsyncWatcher:
        """As `recover`, in the background and for as long as the watcher that is returned is not closed; at
        most `concurrency` operations at once.

        Raises: ConfigurationError.
        """
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ConfigurationError(f"concurrency={concurrency!r} must be a whole number, at least 1")
        watcher = AsyncWatcher(AsyncSweep(self._desk, handler), concurrency)
        self._watchers = [one for one in self._watchers if one.alive or one.running] + [watcher]
        return watcher

    # --- looking --------------------------------------------------------------------------------------------

    async def inspect(self, resource: Id, operation_id: Id) -> OperationStatus | None:
        """How that operation stands, or None: there is none, or it was done longer than `ttl` ago.

        Raises: Unavailable, Refused.
        """
        await self._desk.agree()
        return await self._books.inspect(self._place(resource, operation_id))

    async def pending(self, resource: Id | None = None, *, limit: int = 1000) -> Sequence[OperationStatus]:
        """The operations of `resource` (None: of all) that are neither done nor dead, at most `limit`: by
        their id, or those first that are due first.

        Raises: Unavailable, Refused.
        """
        return await self._books.pending(resource, limit)

    async def done(self, *, limit: int = 1000) -> Sequence[OperationStatus]:
        """What was completed within `ttl`, the latest first. Raises: Unavailable, Refused."""
        return await self._books.settled("done", limit)

    async def dead(self, *, limit: int = 1000) -> Sequence[OperationStatus]:
        """What had its last attempt, the latest first, with its failures. Raises: Unavailable, Refused."""
        return await self._books.settled("dead", limit)

    async def backlog(self) -> OperationsBacklog:
        """How many there are. Raises: Unavailable, Refused."""
        return await self._books.backlog()

    async def wait(self, resource: Id, operation_id: Id, *, wait: Duration | None = "30s") -> Any:
        """The result of an operation that somebody else works on, as soon as it is there: told by a push.

        Raises: OperationDead; OperationBusy if it is not settled within `wait` (None: for ever);
        OperationError if there is no such operation; CodecError, Unavailable, Refused.
        """
        place = self._place(resource, operation_id)
        patience = optional_seconds(wait, "wait", zero=True)
        give_up = monotonic() + (LONGEST if patience is None else patience)
        signal = ASignal()
        await self._desk.agree()
        with self._desk.wire.hub.watch(place.record, signal):
            while True:
                signal.clear()
                state, raw, error, holder = await self._books.outcome(place)
                if state == "done":
                    return self._desk.result.decode(raw)
                self._check_alive(place, state, error)
                left = give_up - monotonic()
                if left <= 0:
                    raise OperationBusy(
                        f"operation {place.id!r} of {place.resource!r} is {state}", holder=holder
                    )
                await signal.wait(min(left, rules.SAFETY_POLL))

    def _check_alive(self, place: Place, state: str, error: str) -> None:
        what = f"operation {place.id!r} of {place.resource!r} ({self.name})"
        if state == "dead":
            raise OperationDead(f"{what} is dead: {error}; see `retry`")
        if not state:
            raise OperationError(
                f"{what} does not exist, or was done longer than ttl={self.options.ttl} s ago"
            )

    def stats(self) -> OperationsStats:
        """What this process has done."""
        return self._desk.counters.snapshot()

    # --- mending --------------------------------------------------------------------------------------------

    async def retry(self, resource: Id, operation_id: Id) -> bool:
        """Have a dead operation tried again, now, with all its attempts and its checkpoints; False if it is
        not dead.

        Raises: Unavailable, Refused. False may also mean that a reply was lost and the request repeated.
        """
        await self._desk.agree()
        return await self._books.retry(self._place(resource, operation_id))

    async def discard(self, resource: Id, operation_id: Id) -> bool:
        """Forget an operation that is done or dead, so that its id is free; False if it is pending, or there
        is none. Raises: as `retry`.
        """
        await self._desk.agree()
        return await self._books.forget(self._place(resource, operation_id))

    async def repair(self) -> int:
        """Walk over all keys of the server, and put operations back into the index where they are missing;
        how many that were.

        For an index that was deleted; half a loss is healed by every sweep. O(keys of the server).
        Raises: Unavailable, Refused.
        """
        await self._desk.agree()
        return await self._books.repair()

    def _place(self, resource: Id, operation_id: Id) -> Place:
        return self._desk.layout.place(resource, operation_id)

    async def _aclose(self, drain: float = 10.0) -> None:
        """End what works in the background, within about `drain` seconds."""
        give_up = monotonic() + drain
        for watcher in self._watchers:
            watcher._closing = True
        for watcher in self._watchers:
            await watcher.close(max(0.0, give_up - monotonic()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
