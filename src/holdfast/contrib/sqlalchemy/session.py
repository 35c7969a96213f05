"""`on_commit`: what a session's transaction collects is invalidated when it commits.

Promised:

* When `session.commit()` (or the end of its `with` block) returns, every invalidation has been asked for: it
  is confirmed, or the cache keeps it, as `invalidate` of the cache does.
* After a rollback nothing is invalidated. A savepoint that is rolled back takes with it what was collected in
  it; one that is released hands it to the transaction around it.
* When `commit()` itself raises, while the database had been told to commit, nobody knows what it did. Then
  everything is invalidated as soon as the session has left the transaction: one load too many is cheap.
* Trouble with the cache never makes a commit fail: it is logged (`holdfast.contrib`).

Not promised: an invalidation of a process that dies between its commit and its invalidation. Give an Outbox
for that.

The invalidation runs when SQLAlchemy has closed the transaction: the connection is back in its pool, and a
slow cache holds no connection to the database. What is collected while no transaction is open belongs to the
next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, SessionTransaction, UOWTransaction, scoped_session
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from holdfast._compat import arun
from holdfast.cache._async import AsyncCache
from holdfast.cache._sync import Cache
from holdfast.contrib import _pending_async, _pending_sync
from holdfast.contrib._pending_async import AsyncPending
from holdfast.contrib._pending_sync import Pending
from holdfast.contrib.ledger import Ledger, Wanted
from holdfast.contrib.sqlalchemy.outbox import Outbox
from holdfast.errors import ConfigurationError

T = TypeVar("T")
_KEY = "holdfast.contrib.sqlalchemy"


@overload
def on_commit(
    session: Session | scoped_session[Any], cache: Cache[T], *, outbox: Outbox | None = None
) -> Pending[T]: ...


@overload
def on_commit(
    session: AsyncSession | async_scoped_session[Any], cache: AsyncCache[T], *, outbox: Outbox | None = None
) -> AsyncPending[T]: ...


def on_commit(session: Any, cache: Any, *, outbox: Outbox | None = None) -> Any:
    """What collects invalidations of `cache` for the transactions of `session`.

    Call it as often as you like: whatever it returns for one session belongs together. With `outbox`, what is
    collected is written into its table too, before the commit and in its transaction.

    Raises: ConfigurationError unless both are synchronous, or both are not.
    """
    if isinstance(session, scoped_session | async_scoped_session):
        session = session()
    if isinstance(session, AsyncSession) and isinstance(cache, AsyncCache):
        return AsyncPending(cache, Collector(session.sync_session, outbox))
    if isinstance(session, Session) and isinstance(cache, Cache):
        return Pending(cache, Collector(session, outbox))
    raise ConfigurationError(
        f"on_commit({type(session).__name__}, {type(cache).__name__}): "
        "a Session goes with a Cache of Holdfast, an AsyncSession with an AsyncCache of AsyncHoldfast"
    )


class Collector:
    """Puts what is collected into the ledger of `session`, at the savepoint that is open."""

    __slots__ = ("_outbox", "_session")

    def __init__(self, session: Session, outbox: Outbox | None) -> None:
        self._session = session
        self._outbox = outbox

    def collect(self, wanted: list[Wanted]) -> None:
        """Keep `wanted` until the transaction ends."""
        state_of(self._session).ledger.collect(_innermost(self._session), wanted, self._outbox)

    def holds(self, cache: Any, text: str) -> bool:
        """Has the open transaction collected the key `text` of `cache`, or any tag of it?"""
        return state_of(self._session).ledger.holds(cache, text)


class State:
    """What we know about one session. It lives in the session's `info`."""

    __slots__ = ("committed", "committing", "flushing", "in_doubt", "ledger")

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.reset()

    def reset(self) -> None:
        """Forget the transaction."""
        self.committed: list[Wanted] = []
        self.committing = 0  # commits under way: of the transaction, of savepoints in it
        self.in_doubt = False  # the database may have been told to commit
        self.flushing = False  # ... but not while this lasts, nor if it fails

    def outcome(self) -> list[Wanted]:
        """What the end of the transaction makes due."""
        if self.in_doubt and not self.flushing:
            return self.ledger.take()
        return self.committed


def state_of(session: Session) -> State:
    """What we know about `session`."""
    state: State | None = session.info.get(_KEY)
    if state is None:
        state = session.info[_KEY] = State()
    return state


def _innermost(session: Session) -> SessionTransaction | None:
    nested = session.get_nested_transaction()
    return session.get_transaction() if nested is None else nested


def _around(savepoint: SessionTransaction) -> SessionTransaction | None:
    """The savepoint or transaction around `savepoint`; those of flushes are none of ours."""
    outer = savepoint.parent
    while outer is not None and not outer.nested and outer.parent is not None:
        outer = outer.parent
    return outer


def _write(session: Session, state: State) -> None:
    """Write into the outboxes what is not there yet."""
    due: dict[Outbox, list[Wanted]] = {}
    for one, outbox in state.ledger.unwritten():
        due.setdefault(outbox, []).append(one)
    for outbox, wanted in due.items():
        outbox._insert(session, wanted)
        state.ledger.wrote(_innermost(session), wanted)


# --- events -------------------------------------------------------------------------------------------------


def _before_commit(session: Session) -> None:
    state = state_of(session)
    state.committing += 1
    _write(session, state)
    state.flushing = False
    state.in_doubt = not session.in_nested_transaction()


def _before_flush(session: Session, _context: UOWTransaction, _instances: Any) -> None:
    state_of(session).flushing = True


def _after_flush(session: Session, _context: UOWTransaction) -> None:
    state = state_of(session)
    if state.committing:  # a commit flushes what is left after before_commit
        _write(session, state)
    state.flushing = False


def _after_commit(session: Session) -> None:
    state = state_of(session)
    savepoint = session.get_nested_transaction()
    if savepoint is not None:
        state.ledger.release(savepoint, _around(savepoint))
    else:
        state.committed = state.ledger.take()
        state.in_doubt = False


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    state = state_of(session)
    if transaction.nested:
        state.ledger.drop(transaction)
        state.committing = max(0, state.committing - 1)
        if state.committing and not session.in_nested_transaction():
            state.in_doubt = True  # the transaction's own commit has ended a savepoint that was left open
    elif transaction.parent is None:
        wanted = state.outcome()
        state.ledger.take()
        state.reset()
        _deliver(wanted)


def _deliver(wanted: list[Wanted]) -> None:
    """Invalidate, and return when that is done, also inside of an AsyncSession."""
    if threaded := [one for one in wanted if isinstance(one.cache, Cache)]:
        _pending_sync.deliver(threaded)
    if awaited := [one for one in wanted if isinstance(one.cache, AsyncCache)]:
        # In a task of its own: whoever cancels the commit now, it has happened.
        await_only(arun(_pending_async.deliver(awaited)))


def check_flavour(cache: Any) -> None:
    """Raises: ConfigurationError unless `cache` can be told from here: AsyncCache in an AsyncSession only."""
    if isinstance(cache, AsyncCache) != in_greenlet():
        kind = "an AsyncSession" if in_greenlet() else "a Session"
        raise ConfigurationError(f"{cache!r} cannot be invalidated from {kind}")


_EVENTS: dict[str, Callable[..., None]] = {
    "before_commit": _before_commit,
    "before_flush": _before_flush,
    "after_flush": _after_flush,
    "after_commit": _after_commit,
    "after_transaction_end": _after_transaction_end,
}
for _name, _handler in _EVENTS.items():
    event.listen(Session, _name, _handler)
