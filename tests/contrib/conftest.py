"""One PostgreSQL for all tests of contrib, and a schema in it for each."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine, create_engine

from holdfast.cli.demo.postgres import Postgres
from tests.contrib.shop import Base, memory


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL."""
    with Postgres() as running:
        yield running


@pytest.fixture
def schema(postgres: Postgres) -> Iterator[str]:
    """The name of an empty schema in it."""
    name = f"t{secrets.token_hex(4)}"
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        admin.execute(f"CREATE SCHEMA {name}".encode())
        yield name
        admin.execute(f"DROP SCHEMA {name} CASCADE".encode())


@pytest.fixture
def database(postgres: Postgres, schema: str) -> str:
    """The URL of that schema, for SQLAlchemy."""
    return f"postgresql+psycopg://postgres@/postgres?host={postgres.home}&options=-csearch_path%3D{schema}"


@pytest.fixture
def pg(database: str) -> Iterator[Engine]:
    """An engine on it, with the tables of the shop."""
    engine = create_engine(database)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite() -> Iterator[Engine]:
    """An engine on a database in memory, with the tables of the shop."""
    engine = memory()
    yield engine
    engine.dispose()
