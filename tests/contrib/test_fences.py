"""Fences in a database: whoever has been replaced writes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from holdfast import ConflictError
from holdfast.contrib.sqlalchemy import Fences, fenced

META = MetaData()
JOBS = Table(
    "jobs",
    META,
    Column("id", Integer, primary_key=True),
    Column("state", String),
    Column("fence", BigInteger),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    url = f"sqlite:///{tmp_path}/db" if request.param == "sqlite" else request.getfixturevalue("database")
    made = create_engine(url)
    META.create_all(made)
    yield made
    made.dispose()


def test_a_transaction_that_shows_an_older_fence_is_refused(engine: Any) -> None:
    fences = Fences(metadata=MetaData())
    fences.create(engine)
    with engine.begin() as connection:
        fences.show(connection, "report", 7)
    with Session(engine) as session, session.begin():
        fences.show(session, "report", 7)  # the same holder, again
        fences.show(session, "other", 1)  # another right has its own
        session.execute(insert(JOBS).values(id=1, state="new"))
    with pytest.raises(ConflictError) as caught, engine.begin() as connection:
        fences.show(connection, "report", 6)
        connection.execute(insert(JOBS).values(id=2, state="late"))
    assert (caught.value.expected, caught.value.actual) == (6, 7)
    with engine.connect() as connection:
        assert connection.execute(select(JOBS.c.id)).scalars().all() == [1]


async def test_it_is_the_same_in_asyncio(tmp_path: Any) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/db")
    fences = Fences(metadata=MetaData())
    async with engine.begin() as connection:
        await connection.run_sync(fences.create)
        await fences.ashow(connection, "report", 7)
    with pytest.raises(ConflictError):
        async with engine.begin() as connection:
            await fences.ashow(connection, "report", 6)
    await engine.dispose()


def test_a_row_that_was_written_under_a_greater_fence_is_left_alone(engine: Any) -> None:
    """The column beside the data: no table of fences is needed."""

    def write(state: str, fence: int) -> int:
        with engine.begin() as connection:
            statement = update(JOBS).where(JOBS.c.id == 1).values(state=state)
            count: int = connection.execute(fenced(statement, JOBS.c.fence, fence)).rowcount
            return count

    with engine.begin() as connection:
        connection.execute(insert(JOBS).values(id=1, state="new"))
    assert write("first", 5) == 1
    assert write("second", 9) == 1
    assert write("late", 5) == 0
    assert write("again", 9) == 1
    with engine.connect() as connection:
        assert connection.execute(select(JOBS.c.state, JOBS.c.fence)).one() == ("again", 9)
