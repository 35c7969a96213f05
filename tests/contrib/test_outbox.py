"""The outbox and its relay: what was committed is invalidated, whoever dies when."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from holdfast import MISSING, Cache, ConfigurationError, Holdfast, NoPermission, Unavailable
from holdfast.contrib.sqlalchemy import Outbox, Relay, on_commit, watch
from tests.contrib.shop import Base, Notes, User, begin_by_ourselves

OUTBOX = Outbox()
ROOT = Path(__file__).parents[2]


@pytest.fixture
def users(hf: Holdfast) -> Cache[Any]:
    return hf.cache("users", ttl="1h")


@pytest.fixture(params=["sqlite", "pg"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "pg":
        engine: Engine = request.getfixturevalue("pg")
    else:
        engine = create_engine(f"sqlite:///{tmp_path}/shop.db")  # threads need connections of their own
        begin_by_ourselves(engine)
        Base.metadata.create_all(engine)
    OUTBOX.create(engine)
    OUTBOX.create(engine)
    yield engine
    engine.dispose()


def rows(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(select(func.count()).select_from(OUTBOX.table)) or 0)


def delivered(engine: Engine, cache: Cache[Any], count: int) -> None:
    """A relay finds `count` rows: maybe not at once, PostgreSQL has yet to see that their last one died."""
    relay = Relay(engine, [cache])
    while count > 0:
        count -= relay.run_once()
    assert count == 0
    assert relay.run_once() == 0


def collect(engine: Engine, cache: Cache[Any], *keys: Any) -> None:
    with Session(engine) as session:
        on_commit(session, cache, outbox=OUTBOX).invalidate(*keys)
        session.commit()


def test_rows_come_and_go_with_the_transaction(engine: Engine, users):
    Notes(users)
    with Session(engine) as session:
        pending = on_commit(session, users, outbox=OUTBOX)
        pending.invalidate(1, "b", "x" * 5000)
        pending.invalidate_tags("t")
        on_commit(session, users).invalidate("without")
        with session.begin_nested() as savepoint:
            pending.invalidate("gone")
            savepoint.rollback()
        session.rollback()
        assert rows(engine) == 0
        pending.invalidate(1, "b", "x" * 5000)
        pending.invalidate_tags("t")
        session.commit()
    assert rows(engine) == 4


def test_the_relay_repeats_it_and_deletes_the_rows(engine: Engine, users):
    notes = Notes(users)
    collect(engine, users, 1, "b")
    collect(engine, users, "b")
    with Session(engine) as session:
        on_commit(session, users, outbox=OUTBOX).invalidate_tags("t")
        session.commit()
    assert notes.take() == ["%int(1)", "b", "b"]
    notes.tags.clear()
    relay = Relay(engine, [users])
    assert relay.run_once() == 4
    assert (notes.keys, notes.tags) == ([["%int(1)", "b"]], ["t"])
    assert (relay.run_once(), rows(engine)) == (0, 0)


def test_the_oldest_first_and_a_batch_at_a_time(engine: Engine, users):
    notes = Notes(users)
    collect(engine, users, *"abcde")
    notes.take()
    relay = Relay(engine, [users], batch=2)
    assert [relay.run_once() for _ in range(4)] == [2, 2, 1, 0]
    assert notes.keys == [["a", "b"], ["c", "d"], ["e"]]


def test_rows_stay_until_the_cache_confirms(engine: Engine, hf: Holdfast, users):
    orgs = hf.cache("orgs", ttl="1h")
    notes, others = Notes(users), Notes(orgs)
    collect(engine, users, "a")
    collect(engine, orgs, "o")
    relay = Relay(engine, {"users": users, "orgs": orgs})
    for answer, error in ((False, Unavailable), (NoPermission("no"), NoPermission)):
        notes.answer = answer
        with pytest.raises(error):
            relay.run_once()
        assert rows(engine) == 1  # what the other cache confirmed is done
    notes.answer = True
    others.take()
    assert relay.run_once() == 1
    assert others.take() == []


def test_rows_of_others_are_left_alone(engine: Engine, hf: Holdfast, users):
    orgs = hf.cache("orgs", ttl="1h")
    Notes(users)
    Notes(orgs)
    collect(engine, users, "a")
    with engine.begin() as connection:
        streams = {"topic": "cache:orgs", "kind": "publish", "key": "o", "payload": b""}
        connection.execute(OUTBOX.table.insert(), streams)
    assert Relay(engine, [orgs]).run_once() == 0
    assert rows(engine) == 2


def test_what_is_flushed_last_is_in_the_outbox_too(engine: Engine, users):
    """Planted: written in before_commit alone, the rows of the last flush were missing."""
    Notes(users)
    with Session(engine) as session, watch(session, {User: (users, lambda u: u.id)}, outbox=OUTBOX):
        session.add(User(id=1, email="a"))
        session.commit()
        with session.begin_nested():
            session.add(User(id=2, email="b"))
            session.flush()
        session.add(User(id=3, email="c"))
        session.commit()
    assert rows(engine) == 3


def test_rows_that_a_failing_savepoint_took_along_are_written_again(engine: Engine, users):
    """Planted: noted as written for the whole transaction, the row of `root` was lost."""
    Notes(users)
    with Session(engine) as session:
        session.add(User(id=1, email="a"))
        pending = on_commit(session, users, outbox=OUTBOX)
        pending.invalidate("root")
        savepoint = session.begin_nested()
        pending.invalidate("gone")
        session.add(User(id=2, email="a"))
        with pytest.raises(IntegrityError):
            savepoint.commit()  # writes its rows first
        savepoint.rollback()
        session.commit()
    assert rows(engine) == 1


def test_a_missing_table_makes_the_commit_fail(sqlite: Engine, users):
    notes = Notes(users)
    with Session(sqlite) as session:
        session.add(User(id=1, email="a"))
        on_commit(session, users, outbox=Outbox("elsewhere")).invalidate(1)
        with pytest.raises(Exception, match="elsewhere"):
            session.commit()
        session.rollback()
        assert session.get(User, 1) is None
    assert notes.take() == []


def test_two_relays_take_different_rows(pg: Engine, hf: Holdfast, users):
    """Planted: without SKIP LOCKED the second waits for the first, or does the same again."""
    OUTBOX.create(pg)
    notes = Notes(users)
    collect(pg, users, *"abcd")
    notes.take()
    inside, go = threading.Event(), threading.Event()
    slow = Relay(pg, [users], batch=2)
    target: Any = users
    quick = target._invalidate

    def wait(keys: list[str]) -> bool:
        inside.set()
        assert go.wait(10)
        return bool(quick(keys))

    target._invalidate = wait
    thread = threading.Thread(target=slow.run_once)
    thread.start()
    assert inside.wait(10)
    target._invalidate = quick
    assert Relay(pg, [users], batch=9).run_once() == 2
    go.set()
    thread.join(10)
    assert sorted(notes.keys) == [["a", "b"], ["c", "d"]]
    assert rows(pg) == 0


def test_run_until(engine: Engine, users, caplog):
    """It outlives trouble, and ends when it is told to."""
    notes = Notes(users)
    collect(engine, users, "a")
    notes.take()
    notes.answer = False
    stop = threading.Event()
    thread = threading.Thread(target=Relay(engine, [users]).run, args=(stop.is_set,), kwargs={"poll": "10ms"})
    thread.start()
    while len(notes.keys) < 2:
        time.sleep(0.005)
    notes.answer = True
    while rows(engine):
        time.sleep(0.005)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert "failed 1 times" in caplog.text


def test_when_redis_is_away_the_row_waits(engine: Engine, faults, namespace: str, hf: Holdfast):
    there = hf.cache("users", ttl="1h")
    there.set("a", "old")
    with Holdfast(faults.url, namespace=namespace, timeout="100ms") as cut_off:
        users = cut_off.cache("users", ttl="1h")
        faults.refuse()
        faults.cut()
        collect(engine, users, "a")
        cut_off.close(drain=0)
    # That process has died with what it kept; the row has not.
    assert there.get("a") == "old"
    assert Relay(engine, [there]).run_once() == 1
    assert there.get("a") is MISSING
    faults.heal()


STEPS = {  # what is left after dying there: rows, and the entry
    "selected": (2, "old"),
    "invalidated": (2, None),
    "deleted": (2, None),
    "committing": (2, None),
    "committed": (0, None),
}

DYING = """
import os, signal, sys
from typing import Any
from sqlalchemy import create_engine, event
from holdfast import Holdfast
from holdfast.contrib.sqlalchemy import Relay

database, url, namespace, step = sys.argv[1:]
engine = create_engine(database)

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

with Holdfast(url, namespace=namespace) as hf:
    users = hf.cache("users", ttl="1h")
    real = users._invalidate
    target: Any = users
    if step == "selected":
        target._invalidate = die
    if step == "invalidated":
        target._invalidate = lambda keys: real(keys) and die()
    if step == "deleted":
        event.listen(engine, "after_cursor_execute", lambda *a: a[2].startswith("DELETE") and die())
    if step == "committing":
        event.listen(engine, "commit", die)
    Relay(engine, [users]).run_once()
    die()
"""


@pytest.mark.parametrize(
    ("which", "step"),
    [*(("postgres", step) for step in STEPS), ("sqlite", "invalidated"), ("sqlite", "committing")],
)
def test_a_relay_that_is_killed_between_any_two_steps(
    which: str,
    step: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    server,
    hf: Holdfast,
    namespace: str,
):
    """Whatever it has done, the next one finds what is left to do."""
    url = f"sqlite:///{tmp_path}/shop.db" if which == "sqlite" else request.getfixturevalue("database")
    engine = create_engine(url)
    request.addfinalizer(engine.dispose)
    Base.metadata.create_all(engine)
    OUTBOX.create(engine)
    users = hf.cache("users", ttl="1h")
    collect(engine, users, "a", "b")
    users.set("a", "old")
    dying = [sys.executable, "-c", DYING, url, server.url, namespace, step]
    done = subprocess.run(dying, capture_output=True, text=True, timeout=30)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (rows(engine), users.get("a", None)) == STEPS[step]
    delivered(engine, users, STEPS[step][0])
    assert (rows(engine), users.get("a", None)) == (0, None)


WRITING = """
import os, signal, sys
from typing import Any
from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session
from holdfast import Holdfast
from holdfast.contrib.sqlalchemy import Outbox, on_commit
from tests.contrib.shop import User

database, url, namespace, step = sys.argv[1:]
engine = create_engine(database)

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

with Holdfast(url, namespace=namespace) as hf, Session(engine) as session:
    users = hf.cache("users", ttl="1h")
    if step == "before":
        event.listen(engine, "commit", die)
    target: Any = users
    target._invalidate = die
    session.add(User(id=1, email="new"))
    on_commit(session, users, outbox=Outbox()).invalidate(1)
    session.commit()
"""


@pytest.mark.parametrize("step", ["before", "after"])
def test_a_writer_that_is_killed_next_to_its_commit(
    step: str, pg: Engine, database: str, server, hf: Holdfast, namespace: str
):
    """Either both have happened, change and invalidation, or none."""
    OUTBOX.create(pg)
    users = hf.cache("users", ttl="1h")
    users.set(1, "old")
    dying = [sys.executable, "-c", WRITING, database, server.url, namespace, step]
    done = subprocess.run(dying, capture_output=True, text=True, timeout=30, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL, done.stderr
    count = 1 if step == "after" else 0
    with Session(pg) as session:
        assert session.scalar(select(func.count()).select_from(User)) == count
    assert users.get(1) == "old"
    delivered(pg, users, count)
    assert users.get(1, None) == (None if count else "old")


def test_the_table_may_be_part_of_your_own(sqlite: Engine):
    own = Base.metadata.__class__()
    outbox = Outbox("events", metadata=own)
    own.create_all(sqlite)
    assert repr(outbox) == "Outbox('events')"
    assert "events" in own.tables


def test_names(hf: Holdfast, sqlite: Engine):
    with pytest.raises(ConfigurationError):
        Relay(sqlite, [hf.cache("users", ttl="1h")]).run(poll="soon")
