# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncCalls: calls that run once per key, and whose result is replayed; below the idempotent decorator.

What else is idempotent by a key, such as a middleware, builds on it:

    calls = ops.calls("POST /payments", result=bytes, format="raw")
    found = await calls.begin(key, fingerprint)
    if isinstance(found, Replay):
        return found.result
    async with found as operation:      # an exception is a failed attempt: the next call runs again
        ...
        await operation.complete(body)
"""

from __future__ import annotations

from typing import Any, NamedTuple

from holdfast._values.codecs import Codec
from holdfast.errors import AlreadyDone
from holdfast.operations._desk_async import AsyncDesk
from holdfast.operations._entry_async import AsyncEntry, Request
from holdfast.operations._operation_async import AsyncOperation
from holdfast.operations.layout import Id, Place


class Replay(NamedTuple):
    """The call was made before, and this is its result."""

    result: Any


class AsyncCalls:
    """See the file's docstring. `resource` tells its keys from those of others. `wait`: seconds for which a
    duplicate waits; 0 does not. `again`: may an attempt follow one that was interrupted?
    """

    def __init__(
        self, desk: AsyncDesk, resource: str, result: Codec[Any], *, wait: float, again: bool = True
    ) -> None:
        self.resource = resource
        self.result = result
        self._desk = desk
        self._entry = AsyncEntry(desk, result)
        self._wait, self._again = wait, again
        self._nothing = desk.data.encode(None)

    def place(self, key: Id) -> Place:
        """Where the call with this key is."""
        return self._desk.layout.place(self.resource, key, "call")

    async def begin(self, key: Id, fingerprint: str = "") -> AsyncOperation[Any] | Replay:
        """The operation, to be entered with `async with`; or what it came to before.

        Raises: OperationBusy if it is running and not over within the wait, ConflictError if it was begun
        with another fingerprint, OperationDead, CodecError, Unavailable, NotDurable, Refused, Closed,
        UnsafeServer, ConfigurationError.
        """
        request = Request(self.place(key), self._nothing, fingerprint, again=self._again, wait=self._wait)
        try:
            return await self._entry.begin(request)
        except AlreadyDone as done:
            return Replay(done.result)
