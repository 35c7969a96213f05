"""One PostgreSQL for all tests of contrib, and a schema in it for each."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from types import SimpleNamespace

import django  # type: ignore[import-untyped]
import psycopg
import pytest
from django.conf import settings  # type: ignore[import-untyped]
from django.db import connections  # type: ignore[import-untyped]
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


@pytest.fixture(scope="session")
def world(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Django, set up for two databases, and its models. Once in a process: it cannot be undone."""
    file = tmp_path_factory.mktemp("django") / "shop.db"
    settings.configure(
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)},
            "pg": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "postgres",
                "USER": "postgres",
                "HOST": str(postgres.home),
            },
        },
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "tests.contrib.django_shop"],
        SECRET_KEY="for tests",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # quick
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        ALLOWED_HOSTS=["testserver"],
    )
    django.setup()

    from holdfast.contrib.django import Outbox
    from tests.contrib.django_shop.models import Job, Pet, User

    for alias in connections:
        with connections[alias].schema_editor() as editor:
            editor.create_model(User)
            editor.create_model(Pet)
            editor.create_model(Job)
        outbox = Outbox()
        outbox.create(alias)
        outbox.create(alias)
    connections.close_all()
    return SimpleNamespace(User=User, Pet=Pet, Job=Job, file=file)
