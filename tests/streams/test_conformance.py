"""The conformance cases for brokers, on Holdfast's own streams: they are asked what any broker is asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from holdfast import AsyncHoldfast, Holdfast
from holdfast.streams.options import Backoff, Outgoing
from holdfast.testing import FaultProxy
from holdfast.testing.pubsub import Delivery, Features, Handler, LoopThread, Note, PubSubCases

OPTIONS: dict[str, Any] = {"max_deliveries": 4, "retry": Backoff("10ms"), "lease": "2s", "concurrency": 2}
ALL = Features(
    ordered=True, persistent=True, groups=True, counts=True, headers=True, delayed=True, dead_letters=True,
    attempts=4, abandons=True, interrupts=True,
)  # fmt: skip
EVERYWHERE = Features(
    ordered=True, persistent=True, groups=True, counts=True, headers=True, delayed=True, dead_letters=True,
    attempts=4,
)  # fmt: skip


def outgoing(notes: Sequence[Note]) -> list[Outgoing]:
    return [Outgoing(one.text, key=one.key, headers=one.headers, delay=one.delay) for one in notes]


def delivery(value: str, message: Any) -> Delivery:
    headers = dict(message.headers)
    return Delivery(text=value, key=message.partition_key, headers=headers, deliveries=message.deliveries)


class Running:
    """A client of its own for each subscription, since `run` is one for each client."""

    def __init__(self, adapter: Any, topic: str, group: str, handler: Handler) -> None:
        self._stack = ExitStack()
        self._proxy: FaultProxy | None = adapter.through(self._stack)
        url = adapter.url if self._proxy is None else self._proxy.url
        self._hf = Holdfast(url, namespace=adapter.namespace)
        stream = self._hf.stream(topic, type=str, partitions=2)

        @stream.subscriber(group, order="key", **OPTIONS)
        def handle(value: str, message: Any) -> None:
            handler(delivery(value, message))

        self._thread = threading.Thread(target=self._hf.run, kwargs={"drain": "5s"})
        self._thread.start()

    def close(self) -> None:
        self._hf.stop()
        self._thread.join(20)
        self._hf.close()
        self._stack.close()

    def abandon(self) -> None:
        assert self._proxy is not None
        self._proxy.blackhole()

    def interrupt(self) -> None:
        if self._proxy is not None:
            self._proxy.cut()


class Adapter:
    """Holdfast as a Broker."""

    flavour: Any = Running

    def __init__(self, url: str, namespace: str, *, proxied: bool) -> None:
        self.url, self.namespace, self._proxied = url, namespace, proxied
        self._stack = ExitStack()
        self._proxy = self.through(self._stack)
        self._hf = Holdfast(url if self._proxy is None else self._proxy.url, namespace=namespace)
        self._running: list[Any] = []
        self._others: list[Adapter] = []

    def through(self, stack: ExitStack) -> FaultProxy | None:
        return stack.enter_context(FaultProxy(self.url)) if self._proxied else None

    def _stream(self, topic: str) -> Any:
        return self._hf.stream(topic, type=str, partitions=2)

    def publish(self, topic: str, notes: Sequence[Note]) -> None:
        self._stream(topic).publish_many(outgoing(notes))

    def subscribe(self, topic: str, group: str, handler: Handler) -> Any:
        found = self.flavour(self, topic, group, handler)
        self._running.append(found)
        return found

    def connect(self) -> Adapter:
        other = type(self)(self.url, self.namespace, proxied=self._proxied)
        self._others.append(other)
        return other

    def interrupt(self) -> None:
        for one in [self._proxy, *self._running]:
            if isinstance(one, FaultProxy):
                one.cut()
            elif one is not None:
                one.interrupt()

    def dead_letters(self, topic: str, group: str) -> Sequence[str]:
        return [one.value for one in self._stream(topic).dead_letters(group).list()]

    def close(self) -> None:
        for one in [*self._running, *self._others]:
            one.close()
        self._hf.close()
        self._stack.close()


class AsyncRunning(Running):
    """The same with asyncio."""

    def __init__(self, adapter: Any, topic: str, group: str, handler: Handler) -> None:
        self._stack = ExitStack()
        self._proxy = adapter.through(self._stack)
        url = adapter.url if self._proxy is None else self._proxy.url
        self._loop = self._stack.enter_context(LoopThread())
        self._loop.run(self._begin(url, adapter.namespace, topic, group, handler))

    async def _begin(self, url: str, namespace: str, topic: str, group: str, handler: Handler) -> None:
        self._ahf = AsyncHoldfast(url, namespace=namespace)
        stream = self._ahf.stream(topic, type=str, partitions=2)

        @stream.subscriber(group, order="key", **OPTIONS)
        async def handle(value: str, message: Any) -> None:
            await asyncio.to_thread(handler, delivery(value, message))

        self._task = asyncio.create_task(self._ahf.run(drain="5s"))
        self._lock = threading.Lock()
        self._closed = False

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._loop.run(self._end())
            self._stack.close()

    async def _end(self) -> None:
        self._ahf.stop()
        await self._task
        await self._ahf.close()


class AsyncAdapter(Adapter):
    flavour = AsyncRunning


class TestThreads(PubSubCases):
    """Holdfast, on one server."""

    features, quiet, patience = ALL, 0.1, 30.0

    @pytest.fixture
    def broker(self, server: Any, namespace: str) -> Iterator[Adapter]:
        adapter = Adapter(server.url, namespace, proxied=True)
        yield adapter
        adapter.close()


class TestTasks(PubSubCases):
    """AsyncHoldfast, on one server."""

    features, quiet, patience = ALL, 0.1, 30.0

    @pytest.fixture
    def broker(self, server: Any, namespace: str) -> Iterator[Adapter]:
        adapter = AsyncAdapter(server.url, namespace, proxied=True)
        yield adapter
        adapter.close()


class TestCluster(PubSubCases):
    """Holdfast, with the partitions of a topic on different nodes."""

    features, quiet, patience = EVERYWHERE, 0.1, 30.0

    @pytest.fixture
    def broker(self, cluster_lab: Any, namespace: str) -> Iterator[Adapter]:
        adapter = Adapter(cluster_lab.url, namespace, proxied=False)
        yield adapter
        adapter.close()
