# Generated from test_topics_async.py by tools/unasync.py. Do not edit.
"""Topics: publish, subscribe, resume, gaps, history. What is promised stands in holdfast.topics.rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from holdfast import Holdfast, Closed, CodecError, ConfigurationError, UnsafeServer
from holdfast._compat import sleep, monotonic
from holdfast.topics import rules
from holdfast.topics._topic_sync import Topic
from holdfast.topics.options import Gap, SlowSubscriber, TopicMessage, TopicOptions
from holdfast.topics.rules import TopicGap
from tests.topics.world import Observer, shown


def make(hf: Holdfast, name: str = "prices", **options: Any) -> Topic[Any]:
    return Topic(hf._wire, name, TopicOptions(**options))


def drain(subscription: Any, count: int, timeout: float = 20.0) -> list[Any]:
    """The next `count` messages and gaps."""
    found: list[Any] = []
    for _ in range(count):
        one = subscription.get(timeout)
        assert one is not None, f"only {found}"
        found.append(one)
    return found


def publish(topic: Any, values: Any) -> list[Any]:
    return [topic.publish(value) for value in values]


# --- contracts ----------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_what_is_said_arrives_in_order_and_who_was_away_goes_on_where_he_was(
    hf: Holdfast, topology: str, transport: str, server_kind: str
):
    topic = make(hf)
    assert topic.history() == []
    with topic.subscribe() as one, topic.subscribe() as two:
        published = publish(topic, "abc")
        assert [at.offset for at in published] == [1, 2, 3]
        assert len({at.epoch for at in published}) == 1
        messages = drain(one, 3)
        assert shown(messages) == shown(drain(two, 3)) == ["a", "b", "c"]
        assert [one.position for one in messages] == [at.position for at in published]
        assert [one.offset for one in messages] == [1, 2, 3]
        assert topic.subscribers() == 1, "one connection, two subscriptions"
    publish(topic, "de")
    with topic.subscribe(messages[1].position) as again:
        assert shown(drain(again, 3)) == ["c", "d", "e"]
        topic.publish("f")
        assert shown(drain(again, 1)) == ["f"]
    assert shown(topic.history()) == [*"abcdef"]
    assert shown(topic.history(limit=2)) == ["e", "f"]
    assert shown(topic.history(after=published[2].position, limit=2)) == ["d", "e"]


@pytest.mark.everywhere
def test_a_plain_topic_carries_bare_values_and_keeps_nothing(
    hf: Holdfast, topology: str, transport: str, server_kind: str
):
    topic = make(hf, history=0, codec="json")
    topic.publish("nobody hears this")
    with topic.subscribe() as messages:
        assert topic.publish({"a": 1}) == (0, "", "", False)
        assert messages.get() == TopicMessage({"a": 1})
        hf.execute("SPUBLISH", topic._desk.channel, b'"from another program"')
        assert shown(drain(messages, 1)) == ["from another program"]
        assert messages.position == ""
    assert hf.execute("EXISTS", topic._desk.channel) == 0


# --- publishing ---------------------------------------------------------------------------------------------


def test_an_id_is_said_once_whoever_says_it_again(hf: Holdfast):
    one, two = make(hf), make(hf)
    with one.subscribe() as messages:
        first = one.publish("a", id="order 7")
        again = two.publish("b", id="order 7")
        assert again == first._replace(duplicate=True)
        one.publish("c")
        assert shown(drain(messages, 2)) == ["a", "c"]
    assert two.stats().duplicates == 1


def test_an_id_is_forgotten_after_dedup(hf: Holdfast):
    topic = make(hf, dedup="1ms")
    first = topic.publish("a", id="x")
    while (again := topic.publish("a", id="x")).duplicate:
        pass
    assert again.offset > first.offset


def test_a_request_that_is_repeated_says_nothing_more_and_an_ancient_one_is_refused(
    hf: Holdfast,
):
    """found: no memo; a memo that forgets without remembering that it has."""
    topic = make(hf)
    desk = topic._desk
    keys = (*desk._keys, f"{desk.channel}:req:me")

    def ask(number: int) -> Any:
        return desk.wire.run(rules.PUBLISH, keys, (b"a", "e", number, 60_000, 10, 0, 0))

    first = ask(1)
    assert ask(1) == [*first[:3], 1]
    for number in range(2, 1202):
        assert (ask(number))[2:] == [number, 0]
    assert ask(1) == [], "nobody knows any more: better not at all than twice"
    assert (ask(1201))[2:] == [1201, 1]
    assert hf.execute("HLEN", keys[2]) <= 1001
    assert (topic.publish("next")).offset == 1202


def test_a_value_of_another_type_is_refused_before_anything_is_said(hf: Holdfast):
    topic = make(hf, type=int)
    with pytest.raises(CodecError):
        topic.publish("text")
    assert topic.history() == []


def test_a_server_that_evicts_is_refused_unless_the_loss_is_accepted(own_server: Any):
    with Holdfast(own_server.url) as hf:
        hf.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with Holdfast(own_server.url) as hf:
        with pytest.raises(UnsafeServer, match="topic 'prices'"):
            make(hf).publish(1)
        assert (make(hf, accept_loss=True).publish(1)).offset == 1
        make(hf, "plain", history=0).publish(1)


# --- resuming and gaps --------------------------------------------------------------------------------------


def test_a_history_that_does_not_reach_back_is_a_gap_of_known_size(hf: Holdfast):
    """found: counting the message that is kept to compare with."""
    topic = make(hf, history=3)
    published = publish(topic, range(1, 7))
    assert shown(topic.history()) == [4, 5, 6]
    for offset, expected in [
        (1, [("trimmed", 2), 4, 5, 6]),
        (2, [("trimmed", 1), 4, 5, 6]),
        (3, [4, 5, 6]),
        (4, [5, 6]),
        (6, []),
    ]:
        position = published[offset - 1].position
        assert shown(topic.history(after=position)) == expected
        with topic.subscribe(position) as messages:
            assert shown(drain(messages, len(expected))) == expected
            assert messages.get(0) is None


def test_whoever_goes_on_from_the_position_of_a_gap_is_not_told_of_it_again(hf: Holdfast):
    topic = make(hf, history=2)
    published = publish(topic, range(1, 6))
    (gap, *_) = topic.history(after=published[0].position)
    assert isinstance(gap, Gap)
    assert shown(topic.history(after=gap.position)) == [4, 5]


def test_a_flush_is_a_gap_at_once_when_the_next_message_comes(hf: Holdfast):
    """found: dropping what does not follow without asking the history about it."""
    topic, observer = make(hf), Observer(hf)
    with topic.subscribe() as messages:
        publish(topic, "ab")
        before = drain(messages, 2)
        hf.execute("DEL", *topic._desk._keys)
        publish(topic, "cd")
        assert shown(drain(messages, 3)) == [("reset", None), "c", "d"]
        assert messages.get(0) is None
    with topic.subscribe(before[0].position) as messages:
        assert shown(drain(messages, 3)) == [("reset", None), "c", "d"]
    assert [signal.reason for signal in observer.of(TopicGap)] == ["reset", "reset"]
    assert topic.stats().gaps == 2


def test_a_position_whose_topic_is_gone_is_a_gap_and_then_it_begins_anew(hf: Holdfast):
    topic = make(hf)
    position = (topic.publish("a")).position
    hf.execute("DEL", *topic._desk._keys)
    with topic.subscribe(position) as messages:
        assert shown(drain(messages, 1)) == [("reset", None)]
        topic.publish("b")
        assert shown(drain(messages, 1)) == ["b"]


def test_a_number_that_was_given_again_is_recognised(hf: Holdfast):
    """As after a failover that has lost messages. found: comparing numbers only."""
    topic = make(hf)
    published = publish(topic, "abc")
    log, state = topic._desk._keys
    hf.execute("DEL", log)  # the new primary has got no more than the first one
    _, ms, offset = published[0].position.split(".")
    hf.execute("HSET", state, "ms", ms, "offset", offset)
    hf.execute("XADD", log, f"{ms}-{offset}", "data", topic._desk.codec.encode("a"))
    lost = published[2].position
    assert shown(topic.history(after=lost)) == [("reset", None)]
    sleep(0.01)  # a failover takes longer
    publish(topic, ["b'", "c'", "d'"])
    found = topic.history(after=lost)
    assert shown(found[:1]) == [("reset", None)]
    assert set(shown(found[1:])) <= {"b'", "c'", "d'"}, "at most what is new, and nothing twice"
    assert shown(topic.history(after=published[0].position)) == ["b'", "c'", "d'"]


def test_a_history_whose_messages_were_deleted_is_a_gap(hf: Holdfast):
    topic = make(hf)
    published = publish(topic, "abc")
    hf.execute("DEL", topic._desk.channel)
    with topic.subscribe(published[0].position) as messages:
        assert shown(drain(messages, 1)) == [("trimmed", 2)]
        assert messages.position == published[2].position
        topic.publish("d")
        assert shown(drain(messages, 1)) == ["d"]


def test_a_history_whose_numbers_are_gone_begins_anew(hf: Holdfast):
    """found: messages of an epoch that nobody knows any more."""
    topic = make(hf)
    published = publish(topic, "abc")
    hf.execute("DEL", topic._desk._keys[1])
    assert (topic.publish("d")).offset == 1
    assert shown(topic.history()) == ["d"]
    assert shown(topic.history(after=published[0].position)) == [("reset", None), "d"]


def test_messages_grow_old(hf: Holdfast):
    topic = make(hf, max_age="50ms", keep="1h")
    first = topic.publish("a")
    second = topic.publish("b")
    while hf.execute("EXISTS", topic._desk.channel):
        pass
    assert topic.history() == []
    assert shown(topic.history(after=second.position)) == []
    assert shown(topic.history(after=first.position)) == [("trimmed", 1)]
    third = topic.publish("c")
    assert (third.epoch, third.offset) == (first.epoch, 3)
    assert shown(topic.history(after=first.position)) == [("trimmed", 1), "c"]
    assert shown(topic.history(after=second.position)) == ["c"], "nothing is missing"


def test_old_messages_go_when_a_new_one_comes(hf: Holdfast):
    topic = make(hf, max_age="1h")
    publish(topic, "ab")
    log, state = topic._desk._keys
    hf.execute("DEL", log)
    hf.execute("XADD", log, "1000-1", "data", topic._desk.codec.encode("a"))
    hf.execute("XADD", log, "1001-2", "data", topic._desk.codec.encode("b"))
    hf.execute("HSET", state, "ms", 1001)
    epoch = (topic.publish("c")).epoch
    assert hf.execute("XLEN", log) == 2, "the last old one stays, to compare with"
    assert shown(topic.history(after=f"{epoch}.1001.2")) == ["c"]


def test_a_topic_that_nobody_has_used_for_long_begins_anew(hf: Holdfast):
    topic = make(hf, keep="30ms")
    first = topic.publish("a")
    while hf.execute("EXISTS", *topic._desk._keys):
        pass
    second = topic.publish("b")
    assert second.offset == 1
    assert second.epoch != first.epoch


def test_the_position_of_a_topic_is_behind_its_last_message(hf: Holdfast):
    topic = make(hf)
    empty = topic.position()
    first = topic.publish("a")
    assert topic.position() == first.position
    for position, expected in [(empty, ["a", "b"]), (first.position, ["b"])]:
        with topic.subscribe(position) as messages:
            if expected == ["a", "b"]:
                topic.publish("b")
            assert shown(drain(messages, len(expected))) == expected


def test_a_message_that_is_no_value_of_the_type_is_a_gap_and_the_next_one_is_not(hf: Holdfast):
    """found: an exception that ends the loop of every reader of an older version."""
    words, numbers = make(hf), make(hf, type=int)
    with numbers.subscribe() as messages:
        words.publish("text")
        words.publish(7)
        assert shown(drain(messages, 2)) == [("unreadable", 1), 7]
    assert numbers.stats().unreadable == 1


def test_what_other_programs_say_on_the_channel_harms_nobody(hf: Holdfast):
    topic = make(hf)
    with topic.subscribe() as messages:
        for odd in (b"", b"::", b"x.1.1:a", b"-.0.0:", b"\xff.1.1:a", b"a.1.9999999999999999:a"):
            hf.execute("SPUBLISH", topic._desk.channel, odd)
        topic.publish("a")
        assert shown(drain(messages, 1)) == ["a"]
        assert messages.get(0) is None


# --- subscriptions ------------------------------------------------------------------------------------------


def test_a_loop_ends_when_it_is_closed(hf: Holdfast):
    topic = make(hf)
    publish(topic, "abc")
    seen = []
    messages = topic.subscribe("-.0.0")
    for message in messages:
        seen.append(message)
        if len(seen) == 3:
            messages.close()
    assert shown(seen) == ["a", "b", "c"]
    messages.close()
    with pytest.raises(Closed):
        messages.get()
    assert topic.stats().subscribers == 0


def test_without_a_position_it_begins_now(hf: Holdfast):
    """found: reading what is kept from its beginning."""
    topic = make(hf)
    publish(topic, "ab")
    with topic.subscribe() as messages:
        assert messages.position == topic.position()
        topic.publish("c")
        assert shown(drain(messages, 1)) == ["c"]


def test_get_gives_up_in_time(hf: Holdfast):
    topic = make(hf)
    with topic.subscribe() as messages:
        assert messages.get(0) is None
        assert messages.get("10ms") is None
        topic.publish("a")
        assert shown([messages.get()]) == ["a"]


def test_the_end_of_the_topic_ends_its_loops(hf: Holdfast):
    topic = make(hf)
    with topic.subscribe() as messages:
        topic._aclose()
        for message in messages:
            raise AssertionError(message)


def test_a_client_makes_a_topic_once_and_ends_its_loops(place: Any, namespace: str):
    hf = Holdfast(place.url, namespace=namespace)
    topic = hf.topic("prices", type=int, history=5)
    assert hf.topic("prices") is hf.topic("prices", type=int, history=5) is topic
    with pytest.raises(ConfigurationError, match="history=5, not 6"):
        hf.topic("prices", type=int, history=6)
    with pytest.raises(ConfigurationError, match="histroy"):
        hf.topic("other", histroy=6)  # type: ignore[call-overload]
    messages = topic.subscribe()
    assert messages.get(0) is None
    hf.close()
    for message in messages:
        raise AssertionError(message)
    with pytest.raises(Closed):
        topic.publish(1)


@dataclass
class Price:
    symbol: str
    price: float


def test_values_have_the_type_that_was_declared(hf: Holdfast):
    topic = make(hf, type=Price)
    with topic.subscribe() as messages:
        topic.publish(Price("ACME", 1.5))
        message = messages.get()
        assert isinstance(message, TopicMessage)
        assert message.value == Price("ACME", 1.5)


# --- slow subscribers ---------------------------------------------------------------------------------------


def filled(topic: Any, messages: Any, values: Any) -> None:
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
        topic.publish(value)
    give_up = monotonic() + 20
    while len(heard) < len(values):
        assert monotonic() < give_up
        sleep(0.001)


def standing(topic: Any, **choice: Any) -> Any:
    """A subscription that has been confirmed, and has read the history since."""
    messages = topic.subscribe(**choice)
    messages.get(0)
    while messages._inbox.era == 0 or messages._inbox._seen != messages._inbox.era:
        messages.get(0)
    return messages


def test_a_slow_subscriber_reads_from_the_history_what_did_not_fit(hf: Holdfast):
    """found: a queue without an end; dropping the rest when no more comes."""
    topic = make(hf)
    with_queue = standing(topic, queue=3)
    filled(topic, with_queue, range(300))
    assert len(with_queue._inbox._queue) == 3
    assert shown(drain(with_queue, 300)) == [*range(300)]
    stats = topic.stats()
    assert (stats.dropped, stats.gaps) == (0, 0)
    assert stats.deferred == 297
    with_queue.close()


def test_a_slow_subscriber_that_falls_behind_the_history_is_told(hf: Holdfast):
    topic = make(hf, history=10)
    messages = standing(topic, queue=3)
    filled(topic, messages, range(100))
    assert shown(drain(messages, 14)) == [0, 1, 2, ("trimmed", 87), *range(90, 100)]
    messages.close()


@pytest.mark.parametrize("history", [1000, 0])
def test_drop_oldest_goes_on_with_what_is_new(hf: Holdfast, history: int):
    topic = make(hf, history=history)
    messages = standing(topic, queue=3, on_full="drop_oldest") if history else topic.subscribe(queue=3)
    if not history:
        messages.get(0)
    filled(topic, messages, range(10))
    assert shown(drain(messages, 4)) == [("slow", 7), 7, 8, 9]
    assert topic.stats().dropped == 7
    topic.publish("more")
    assert shown(drain(messages, 1)) == ["more"]
    messages.close()


@pytest.mark.parametrize("history", [1000, 0])
def test_drop_newest_finishes_what_it_has(hf: Holdfast, history: int):
    topic = make(hf, history=history)
    choice: Any = {"queue": 3, "on_full": "drop_newest"}
    messages = standing(topic, **choice) if history else topic.subscribe(**choice)
    if not history:
        messages.get(0)
    filled(topic, messages, range(10))
    assert shown(drain(messages, 4)) == [0, 1, 2, ("slow", 7)]
    topic.publish("more")
    assert shown(drain(messages, 1)) == ["more"]
    assert topic.stats().dropped == 7
    messages.close()


def test_close_ends_with_an_error_from_whose_position_one_can_go_on(hf: Holdfast):
    topic = make(hf)
    messages = standing(topic, queue=3, on_full="close")
    filled(topic, messages, range(3))
    assert shown(drain(messages, 1)) == [0]
    filled(topic, messages, range(3, 10))
    with pytest.raises(SlowSubscriber) as caught:
        messages.get()
    assert topic.stats().subscribers == 0
    with topic.subscribe(caught.value.position) as again:
        assert shown(drain(again, 9)) == [*range(1, 10)]


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
def test_nonsense_is_refused_by_its_name(hf: Holdfast, options: Any, named: str):
    with pytest.raises(ConfigurationError, match=named):
        make(hf, **options)


def test_nonsense_of_a_subscriber_is_refused_at_the_call(hf: Holdfast):
    topic, plain = make(hf), make(hf, "plain", history=0)
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
            work()
    for id in ("", 7, "a\nb", "x" * 600):
        with pytest.raises(ConfigurationError, match="id="):
            topic.publish(1, id=id)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="name"):
        make(hf, "")
