"""Streams and queues of others, as stations.py knows them, each as its documentation recommends it.

Results are not kept where a library would keep some.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from typing import Any

import redis
import redis.asyncio

from benchmarks import harness
from benchmarks.streams.stations import COUNT, GROUP, OnMessage, Open, Station


def peer(module: str) -> Any:
    """A module of somebody else's; not `import`: the type check of the suite does without the peers."""
    return import_module(module)


async def _end(task: asyncio.Task[Any]) -> None:
    """Cancel `task` until it believes it: what peers stand on swallows a cancellation now and then."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.2)


class OneByOne(Station):
    """Has no call for many messages: they are published side by side."""

    async def publish_many(self, payloads: Sequence[Any]) -> Any:
        await asyncio.gather(*map(self.publish, payloads))


# --- walrus -------------------------------------------------------------------------------------------------


class Walrus(Station):
    """walrus's consumer group; it has no worker, so the loop is that of its documentation, with an ack for
    each batch.
    """

    def __init__(self, database: Any, name: str) -> None:
        self._database, self._name = database, name
        self._stream = database.Stream(name)

    def publish(self, payload: bytes) -> Any:
        return self._stream.add({"data": payload})

    def publish_many(self, payloads: Sequence[bytes]) -> Any:
        pipe = self._database.pipeline(transaction=False)  # it is a redis-py client
        for payload in payloads:
            pipe.xadd(self._name, {"data": payload})
        return pipe.execute()

    @asynccontextmanager
    async def consuming(self, on_message: OnMessage) -> AsyncIterator[None]:
        running = threading.Event()
        running.set()

        def loop() -> None:
            group = self._database.consumer_group(GROUP, {self._name: "0-0"})
            group.create(mkstream=True)
            stream = group.streams[self._name]
            while running.is_set():
                found = stream.read(count=COUNT, block=100)
                for _, fields in found:
                    on_message(fields[b"data"])
                if found:
                    stream.ack(*(entry for entry, _ in found))

        worker = threading.Thread(target=loop)
        worker.start()
        try:
            yield
        finally:
            running.clear()
            await asyncio.to_thread(worker.join)


@asynccontextmanager
async def walrus(url: str, name: str) -> AsyncIterator[Station]:
    """walrus; it reads the replies of RESP2 only."""
    with peer("walrus").Database(protocol=2, **harness.address(url)) as database:
        yield Walrus(database, name)


# --- FastStream ---------------------------------------------------------------------------------------------


class FastStream(Station):
    """FastStream's broker with a stream in a group, and the second subscriber that takes over what others
    left, as its documentation shows it. It publishes many through a pipeline.
    """

    def __init__(self, url: str, client: Any, name: str, batch: bool) -> None:
        self.broker = peer("faststream.redis").RedisBroker(url, logger=None)
        self._client, self._name, self._batch = client, name, batch

    async def publish(self, payload: bytes) -> Any:
        return await self.broker.publish(payload, stream=self._name)

    async def publish_many(self, payloads: Sequence[bytes]) -> Any:
        pipe = self._client.pipeline(transaction=False)
        for payload in payloads:
            await self.broker.publish(payload, stream=self._name, pipeline=pipe)
        return await pipe.execute()

    @asynccontextmanager
    async def consuming(self, on_message: OnMessage) -> AsyncIterator[None]:
        stream = peer("faststream.redis").StreamSub

        async def one(body: bytes) -> None:
            on_message(body)

        async def many(body: list[bytes]) -> None:
            for each in body:
                on_message(each)

        handler = many if self._batch else one
        options = {"group": GROUP, "batch": self._batch}
        fresh = stream(self._name, consumer="me", max_records=COUNT, **options)
        left = stream(self._name, consumer="me-too", min_idle_time=60_000, **options)
        with suppress(redis.ResponseError):  # it is there
            await self._client.xgroup_create(self._name, GROUP, "0", mkstream=True)
        for each in (fresh, left):
            self.broker.subscriber(stream=each)(handler)
        await self.broker.start()
        yield


def faststream(batch: bool = False) -> Open:
    """FastStream, one message or a list of them for each call."""

    @asynccontextmanager
    async def open_(url: str, name: str) -> AsyncIterator[Station]:
        where = harness.address(url)
        async with redis.asyncio.Redis(**where) as client:
            station = FastStream(f"redis://{where['host']}:{where['port']}", client, name, batch)
            await station.broker.connect()
            try:
                yield station
            finally:
                await station.broker.stop()

    return open_


# --- taskiq-redis -------------------------------------------------------------------------------------------


class Taskiq(OneByOne):
    """taskiq with the broker that acknowledges, RedisStreamBroker."""

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self._on_message: OnMessage | None = None

        async def handle(payload: str) -> None:
            assert self._on_message is not None
            self._on_message(payload)

        self._task = broker.register_task(handle, task_name="handle")

    async def publish(self, payload: str) -> Any:
        return await self._task.kiq(payload)

    @asynccontextmanager
    async def consuming(self, on_message: OnMessage) -> AsyncIterator[None]:
        self._on_message = on_message
        worker = asyncio.create_task(peer("taskiq.api").run_receiver_task(self._broker))
        try:
            yield
            await asyncio.sleep(0.05)  # its acknowledgements follow, one by one
        finally:
            await _end(worker)


@asynccontextmanager
async def taskiq(url: str, name: str) -> AsyncIterator[Station]:
    """taskiq-redis with its defaults."""
    logging.getLogger("taskiq").setLevel(logging.ERROR)

    where = harness.address(url)
    broker = peer("taskiq_redis").RedisStreamBroker(
        f"redis://{where['host']}:{where['port']}", queue_name=name
    )
    await broker.startup()
    try:
        yield Taskiq(broker)
    finally:
        await broker.shutdown()


# --- arq ----------------------------------------------------------------------------------------------------


class Arq(OneByOne):
    """arq, with 100 jobs at a time and a question every 10 ms: by itself, 10 jobs every half second."""

    def __init__(self, pool: Any, name: str) -> None:
        self._pool, self._name = pool, name

    async def publish(self, payload: bytes) -> Any:
        return await self._pool.enqueue_job("handle", payload, _queue_name=self._name)

    @asynccontextmanager
    async def consuming(self, on_message: OnMessage) -> AsyncIterator[None]:
        arq = peer("arq.worker")

        async def handle(_: Any, payload: bytes) -> None:
            on_message(payload)

        job = arq.func(handle, name="handle", keep_result=0)
        worker = arq.Worker(
            [job], redis_pool=self._pool, queue_name=self._name, max_jobs=100, poll_delay=0.01,
            handle_signals=False, job_completion_wait=5, log_results=False,
        )  # fmt: skip
        running = asyncio.create_task(worker.async_run())
        try:
            yield
            while worker.tasks:  # noqa: ASYNC110 - what is done is still to be told to the server
                await asyncio.sleep(0.01)
        finally:
            await _end(running)


@asynccontextmanager
async def arq(url: str, name: str) -> AsyncIterator[Station]:
    """arq."""
    connections = peer("arq.connections")

    logging.getLogger("arq").setLevel(logging.ERROR)
    pool = await connections.create_pool(connections.RedisSettings(**harness.address(url)))
    try:
        yield Arq(pool, name)
    finally:
        await pool.aclose()


# --- streaq -------------------------------------------------------------------------------------------------


class Streaq(Station):
    """streaq, with 100 tasks at a time: by itself, 16. A worker that runs cannot publish: there are two."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self.front, self._task = self._worker(lambda _: None)

    def _worker(self, on_message: OnMessage) -> tuple[Any, Any]:
        async def handle(payload: bytes) -> None:
            on_message(payload)

        worker = self._make()
        return worker, worker.task(name="handle", ttl=0, silent=True)(handle)

    async def publish(self, payload: bytes) -> Any:
        return await self._task.enqueue(payload)

    async def publish_many(self, payloads: Sequence[bytes]) -> Any:
        await self.front.enqueue_many([self._task.enqueue(payload) for payload in payloads])

    @asynccontextmanager
    async def consuming(self, on_message: OnMessage) -> AsyncIterator[None]:
        worker, _ = self._worker(on_message)
        running = asyncio.create_task(worker.run_async())
        try:
            yield
            await asyncio.sleep(0.2)  # what is done is still to be told to the server
        finally:
            await _end(running)


@asynccontextmanager
async def streaq(url: str, name: str) -> AsyncIterator[Station]:
    """streaq."""
    logging.getLogger("streaq").setLevel(logging.ERROR)
    where = harness.address(url)

    def make() -> Any:
        url = f"redis://{where['host']}:{where['port']}"
        return peer("streaq").Worker(url, queue_name=name, concurrency=100, handle_signals=False)

    station = Streaq(make)
    async with station.front:
        yield station
