"""Outbox, relay and inbox with asyncio, on aiosqlite and on psycopg."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)

from holdfast import AsyncHoldfast, ConfigurationError
from holdfast._running_async import AsyncRunning
from holdfast.contrib.sqlalchemy import AsyncStreamRelay, Inbox, Outbox
from holdfast.streams import record
from holdfast.streams._stream_async import AsyncStream
from tests.contrib.shop import Base, User, begin_by_ourselves
from tests.contrib.test_inbox import Received

OUTBOX, INBOX = Outbox(), Inbox()


@pytest_asyncio.fixture(params=["aiosqlite", "psycopg"])
async def engine(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[AsyncEngine]:
    if request.param == "psycopg":
        made = create_async_engine(request.getfixturevalue("database"))
    else:
        made = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
        begin_by_ourselves(made.sync_engine)
    async with made.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.run_sync(OUTBOX.create)
        await connection.run_sync(INBOX.create)
    yield made
    await made.dispose()


@pytest.fixture
def orders(ahf: AsyncHoldfast) -> Any:
    return ahf.stream("orders", key=lambda order: order["of"])


async def numbers(stream: Any) -> list[int]:
    part = stream._desk.layout.parts[0].stream
    found = await stream._desk.wire.execute("XRANGE", part, "-", "+")
    return [msgspec.msgpack.decode(record.named(flat)[b"data"])["n"] for _id, flat in found]


async def count(engine: AsyncEngine, table: Any) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar() or 0)


async def test_it_is_published_with_the_commit(engine: AsyncEngine, orders):
    relay = AsyncStreamRelay(engine, [orders], batch=2)
    sessions = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
    async with AsyncSession(engine) as session:
        OUTBOX.add(session, orders, {"of": "ann", "n": 0})
        await session.flush()
        await session.rollback()
        for number in (1, 2):
            OUTBOX.add(session, orders, {"of": "ann", "n": number})
        await session.commit()
    OUTBOX.add(sessions, orders, {"of": "ann", "n": 3})
    await sessions.commit()
    await sessions.remove()

    assert not await relay.is_idle()
    assert [await relay.run_once() for _ in range(3)] == [2, 1, 0]
    assert await numbers(orders) == [1, 2, 3] and await relay.is_idle()


async def test_it_is_told_and_run(engine: AsyncEngine, orders):
    relay = AsyncStreamRelay(engine, [orders], poll="1m")
    running = AsyncRunning()
    run = asyncio.create_task(running.run([relay]))
    async with asyncio.timeout(30):
        for number in range(3):
            async with AsyncSession(engine) as session, session.begin():
                OUTBOX.add(session, orders, {"of": "ann", "n": number})
            while await numbers(orders) != list(range(number + 1)):
                await asyncio.sleep(0.005)
        running.stop()
        await run
    assert not relay.alive


async def test_a_message_is_handled_once(engine: AsyncEngine):
    @INBOX.handler(async_sessionmaker(engine))
    async def bill(session: AsyncSession, value: int, message: Any) -> str:
        session.add(User(id=value, email=f"{value}"))
        if value == 2:
            raise ZeroDivisionError
        return "done"

    assert [await bill(1, Received()), await bill(1, Received())] == ["done", None]
    with pytest.raises(ZeroDivisionError):
        await bill(2, Received(id="2-0"))
    assert await count(engine, User.__table__) == await count(engine, INBOX.table) == 1
    async with engine.begin() as connection:
        assert await INBOX.aprune(connection) == 0
    async with AsyncSession(engine) as session:
        with pytest.raises(ConfigurationError, match="write `async with`"), INBOX.once(session, Received()):
            pass


async def test_a_row_of_the_outbox_goes_through_a_handler_once(
    engine: AsyncEngine, ahf: AsyncHoldfast, orders: AsyncStream[Any]
):
    """From one database to another: committed with the order, handled with the invoice."""

    @orders.subscriber(group="billing")
    @INBOX.handler(async_sessionmaker(engine))
    async def bill(session: AsyncSession, order: Any, message: Any) -> None:
        session.add(User(id=order["n"], email=f"{order['n']}"))

    async with AsyncSession(engine) as session, session.begin():
        for number in range(20):
            OUTBOX.add(session, orders, {"of": f"k{number % 3}", "n": number})
    async with asyncio.timeout(40):
        while await AsyncStreamRelay(engine, [orders], batch=7).run_once():
            pass
        await ahf.run(until="idle")

    assert await count(engine, User.__table__) == await count(engine, INBOX.table) == 20
    assert await count(engine, OUTBOX.table) == 0
