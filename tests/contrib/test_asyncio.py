"""`on_commit` with an AsyncSession, on aiosqlite and on psycopg."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)

from holdfast import MISSING, AsyncCache, AsyncHoldfast, ConfigurationError, Holdfast
from holdfast.contrib.sqlalchemy import AsyncRelay, Outbox, on_commit, watch
from tests.contrib.shop import Base, Notes, User, begin_by_ourselves


@pytest_asyncio.fixture(params=["aiosqlite", "psycopg"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[AsyncEngine]:
    if request.param == "psycopg":
        made = create_async_engine(request.getfixturevalue("database"))
    else:
        made = create_async_engine("sqlite+aiosqlite://")
        begin_by_ourselves(made.sync_engine)
    async with made.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield made
    await made.dispose()


@pytest.fixture
def users(ahf: AsyncHoldfast) -> AsyncCache[Any]:
    return ahf.cache("users", ttl="1h")


async def test_it_is_done_when_commit_returns(engine: AsyncEngine, users: AsyncCache[Any]):
    await users.set(1, "old")
    async with AsyncSession(engine) as session:
        pending = on_commit(session, users)
        session.add(User(id=1, email="new"))
        pending.invalidate(1)
        await session.flush()
        assert await users.get(1) == "old"
        await session.commit()
        assert await users.get(1) is MISSING

        await users.set(1, "old")
        pending.invalidate(1)
        await session.scalar(select(User.id))
        await session.rollback()
        assert await users.get(1) == "old"


async def test_the_block_of_begin(engine: AsyncEngine, users: AsyncCache[Any]):
    notes = Notes(users)
    maker = async_sessionmaker(engine)
    async with maker.begin() as session:
        pending = on_commit(session, users)
        pending.invalidate("a")
        async with session.begin_nested():
            pending.invalidate("kept")
        with pytest.raises(LookupError):
            async with session.begin_nested():
                pending.invalidate("gone")
                raise LookupError
        assert notes.keys == []
    assert notes.keys == [["a", "kept"]]
    with pytest.raises(LookupError):
        async with maker.begin() as session:
            on_commit(session, users).invalidate("a")
            raise LookupError
    assert notes.take() == ["a", "kept"]


async def test_a_flush_that_fails(engine: AsyncEngine, users: AsyncCache[Any]):
    notes = Notes(users)
    async with AsyncSession(engine) as session:
        session.add_all([User(id=1, email="a"), User(id=2, email="a")])
        on_commit(session, users).invalidate("a")
        with pytest.raises(IntegrityError):
            await session.commit()
    assert notes.take() == []


async def test_a_transaction_reads_what_it_wrote(engine: AsyncEngine, users: AsyncCache[Any]):
    await users.set("a", "old")
    await users.set("b", "old")

    async def mine() -> str:
        return "mine"

    async with AsyncSession(engine) as session:
        pending = on_commit(session, users)
        pending.invalidate("a")
        assert await pending.get("a") is MISSING
        assert await pending.get_or_set("a", mine) == "mine"
        assert await pending.get_or_set("b", mine) == "old"
        assert await pending.get_or_set("c", mine) == "mine"
        assert await users.get("c") is MISSING


async def test_run_sync(engine: AsyncEngine, users: AsyncCache[Any]):
    notes = Notes(users)
    async with AsyncSession(engine) as session:
        pending = on_commit(session, users)

        def work(inner: Any) -> None:
            inner.add(User(id=1, email="a"))
            pending.invalidate("a")
            inner.commit()

        await session.run_sync(work)
        assert notes.take() == ["a"]


async def test_a_cancelled_commit_invalidates_all_the_same(engine: AsyncEngine, users: AsyncCache[Any]):
    """Planted: without a task of its own the invalidation was cancelled with its caller."""
    begun, done = asyncio.Event(), asyncio.Event()
    target: Any = users

    async def slow(keys: list[str]) -> bool:
        begun.set()
        await asyncio.sleep(0.05)
        done.set()
        return True

    target._invalidate = slow
    async with AsyncSession(engine) as session:
        session.add(User(id=1, email="a"))
        on_commit(session, users).invalidate("a")
        task = asyncio.create_task(session.commit())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(done.wait(), 5)
        assert await session.get(User, 1) is not None


async def test_a_commit_of_which_nobody_knows(engine: AsyncEngine, users: AsyncCache[Any]):
    notes = Notes(users)

    def cut(connection: Any) -> None:
        connection.connection.rollback()
        raise ConnectionError

    async with AsyncSession(engine) as session:
        session.add(User(id=1, email="a"))
        on_commit(session, users).invalidate("a")
        event.listen(engine.sync_engine, "commit", cut)
        with pytest.raises(ConnectionError):
            await session.commit()
        event.remove(engine.sync_engine, "commit", cut)
    assert notes.take() == ["a"]


async def test_a_scoped_session(engine: AsyncEngine, users: AsyncCache[Any]):
    notes = Notes(users)
    session = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
    on_commit(session, users).invalidate("a")
    await session.commit()
    await session.remove()
    assert notes.take() == ["a"]


async def test_a_cache_of_the_wrong_kind(engine: AsyncEngine, hf: Holdfast, ahf: AsyncHoldfast):
    wrong: Any = hf.cache("users", ttl="1h")
    async with AsyncSession(engine) as session:
        with pytest.raises(ConfigurationError, match="AsyncSession with an AsyncCache"):
            on_commit(session, wrong)
        with watch(session, {User: (wrong, lambda user: user.id)}):
            session.add(User(id=1, email="a"))
            with pytest.raises(ConfigurationError, match="AsyncSession"):
                await session.commit()


async def test_watch_and_outbox_and_relay(engine: AsyncEngine, users: AsyncCache[Any]):
    outbox = Outbox()
    async with engine.begin() as connection:
        await connection.run_sync(outbox.create)
    notes = Notes(users)
    maker = async_sessionmaker(engine, expire_on_commit=True)
    with watch(maker, {User: (users, lambda user: user.email)}, outbox=outbox):
        async with maker() as session:
            user = User(id=1, email="a")
            session.add(user)
            await session.commit()
            user.email = "b"  # the older value was not loaded
            await session.commit()
        async with AsyncSession(engine) as session:  # not of the maker
            session.add(User(id=2, email="unseen"))
            await session.commit()
    assert notes.keys == [["a"], ["a", "b"]]
    notes.take()
    relay = AsyncRelay(engine, {"users": users}, outbox)
    assert await relay.run_once() == 3
    assert await relay.run_once() == 0
    assert notes.keys == [["a", "b"]]
