"""A stream to publish to and to work on, behind the same few verbs: Holdfast's, and redis-py by hand.

`open(url, name)` connects to the stream, or queue, `name`: `publish(payload)`, `publish_many(payloads)`, and
`consuming(on_message)`, inside which a worker of this process hands every payload to `on_message` and
acknowledges it. Where there are threads the first two block, and the worker has a thread of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import redis
import redis.asyncio

from benchmarks import harness

OnMessage = Callable[[Any], None]
GROUP, COUNT = "workers", 100


class Station:
    """A stream to publish to and to consume from; see the file's docstring."""

    publish: Callable[[Any], Any]
    publish_many: Callable[[Sequence[Any]], Any]
    consuming: Callable[[OnMessage], AbstractAsyncContextManager[None]]


Open = Callable[[str, str], AbstractAsyncContextManager[Any]]


# --- Holdfast -----------------------------------------------------------------------------------------------


def _options(work_queue: bool) -> dict[str, Any]:
    from holdfast import Retention

    return {"type": bytes, **({"retention": Retention.work_queue()} if work_queue else {})}


class HoldfastThreads(Station):
    """Holdfast, sync."""

    def __init__(self, hf: Any, stream: Any, batch: int | None) -> None:
        self._hf, self._stream, self._batch = hf, stream, batch
        self.publish = stream.publish
        self.publish_many = stream.publish_many

    @asynccontextmanager
    async def consuming(self, on_message: OnMessage) -> AsyncIterator[None]:
        def one(value: bytes, _: Any) -> None:
            on_message(value)

        def many(values: Sequence[bytes], _: Any) -> None:
            for value in values:
                on_message(value)

        self._stream.subscriber(group=GROUP, batch=self._batch)(many if self._batch else one)
        worker = threading.Thread(target=self._hf.run)
        worker.start()
        try:
            yield
        finally:
            self._hf.stop()
            await asyncio.to_thread(worker.join)


class HoldfastTasks(HoldfastThreads):
    """Holdfast, asyncio."""

    @asynccontextmanager
    async def consuming(self, on_message: OnMessage) -> AsyncIterator[None]:
        async def one(value: bytes, _: Any) -> None:
            on_message(value)

        async def many(values: Sequence[bytes], _: Any) -> None:
            for value in values:
                on_message(value)

        self._stream.subscriber(group=GROUP, batch=self._batch)(many if self._batch else one)
        worker = asyncio.create_task(self._hf.run())
        try:
            yield
        finally:
            self._hf.stop()
            await worker


def holdfast(work_queue: bool = False, batch: int | None = None) -> Open:
    """Holdfast as it comes."""

    @asynccontextmanager
    async def open_(url: str, name: str) -> AsyncIterator[Station]:
        from holdfast import Holdfast

        with Holdfast(url) as hf:
            yield HoldfastThreads(hf, hf.stream(name, **_options(work_queue)), batch)

    return open_


def holdfast_tasks(work_queue: bool = False, batch: int | None = None) -> Open:
    """Holdfast as it comes."""

    @asynccontextmanager
    async def open_(url: str, name: str) -> AsyncIterator[Station]:
        from holdfast import AsyncHoldfast

        async with AsyncHoldfast(url) as hf:
            yield HoldfastTasks(hf, hf.stream(name, **_options(work_queue)), batch)

    return open_


# --- redis-py -----------------------------------------------------------------------------------------------


def entries(reply: Any) -> list[Any]:
    """Of XREADGROUP on one stream, whatever the protocol."""
    if isinstance(reply, dict):
        return [entry for batch in next(iter(reply.values()), []) for entry in batch]
    return reply[0][1] if reply else []


class RawThreads(Station):
    """The loop that is written by hand: XREADGROUP COUNT 100, and one XACK for what it brought."""

    def __init__(self, client: Any, name: str, each: bool, delete: bool) -> None:
        self._client, self._name, self._each, self._delete = client, name, each, delete

    def publish(self, payload: bytes) -> Any:
        return self._client.xadd(self._name, {"data": payload})

    def publish_many(self, payloads: Sequence[bytes]) -> Any:
        pipe = self._client.pipeline(transaction=False)
        for payload in payloads:
            pipe.xadd(self._name, {"data": payload})
        return pipe.execute()

    def _loop(self, on_message: OnMessage, running: threading.Event) -> None:
        client, name = self._client, self._name
        client.xgroup_create(name, GROUP, "0", mkstream=True)
        while running.is_set():
            found = entries(client.xreadgroup(GROUP, "me", {name: ">"}, count=COUNT, block=100))
            for entry, fields in found:
                on_message(fields[b"data"])
                if self._each:
                    client.xack(name, GROUP, entry)
            ids = [entry for entry, _ in found]
            if ids and self._delete:
                pipe = client.pipeline(transaction=True)
                pipe.xack(name, GROUP, *ids)
                pipe.xdel(name, *ids)
                pipe.execute()
            elif ids and not self._each:
                client.xack(name, GROUP, *ids)

    @asynccontextmanager
    async def consuming(self, on_message: OnMessage) -> AsyncIterator[None]:
        running = threading.Event()
        running.set()
        worker = threading.Thread(target=self._loop, args=(on_message, running))
        worker.start()
        try:
            yield
        finally:
            running.clear()
            await asyncio.to_thread(worker.join)


class RawTasks(RawThreads):
    """As `RawThreads`, in asyncio."""

    async def _loop_task(self, on_message: OnMessage, running: threading.Event) -> None:
        client, name = self._client, self._name
        await client.xgroup_create(name, GROUP, "0", mkstream=True)
        while running.is_set():
            found = entries(await client.xreadgroup(GROUP, "me", {name: ">"}, count=COUNT, block=100))
            for entry, fields in found:
                on_message(fields[b"data"])
                if self._each:
                    await client.xack(name, GROUP, entry)
            ids = [entry for entry, _ in found]
            if ids and self._delete:
                pipe = client.pipeline(transaction=True)
                pipe.xack(name, GROUP, *ids)
                pipe.xdel(name, *ids)
                await pipe.execute()
            elif ids and not self._each:
                await client.xack(name, GROUP, *ids)

    @asynccontextmanager
    async def consuming(self, on_message: OnMessage) -> AsyncIterator[None]:
        running = threading.Event()
        running.set()
        worker = asyncio.create_task(self._loop_task(on_message, running))
        try:
            yield
        finally:
            running.clear()
            await worker


def raw(each: bool = False, delete: bool = False) -> Open:
    """redis-py by hand."""

    @asynccontextmanager
    async def open_(url: str, name: str) -> AsyncIterator[Station]:
        with redis.Redis(**harness.address(url)) as client:
            yield RawThreads(client, name, each, delete)

    return open_


def raw_tasks(each: bool = False, delete: bool = False) -> Open:
    """redis-py by hand."""

    @asynccontextmanager
    async def open_(url: str, name: str) -> AsyncIterator[Station]:
        async with redis.asyncio.Redis(**harness.address(url)) as client:
            yield RawTasks(client, name, each, delete)

    return open_
