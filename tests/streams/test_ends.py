"""How work ends: handlers that are cancelled, that exit, that take too long; clients and loops that close."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError, Holdfast
from holdfast.streams.options import Backoff
from tests.cache.crowd import Crowd, Observer

AT_ONCE = Backoff(0)


async def soon(ask: Callable[[], Any]) -> None:
    """Wait until `ask` says True."""
    give_up = time.monotonic() + 20
    while not ask():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.004)


# --- in the handler -----------------------------------------------------------------------------------------


async def test_a_handler_that_awaits_what_was_cancelled_has_failed_and_its_worker_goes_on(ahf: AsyncHoldfast):
    """Without it the worker ended in silence: nothing was handled ever again."""
    numbers = ahf.stream("numbers")
    seen: list[tuple[int, int]] = []

    @numbers.subscriber("g", retry=AT_ONCE)
    async def handle(number: int, message: Any) -> None:
        seen.append((number, message.deliveries))
        if message.deliveries == 1 and number == 1:
            other = asyncio.ensure_future(asyncio.sleep(9))
            other.cancel()
            await other

    await numbers.publish_many([1, 2])
    async with asyncio.timeout(20):
        await ahf.run(until="idle")
    assert sorted(seen) == [(1, 1), (1, 2), (2, 1)] and numbers.stats()["g"].failed == 1


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_handler_that_exits_has_failed_and_its_worker_goes_on(hf: Holdfast, error: type[BaseException]):
    """Without it sys.exit() in a handler ended a thread in silence: nothing was handled ever again."""
    numbers = hf.stream("numbers")
    seen: list[tuple[int, int]] = []

    @numbers.subscriber("g", retry=AT_ONCE)
    def handle(number: int, message: Any) -> None:
        seen.append((number, message.deliveries))
        if message.deliveries == 1 and number == 1:
            raise error

    numbers.publish_many([1, 2])
    with Crowd() as crowd:
        running = crowd.start(lambda: hf.run(until="idle"))
        running.result()
    assert sorted(seen) == [(1, 1), (1, 2), (2, 1)] and numbers.stats()["g"].failed == 1


async def test_a_handler_that_takes_too_long_is_cancelled_and_comes_again(ahf: AsyncHoldfast):
    numbers = ahf.stream("numbers")
    ended: list[str] = []

    @numbers.subscriber("g", retry=AT_ONCE, timeout="100ms", max_deliveries=2)
    async def handle(number: int, message: Any) -> None:
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    await numbers.publish(1)
    async with asyncio.timeout(15):
        await ahf.run(until="idle")
    assert ended == ["cancelled"] * 2 and numbers.stats()["g"].died == 1


def test_a_thread_that_takes_too_long_is_told_and_its_message_comes_again(hf: Holdfast):
    numbers = hf.stream("numbers")
    told: list[bool] = []

    @numbers.subscriber("g", retry=AT_ONCE, timeout="100ms", max_deliveries=2)
    def handle(number: int, message: Any) -> None:
        told.append(message.lost.wait(10))

    numbers.publish(1)
    hf.run(until="idle")
    assert told == [True, True] and numbers.stats()["g"].died == 1


async def test_a_handler_whose_message_was_taken_away_is_cancelled(
    ahf: AsyncHoldfast, faults: Any, namespace: str
):
    """Without it a handler that is cut off would do for nothing what another worker does as well."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="300ms") as mine:
        seen: list[str] = []
        observer = mine._wire.observer = Observer()  # type: ignore[assignment]

        @mine.stream("numbers").subscriber("g", lease="400ms", retry=AT_ONCE)
        async def handle(number: int, message: Any) -> None:
            seen.append("began")
            faults.blackhole()
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                assert message.lost.is_set()
                with pytest.raises(Exception, match="lost"):
                    message.ensure()
                seen.append("cancelled")
                raise

        other: list[int] = []

        @ahf.stream("numbers").subscriber("g", lease="400ms")
        async def elsewhere(number: int, message: Any) -> None:
            other.append(message.deliveries)

        await ahf.stream("numbers").publish(1)
        running = asyncio.create_task(mine.run())
        await soon(lambda: seen)
        beside = asyncio.create_task(ahf.run())
        await soon(lambda: other)
        await soon(lambda: len(seen) == 2)
        faults.heal()
        for client, task in ((mine, running), (ahf, beside)):
            client.stop()
            await task
        assert other == [2] and seen == ["began", "cancelled"]
        assert observer.seen


# --- of the run ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cancel", "close", "stop"])
async def test_however_a_run_ends_its_messages_are_free_at_once(
    ahf: AsyncHoldfast, place: Any, namespace: str, how: str
):
    """Without leave.lua the next worker would wait for the end of the lease, here an hour."""
    client = await AsyncHoldfast(place.url, namespace=namespace).connect()
    began = asyncio.Event()
    ended: list[str] = []

    @client.stream("numbers", key=abs).subscriber("g", lease="1h")
    async def handle(number: int, message: Any) -> None:
        began.set()
        try:
            await asyncio.sleep(0.3 if how == "stop" else 60)
        finally:
            ended.append("ended")

    numbers = ahf.stream("numbers", key=abs)
    await numbers.publish_many(range(4))
    running = asyncio.create_task(client.run(drain=0 if how == "cancel" else "10s"))
    await began.wait()
    if how == "cancel":
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await client.close()
    elif how == "close":
        await client.close(drain="200ms")
        await running
    else:
        client.stop()
        await running
        await client.close()
    assert ended == ["ended"]
    seen: list[tuple[int, int]] = []

    @numbers.subscriber("g", lease="1h")
    async def again(number: int, message: Any) -> None:
        seen.append((number, message.deliveries))

    async with asyncio.timeout(20):
        await ahf.run(until="idle")
    counts = [(0, 2)] if how != "stop" else []
    assert sorted(seen) == [*counts, (1, 1), (2, 1), (3, 1)]


def test_an_event_loop_that_was_closed_in_the_middle_leaves_a_client_that_runs_again(
    server: Any, namespace: str
):
    """Its membership ends, since nobody renews it for a loop that is gone; another loop goes on."""
    seen: list[tuple[int, int]] = []
    client: Any = AsyncHoldfast(server.url, namespace=namespace)
    began = threading.Event()
    numbers: Any = client.stream("numbers")

    @numbers.subscriber("g", lease="400ms", retry=AT_ONCE)  # type: ignore[untyped-decorator]
    async def handle(number: int, message: Any) -> None:
        seen.append((number, message.deliveries))
        if message.deliveries == 1:
            began.set()
            await asyncio.sleep(60)

    async def first() -> None:
        await client.connect()
        await numbers.publish(1)
        run = asyncio.ensure_future(client.run())
        while not began.is_set():
            await asyncio.sleep(0.01)
        run._log_destroy_pending = False  # type: ignore[attr-defined]

    loop = asyncio.new_event_loop()
    loop.run_until_complete(first())
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()

    async def second() -> None:
        async with asyncio.timeout(20):
            await client.run(until="idle")
        await client.close()

    asyncio.run(second())
    assert seen == [(1, 1), (1, 2)]
    with warnings.catch_warnings():  # nobody could close the connection of a loop that is gone
        warnings.simplefilter("ignore")
        client = numbers = None
        del loop
        gc.collect()


def test_several_streams_and_groups_in_several_clients_and_loops(hf: Holdfast, server: Any, namespace: str):
    """Two event loops and a thread, each with a client; three streams with two groups each."""
    names = ("a", "b", "c")
    seen: dict[tuple[str, str], list[int]] = {(name, group): [] for name in names for group in "xy"}
    mutex = threading.Lock()

    def count(name: str, group: str, number: int) -> None:
        with mutex:
            seen[name, group].append(number)

    def complete() -> bool:
        return all(len(one) >= 60 for one in seen.values())

    def in_loop() -> None:
        async def main() -> None:
            async with AsyncHoldfast(server.url, namespace=namespace) as client:
                for name, group in seen:

                    async def handle(number: int, name: str = name, group: str = group) -> None:
                        count(name, group, number)

                    client.stream(name, partitions=2).subscriber(group, concurrency=2)(handle)
                running = asyncio.create_task(client.run())
                await soon(complete)
                client.stop()
                await running

        asyncio.run(main())

    for name, group in seen:

        def handle(number: int, name: str = name, group: str = group) -> None:
            count(name, group, number)

        hf.stream(name, partitions=2).subscriber(group)(handle)
    with Crowd() as crowd:
        jobs = [crowd.start(in_loop), crowd.start(in_loop), crowd.start(hf.run)]
        for number in range(0, 60, 20):
            for name in names:
                hf.stream(name, partitions=2).publish_many(range(number, number + 20))
        crowd.until(complete)
        hf.stop()
        for job in jobs:
            job.result()
    assert all(sorted(one) == list(range(60)) for one in seen.values())


async def test_a_consumer_that_cannot_go_on_ends_the_run_and_says_why(ahf: AsyncHoldfast, monkeypatch: Any):
    """Without it a worker would be up and handle nothing."""
    numbers = ahf.stream("numbers")

    @numbers.subscriber("g")
    async def handle(number: int) -> None: ...

    await ahf.execute("SET", numbers._desk.layout.meta, 5)
    with pytest.raises(ConfigurationError, match="5 partitions"):
        async with asyncio.timeout(15):
            await ahf.run()


async def test_a_message_says_what_it_is(ahf: AsyncHoldfast):
    numbers = ahf.stream("numbers")
    told: list[Any] = []

    @numbers.subscriber("g")
    async def handle(number: int, message: Any) -> None:
        message.ensure()
        assert not message.lost.is_set()
        told.append((repr(message), message.key("x y"), message.partition, message.partition_key))

    published = await numbers.publish(1)
    await ahf.run(until="idle")
    part = numbers._desk.layout.parts[0]
    assert told == [(f"<message {published.id} of numbers/g, delivery 1>", part.user("x y"), 0, None)]
