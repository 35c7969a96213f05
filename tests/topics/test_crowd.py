"""Many subscribers, slow ones, threads beside tasks, children of a fork, and what the forgotten leave."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import weakref
from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError, Holdfast
from tests.topics.world import atopic_of, shown, topic_of, until
from tests.wire.lab import child_status


def listening(hf: Any) -> int:
    """How many connections of the server listen to something."""
    lines = bytes(hf.execute("CLIENT", "LIST", "TYPE", "pubsub")).decode().splitlines()
    return len(lines)


async def test_two_hundred_subscribers_share_one_connection_and_all_hear_all(own_server: Any):
    """found: a connection for each topic, or for each subscriber."""
    async with AsyncHoldfast(own_server.url) as ahf:
        topics = [atopic_of(ahf, f"room {number}") for number in range(20)]
        seen: list[list[Any]] = []

        async def read(topic: Any, mine: list[Any]) -> None:
            async with topic.subscribe() as messages:
                mine.append(None)
                while len(mine) < 6:
                    mine.append(await messages.get(20))

        async with asyncio.timeout(40), asyncio.TaskGroup() as group:
            for number in range(200):
                seen.append([])
                group.create_task(read(topics[number % 20], seen[-1]))
            while not all(seen):
                await asyncio.sleep(0.005)
            for value in range(5):
                for topic in topics:
                    await topic.publish(value)
            with Holdfast(own_server.url) as hf:
                assert listening(hf) == 1
                assert topic_of(hf, "room 7").subscribers() == 1
        assert all(shown(mine[1:]) == [*range(5)] for mine in seen)
        assert [topic.stats().subscribers for topic in topics] == [0] * 20


@pytest.mark.parametrize("on_full", ["catch_up", "drop_oldest", "drop_newest", "close"])
def test_a_subscriber_that_does_not_read_delays_nobody_and_stays_small(hf: Holdfast, on_full: Any):
    """found: a hub that waits for room."""
    topic = topic_of(hf)
    with topic.subscribe(queue=5, on_full=on_full) as asleep, topic.subscribe() as awake:
        for value in range(500):
            topic.publish(value)
        assert shown([awake.get(20) for _ in range(500)]) == [*range(500)]
        assert asleep._inbox is not None
        assert len(asleep._inbox._queue) <= 6


async def test_threads_and_tasks_hear_each_other(place: Any, namespace: str):
    async with AsyncHoldfast(place.url, namespace=namespace) as ahf:
        with Holdfast(place.url, namespace=namespace) as hf:
            one, two = topic_of(hf), atopic_of(ahf)
            heard: list[Any] = []

            def listen() -> None:
                with one.subscribe() as messages:
                    heard.append("ready")
                    heard.extend(messages.get(20) for _ in range(2))

            thread = threading.Thread(target=listen)
            thread.start()
            await asyncio.to_thread(until, lambda: heard)
            async with two.subscribe() as messages:
                await two.publish("from a task")
                await asyncio.to_thread(one.publish, "from a thread")
                expected = ["from a task", "from a thread"]
                assert shown([await messages.get(20), await messages.get(20)]) == expected
            await asyncio.to_thread(thread.join, 30)
            assert shown(heard[1:]) == expected


def test_a_loop_ends_when_another_thread_closes_it(hf: Holdfast):
    """found: not waking who waits."""
    topic = topic_of(hf)
    messages, ended = topic.subscribe(), threading.Event()

    def read() -> None:
        for _ in messages:
            pass
        ended.set()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    until(lambda: messages._inbox is not None)
    assert not ended.wait(0.05)
    messages.close()
    assert ended.wait(20)
    thread.join(20)


async def test_a_task_that_is_cancelled_loses_nothing(ahf: AsyncHoldfast):
    """found: taking a message, and then waiting for something else."""
    topic = atopic_of(ahf)
    async with topic.subscribe() as messages:
        for value in range(40):
            waiting = asyncio.create_task(messages.get(20))
            await asyncio.sleep(0 if value % 2 else 0.001)
            await topic.publish(value)
            waiting.cancel()
            got: Any = (await asyncio.gather(waiting, return_exceptions=True))[0]
            if isinstance(got, asyncio.CancelledError):
                got = await messages.get(20)
            assert shown([got]) == [value]


async def test_two_readers_of_one_subscription_are_refused(ahf: AsyncHoldfast):
    topic = atopic_of(ahf)
    async with topic.subscribe() as messages:
        waiting = asyncio.create_task(messages.get(20))
        await asyncio.sleep(0.01)
        with pytest.raises(ConfigurationError, match="one reader"):
            await messages.get()
        await topic.publish("a")
        assert shown([await waiting]) == ["a"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_subscription_goes_on_in_parent_and_child(hf: Holdfast):
    """found: a child that waits for the parent's pushes, or counts its requests on."""
    topic = topic_of(hf)
    with topic.subscribe() as messages:
        topic.publish("before")
        assert shown([messages.get(20)]) == ["before"]
        pid = os.fork()
        if not pid:
            code = 1
            try:
                assert messages.get(0) is None
                topic.publish("from the child")
                assert shown([messages.get(20)]) == ["from the child"]
                code = 0
            except BaseException as error:
                sys.stderr.write(f"child: {error!r}\n")
            finally:
                os._exit(code)
        assert child_status(pid) == 0
        topic.publish("from the parent")
        assert shown([messages.get(20), messages.get(20)]) == ["from the child", "from the parent"]


def test_a_subscription_that_is_forgotten_leaves_nothing_behind(hf: Holdfast):
    """found: a book that is never closed: every request of a service that forgets leaks a queue."""
    topic = topic_of(hf)
    messages = topic.subscribe()
    assert messages.get(0) is None
    inbox = weakref.ref(messages._inbox)  # type: ignore[type-var]
    assert topic.stats().subscribers == 1
    del messages
    gc.collect()
    assert topic.stats().subscribers == 0
    until(lambda: inbox() is None)


def test_a_client_that_is_forgotten_with_its_subscriptions_ends(place: Any, namespace: str):
    """found: a listener that holds its client."""

    def hubs() -> int:
        return sum(thread.name == "holdfast-hub" for thread in threading.enumerate())

    before = hubs()

    def use() -> weakref.ref[Any]:
        client = Holdfast(place.url, namespace=namespace)
        topic = topic_of(client)
        messages = topic.subscribe()
        assert messages.get(0) is None
        return weakref.ref(client._hub)

    hub = use()
    gc.collect()
    until(lambda: hub() is None)
    until(lambda: hubs() <= before)
