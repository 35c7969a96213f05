# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Topics: publish, subscribe, resume, gaps, history. What is promised stands in holdfast.topics.rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from holdfast import AsyncHoldfast, Closed, CodecError, ConfigurationError, UnsafeServer
from holdfast._compat import asleep, monotonic
from holdfast.topics import rules
from holdfast.topics._topic_async import AsyncTopic
from holdfast.topics.options import Gap, SlowSubscriber, TopicMessage, TopicOptions
from holdfast.topics.rules import TopicGap
from tests.topics.world import Observer, shown


def make(ahf: AsyncHoldfast, name: str = "prices", **options: Any) -> AsyncTopic[Any]:
    return AsyncTopic(ahf._wire, name, TopicOptions(**options))


async def drain(subscription: Any, count: int, timeout: float = 20.0) -> list[Any]:
    """The next `count` messages and gaps."""
    found: list[Any] = []
    for _ in range(count):
        one = await subscription.get(timeout)
        assert one is not None, f"only {found}"
        found.append(one)
    return found


async def publish(topic: Any, values: Any) -> list[Any]:
    return [await topic.publish(value) for value in values]


# --- contracts ----------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_what_is_said_arrives_in_order_and_who_was_away_goes_on_where_he_was(
    ahf: AsyncHoldfast, topology: str, transport: str, server_kind: str
):
    topic = make(ahf)
    assert await topic.history() == []
    async with topic.subscribe() as one, topic.subscribe() as two:
        published = await publish(topic, "abc")
        assert [at.offset for at in published] == [1, 2, 3]
        assert len({at.epoch for at in published}) == 1
        messages = await drain(one, 3)
        assert shown(messages) == shown(await drain(two, 3)) == ["a", "b", "c"]
        assert [one.position for one in messages] == [at.position for at in published]
        assert [one.offset for one in messages] == [1, 2, 3]
        assert await topic.subscribers() == 1, "one connection, two subscriptions"
    await publish(topic, "de")
    async with topic.subscribe(messages[1].position) as again:
        assert shown(await drain(again, 3)) == ["c", "d", "e"]
        await topic.publish("f")
        assert shown(await drain(again, 1)) == ["f"]
    assert shown(await topic.history()) == [*"abcdef"]
    assert shown(await topic.history(limit=2)) == ["e", "f"]
    assert shown(await topic.history(after=published[2].position, limit=2)) == ["d", "e"]


@pytest.mark.everywhere
async def test_a_plain_topic_carries_bare_values_and_keeps_nothing(
    ahf: AsyncHoldfast, topology: str, transport: str, server_kind: str
):
    topic = make(ahf, history=0, codec="json")
    await topic.publish("nobody hears this")
    async with topic.subscribe() as messages:
        assert await topic.publish({"a": 1}) == (0, "", "", False)
        assert await messages.get() == TopicMessage({"a": 1})
        await ahf.execute("SPUBLISH", topic._desk.channel, b'"from another program"')
        assert shown(await drain(messages, 1)) == ["from another program"]
        assert messages.position == ""
    assert await ahf.execute("EXISTS", topic._desk.channel) == 0


# --- publishing ---------------------------------------------------------------------------------------------


async def test_an_id_is_said_once_whoever_says_it_again(ahf: AsyncHoldfast):
    one, two = make(ahf), make(ahf)
    async with one.subscribe() as messages:
        first = await one.publish("a", id="order 7")
        again = await two.publish("b", id="order 7")
        assert again == first._replace(duplicate=True)
        await one.publish("c")
        assert shown(await drain(messages, 2)) == ["a", "c"]
    assert two.stats().duplicates == 1


async def test_an_id_is_forgotten_after_dedup(ahf: AsyncHoldfast):
    topic = make(ahf, dedup="1ms")
    first = await topic.publish("a", id="x")
    while (again := await topic.publish("a", id="x")).duplicate:
        pass
    assert again.offset > first.offset


async def test_a_request_that_is_repeated_says_nothing_more_and_an_ancient_one_is_refused(
    ahf: AsyncHoldfast,
):
    """found: no memo; a memo that forgets without remembering that it has."""
    topic = make(ahf)
    desk = topic._desk
    keys = (*desk._keys, f"{desk.channel}:req:me")

    async def ask(number: int) -> Any:
        return await desk.wire.run(rules.PUBLISH, keys, (b"a", "e", number, 60_000, 10, 0, 0))

    first = await ask(1)
    assert await ask(1) == [*first[:3], 1]
    for number in range(2, 1202):
        assert (await ask(number))[2:] == [number, 0]
    assert await ask(1) == [], "nobody knows any more: better not at all than twice"
    assert (await ask(1201))[2:] == [1201, 1]
    assert await ahf.execute("HLEN", keys[2]) <= 1001
    assert (await topic.publish("next")).offset == 1202


async def test_a_value_of_another_type_is_refused_before_anything_is_said(ahf: AsyncHoldfast):
    topic = make(ahf, type=int)
    with pytest.raises(CodecError):
        await topic.publish("text")
    assert await topic.history() == []


async def test_a_server_that_evicts_is_refused_unless_the_loss_is_accepted(own_server: Any):
    async with AsyncHoldfast(own_server.url) as ahf:
        await ahf.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    async with AsyncHoldfast(own_server.url) as ahf:
        with pytest.raises(UnsafeServer, match="topic 'prices'"):
            await make(ahf).publish(1)
        assert (await make(ahf, accept_loss=True).publish(1)).offset == 1
        await make(ahf, "plain", history=0).publish(1)


# --- resuming and gaps --------------------------------------------------------------------------------------


async def test_a_history_that_does_not_reach_back_is_a_gap_of_known_size(ahf: AsyncHoldfast):
    """found: counting the message that is kept to compare with."""
    topic = make(ahf, history=3)
    published = await publish(topic, range(1, 7))
    assert shown(await topic.history()) == [4, 5, 6]
    for offset, expected in [
        (1, [("trimmed", 2), 4, 5, 6]),
        (2, [("trimmed", 1), 4, 5, 6]),
        (3, [4, 5, 6]),
        (4, [5, 6]),
        (6, []),
    ]:
        position = published[offset - 1].position
        assert shown(await topic.history(after=position)) == expected
        async with topic.subscribe(position) as messages:
            assert shown(await drain(messages, len(expected))) == expected
            assert await messages.get(0) is None


async def test_whoever_goes_on_from_the_position_of_a_gap_is_not_told_of_it_again(ahf: AsyncHoldfast):
    topic = make(ahf, history=2)
    published = await publish(topic, range(1, 6))
    (gap, *_) = await topic.history(after=published[0].position)
    assert isinstance(gap, Gap)
    assert shown(await topic.history(after=gap.position)) == [4, 5]


async def test_a_flush_is_a_gap_at_once_when_the_next_message_comes(ahf: AsyncHoldfast):
    """found: dropping what does not follow without asking the history about it."""
    topic, observer = make(ahf), Observer(ahf)
    async with topic.subscribe() as messages:
        await publish(topic, "ab")
        before = await drain(messages, 2)
        await ahf.execute("DEL", *topic._desk._keys)
        await publish(topic, "cd")
        assert shown(await drain(messages, 3)) == [("reset", None), "c", "d"]
        assert await messages.get(0) is None
    async with topic.subscribe(before[0].position) as messages:
        assert shown(await drain(messages, 3)) == [("reset", None), "c", "d"]
    assert [signal.reason for signal in observer.of(TopicGap)] == ["reset", "reset"]
    assert topic.stats().gaps == 2


async def test_a_position_whose_topic_is_gone_is_a_gap_and_then_it_begins_anew(ahf: AsyncHoldfast):
    topic = make(ahf)
    position = (await topic.publish("a")).position
    await ahf.execute("DEL", *topic._desk._keys)
    async with topic.subscribe(position) as messages:
        assert shown(await drain(messages, 1)) == [("reset", None)]
        await topic.publish("b")
        assert shown(await drain(messages, 1)) == ["b"]


async def test_a_number_that_was_given_again_is_recognised(ahf: AsyncHoldfast):
    """As after a failover that has lost messages. found: comparing numbers only."""
    topic = make(ahf)
    published = await publish(topic, "abc")
    log, state = topic._desk._keys
    await ahf.execute("DEL", log)  # the new primary has got no more than the first one
    _, ms, offset = published[0].position.split(".")
    await ahf.execute("HSET", state, "ms", ms, "offset", offset)
    await ahf.execute("XADD", log, f"{ms}-{offset}", "data", topic._desk.codec.encode("a"))
    lost = published[2].position
    assert shown(await topic.history(after=lost)) == [("reset", None)]
    await asleep(0.01)  # a failover takes longer
    await publish(topic, ["b'", "c'", "d'"])
    found = await topic.history(after=lost)
    assert shown(found[:1]) == [("reset", None)]
    assert set(shown(found[1:])) <= {"b'", "c'", "d'"}, "at most what is new, and nothing twice"
    assert shown(await topic.history(after=published[0].position)) == ["b'", "c'", "d'"]


async def test_a_history_whose_messages_were_deleted_is_a_gap(ahf: AsyncHoldfast):
    topic = make(ahf)
    published = await publish(topic, "abc")
    await ahf.execute("DEL", topic._desk.channel)
    async with topic.subscribe(published[0].position) as messages:
        assert shown(await drain(messages, 1)) == [("trimmed", 2)]
        assert messages.position == published[2].position
        await topic.publish("d")
        assert shown(await drain(messages, 1)) == ["d"]


async def test_a_history_whose_numbers_are_gone_begins_anew(ahf: AsyncHoldfast):
    """found: messages of an epoch that nobody knows any more."""
    topic = make(ahf)
    published = await publish(topic, "abc")
    await ahf.execute("DEL", topic._desk._keys[1])
    assert (await topic.publish("d")).offset == 1
    assert shown(await topic.history()) == ["d"]
    assert shown(await topic.history(after=published[0].position)) == [("reset", None), "d"]


async def test_messages_grow_old(ahf: AsyncHoldfast):
    topic = make(ahf, max_age="50ms", keep="1h")
    first = await topic.publish("a")
    second = await topic.publish("b")
    while await ahf.execute("EXISTS", topic._desk.channel):
        pass
    assert await topic.history() == []
    assert shown(await topic.history(after=second.position)) == []
    assert shown(await topic.history(after=first.position)) == [("trimmed", 1)]
    third = await topic.publish("c")
    assert (third.epoch, third.offset) == (first.epoch, 3)
    assert shown(await topic.history(after=first.position)) == [("trimmed", 1), "c"]
    assert shown(await topic.history(after=second.position)) == ["c"], "nothing is missing"


async def test_old_messages_go_when_a_new_one_comes(ahf: AsyncHoldfast):
    topic = make(ahf, max_age="1h")
    await publish(topic, "ab")
    log, state = topic._desk._keys
    await ahf.execute("DEL", log)
    await ahf.execute("XADD", log, "1000-1", "data", topic._desk.codec.encode("a"))
    await ahf.execute("XADD", log, "1001-2", "data", topic._desk.codec.encode("b"))
    await ahf.execute("HSET", state, "ms", 1001)
    epoch = (await topic.publish("c")).epoch
    assert await ahf.execute("XLEN", log) == 2, "the last old one stays, to compare with"
    assert shown(await topic.history(after=f"{epoch}.1001.2")) == ["c"]


async def test_a_topic_that_nobody_has_used_for_long_begins_anew(ahf: AsyncHoldfast):
    topic = make(ahf, keep="30ms")
    first = await topic.publish("a")
    while await ahf.execute("EXISTS", *topic._desk._keys):
        pass
    second = await topic.publish("b")
    assert second.offset == 1
    assert second.epoch != first.epoch


async def test_the_position_of_a_topic_is_behind_its_last_message(ahf: AsyncHoldfast):
    topic = make(ahf)
    empty = await topic.position()
    first = await topic.publish("a")
    assert await topic.position() == first.position
    for position, expected in [(empty, ["a", "b"]), (first.position, ["b"])]:
        async with topic.subscribe(position) as messages:
            if expected == ["a", "b"]:
                await topic.publish("b")
            assert shown(await drain(messages, len(expected))) == expected


async def test_a_message_that_is_no_value_of_the_type_is_a_gap_and_the_next_one_is_not(ahf: AsyncHoldfast):
    """found: an exception that ends the loop of every reader of an older version."""
    words, numbers = make(ahf), make(ahf, type=int)
    async with numbers.subscribe() as messages:
        await words.publish("text")
        await words.publish(7)
        assert shown(await drain(messages, 2)) == [("unreadable", 1), 7]
    assert numbers.stats().unreadable == 1


async def test_what_other_programs_say_on_the_channel_harms_nobody(ahf: AsyncHoldfast):
    topic = make(ahf)
    async with topic.subscribe() as messages:
        for odd in (b"", b"::", b"x.1.1:a", b"-.0.0:", b"\xff.1.1:a", b"a.1.9999999999999999:a"):
            await ahf.execute("SPUBLISH", topic._desk.channel, odd)
        await topic.publish("a")
        assert shown(await drain(messages, 1)) == ["a"]
        assert await messages.get(0) is None


# --- subscriptions ------------------------------------------------------------------------------------------


async def test_a_loop_ends_when_it_is_closed(ahf: AsyncHoldfast):
    topic = make(ahf)
    await publish(topic, "abc")
    seen = []
    messages = topic.subscribe("-.0.0")
    async for message in messages:
        seen.append(message)
        if len(seen) == 3:
            messages.close()
    assert shown(seen) == ["a", "b", "c"]
    messages.close()
    with pytest.raises(Closed):
        await messages.get()
    assert topic.stats().subscribers == 0


async def test_without_a_position_it_begins_now(ahf: AsyncHoldfast):
    """found: reading what is kept from its beginning."""
    topic = make(ahf)
    await publish(topic, "ab")
    async with topic.subscribe() as messages:
        assert messages.position == await topic.position()
        await topic.publish("c")
        assert shown(await drain(messages, 1)) == ["c"]


async def test_get_gives_up_in_time(ahf: AsyncHoldfast):
    topic = make(ahf)
    async with topic.subscribe() as messages:
        assert await messages.get(0) is None
        assert await messages.get("10ms") is None
        await topic.publish("a")
        assert shown([await messages.get()]) == ["a"]


async def test_the_end_of_the_topic_ends_its_loops(ahf: AsyncHoldfast):
    topic = make(ahf)
    async with topic.subscribe() as messages:
        await topic._aclose()
        async for message in messages:
            raise AssertionError(message)


async def test_a_client_makes_a_topic_once_and_ends_its_loops(place: Any, namespace: str):
    ahf = AsyncHoldfast(place.url, namespace=namespace)
    topic = ahf.topic("prices", type=int, history=5)
    assert ahf.topic("prices") is ahf.topic("prices", type=int, history=5) is topic
    with pytest.raises(ConfigurationError, match="history=5, not 6"):
        ahf.topic("prices", type=int, history=6)
    with pytest.raises(ConfigurationError, match="histroy"):
        ahf.topic("other", histroy=6)  # type: ignore[call-overload]
    messages = topic.subscribe()
    assert await messages.get(0) is None
    await ahf.close()
    async for message in messages:
        raise AssertionError(message)
    with pytest.raises(Closed):
        await topic.publish(1)


@dataclass
class Price:
    symbol: str
    price: float


async def test_values_have_the_type_that_was_declared(ahf: AsyncHoldfast):
    topic = make(ahf, type=Price)
    async with topic.subscribe() as messages:
        await topic.publish(Price("ACME", 1.5))
        message = await messages.get()
        assert isinstance(message, TopicMessage)
        assert message.value == Price("ACME", 1.5)


# --- slow subscribers ---------------------------------------------------------------------------------------


async def filled(topic: Any, messages: Any, values: Any) -> None:
    """Publish `values` and wait until all of them have been pushed."""
    heard: list[bytes] = []
    inbox = messages._inbox

    def hear(payload: bytes) -> None:
        inbox.heard(payload)
        heard.append(payload)

    for watch in topic._desk.wire.hub._watches._channels[topic._desk.channel.encode()].watches:
        if watch.signal is inbox:
            watch.heard = hear
    for value in values:
        await topic.publish(value)
    give_up = monotonic() + 20
    while len(heard) < len(values):
        assert monotonic() < give_up
        await asleep(0.001)


async def standing(topic: Any, **choice: Any) -> Any:
    """A subscription that has been confirmed, and has read the history since."""
    messages = topic.subscribe(**choice)
    await messages.get(0)
    while messages._inbox.era == 0 or messages._inbox._seen != messages._inbox.era:
        await messages.get(0)
    return messages


async def test_a_slow_subscriber_reads_from_the_history_what_did_not_fit(ahf: AsyncHoldfast):
    """found: a queue without an end; dropping the rest when no more comes."""
    topic = make(ahf)
    with_queue = await standing(topic, queue=3)
    await filled(topic, with_queue, range(300))
    assert len(with_queue._inbox._queue) == 3
    assert shown(await drain(with_queue, 300)) == [*range(300)]
    stats = topic.stats()
    assert (stats.dropped, stats.gaps) == (0, 0)
    assert stats.deferred == 297
    with_queue.close()


async def test_a_slow_subscriber_that_falls_behind_the_history_is_told(ahf: AsyncHoldfast):
    topic = make(ahf, history=10)
    messages = await standing(topic, queue=3)
    await filled(topic, messages, range(100))
    assert shown(await drain(messages, 14)) == [0, 1, 2, ("trimmed", 87), *range(90, 100)]
    messages.close()


@pytest.mark.parametrize("history", [1000, 0])
async def test_drop_oldest_goes_on_with_what_is_new(ahf: AsyncHoldfast, history: int):
    topic = make(ahf, history=history)
    messages = await standing(topic, queue=3, on_full="drop_oldest") if history else topic.subscribe(queue=3)
    if not history:
        await messages.get(0)
    await filled(topic, messages, range(10))
    assert shown(await drain(messages, 4)) == [("slow", 7), 7, 8, 9]
    assert topic.stats().dropped == 7
    await topic.publish("more")
    assert shown(await drain(messages, 1)) == ["more"]
    messages.close()


@pytest.mark.parametrize("history", [1000, 0])
async def test_drop_newest_finishes_what_it_has(ahf: AsyncHoldfast, history: int):
    topic = make(ahf, history=history)
    choice: Any = {"queue": 3, "on_full": "drop_newest"}
    messages = await standing(topic, **choice) if history else topic.subscribe(**choice)
    if not history:
        await messages.get(0)
    await filled(topic, messages, range(10))
    assert shown(await drain(messages, 4)) == [0, 1, 2, ("slow", 7)]
    await topic.publish("more")
    assert shown(await drain(messages, 1)) == ["more"]
    assert topic.stats().dropped == 7
    messages.close()


async def test_close_ends_with_an_error_from_whose_position_one_can_go_on(ahf: AsyncHoldfast):
    topic = make(ahf)
    messages = await standing(topic, queue=3, on_full="close")
    await filled(topic, messages, range(3))
    assert shown(await drain(messages, 1)) == [0]
    await filled(topic, messages, range(3, 10))
    with pytest.raises(SlowSubscriber) as caught:
        await messages.get()
    assert topic.stats().subscribers == 0
    async with topic.subscribe(caught.value.position) as again:
        assert shown(await drain(again, 9)) == [*range(1, 10)]


# --- settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"history": -1}, "history=-1"),
        ({"history": True}, "history=True"),
        ({"history": 2_000_000}, "history=2000000"),
        ({"max_age": "1d", "keep": "1h"}, "keep=3600"),
        ({"max_age": "1us"}, "max_age"),
        ({"dedup": 0}, "dedup=0"),
        ({"history": 0, "max_age": "1m"}, "plain"),
        ({"codec": "pickle"}, "format='pickle'"),
    ],
)
async def test_nonsense_is_refused_by_its_name(ahf: AsyncHoldfast, options: Any, named: str):
    with pytest.raises(ConfigurationError, match=named):
        make(ahf, **options)


async def test_nonsense_of_a_subscriber_is_refused_at_the_call(ahf: AsyncHoldfast):
    topic, plain = make(ahf), make(ahf, "plain", history=0)
    for call, named in [
        (lambda: topic.subscribe(queue=0), "queue=0"),
        (lambda: topic.subscribe(on_full="block"), "on_full='block'"),  # type: ignore[arg-type]
        (lambda: topic.subscribe("yesterday"), "after='yesterday'"),
        (lambda: topic.subscribe(7), "after=7"),  # type: ignore[arg-type]
        (lambda: plain.subscribe(on_full="catch_up"), "catch_up"),
        (lambda: plain.subscribe("a.1.1"), "history=0"),
    ]:
        with pytest.raises(ConfigurationError, match=named):
            call()  # type: ignore[no-untyped-call]
    for work in (plain.position, plain.history, lambda: plain.publish(1, id="x")):
        with pytest.raises(ConfigurationError, match="history=0"):
            await work()
    for id in ("", 7, "a\nb", "x" * 600):
        with pytest.raises(ConfigurationError, match="id="):
            await topic.publish(1, id=id)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="name"):
        make(ahf, "")
