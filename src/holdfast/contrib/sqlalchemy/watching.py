"""`watch`: invalidations collected from the objects that a session flushes, so that none can be forgotten.

    watch(Session, {User: (users, lambda user: user.id)})

Promised: whenever the unit of work of a watched session inserts, updates or deletes an object of a watched
class (also by cascade, also an orphan, also of a subclass), what its rules say is collected as if
`on_commit(session, cache).invalidate(...)` had been called. For an update, a rule is asked twice: for the
object as it is, and as it was. So the entry under an older name goes too. If the older value was not loaded,
it is read from the database, before the UPDATE.

What the unit of work does not see, nobody watches: triggers, ON DELETE CASCADE of the database, SQL of your
own (`text`, Core tables, `bulk_insert_mappings` and its kin). `update(User)`, `delete(User)` and
`insert(User)` given to `session.execute` name a watched class but not its objects. They are refused, unless
you say that you have collected by yourself: `.execution_options(holdfast_collected=True)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from sqlalchemy import Connection, event, select
from sqlalchemy import inspect as about
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_session, async_sessionmaker
from sqlalchemy.orm import (
    InstanceState,
    Mapper,
    ORMExecuteState,
    QueryableAttribute,
    Session,
    object_session,
    scoped_session,
    sessionmaker,
)

from holdfast.contrib.finding import Finder, finder
from holdfast.contrib.ledger import KEY, TAG
from holdfast.contrib.sqlalchemy.outbox import Outbox
from holdfast.contrib.sqlalchemy.session import Collector, check_flavour
from holdfast.errors import ConfigurationError

Rule = tuple[Any, Callable[[Any], Any]]
Rules = Mapping[type[Any], "Rule | list[Rule]"]

COLLECTED = "holdfast_collected"


def watch(
    sessions: Any,
    keys: Rules | None = None,
    *,
    tags: Rules | None = None,
    outbox: Outbox | None = None,
) -> Watch:
    """Collect invalidations from every flush of `sessions`, until `close` of what this returns.

    `sessions`: a Session class, a sessionmaker, a scoped_session, one session, or their async counterparts;
    of an async_sessionmaker, the sessions that it makes from now on.
    `keys`: for each class `(cache, function)`, or a list of these. The function gets an object and returns a
    key, a list of keys, or None. A cached function may stand in the cache's place; the key is then what it is
    called with, a tuple for several arguments. `tags`: the same, for tags.

        watch(Session, {User: [(users, lambda user: user.id), (by_email, lambda user: user.email)]},
              tags={User: (users, lambda user: f"org:{user.org_id}")})

    Raises: ConfigurationError for rules that cannot work; a function that raises makes the flush fail.
    """
    return Watch(sessions, keys or {}, tags or {}, outbox)


class Watch:
    """What `watch` returns. A context manager; `close` ends it."""

    def __init__(self, sessions: Any, keys: Rules, tags: Rules, outbox: Outbox | None) -> None:
        self._belongs = _membership(sessions)
        self._outbox = outbox
        self._classes = tuple(dict.fromkeys([*keys, *tags]))
        self._rules: list[tuple[type[Any], Finder]] = []
        for of_kind, given in ((KEY, keys), (TAG, tags)):
            for kind, rules in given.items():
                for target, function in rules if isinstance(rules, list) else [rules]:
                    self._rules.append((kind, finder(of_kind, target, function)))
        self._listening: list[tuple[Any, str, Callable[..., Any]]] = []
        for kind in self._classes:
            self._listen(kind, "after_insert", self._inserted)
            self._listen(kind, "before_update", self._updating)
            self._listen(kind, "after_update", self._updated)
            self._listen(kind, "before_delete", self._deleting)
        self._listening.append((Session, "do_orm_execute", self._executed))
        event.listen(*self._listening[-1])

    def _listen(self, kind: type[Any], name: str, function: Callable[..., Any]) -> None:
        event.listen(kind, name, function, propagate=True)
        self._listening.append((kind, name, function))

    def close(self) -> None:
        """Stop watching; a second call does nothing."""
        while self._listening:
            event.remove(*self._listening.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _inserted(self, _mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
        self._collect(target, [target])

    def _updating(self, _mapper: Mapper[Any], connection: Connection, target: Any) -> None:
        if _changed(target):
            self._collect(target, [_Before(target, connection)])

    def _updated(self, _mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
        if _changed(target):  # maybe not before: other handlers of before_update may change it too
            self._collect(target, [target])

    def _deleting(self, _mapper: Mapper[Any], connection: Connection, target: Any) -> None:
        self._collect(target, [target, _Before(target, connection)])  # it may have been changed first

    def _collect(self, target: Any, views: Iterable[Any]) -> None:
        session = object_session(target)
        if session is None or not self._belongs(session):
            return
        rules = [find for kind, find in self._rules if isinstance(target, kind)]
        wanted = dict.fromkeys(one for view in views for find in rules for one in find(view))
        for one in wanted:
            check_flavour(one.cache)
        Collector(session, self._outbox).collect(list(wanted))

    def _executed(self, state: ORMExecuteState) -> None:
        writes = state.is_update or state.is_delete or state.is_insert
        if not writes or state.execution_options.get(COLLECTED) or not self._belongs(state.session):
            return
        mapper = state.bind_mapper
        if mapper is not None and any(issubclass(mapper.class_, kind) for kind in self._classes):
            raise ConfigurationError(
                f"{mapper.class_.__name__} is watched, but this statement does not say which objects it "
                "changes: collect them by on_commit(session, cache), and give the statement "
                f".execution_options({COLLECTED}=True)"
            )


def _membership(sessions: Any) -> Callable[[Session], bool]:
    if isinstance(sessions, scoped_session | async_scoped_session):
        sessions = sessions.session_factory
    if isinstance(sessions, async_sessionmaker):
        return _marked(sessions)
    if isinstance(sessions, sessionmaker):
        sessions = sessions.class_  # a class of its own for each maker
    if isinstance(sessions, AsyncSession):
        sessions = sessions.sync_session
    if isinstance(sessions, Session):
        return lambda session: session is sessions
    if isinstance(sessions, type) and issubclass(sessions, Session):
        return lambda session: isinstance(session, sessions)
    if isinstance(sessions, type) and issubclass(sessions, AsyncSession):
        return lambda session: isinstance(async_session(session), sessions)
    raise ConfigurationError(f"watch({sessions!r}): give a Session class, a sessionmaker, or a session")


def _marked(maker: async_sessionmaker[Any]) -> Callable[[Session], bool]:
    """Membership of what `maker` makes from now on: it knows no class of its own, but hands on an `info`."""
    mark = object()
    maker.configure(info={**(maker.kw.get("info") or {}), mark: True})
    return lambda session: mark in session.info


def _changed(target: Any) -> bool:
    session = object_session(target)
    return session is not None and session.is_modified(target, include_collections=False)


class _Before:
    """An object as it was before the changes that are being flushed; properties and methods see it so too."""

    def __init__(self, target: Any, connection: Connection) -> None:
        self.__dict__["_target"] = target
        self.__dict__["_connection"] = connection

    @property  # type: ignore[misc]  # for `isinstance`
    def __class__(self) -> type[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return type(self._target)

    def __getattr__(self, name: str) -> Any:
        target = self._target
        state: InstanceState[Any] = about(target)
        mapper = state.mapper
        if name in mapper.synonyms:
            return getattr(self, mapper.synonyms[name].name)
        if name in mapper.composites:
            composite = mapper.composites[name]
            return composite.composite_class(*(getattr(self, one.key) for one in composite.props))
        if name in mapper.attrs:
            return self._older(state, name)
        found = inspect.getattr_static(type(target), name, None)
        if hasattr(found, "__get__") and not isinstance(found, QueryableAttribute):
            return found.__get__(self, type(target))
        return getattr(target, name)

    def _older(self, state: InstanceState[Any], name: str) -> Any:
        history = state.attrs[name].history
        if history.deleted:
            return history.deleted[0]
        if history.added and name in state.mapper.column_attrs and state.identity is not None:
            return self._read(state, name)  # set without having been loaded
        return getattr(self._target, name)

    def _read(self, state: InstanceState[Any], name: str) -> Any:
        mapper = state.mapper
        row = zip(mapper.primary_key, state.identity or (), strict=True)
        statement = select(mapper.attrs[name].class_attribute).where(
            *(column == value for column, value in row)
        )
        return self._connection.scalar(statement)
