"""Messages that are published if and only if their transaction commits: once, and in order."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from holdfast import ConfigurationError, Holdfast, OutOfMemory, Refused, Unavailable
from holdfast._running_sync import Running
from holdfast.contrib.sqlalchemy import Outbox, StreamRelay, _outbox_sync, outbox_letters
from holdfast.contrib.sqlalchemy.outbox_letters import Letter
from holdfast.streams import record, rules
from tests.contrib.shop import Base, User, begin_by_ourselves

OUTBOX = Outbox()
ROOT = Path(__file__).parents[2]


@pytest.fixture
def orders(hf: Holdfast) -> Any:
    return hf.stream("orders", key=lambda order: order["of"], partitions=2)


@pytest.fixture(params=["sqlite", "pg"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "pg":
        engine: Engine = request.getfixturevalue("pg")
    else:
        engine = create_engine(f"sqlite:///{tmp_path}/shop.db")  # threads need connections of their own
        begin_by_ourselves(engine)
        Base.metadata.create_all(engine)
    OUTBOX.create(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def table(pg: Engine) -> Engine:
    """PostgreSQL, with the table."""
    OUTBOX.create(pg)
    return pg


def rows(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(select(func.count()).select_from(OUTBOX.table)) or 0)


def entries(stream: Any) -> list[dict[bytes, Any]]:
    """The fields of every entry, partition after partition."""
    desk = stream._desk
    found = [desk.wire.execute("XRANGE", part.stream, "-", "+") for part in desk.layout.parts]
    return [record.named(flat) for part in found for _id, flat in part]


def values(stream: Any) -> list[Any]:
    return [msgspec.msgpack.decode(entry[b"data"]) for entry in entries(stream)]


def add(engine: Engine, stream: Any, *numbers: int, of: str = "ann", **told: Any) -> None:
    with Session(engine) as session, session.begin():
        for number in numbers:
            OUTBOX.add(session, stream, {"of": of, "n": number}, **told)


def numbers(stream: Any, of: str = "ann") -> list[int]:
    return [value["n"] for value in values(stream) if value["of"] == of]


def until(what: Any) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def emptied(relay: StreamRelay, engine: Engine) -> None:
    """Relay until no row is left: PostgreSQL may have yet to see that the last one who had them died."""
    deadline = time.monotonic() + 20
    while rows(engine):
        assert time.monotonic() < deadline
        relay.run_once()


# --- with the transaction -----------------------------------------------------------------------------------


def test_rows_come_and_go_with_the_transaction(engine: Engine, orders):
    relay = StreamRelay(engine, [orders])
    with Session(engine) as session:
        OUTBOX.add(session, orders, {"of": "ann", "n": 0})
        session.flush()
        session.rollback()
        OUTBOX.add(session, orders, {"of": "ann", "n": 1})
        savepoint = session.begin_nested()
        OUTBOX.add(session, orders, {"of": "ann", "n": 2})
        session.flush()
        savepoint.rollback()
        with session.begin_nested():
            OUTBOX.add(session, orders, {"of": "ann", "n": 3})
        assert relay.run_once() == 0
        session.commit()

    assert (rows(engine), values(orders)) == (2, [])
    assert not relay.is_idle()
    assert relay.run_once() == 2
    assert (rows(engine), numbers(orders)) == (0, [1, 3])
    assert relay.is_idle() and relay.run_once() == 0


def test_a_transaction_that_fails_publishes_nothing(engine: Engine, orders):
    with pytest.raises(Exception, match="(?i)unique"), Session(engine) as session:
        session.add_all([User(id=1, email="a"), User(id=2, email="a")])
        OUTBOX.add(session, orders, {"of": "ann", "n": 1})
        session.commit()

    assert StreamRelay(engine, [orders]).run_once() == 0
    assert values(orders) == []


def test_a_message_arrives_as_it_was_added(engine: Engine, orders):
    sessions = scoped_session(sessionmaker(engine))
    chosen = OUTBOX.add(sessions, orders, {"of": "ann"}, id="mine", key="bob", headers={"trace": "1"})
    made = OUTBOX.add(sessions, orders, {"of": "ann"})
    sessions.commit()
    sessions.remove()
    StreamRelay(engine, [orders]).run_once()

    found = {entry[b"id"].decode(): entry for entry in entries(orders)}
    assert (chosen, uuid.UUID(made).version) == ("mine", 4)
    assert (found["mine"][b"key"], record.headers_of(found["mine"][b"headers"])) == (b"bob", {"trace": "1"})
    assert found[made][b"key"] == b"ann"
    assert orders.publish({"of": "ann"}, id="mine", key="bob").duplicate


def test_a_delay_counts_from_the_publish(engine: Engine, orders):
    add(engine, orders, 1, delay="1h")
    StreamRelay(engine, [orders]).run_once()

    desk = orders._desk
    assert (rows(engine), values(orders)) == (0, [])
    assert sum(desk.wire.execute("ZCARD", part.at) for part in desk.layout.parts) == 1


def test_what_cannot_be_written_is_refused_when_it_is_added(engine: Engine, orders):
    """Later nobody would be there to hear of it."""
    with Session(engine) as session:
        for wrong in ({"key": object()}, {"headers": {"a": 1}}, {"delay": "soon"}, {"id": ""}):
            with pytest.raises(ConfigurationError):
                OUTBOX.add(session, orders, {"of": "ann"}, **wrong)
        with pytest.raises(ConfigurationError, match="is not a stream"):
            OUTBOX.add(session, "orders", {"of": "ann"})  # type: ignore[arg-type]
        session.commit()
    assert rows(engine) == 0


# --- order --------------------------------------------------------------------------------------------------


def test_many_rows_keep_the_order_of_their_key(engine: Engine, orders):
    """Over batches, chunks and flushes."""
    with Session(engine) as session, session.begin():
        for number in range(1300):
            OUTBOX.add(session, orders, {"of": f"k{number % 5}", "n": number})
    relay = StreamRelay(engine, [orders], batch=700)

    assert [relay.run_once() for _ in range(3)] == [700, 600, 0]
    for key in range(5):
        assert numbers(orders, f"k{key}") == list(range(key, 1300, 5))


def test_a_row_that_commits_late_is_not_passed_over(table: Engine, orders):
    """Numbers are given before the commit: whoever reads on from the last one loses it."""
    relay = StreamRelay(table, [orders])
    with Session(table) as late:
        OUTBOX.add(late, orders, {"of": "late", "n": 1})
        late.flush()
        add(table, orders, 2)
        assert relay.run_once() == 1
        late.commit()

    assert relay.run_once() == 1
    assert numbers(orders, "late") == [1]


def test_nobody_overtakes_a_relay_at_work(table: Engine, orders):
    """With SKIP LOCKED alone, the second takes what is behind the rows of the first, and is done first."""
    add(table, orders, 1, 2, 3)
    ids = select(OUTBOX.table.c.id).order_by(OUTBOX.table.c.id)
    relay = StreamRelay(table, [orders])
    with table.connect() as other:
        everything = list(other.scalars(ids))
        with other.begin_nested():
            other.execute(ids.where(OUTBOX.table.c.id == everything[1]).with_for_update())
            assert relay.run_once() == 1
        other.rollback()

    assert numbers(orders) == [1]
    assert relay.run_once() == 2
    assert numbers(orders) == [1, 2, 3]


@pytest.mark.parametrize("which", ["sqlite", "pg"])
def test_many_relays_and_writers(which: str, request: pytest.FixtureRequest, tmp_path: Path, orders):
    """Each message once, those of one writer in order, whoever relays them."""
    if which == "pg":
        engine: Engine = request.getfixturevalue("table")
    else:
        engine = create_engine(f"sqlite:///{tmp_path}/shop.db", connect_args={"timeout": 20})
        request.addfinalizer(engine.dispose)
        OUTBOX.create(engine)
    keys, each, stop, failed = 4, 25, threading.Event(), list[BaseException]()

    def work(what: Any) -> None:
        try:
            what()
        except BaseException as error:
            failed.append(error)

    def write(key: int) -> None:
        for number in range(each):
            add(engine, orders, number, of=f"k{key}")

    def relay() -> None:
        own = StreamRelay(engine, [orders], batch=7)
        while not stop.is_set():
            try:
                own.run_once()
            except Exception as error:
                if "locked" not in str(error):  # SQLite says so; it is tried again
                    raise

    writers = [threading.Thread(target=work, args=(lambda key=key: write(key),)) for key in range(keys)]
    relays = [threading.Thread(target=work, args=(relay,)) for _ in range(3)]
    for thread in writers + relays:
        thread.start()
    for thread in writers:
        thread.join(40)
    until(lambda: failed or not rows(engine))
    stop.set()
    for thread in relays:
        thread.join(20)

    assert not failed
    for key in range(keys):
        assert numbers(orders, f"k{key}") == list(range(each))


def test_a_number_is_never_given_twice(engine: Engine, orders):
    """Planted by SQLite: a relay that was slow to delete row 7 deleted the next row 7, which was lost."""
    given: list[int] = []
    for number in range(2):
        add(engine, orders, number)
        with engine.connect() as connection:
            given += connection.scalars(select(OUTBOX.table.c.id))
        StreamRelay(engine, [orders]).run_once()

    assert given[0] < given[1]


# --- trouble ------------------------------------------------------------------------------------------------


def refusing(stream: Any, wrong: Any) -> list[Any]:
    """Have the stream refuse requests with an entry for which `wrong(value)` holds; what it was asked."""
    desk, asked = stream._desk, list[Any]()
    publish = desk.publish

    def picky(part: Any, items: Any, window_ms: Any = None) -> Any:
        sent = [
            msgspec.msgpack.decode(dict(zip(item.fields[::2], item.fields[1::2], strict=True))["data"])
            for item in items
        ]
        asked.append(sent)
        if any(wrong(value) for value in sent):
            raise Refused("ERR not this one")
        return publish(part, items, window_ms)

    desk.publish = picky
    return asked


def test_a_message_that_is_refused_stops_its_own_key_only(engine: Engine, orders, caplog):
    bad = {("ann", 2)}
    refusing(orders, lambda value: (value["of"], value["n"]) in bad)
    add(engine, orders, 1, 2, 3)
    add(engine, orders, 1, 2, 3, of="bob")
    relay = StreamRelay(engine, [orders])

    assert relay.run_once() == 4
    assert (numbers(orders), numbers(orders, "bob")) == ([1], [1, 2, 3])
    assert relay.failing == {"stream:orders:ann": (1, "ERR not this one")}
    assert "could not be published to orders, 1 times" in caplog.text
    assert relay.run_once() == 0
    until(lambda: relay.run_once() == 0 and relay.failing["stream:orders:ann"][0] == 3)
    assert numbers(orders) == [1]

    bad.clear()
    until(lambda: relay.run_once() == 2)
    assert (numbers(orders), rows(engine), relay.failing) == ([1, 2, 3], 0, {})


def test_a_message_that_was_refused_rests(sqlite: Engine, orders, monkeypatch):
    """Else a message that is never taken is sent with every look, a thousand times a minute."""
    OUTBOX.create(sqlite)
    monkeypatch.setattr(outbox_letters, "backoff", lambda failures, dice: 3600.0)
    asked = refusing(orders, lambda value: value["n"] == 1)
    add(sqlite, orders, 1)
    relay = StreamRelay(sqlite, [orders])

    assert [relay.run_once() for _ in range(3)] == [0, 0, 0]
    assert len(asked) == 1


def test_messages_without_a_key_do_not_wait_for_one_another(engine: Engine, hf: Holdfast):
    plain = hf.stream("plain")
    refusing(plain, lambda value: value["n"] == 1)
    add(engine, plain, 1, 2)

    assert StreamRelay(engine, [plain]).run_once() == 1
    assert numbers(plain) == [2]


def test_a_row_that_nobody_can_read_is_left_and_the_others_go(engine: Engine, orders):
    lost = Letter(9, "", "x", ["data", b"\x80"])
    add(engine, orders, 1)
    with engine.begin() as connection:
        for key, payload in (("ann", b"no letter"), ("x", lost.encode())):
            row = {"topic": "stream:orders", "kind": "publish", "key": key, "payload": payload}
            connection.execute(OUTBOX.table.insert(), row)
    add(engine, orders, 2)
    add(engine, orders, 1, of="bob")
    relay = StreamRelay(engine, [orders])

    assert relay.run_once() == 2
    assert (numbers(orders), numbers(orders, "bob"), rows(engine)) == ([1], [1], 3)
    assert set(relay.failing) == {"stream:orders:ann", "stream:orders:x"}


def test_a_full_server_is_no_fault_of_a_message(engine: Engine, orders):
    """Else every key would rest, each for its own time, when the server is well again."""

    def full(*_: Any) -> None:
        raise OutOfMemory("OOM")

    publish, orders._desk.publish = orders._desk.publish, full
    add(engine, orders, 1)
    relay = StreamRelay(engine, [orders])
    with pytest.raises(OutOfMemory):
        relay.run_once()
    orders._desk.publish = publish

    assert (rows(engine), relay.failing) == (1, {})
    assert relay.run_once() == 1


def test_a_stream_in_trouble_stops_no_other(engine: Engine, hf: Holdfast, faults, namespace: str):
    plain = hf.stream("plain")
    with Holdfast(faults.url, namespace=namespace, timeout="200ms") as cut_off:
        away = cut_off.stream("away")
        away.publish({"n": 0})
        add(engine, away, 1)
        add(engine, plain, 1)
        faults.refuse()
        faults.cut()
        relay = StreamRelay(engine, [away, plain])
        with pytest.raises(Unavailable):
            relay.run_once()
        assert (rows(engine), numbers(plain)) == (1, [1])
        faults.heal()
        assert relay.run_once() == 1


def test_rows_of_streams_that_it_does_not_know_stay(engine: Engine, hf: Holdfast, orders):
    add(engine, orders, 1)

    assert StreamRelay(engine, [hf.stream("other")]).run_once() == 0
    assert rows(engine) == 1


def test_a_lost_reply_publishes_nothing_twice(engine: Engine, faults, namespace: str):
    with Holdfast(faults.url, namespace=namespace) as hf:
        orders = hf.stream("orders", key=lambda order: order["of"])
        add(engine, orders, 1)
        relay = StreamRelay(engine, [orders])
        relay.run_once()
        add(engine, orders, 2)
        faults.drop_replies(match=rules.PUBLISH.digest.encode())

        assert relay.run_once() == 1
        assert not faults.heal()
        assert numbers(orders) == [1, 2]


def test_a_frozen_relay_is_replaced_and_adds_nothing_when_it_thaws(table: Engine, orders, monkeypatch):
    """Its locks would hold up the stream for as long as it is frozen."""
    monkeypatch.setattr(_outbox_sync, "FROZEN", 1)
    add(table, orders, 1, 2)
    inside, thaw, errors = threading.Event(), threading.Event(), list[BaseException]()
    publish = orders._desk.publish

    def freeze(*told: Any) -> Any:
        inside.set()
        assert thaw.wait(30)
        return publish(*told)

    def work() -> None:
        try:
            StreamRelay(table, [orders]).run_once()
        except Exception as error:
            errors.append(error)

    orders._desk.publish = freeze
    frozen = threading.Thread(target=work)
    frozen.start()
    assert inside.wait(20)
    orders._desk.publish = publish
    emptied(StreamRelay(table, [orders]), table)
    add(table, orders, 3)
    StreamRelay(table, [orders]).run_once()
    thaw.set()
    frozen.join(20)

    assert errors and numbers(orders) == [1, 2, 3]


STEPS = {"selected": 0, "published": 2, "committing": 2, "committed": 2}

DYING = """
import os, signal, sys
from sqlalchemy import create_engine, event
from holdfast import Holdfast
from holdfast.contrib.sqlalchemy import StreamRelay

database, url, namespace, step = sys.argv[1:]
engine = create_engine(database)

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

with Holdfast(url, namespace=namespace) as hf:
    orders = hf.stream("orders", key=lambda order: order["of"], partitions=2)
    desk = orders._desk
    publish = desk.publish
    if step == "selected":
        desk.publish = die
    if step == "published":
        desk.publish = lambda *told: publish(*told) and die()
    if step == "committing":
        event.listen(engine, "commit", die)
    StreamRelay(engine, [orders]).run_once()
    die()
"""


@pytest.mark.parametrize(
    ("which", "step"),
    [*(("pg", step) for step in STEPS), ("sqlite", "published")],
)
def test_a_relay_that_is_killed_between_any_two_steps(
    which: str, step: str, request: pytest.FixtureRequest, tmp_path: Path, server, namespace: str, orders
):
    """Whatever it has done, the next one does what is left to do, and nothing twice."""
    url = f"sqlite:///{tmp_path}/shop.db" if which == "sqlite" else request.getfixturevalue("database")
    engine = create_engine(url)
    request.addfinalizer(engine.dispose)
    OUTBOX.create(engine)
    add(engine, orders, 1, 2)
    done = subprocess.run(
        [sys.executable, "-c", DYING, url, server.url, namespace, step],
        capture_output=True, text=True, timeout=40, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (rows(engine), len(values(orders))) == (0 if step == "committed" else 2, STEPS[step])

    emptied(StreamRelay(engine, [orders]), engine)
    assert numbers(orders) == [1, 2]


WRITING = """
import os, signal, sys
from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session
from holdfast import Holdfast
from holdfast.contrib.sqlalchemy import Outbox
from tests.contrib.shop import User

database, url, namespace, step = sys.argv[1:]
engine = create_engine(database)

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

with Holdfast(url, namespace=namespace) as hf, Session(engine) as session:
    orders = hf.stream("orders", key=lambda order: order["of"], partitions=2)
    if step == "before":
        event.listen(engine, "commit", die)
    session.add(User(id=1, email="new"))
    Outbox().add(session, orders, {"of": "ann", "n": 1})
    session.commit()
    die()
"""


@pytest.mark.parametrize("step", ["before", "after"])
def test_a_writer_that_is_killed_next_to_its_commit(
    step: str, table: Engine, database: str, server, namespace: str, orders
):
    """Either both have happened, change and message, or none."""
    done = subprocess.run(
        [sys.executable, "-c", WRITING, database, server.url, namespace, step],
        capture_output=True, text=True, timeout=40, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    count = 1 if step == "after" else 0
    with Session(table) as session:
        assert session.scalar(select(func.count()).select_from(User)) == count
    emptied(StreamRelay(table, [orders]), table)
    assert numbers(orders) == [1] * count


# --- in the background --------------------------------------------------------------------------------------


def test_it_is_told_right_after_the_commit(engine: Engine, orders):
    """Else every message waits for the next look, here a minute."""
    relay = StreamRelay(engine, [orders], poll="1m")
    looks: list[int] = []
    once = relay.run_once

    def counted() -> int:
        count = once()
        looks.append(count)
        return count

    relay.run_once = counted  # type: ignore[method-assign]
    relay.start()
    relay.start()
    try:
        until(lambda: len(looks) >= 2)  # the second look is that of the confirmed subscription
        for number in range(1, 4):
            add(engine, orders, number)
            until(lambda number=number: numbers(orders) == list(range(1, number + 1)))
        until(lambda: sum(looks) == 3 and looks[-1] == 0)  # it rests now, for a minute
    finally:
        relay.close(20)
    assert not relay.alive and relay.failure is None


def test_the_bell_is_for_the_commit_alone(sqlite: Engine, orders, monkeypatch):
    """Rung at the end of a savepoint, it would be heard before there is anything to see, and not again."""
    OUTBOX.create(sqlite)
    rung: list[Any] = []
    monkeypatch.setattr(orders._desk.wire.hub, "deliver", lambda *told: rung.append(told))
    with Session(sqlite) as session:
        OUTBOX.add(session, orders, {"of": "ann", "n": 1})
        with session.begin_nested():
            OUTBOX.add(session, orders, {"of": "ann", "n": 2})
        assert not rung
        session.commit()
        assert len(rung) == 1
        session.add(User(id=1, email="a"))
        session.commit()
    assert len(rung) == 1


@pytest.mark.parametrize("topology", ["cluster"])
def test_it_is_told_in_a_cluster_too(sqlite: Engine, orders):
    """The channel is on the node of its slot, and so is what is told there."""
    OUTBOX.create(sqlite)
    relay = StreamRelay(sqlite, [orders], poll="1m")
    heard: list[int] = []
    relay.run_once = lambda: heard.append(1) or 0  # type: ignore[func-returns-value,method-assign]
    relay.start()
    try:
        until(lambda: len(heard) >= 2)
        before = len(heard)
        add(sqlite, orders, 1)
        until(lambda: len(heard) > before)
    finally:
        relay.close(20)
    del relay.run_once
    assert relay.run_once() == 1 and numbers(orders) == [1]


def test_a_run_of_it_ends_when_nothing_is_left(engine: Engine, orders):
    add(engine, orders, *range(10))

    Running().run([StreamRelay(engine, [orders], batch=3, poll="20ms")], until="idle")

    assert (rows(engine), numbers(orders)) == (0, list(range(10)))


def test_it_outlives_trouble_and_ends_of_wrong_settings(engine: Engine, orders, caplog):
    relay = StreamRelay(engine, [orders], poll="10ms")
    answers: list[Exception] = [Unavailable("away"), ConfigurationError("wrong")]

    def fail() -> int:
        raise answers.pop(0)

    relay.run_once = fail  # type: ignore[method-assign]
    relay.start()
    until(lambda: not relay.alive)

    assert isinstance(relay.failure, ConfigurationError)
    assert "failed 1 times in a row: Unavailable('away')" in caplog.text
    relay.close()


def test_the_table_and_its_names(hf: Holdfast, sqlite: Engine, orders):
    own = Base.metadata.__class__()
    outbox = Outbox("events", metadata=own)
    own.create_all(sqlite)
    relay = StreamRelay(sqlite, [orders], outbox)
    with Session(sqlite) as session, session.begin():
        outbox.add(session, orders, {"of": "ann", "n": 1})

    assert relay.run_once() == 1
    assert (relay.name, relay.group, relay.alive) == ("outbox events", None, False)
    for wrong in ({"batch": 0}, {"poll": "soon"}, {"remembered": -1}):
        with pytest.raises(ConfigurationError):
            StreamRelay(sqlite, [orders], outbox, **wrong)
