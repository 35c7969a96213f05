# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Topics over a network that fails, and a server that is away, empty or forbids things."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from holdfast import AsyncHoldfast, NoPermission, Unavailable, Unconfirmed
from holdfast._compat import asleep, monotonic
from holdfast._signals import ServerWarning
from holdfast.topics._topic_async import AsyncTopic
from holdfast.topics.options import Gap, TopicOptions
from tests.topics.world import Observer, shown


def make(ahf: AsyncHoldfast, name: str = "prices", **options: Any) -> AsyncTopic[Any]:
    return AsyncTopic(ahf._wire, name, TopicOptions(**options))


async def drain(subscription: Any, count: int) -> list[Any]:
    """The next `count` messages and gaps."""
    found: list[Any] = []
    for _ in range(count):
        one = await subscription.get(20)
        assert one is not None, f"only {found}"
        found.append(one)
    return found


async def listens(topic: Any, connections: int = 1) -> None:
    """Wait until so many connections listen."""
    give_up = monotonic() + 20
    while await topic.subscribers() < connections:
        assert monotonic() < give_up
        await asleep(0.005)


def brisk(ahf: AsyncHoldfast) -> AsyncHoldfast:
    """Have the hub, which has not started yet, notice a dead link within a second."""
    object.__setattr__(ahf._hub._settings, "interval", 0.3)  # type: ignore[attr-defined]
    return ahf


async def test_connections_that_are_cut_again_and_again_lose_nothing(
    ahf: AsyncHoldfast, faults: Any, namespace: str
):
    """found: going on after a reconnect without reading the history; delivering what was read again."""
    rng = random.Random(5)
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="20s") as far:
        publisher, subscriber = make(ahf), make(far)
        async with subscriber.subscribe() as messages:
            for turn in range(30):
                for number in range(10):
                    await publisher.publish(turn * 10 + number)
                if rng.random() < 0.7:
                    faults.cut()
                if rng.random() < 0.5:
                    seen = shown(await drain(messages, 5))
                    assert seen == [*range(seen[0], seen[0] + 5)]
            left = 300 - int(messages.position.rpartition(".")[2])
            seen = shown(await drain(messages, left))
            assert seen == [*range(300 - left, 300)]
    assert subscriber.stats().gaps == 0


async def test_a_link_that_is_half_open_is_noticed_and_nothing_is_lost(
    ahf: AsyncHoldfast, faults: Any, namespace: str
):
    """found: waiting for a push that cannot come."""
    async with brisk(AsyncHoldfast(faults.url, namespace=namespace, timeout="1s")) as far:
        publisher, subscriber = make(ahf), make(far)
        async with subscriber.subscribe() as messages:
            await listens(publisher)
            faults.blackhole()
            await publisher.publish("in the dark")
            assert await messages.get("50ms") is None
            faults.cut()
            await asleep(1.0)
            await publisher.publish("still dark")
            faults.heal()
            assert shown(await drain(messages, 2)) == ["in the dark", "still dark"]


async def test_replies_that_are_lost_double_nothing(ahf: AsyncHoldfast, faults: Any, namespace: str):
    """found: a script without a memo."""
    topic = make(ahf)
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="20s") as far:
        publisher = make(far)
        await publisher.publish("warm")
        async with topic.subscribe() as messages:
            for number in range(5):
                faults.drop_replies(1, match=b"EVALSHA")
                await publisher.publish(number)
                faults.drop_replies(1, match=b"EVALSHA")
                await publisher.publish(number + 100, id=f"id {number}")
            expected = [value for number in range(5) for value in (number, number + 100)]
            assert shown(await drain(messages, 10)) == expected
            assert await messages.get(0) is None


async def test_what_is_forgotten_is_not_done_again_though_requests_overtake_each_other(ahf: AsyncHoldfast):
    """found: what is forgotten going by the last request that came, and not by the highest one."""
    topic = make(ahf)
    desk = topic._desk

    async def request(number: int) -> None:
        desk._requests.requester()._books[""] = itertools.count(number)
        await topic.publish(number)

    for number, forgotten in ((2000, 1000), (1500, 700), (3900, 2900), (9000, 3901)):
        await request(number)
        with pytest.raises(Unconfirmed):
            await request(forgotten)
    await request(8001)


async def test_a_plain_topic_says_that_it_does_not_know(faults: Any, namespace: str):
    """found: repeating what may have been said."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="5s") as far:
        topic = make(far, history=0)
        await topic.publish("warm")
        faults.drop_replies(1, match=b"SPUBLISH")
        with pytest.raises(Unconfirmed):
            await topic.publish("perhaps")


@pytest.mark.parametrize("more", [True, False])
async def test_a_plain_topic_tells_of_a_lost_connection(
    ahf: AsyncHoldfast, faults: Any, namespace: str, more: bool
):
    """With `more`, something is heard after it. found: at most once, in silence; a gap before what was heard
    before it; one that waits for the next message.
    """
    async with AsyncHoldfast(faults.url, namespace=namespace) as far:
        publisher, subscriber = make(ahf, history=0), make(far, history=0)
        async with subscriber.subscribe() as messages:
            await publisher.publish("a")
            await publisher.publish("b")
            assert shown(await drain(messages, 1)) == ["a"]
            give_up, inbox = monotonic() + 20, messages._inbox
            while not (inbox and inbox._queue):
                assert monotonic() < give_up
                await asleep(0.005)
            faults.refuse()
            faults.cut()
            while await publisher.subscribers():
                assert monotonic() < give_up
                await asleep(0.005)
            await publisher.publish("lost")
            faults.heal()
            await listens(publisher)
            if more:
                await publisher.publish("c")
            gap = ("disconnected", None)
            seen = shown(await drain(messages, 3 if more else 2))
            if seen[1:] == [gap, gap]:  # rarely, for the loss and for the return
                seen = [*seen[:2], *shown(await drain(messages, 1))]
            assert seen == ["b", gap, *(["c"] if more else [])]
            assert await messages.get(0) in (None, Gap("disconnected"))


async def test_a_server_that_comes_back_empty_is_a_gap_at_once(own_server: Any):
    """found: waiting for the next message, which may be hours away."""
    async with AsyncHoldfast(own_server.url, timeout="20s") as ahf:
        topic = make(ahf)
        async with topic.subscribe() as messages:
            await topic.publish("a")
            assert shown(await drain(messages, 1)) == ["a"]
            own_server.kill()
            own_server.restart(empty=True)
            assert shown(await drain(messages, 1)) == [("reset", None)]
            await topic.publish("b")
            assert shown(await drain(messages, 1)) == ["b"]


async def test_while_the_server_is_away_subscribers_wait(own_server: Any):
    """found: an exception in the loop of everybody."""
    async with AsyncHoldfast(own_server.url, timeout="300ms") as ahf:
        topic = make(ahf)
        position = (await topic.publish("a")).position
        async with topic.subscribe() as messages:
            own_server.kill()
            assert await messages.get("500ms") is None
            async with topic.subscribe(position) as late:
                assert await late.get("500ms") is None
                with pytest.raises(Unavailable):
                    async with topic.subscribe():
                        pass
                own_server.restart(empty=True)
                await make(ahf, "other").publish(1)
                for one in (messages, late):
                    assert shown(await drain(one, 1)) == [("reset", None)]
    assert topic.stats().subscribers == 0


async def test_without_the_right_to_listen_the_history_is_read(own_server: Any):
    """found: waiting for ever; saying nothing about it."""
    async with AsyncHoldfast(own_server.url, namespace="shop") as admin:
        rules = "on >secret ~shop:* resetchannels +@all"
        await admin.execute("ACL", "SETUSER", "deaf", *rules.split())
        url = f"redis://deaf:secret@127.0.0.1:{own_server.port}/0"
        async with AsyncHoldfast(url, namespace="shop") as ahf:
            topic, observer = make(ahf), Observer(ahf)
            async with topic.subscribe() as messages:
                await make(admin).publish("a")
                assert shown(await drain(messages, 1)) == ["a"]
                assert await messages.get(0) is None
                await make(admin).publish("b")
                assert shown(await drain(messages, 1)) == ["b"]
            told = [one for one in observer.of(ServerWarning) if "once a second" in one.consequence]
            assert len(told) == 1
            with pytest.raises(NoPermission, match="ssubscribe"):
                await make(ahf, history=0).subscribe().get()


async def test_without_the_right_to_publish_nothing_is_kept_either(own_server: Any):
    """found: writing first, and then finding out."""
    async with AsyncHoldfast(own_server.url, namespace="shop") as admin:
        rules = "on >secret ~shop:* resetchannels +@all"
        await admin.execute("ACL", "SETUSER", "mute", *rules.split())
        url = f"redis://mute:secret@127.0.0.1:{own_server.port}/0"
        async with AsyncHoldfast(url, namespace="shop") as ahf:
            with pytest.raises(NoPermission):
                await make(ahf).publish("a")
        assert await make(admin).history() == []
        assert await admin.execute("EXISTS", *make(admin)._desk._keys) == 0


async def test_the_end_of_the_client_ends_its_loops(place: Any, namespace: str):
    """found: a loop that hangs for ever."""
    ahf = AsyncHoldfast(place.url, namespace=namespace)
    messages = make(ahf).subscribe()
    assert await messages.get(0) is None
    await ahf.close()
    async for one in messages:
        raise AssertionError(one)
    messages.close()
