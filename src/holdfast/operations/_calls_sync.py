# Generated from _calls_async.py by tools/unasync.py. Do not edit.
"""Calls: calls that run once per key, and whose result is replayed; below the idempotent decorator.

What else is idempotent by a key, such as a middleware, builds on it:

    calls = ops.calls("POST /payments", result=bytes, format="raw")
    found = calls.begin(key, fingerprint)
    if isinstance(found, Replay):
        return found.result
    with found as operation:      # an exception is a failed attempt: the next call runs again
        ...
        operation.complete(body)
"""

from __future__ import annotations

from typing import Any, NamedTuple

from holdfast._values.codecs import Codec
from holdfast.errors import AlreadyDone
from holdfast.operations._desk_sync import Desk
from holdfast.operations._entry_sync import Entry, Request
from holdfast.operations._operation_sync import Operation
from holdfast.operations.layout import Id, Place


class Replay(NamedTuple):
    """The call was made before, and this is its result."""

    result: Any


class Calls:
    """See the file's docstring. `resource` tells its keys from those of others. `wait`: seconds for which a
    duplicate waits; 0 does not. `again`: may an attempt follow one that was interrupted?
    """

    def __init__(
        self, desk: Desk, resource: str, result: Codec[Any], *, wait: float, again: bool = True
    ) -> None:
        self.resource = resource
        self.result = result
        self._desk = desk
        self._entry = Entry(desk, result)
        self._wait, self._again = wait, again
        self._nothing = desk.data.encode(None)

    def place(self, key: Id) -> Place:
        """Where the call with this key is."""
        return self._desk.layout.place(self.resource, key, "call")

    def begin(self, key: Id, fingerprint: str = "") -> Operation[Any] | Replay:
        """The operation, to be entered with `with`; or what it came to before.

        Raises: OperationBusy if it is running and not over within the wait, ConflictError if it was begun
        with another fingerprint, OperationDead, CodecError, Unavailable, NotDurable, Refused, Closed,
        UnsafeServer, ConfigurationError.
        """
        request = Request(self.place(key), self._nothing, fingerprint, again=self._again, wait=self._wait)
        try:
            return self._entry.begin(request)
        except AlreadyDone as done:
            return Replay(done.result)
