"""Every exception of Holdfast. Imports nothing.

The bases say what the caller can do, the leaves what happened:

    HoldfastError
     +- ConfigurationError (ValueError)   wrong arguments or settings: fix the program
     |   +- UnsafeServer                  the server's settings may lose what this room keeps
     +- Unavailable                       no answer in time: try again later     .retry_after
     |   +- Unconfirmed                   sent, but the reply was lost: it may have happened
     |   |   +- NotDurable                it has happened, but too few replicas have it   .confirmed .wanted
     |   +- Overloaded                    this process has enough loads under way
     |   +- Closed                        this client was closed
     |   +- NoQuorum                      too few of several servers answered
     +- Refused                           the server said no                     .code
     |   +- OutOfMemory                   maxmemory is reached
     |   +- ReadOnly                      a replica, or writes are switched off
     |   +- NoPermission                  wrong password, or a right is missing
     +- LockError                         .name
     |   +- LockTimeout (TimeoutError)    not acquired within the wait      .holder
     |   |   +- TooSlow                   a quorum said yes, but too late
     |   +- LockLost                      no longer ours                    .cause
     |   +- FenceHistoryLost              nobody knows how far the fences had come
     +- ConflictError                     somebody changed it meanwhile          .expected .actual
     +- CodecError                        bytes that cannot be read or written   .reason
     +- RateLimited                       a limit is used up             .decision .retry_after
     +- SessionGone                       the session has ended meanwhile
     +- OperationError
         +- AlreadyDone                   .result
         +- OperationBusy                 .holder
         +- OperationDead
         +- NotSettled

All of them can be pickled; what a program needs is in attributes, never only in the text.
"""

from __future__ import annotations

from typing import Any


class HoldfastError(Exception):
    """Base of everything that Holdfast raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions with keyword arguments do not survive pickling by themselves.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(kind: type[HoldfastError], args: tuple[Any, ...], state: dict[str, Any]) -> HoldfastError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(HoldfastError, ValueError):
    """Wrong arguments or settings; raised early, and the text names the value and the fix."""


class UnsafeServer(ConfigurationError):
    """The server's settings may lose what this room keeps; `accept_loss=True` overrides."""


class Unavailable(HoldfastError):
    """No answer within the deadline, or no connection; trying later may work.

    `retry_after`: seconds after which a retry makes sense, or None when unknown.
    """

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unconfirmed(Unavailable):
    """The request left, its reply never came, and repeating it is not safe: it may have happened."""


class NotDurable(Unconfirmed):
    """The write was executed, but only `confirmed` of the `wanted` replicas have it: it may be lost again."""

    def __init__(self, message: str = "", *, confirmed: int = 0, wanted: int = 0) -> None:
        super().__init__(message)
        self.confirmed = confirmed
        self.wanted = wanted


class Overloaded(Unavailable):
    """This process already has as many loads under way as it may; the source is protected."""


class LoadTimeout(Overloaded, TimeoutError):
    """The load takes longer than `hard_timeout`, and there was nothing stale to serve. It goes on."""


class Closed(Unavailable):
    """This client was closed; make a new one."""


class NoQuorum(Unavailable):
    """Too few of several independent servers gave an answer that counts."""


class Refused(HoldfastError):
    """The server answered "no". `code` is the first word of its answer, for example `WRONGTYPE`."""

    def __init__(self, message: str = "", *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class OutOfMemory(Refused):
    """The server reached `maxmemory` and may not evict enough."""


class ReadOnly(Refused):
    """The server takes no writes: it is a replica, or lacks the replicas or the disk it requires."""


class NoPermission(Refused):
    """Wrong user name or password, or the user lacks the right to this command, key or channel."""


class LockError(HoldfastError):
    """Base of what can go wrong with a lock. `name` is the lock's."""

    def __init__(self, message: str = "", *, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class LockTimeout(LockError, TimeoutError):
    """The lock was not acquired within `wait`; `holder` says who had it, as far as it is known."""

    def __init__(self, message: str = "", *, name: str = "", holder: str = "") -> None:
        super().__init__(message, name=name)
        self.holder = holder


class TooSlow(LockTimeout):
    """A quorum of servers said yes, but it took so long that too little of the ttl was left."""


class LockLost(LockError):
    """The lease is no longer ours. `cause` says why, in a word:

    `expired` (its end passed before we looked: a paused process or machine), `unreachable` (no answer until
    its end), `vanished` (nothing was there before its time: deleted, flushed, lost in a failover), `taken`
    (somebody else has it), `max_hold`, `closed` (this client was closed), `forked` (we are the child of a
    fork).
    """

    def __init__(self, message: str = "", *, name: str = "", cause: str = "") -> None:
        super().__init__(message, name=name)
        self.cause = cause


class FenceHistoryLost(LockError):
    """With `fence="strict"`: the server does not know any more how far the fences had come."""


class ConflictError(HoldfastError):
    """Somebody else changed it meanwhile: `expected` is what we counted on, `actual` what we found (or
    None).
    """

    def __init__(self, message: str = "", *, expected: Any = None, actual: Any = None) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class CodecError(HoldfastError):
    """Bytes that cannot be read, or a value that cannot be written. `reason` is one word for counting."""

    def __init__(self, message: str = "", *, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason


class RateLimited(HoldfastError):
    """A limit is used up; `check` does not raise this, only what cannot go on without an answer does.

    `decision`: the Decision, or None where none was made. `retry_after`: seconds after which it may work;
    infinite if it never can.
    """

    def __init__(self, message: str = "", *, decision: Any = None, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.decision = decision
        self.retry_after = retry_after


class SessionGone(HoldfastError):
    """The session was revoked, rotated or has expired since it was loaded; nothing was written."""


class OperationError(HoldfastError):
    """Base of what can go wrong with an operation."""


class AlreadyDone(OperationError):
    """The operation has completed before; `result` is what it returned then."""

    def __init__(self, message: str = "", *, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class OperationBusy(OperationError):
    """Another process is at it; `holder` says who."""

    def __init__(self, message: str = "", *, holder: str = "") -> None:
        super().__init__(message)
        self.holder = holder


class OperationDead(OperationError):
    """The operation failed as often as it may."""


class NotSettled(OperationError):
    """The body ended without `complete` or `fail`."""
