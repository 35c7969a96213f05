"""`on_commit` with a Session: what is invalidated, and when."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from holdfast import MISSING, AsyncHoldfast, Cache, Closed, ConfigurationError, Holdfast, current_load
from holdfast.contrib.sqlalchemy import on_commit
from tests.contrib.shop import Notes, User


@pytest.fixture
def users(hf: Holdfast) -> Cache[Any]:
    return hf.cache("users", ttl="1h")


@pytest.fixture
def notes(users: Cache[Any]) -> Notes:
    return Notes(users)


def test_the_real_thing(sqlite: Engine, hf: Holdfast):
    users = hf.cache("users", ttl="1h")
    get = lambda: users.get_or_set(1, lambda: "loaded")  # noqa: E731
    users.set(1, "old")
    with Session(sqlite) as session:
        pending = on_commit(session, users)
        session.add(User(id=1, email="a"))
        pending.invalidate(1)
        session.rollback()
        assert get() == "old"
        session.add(User(id=1, email="a"))
        pending.invalidate(1)
        assert get() == "old"
        session.commit()
        assert get() == "loaded"


def test_at_commit_and_not_before(sqlite: Engine, users, notes: Notes):
    with Session(sqlite) as session:
        pending = on_commit(session, users)
        pending.invalidate("before", 1)
        session.add(User(id=1, email="a"))
        pending.invalidate("a", "a")
        pending.invalidate_tags("t", "t")
        session.flush()
        assert (notes.keys, notes.tags) == ([], [])
        session.commit()
        assert (notes.keys, notes.tags) == ([["before", "%int(1)", "a"]], ["t"])
        session.commit()
        assert notes.take() == ["before", "%int(1)", "a"]


def test_the_session_is_used_again(sqlite: Engine, users, notes: Notes):
    with Session(sqlite) as session:
        pending = on_commit(session, users)
        pending.invalidate("a")
        session.commit()
        pending.invalidate("b")
        session.execute(text("SELECT 1"))
        session.rollback()
        pending.invalidate("c")
        session.commit()
        assert notes.keys == [["a"], ["c"]]


@pytest.mark.parametrize("end", ["rollback", "close", "reset"])
def test_without_a_commit_nothing(sqlite: Engine, users, notes: Notes, end: str):
    with Session(sqlite) as session:
        pending = on_commit(session, users)
        session.execute(text("SELECT 1"))
        pending.invalidate("a")
        with session.begin_nested():
            pending.invalidate("b")
        getattr(session, end)()
        session.commit()
        assert notes.take() == []


def test_an_exception_in_the_block_is_a_rollback(sqlite: Engine, users, notes: Notes):
    with pytest.raises(LookupError), Session(sqlite) as session, session.begin():
        on_commit(session, users).invalidate("a")
        raise LookupError
    assert notes.take() == []


def test_calls_for_one_session_share_what_they_collect(sqlite: Engine, hf: Holdfast, users, notes: Notes):
    orgs = hf.cache("orgs", ttl="1h")
    others = Notes(orgs)
    with Session(sqlite) as session, Session(sqlite) as elsewhere:
        on_commit(session, users).invalidate("a")
        on_commit(session, users).invalidate("b", "a")
        on_commit(session, orgs).invalidate("o")
        on_commit(elsewhere, users).invalidate("never")
        assert on_commit(session, users).get("a", "bypassed") == "bypassed"
        session.commit()
    assert (notes.keys, others.keys) == ([["a", "b"]], [["o"]])


def test_cached_functions(sqlite: Engine, hf: Holdfast, users):
    orgs = hf.cache("orgs", ttl="1h")
    calls: list[Any] = []

    @orgs.cached("org:{org_id}:{part}")
    def get_org(org_id: int, part: str = "head") -> int:
        calls.append(org_id)
        return len(calls)

    assert get_org(1) == get_org(1) == 1
    with Session(sqlite) as session:
        pending = on_commit(session, users)
        pending.invalidate_call(get_org, org_id=1)
        on_commit(session, orgs).invalidate(get_org.key(2))
        session.commit()
    assert get_org(1) == 2


# --- savepoints ---------------------------------------------------------------------------------------------


def test_a_savepoint_takes_along_what_was_collected_in_it(sqlite: Engine, users, notes: Notes):
    with Session(sqlite) as session:
        pending = on_commit(session, users)
        pending.invalidate("root", "both")
        with session.begin_nested() as dropped:
            pending.invalidate("dropped", "both")
            with session.begin_nested():
                pending.invalidate("released in dropped")
            dropped.rollback()
        with session.begin_nested():
            pending.invalidate("kept")
            inner = session.begin_nested()
            pending.invalidate("gone")
            inner.rollback()
        pending.invalidate("last")
        session.commit()
    assert notes.take() == ["root", "both", "kept", "last"]


def test_on_commit_called_inside_of_a_savepoint(sqlite: Engine, users, notes: Notes):
    with Session(sqlite) as session:
        with session.begin_nested():
            on_commit(session, users).invalidate("kept")
        with session.begin_nested() as savepoint:
            on_commit(session, users).invalidate("gone")
            savepoint.rollback()
        session.commit()
    assert notes.take() == ["kept"]


def test_a_flush_that_fails_in_a_savepoint(sqlite: Engine, users, notes: Notes):
    with Session(sqlite) as session:
        pending = on_commit(session, users)
        session.add(User(id=1, email="a"))
        pending.invalidate(1)
        session.flush()
        with pytest.raises(IntegrityError), session.begin_nested():
            pending.invalidate("twin")
            session.add(User(id=2, email="a"))
        session.commit()
        assert session.scalars(select(User.id)).all() == [1]
    assert notes.take() == ["%int(1)"]


def test_a_commit_ends_savepoints_that_were_left_open(sqlite: Engine, users, notes: Notes):
    with Session(sqlite) as session:
        with session.begin():
            pending = on_commit(session, users)
            pending.invalidate("root")
            session.begin_nested()
            pending.invalidate("nested")
        assert notes.take() == ["root", "nested"]
        session.begin_nested()
        pending.invalidate("nested")
        session.commit()
        assert notes.take() == ["nested"]


# --- commits that fail, and caches that fail ----------------------------------------------------------------


def test_a_commit_whose_flush_fails_was_none(sqlite: Engine, users, notes: Notes):
    with Session(sqlite) as session:
        session.add_all([User(id=1, email="a"), User(id=2, email="a")])
        on_commit(session, users).invalidate("a")
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        session.commit()
    assert notes.take() == []


class Cut(Exception):
    """The connection, just when COMMIT was sent."""


def cut(connection: Any) -> None:
    connection.connection.rollback()
    raise Cut


@pytest.mark.parametrize("end", ["rollback", "close"])
@pytest.mark.parametrize("nested", ["", "released", "left open"])
def test_a_commit_of_which_nobody_knows_counts_as_one(
    sqlite: Engine, users, notes: Notes, end: str, nested: str
):
    """Planted: without `in_doubt` the committed change is never told to the cache."""
    with Session(sqlite) as session:
        pending = on_commit(session, users)
        whole = session.begin()
        session.add(User(id=1, email="a"))
        pending.invalidate("a")
        if nested:
            savepoint = session.begin_nested()
            pending.invalidate("b")
            if nested == "released":
                savepoint.commit()

        event.listen(sqlite, "commit", cut)
        with pytest.raises(Cut):
            whole.commit()
        event.remove(sqlite, "commit", cut)
        assert notes.take() == []
        getattr(session, end)()
        assert notes.take() == (["a", "b"] if nested else ["a"])
        pending.invalidate("c")
        session.execute(text("SELECT 1"))
        session.rollback()
    assert notes.take() == []


def test_a_flush_that_failed_in_a_savepoint_leaves_no_certainty_behind(sqlite: Engine, users, notes: Notes):
    """Planted: with `flushing` left from the savepoint, a cut COMMIT counted as one that was never sent."""
    with Session(sqlite) as session:
        session.add(User(id=1, email="a"))
        session.flush()
        on_commit(session, users).invalidate("a")
        with pytest.raises(IntegrityError), session.begin_nested():
            session.add(User(id=2, email="a"))

        event.listen(sqlite, "commit", cut)
        with pytest.raises(Cut):
            session.commit()
        event.remove(sqlite, "commit", cut)
    assert notes.take() == ["a"]


def test_a_lost_connection_to_postgres(pg: Engine, users, notes: Notes):
    with Session(pg) as session:
        session.add(User(id=1, email="a"))
        on_commit(session, users).invalidate("a")
        session.flush()
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        with pg.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        with pytest.raises(OperationalError):
            session.commit()
    assert notes.take() == ["a"]


def test_a_cache_that_fails_makes_no_commit_fail(sqlite: Engine, hf: Holdfast, users, notes: Notes, caplog):
    orgs = hf.cache("orgs", ttl="1h")
    others = Notes(orgs)
    notes.answer = Closed("closed")
    others.answer = False
    with Session(sqlite) as session:
        session.add(User(id=1, email="a"))
        on_commit(session, users).invalidate("a")
        on_commit(session, orgs).invalidate("o")
        session.commit()
        assert session.get(User, 1) is not None
    assert others.take() == ["o"]
    assert [record.name for record in caplog.records] == ["holdfast.contrib"]
    assert "'users'" in caplog.text


def test_an_unconfirmed_invalidation_is_kept_by_the_cache(sqlite: Engine, faults, namespace: str):
    with Holdfast(faults.url, namespace=namespace, timeout="200ms") as hf:
        users = hf.cache("users", ttl="1h")
        users.set("a", "old")
        faults.refuse()
        faults.cut()
        with Session(sqlite) as session:
            on_commit(session, users).invalidate("a")
            session.commit()
        assert users.stats().undelivered == 1
        assert users.get("a") is MISSING
        faults.heal()


def test_the_connection_is_back_before_the_cache_is_told(sqlite: Engine, hf: Holdfast):
    """Planted: delivered in after_commit, a slow cache holds a connection to the database."""
    users = hf.cache("users", ttl="1h")
    seen: list[Any] = []
    with Session(sqlite) as session:

        def invalidate(_keys: list[str]) -> bool:
            seen.append(session.in_transaction())
            return True

        target: Any = users
        target._invalidate = invalidate
        session.execute(text("SELECT 1"))
        on_commit(session, users).invalidate("a")
        session.commit()
    assert seen == [False]


@pytest.fixture
def phases(sqlite: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """SQLite with PREPARE: it does nothing, as there is nobody to agree with."""
    steps: dict[str, str] = {"begin": "BEGIN", "prepare": "", "commit": "COMMIT", "rollback": "ROLLBACK"}
    for step, sql in steps.items():

        def do(connection: Any, *_: Any, sql: str = sql, **__: Any) -> None:
            connection.connection.dbapi_connection.execute(sql)

        monkeypatch.setattr(sqlite.dialect, f"do_{step}_twophase", do)
    return sqlite


def test_two_phases(phases: Engine, users, notes: Notes):
    with Session(phases, twophase=True) as session:
        pending = on_commit(session, users)
        session.add(User(id=1, email="a"))
        pending.invalidate("committed")
        session.prepare()
        assert notes.take() == []
        session.commit()
        assert notes.take() == ["committed"]
        session.add(User(id=2, email="b"))
        pending.invalidate("not prepared")
        session.flush()
        session.rollback()
        assert notes.take() == []
        session.add(User(id=2, email="b"))
        pending.invalidate("prepared")
        session.prepare()
        session.rollback()
        assert notes.take() == ["prepared"]  # more than needed: nobody told us that it was no COMMIT
        assert session.scalars(select(User.id)).all() == [1]


# --- reading ------------------------------------------------------------------------------------------------


def test_a_transaction_reads_what_it_wrote(sqlite: Engine, users: Cache[Any]):
    with Session(sqlite) as session:
        pending = on_commit(session, users)
        users.set("a", "old")
        users.set("b", "old")
        assert pending.get("a") == "old"
        pending.invalidate("a")
        assert pending.get("a") is MISSING
        assert pending.get("a", None) is None
        assert pending.get_or_set("a", lambda: "mine") == "mine"
        assert pending.get_or_set("b", lambda: "mine") == "old"
        assert users.get("a") == "old"
        session.rollback()
        pending.invalidate_tags("t")
        session.execute(text("SELECT 1"))
        assert pending.get_or_set("b", lambda: "mine") == "mine"
        session.rollback()
        assert pending.get("b") == "old"


def test_a_savepoint_that_is_rolled_back_gives_the_cache_back(sqlite: Engine, users: Cache[Any]):
    users.set("a", "old")
    with Session(sqlite) as session:
        pending = on_commit(session, users)
        with session.begin_nested() as savepoint:
            pending.invalidate("a")
            assert pending.get("a", None) is None
            savepoint.rollback()
        assert pending.get("a", None) == "old"


def test_what_a_transaction_loads_is_never_stored(sqlite: Engine, users: Cache[Any]):
    """Planted: stored, a value that was rolled back stays in the cache for all."""
    with Session(sqlite) as session:
        pending = on_commit(session, users)
        session.add(User(id=1, email="never committed"))
        assert pending.get_or_set(1, lambda: session.get_one(User, 1).email) == "never committed"
        pending.invalidate(1)
        session.rollback()
    assert users.get(1) is MISSING


def test_a_loader_may_ask_for_the_load(sqlite: Engine, users: Cache[Any]):
    def loader() -> str:
        current_load().add_tags("t")
        return current_load().key

    with Session(sqlite) as session:
        assert on_commit(session, users).get_or_set("a", loader, ttl="1m", tags=["t"]) == "a"
    with pytest.raises(ConfigurationError):
        current_load()


def test_tags(sqlite: Engine, users: Cache[Any]):
    users.set("a", "old", tags=["t"])
    with Session(sqlite) as session:
        on_commit(session, users).invalidate_tags("t")
        session.commit()
    assert users.get("a") is MISSING


def test_a_coroutine_is_no_loader(sqlite: Engine, users: Cache[Any]):
    async def loader() -> int:
        return 1

    wrong: Any = loader
    with Session(sqlite) as session, pytest.raises(ConfigurationError, match="`def`"):
        on_commit(session, users).get_or_set("a", wrong)


# --- mistakes -----------------------------------------------------------------------------------------------


def test_what_cannot_be_a_key_or_a_tag_is_refused_at_once(sqlite: Engine, users):
    with Session(sqlite) as session:
        pending: Any = on_commit(session, users)
        with pytest.raises(ConfigurationError, match="key"):
            pending.invalidate([1])
        with pytest.raises(ConfigurationError, match="tag"):
            pending.invalidate_tags("t", 1)


async def test_a_cache_of_the_wrong_kind(sqlite: Engine, ahf: AsyncHoldfast):
    wrong: Any = ahf.cache("users", ttl="1h")
    with Session(sqlite) as session, pytest.raises(ConfigurationError, match="AsyncSession with an Async"):
        on_commit(session, wrong)


def test_a_scoped_session_is_the_session_of_its_scope(sqlite: Engine, users, notes: Notes):
    session = scoped_session(sessionmaker(sqlite))
    on_commit(session, users).invalidate("a")
    session.commit()
    session.remove()
    assert notes.take() == ["a"]


@pytest.mark.parametrize("name", ["sqlalchemy", "django"])
def test_a_missing_extra_is_named(name: str):
    code = f"""
import sys
from importlib import util
found = util.find_spec
util.find_spec = lambda module, *rest: None if module == {name!r} else found(module, *rest)
try:
    from holdfast.contrib import {name}
except Exception as error:
    print(type(error).__name__, error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith("ConfigurationError")
    assert f'pip install "holdfast[{name}]"' in told
