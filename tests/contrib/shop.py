"""What the tests of contrib keep in a database, and caches that note what they are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, ForeignKey, create_engine, event
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, composite, mapped_column, relationship, synonym
from sqlalchemy.pool import StaticPool

from holdfast import AsyncCache, Cache


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    org: Mapped[int] = mapped_column(default=0)
    pets: Mapped[list[Pet]] = relationship(cascade="all, delete-orphan")

    @property
    def domain(self) -> str:
        return self.email.partition("@")[2]


@dataclass
class Point:
    x: int
    y: int


class Place(Base):
    __tablename__ = "places"
    id: Mapped[int] = mapped_column(primary_key=True)
    point: Mapped[Point] = composite(mapped_column("x"), mapped_column("y"))
    alias: Mapped[str] = synonym("name")
    name: Mapped[str] = mapped_column(default="", onupdate="changed")

    @hybrid_property
    def label(self) -> str:
        return f"{self.id} at {self.point.x},{self.point.y}"

    def spelled(self, end: str) -> str:
        return self.label + end


class Pet(Base):
    __tablename__ = "pets"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))


def begin_by_ourselves(engine: Engine) -> None:
    """Have SQLite's savepoints work: its driver would begin too late."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")


def memory() -> Engine:
    """An empty database in memory with our tables."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    begin_by_ourselves(engine)
    Base.metadata.create_all(engine)
    return engine


class Notes:
    """What a cache was told to invalidate, each call one list; the server is not asked."""

    def __init__(self, cache: Cache[Any] | AsyncCache[Any]) -> None:
        self.keys: list[list[str]] = []
        self.tags: list[str] = []
        self.answer: bool | Exception = True
        target: Any = cache
        if isinstance(cache, AsyncCache):
            target._invalidate = self._akeys
            target.invalidate_tags = self._atags
        else:
            target._invalidate = self._keys
            target.invalidate_tags = self._tags

    def _keys(self, keys: list[str]) -> bool:
        self.keys.append(list(keys))
        return self._reply()

    def _tags(self, *tags: str) -> bool:
        self.tags += tags
        return self._reply()

    async def _akeys(self, keys: list[str]) -> bool:
        return self._keys(keys)

    async def _atags(self, *tags: str) -> bool:
        return self._tags(*tags)

    def _reply(self) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def take(self) -> list[str]:
        """All keys so far, forgotten now."""
        keys = [key for call in self.keys for key in call]
        self.keys.clear()
        return keys
