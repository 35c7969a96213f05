"""Messages that are handled once, because the mark that says so commits with what the handler wrote."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, func, select, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from holdfast import ConfigurationError, Holdfast
from holdfast.contrib.sqlalchemy import Inbox
from tests.contrib.shop import Base, User, begin_by_ourselves

INBOX = Inbox()


@dataclass
class Received:
    """As much of a message as an inbox looks at."""

    id: str = "1-0"
    stream: str = "orders"
    group: str = "billing"
    partition: int = 0
    dedup_id: str | None = None


@pytest.fixture(params=["sqlite", "pg"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "pg":
        engine: Engine = request.getfixturevalue("pg")
    else:
        engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
        begin_by_ourselves(engine)
        Base.metadata.create_all(engine)
    INBOX.create(engine)
    yield engine
    engine.dispose()


def fresh(engine: Engine, message: Any, inbox: Inbox = INBOX) -> bool:
    with Session(engine) as session, session.begin(), inbox.once(session, message) as fresh:
        return fresh


def count(engine: Engine, table: Any) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(select(func.count()).select_from(table)) or 0)


def test_a_message_is_fresh_once(engine: Engine):
    assert [fresh(engine, Received()) for _ in range(3)] == [True, False, False]


def test_every_stream_group_partition_and_entry_is_one_of_its_own(engine: Engine):
    others = [
        Received(),
        Received(id="1-1"),
        Received(stream="s"),
        Received(group="g"),
        Received(partition=1),
    ]
    others.append(Received(id="x" * 500, stream="y" * 300))

    assert all(fresh(engine, one) for one in others)
    assert not any(fresh(engine, one) for one in others)


def test_what_was_rolled_back_was_not_handled(engine: Engine):
    """Else a handler that fails once has lost its message."""
    with pytest.raises(ZeroDivisionError), Session(engine) as session, session.begin():
        with INBOX.once(session, Received()) as first:
            assert first
            session.add(User(id=1, email="a"))
            raise ZeroDivisionError

    assert fresh(engine, Received())
    assert count(engine, User.__table__) == 0


def test_of_two_at_the_same_time_one_is_fresh(pg: Engine):
    """The second waits for what becomes of the first."""
    INBOX.create(pg)
    for outcome, expected in (("commit", False), ("rollback", True)):
        message = Received(id=outcome)
        answers: list[bool] = []
        with Session(pg) as session:
            assert INBOX.once(session, message).__enter__()
            thread = threading.Thread(target=lambda message=message: answers.append(fresh(pg, message)))
            thread.start()
            with pg.connect() as watcher:
                waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
                while not watcher.scalar(waiting):
                    watcher.rollback()
            assert not answers
            getattr(session, outcome)()
        thread.join(20)
        assert answers == [expected]


def test_a_chosen_identity_knows_what_was_published_twice(engine: Engine):
    inbox = Inbox(identity=lambda message: message.dedup_id)

    assert fresh(engine, Received(id="1-0", dedup_id="a"), inbox)
    assert not fresh(engine, Received(id="2-0", partition=1, dedup_id="a"), inbox)
    with pytest.raises(ConfigurationError, match="identity= of .* returned None"):
        fresh(engine, Received(), inbox)


def test_old_rows_can_be_removed(engine: Engine):
    fresh(engine, Received())
    old = {"consumer": "c", "message": "m", "done_at": datetime(2020, 1, 1, tzinfo=UTC)}
    with Session(engine) as session, session.begin():
        assert INBOX.prune(session) == 0
        session.execute(INBOX.table.insert().values(old))
    with engine.begin() as connection:
        assert INBOX.prune(connection, "1d") == 1
    assert not fresh(engine, Received())


def test_a_handler_gets_each_message_once_in_a_transaction(engine: Engine):
    sessions = sessionmaker(engine)

    @INBOX.handler(sessions)
    def bill(session: Session, value: int, message: Any) -> str:
        """Bills it."""
        session.add(User(id=value, email=f"{message.id}"))
        if value == 2:
            raise ZeroDivisionError
        return "done"

    assert (bill.__name__, bill.__doc__) == ("bill", "Bills it.")
    assert [bill(1, Received()), bill(1, Received())] == ["done", None]
    with pytest.raises(ZeroDivisionError):
        bill(2, Received(id="2-0"))
    assert count(engine, User.__table__) == count(engine, INBOX.table) == 1


def test_what_does_not_fit_is_said(engine: Engine):
    async def handler(*_: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="needs an async_sessionmaker"):
        INBOX.handler(sessionmaker(engine))(handler)
    with pytest.raises(ConfigurationError, match="needs a sessionmaker"):
        INBOX.handler(Session)(lambda *_: None)
    with Session(engine) as session:
        with pytest.raises(ConfigurationError, match="takes one message"):
            INBOX.once(session, [Received()])  # type: ignore[arg-type]
    sessions = scoped_session(sessionmaker(engine))
    with sessions.begin(), INBOX.once(sessions, Received()) as first:
        assert first
    sessions.remove()


DYING = """
import os, signal, sys
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker
from holdfast import Holdfast
from holdfast.contrib.sqlalchemy import Inbox
from tests.contrib.shop import User

database, url, namespace = sys.argv[1:]
sessions = sessionmaker(create_engine(database))
inbox = Inbox()

with Holdfast(url, namespace=namespace) as hf:
    orders = hf.stream("orders")

    @inbox.handler(sessions)
    def bill(session, order, message):
        session.add(User(id=order, email=f"{order}"))

    @orders.subscriber(group="billing", lease="1s")
    def handle(order, message):
        bill(order, message)
        if order == 3:
            os.kill(os.getpid(), signal.SIGKILL)  # committed, not acknowledged

    hf.run()
"""


def test_a_consumer_that_is_killed_between_commit_and_ack(
    pg: Engine, database: str, server, namespace: str, hf: Holdfast
):
    """Its message is delivered again, and does nothing again."""
    INBOX.create(pg)
    orders = hf.stream("orders")
    for number in range(6):
        orders.publish(number)
    done = subprocess.run(
        [sys.executable, "-c", DYING, database, server.url, namespace],
        capture_output=True, text=True, timeout=40, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = count(pg, User.__table__)
    again: list[int] = []

    @INBOX.handler(sessionmaker(pg))
    def bill(session: Session, order: int, message: Any) -> None:
        session.add(User(id=order, email=f"{order}"))

    @orders.subscriber(group="billing", lease="1s")
    def handle(order: int, message: Any) -> None:
        again.append(order)
        bill(order, message)

    hf.run(until="idle")

    assert before >= 1 and 3 in again
    assert count(pg, User.__table__) == count(pg, INBOX.table) == 6
