"""Sessions: load one, change a key, save it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from statistics import median
from typing import Any

import flask
import flask_session.redis
import redis
import redis.asyncio
from starlette.requests import HTTPConnection
from starsessions import JsonSerializer
from starsessions.session import SessionHandler
from starsessions.stores.redis import RedisStore

from benchmarks import harness
from benchmarks.harness import Candidate, Cell, Figures, Handler, Meter, Results, Run, ratio
from benchmarks.report import Promise, Section
from benchmarks.tasks import Talk, closed
from holdfast import AsyncHoldfast, Holdfast

SESSIONS = 100
CART = {"cart": list(range(20)), "language": "de", "theme": "dark", "seen": "x" * 200}

TASKS: dict[Cell, float] = {
    ("load", 1): 1,
    ("load", 100): 1,
    ("load and save", 1): 1,
    ("load and save", 100): 1,
}
THREAD: dict[Cell, float] = {("load and save", 1): 1}

Step = Callable[[str], Awaitable[Any]]


async def _handler(loads: Step, saves: Step, ids: list[str]) -> Handler:
    async def handle(load: str, size: int, seconds: float) -> Figures:
        step = loads if load == "load" else saves
        return await closed(Talk(step, ids, None), size, seconds)

    return handle


@asynccontextmanager
async def holdfast_tasks(url: str) -> AsyncIterator[Handler]:
    """Hashed ids, generations, a version, only what changed."""
    async with AsyncHoldfast(url) as hf:
        sessions = hf.sessions("bench")
        ids = [(await sessions.create(user=f"user:{n}", data=dict(CART))).id for n in range(SESSIONS)]

        async def load(id: str) -> None:
            assert await sessions.load(id)

        async def save(id: str) -> None:
            session = await sessions.load(id)
            assert session
            session.data["count"] = session.data.get("count", 0) + 1
            await sessions.save(session)

        yield await _handler(load, save, ids)


@asynccontextmanager
async def starsessions_tasks(url: str) -> AsyncIterator[Handler]:
    """The whole session as JSON, written as a whole."""
    async with redis.asyncio.Redis(**harness.address(url)) as client:
        store, serializer = RedisStore(connection=client), JsonSerializer()

        def session(id: str) -> SessionHandler:
            return SessionHandler(HTTPConnection({"type": "http"}), id, store, serializer, 1800)

        async def load(id: str) -> None:
            handler = session(id)
            await handler.load()
            assert handler.connection.session

        async def save(id: str) -> None:
            handler = session(id)
            await handler.load()
            data = handler.connection.session
            data["count"] = data.get("count", 0) + 1
            await handler.save(1800)

        ids = [secrets.token_hex(16) for _ in range(SESSIONS)]
        for id in ids:
            handler = session(id)
            await handler.load()
            handler.connection.session.update(CART)
            await handler.save(1800)
        yield await _handler(load, save, ids)


@asynccontextmanager
async def holdfast_thread(url: str) -> AsyncIterator[Handler]:
    """One thread."""
    with Holdfast(url) as hf:
        sessions = hf.sessions("threads")
        ids = [sessions.create(user=f"user:{n}", data=dict(CART)).id for n in range(SESSIONS)]

        def step(id: str) -> None:
            session = sessions.load(id)
            assert session
            session.data["count"] = session.data.get("count", 0) + 1
            sessions.save(session)

        yield _looped(step, ids)


@asynccontextmanager
async def flask_session_thread(url: str) -> AsyncIterator[Handler]:
    """One thread; what its interface does for one request, without Flask's own work."""
    app = flask.Flask(__name__)
    with redis.Redis(**harness.address(url)) as client:
        interface = flask_session.redis.RedisSessionInterface(app, client=client)

        def step(id: str) -> None:
            data = interface._retrieve_session_data(f"session:{id}") or dict(CART)
            data["count"] = data.get("count", 0) + 1
            interface._upsert_session(app.permanent_session_lifetime, data, f"session:{id}")

        yield _looped(step, [secrets.token_hex(16) for _ in range(SESSIONS)])


def _looped(step: Callable[[str], None], ids: list[str]) -> Handler:
    async def handle(load: str, size: int, seconds: float) -> Figures:
        assert (load, size) == ("load and save", 1)
        meter = Meter()
        while meter.figures().wall < seconds:
            for id in ids:
                step(id)
            meter.done += len(ids)
        return meter.figures()

    return handle


def measure(run: Run) -> list[Section]:
    """Tasks; a thread."""
    run.say("sessions")
    ours = [Candidate("holdfast", holdfast_tasks), Candidate("starsessions", starsessions_tasks)]
    tasks = harness.interleave(run, ours, TASKS)
    threads = [Candidate("holdfast", holdfast_thread), Candidate("Flask-Session", flask_session_thread)]
    thread = harness.interleave(run, threads, THREAD)
    rows: list[Sequence[str]] = [("sessions per second", "holdfast", "the other one", "ratio")]
    promises = []
    for found, cells, other in ((tasks, TASKS, "starsessions"), (thread, THREAD, "Flask-Session")):
        for cell in cells:
            times = ratio(_rates(found, "holdfast", cell), _rates(found, other, cell))
            where = "1 thread" if other == "Flask-Session" else f"{cell[1]} task{'s' * (cell[1] > 1)}"
            what = f"{cell[0]}, {where}, {other}"
            rates = [f"{median(_rates(found, name, cell)):,.0f}" for name in ("holdfast", other)]
            rows.append((what, *rates, str(times)))
            if cell[0] == "load and save":
                promises.append(Promise(f"{what}: not slower", times.whole, times.middle >= 1))
    text = (
        f"{SESSIONS} sessions of about 350 bytes. Load and save: read one, change one key, write it; two "
        "round trips with each. Of Flask-Session only reading and writing is measured, not its signed cookie."
    )
    return [Section("Sessions", text, rows, promises)]


def _rates(found: Results, name: str, cell: Cell) -> list[float]:
    return [one.rate for one in found[name, cell]]
