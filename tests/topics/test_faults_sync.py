# Generated from test_faults_async.py by tools/unasync.py. Do not edit.
"""Topics over a network that fails, and a server that is away, empty or forbids things."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from holdfast import Holdfast, NoPermission, Unavailable, Unconfirmed
from holdfast._compat import sleep, monotonic
from holdfast._signals import ServerWarning
from holdfast.topics._topic_sync import Topic
from holdfast.topics.options import Gap, TopicOptions
from tests.topics.world import Observer, shown


def make(hf: Holdfast, name: str = "prices", **options: Any) -> Topic[Any]:
    return Topic(hf._wire, name, TopicOptions(**options))


def drain(subscription: Any, count: int) -> list[Any]:
    """The next `count` messages and gaps."""
    found: list[Any] = []
    for _ in range(count):
        one = subscription.get(20)
        assert one is not None, f"only {found}"
        found.append(one)
    return found


def listens(topic: Any, connections: int = 1) -> None:
    """Wait until so many connections listen."""
    give_up = monotonic() + 20
    while topic.subscribers() < connections:
        assert monotonic() < give_up
        sleep(0.005)


def brisk(hf: Holdfast) -> Holdfast:
    """Have the hub, which has not started yet, notice a dead link within a second."""
    object.__setattr__(hf._hub._settings, "interval", 0.3)  # type: ignore[attr-defined]
    return hf


def test_connections_that_are_cut_again_and_again_lose_nothing(
    hf: Holdfast, faults: Any, namespace: str
):
    """found: going on after a reconnect without reading the history; delivering what was read again."""
    rng = random.Random(5)
    with Holdfast(faults.url, namespace=namespace, timeout="20s") as far:
        publisher, subscriber = make(hf), make(far)
        with subscriber.subscribe() as messages:
            for turn in range(30):
                for number in range(10):
                    publisher.publish(turn * 10 + number)
                if rng.random() < 0.7:
                    faults.cut()
                if rng.random() < 0.5:
                    seen = shown(drain(messages, 5))
                    assert seen == [*range(seen[0], seen[0] + 5)]
            left = 300 - int(messages.position.rpartition(".")[2])
            seen = shown(drain(messages, left))
            assert seen == [*range(300 - left, 300)]
    assert subscriber.stats().gaps == 0


def test_a_link_that_is_half_open_is_noticed_and_nothing_is_lost(
    hf: Holdfast, faults: Any, namespace: str
):
    """found: waiting for a push that cannot come."""
    with brisk(Holdfast(faults.url, namespace=namespace, timeout="1s")) as far:
        publisher, subscriber = make(hf), make(far)
        with subscriber.subscribe() as messages:
            listens(publisher)
            faults.blackhole()
            publisher.publish("in the dark")
            assert messages.get("50ms") is None
            faults.cut()
            sleep(1.0)
            publisher.publish("still dark")
            faults.heal()
            assert shown(drain(messages, 2)) == ["in the dark", "still dark"]


def test_replies_that_are_lost_double_nothing(hf: Holdfast, faults: Any, namespace: str):
    """found: a script without a memo."""
    topic = make(hf)
    with Holdfast(faults.url, namespace=namespace, timeout="20s") as far:
        publisher = make(far)
        publisher.publish("warm")
        with topic.subscribe() as messages:
            for number in range(5):
                faults.drop_replies(1, match=b"EVALSHA")
                publisher.publish(number)
                faults.drop_replies(1, match=b"EVALSHA")
                publisher.publish(number + 100, id=f"id {number}")
            expected = [value for number in range(5) for value in (number, number + 100)]
            assert shown(drain(messages, 10)) == expected
            assert messages.get(0) is None


def test_what_is_forgotten_is_not_done_again_though_requests_overtake_each_other(hf: Holdfast):
    """found: what is forgotten going by the last request that came, and not by the highest one."""
    topic = make(hf)
    desk = topic._desk

    def request(number: int) -> None:
        desk._requests.requester()._books[""] = itertools.count(number)
        topic.publish(number)

    for number, forgotten in ((2000, 1000), (1500, 700), (3900, 2900), (9000, 3901)):
        request(number)
        with pytest.raises(Unconfirmed):
            request(forgotten)
    request(8001)


def test_a_plain_topic_says_that_it_does_not_know(faults: Any, namespace: str):
    """found: repeating what may have been said."""
    with Holdfast(faults.url, namespace=namespace, timeout="5s") as far:
        topic = make(far, history=0)
        topic.publish("warm")
        faults.drop_replies(1, match=b"SPUBLISH")
        with pytest.raises(Unconfirmed):
            topic.publish("perhaps")


@pytest.mark.parametrize("more", [True, False])
def test_a_plain_topic_tells_of_a_lost_connection(
    hf: Holdfast, faults: Any, namespace: str, more: bool
):
    """With `more`, something is heard after it. found: at most once, in silence; a gap before what was heard
    before it; one that waits for the next message.
    """
    with Holdfast(faults.url, namespace=namespace) as far:
        publisher, subscriber = make(hf, history=0), make(far, history=0)
        with subscriber.subscribe() as messages:
            publisher.publish("a")
            publisher.publish("b")
            assert shown(drain(messages, 1)) == ["a"]
            give_up, inbox = monotonic() + 20, messages._inbox
            while not (inbox and inbox._queue):
                assert monotonic() < give_up
                sleep(0.005)
            faults.refuse()
            faults.cut()
            while publisher.subscribers():
                assert monotonic() < give_up
                sleep(0.005)
            publisher.publish("lost")
            faults.heal()
            listens(publisher)
            if more:
                publisher.publish("c")
            gap = ("disconnected", None)
            seen = shown(drain(messages, 3 if more else 2))
            if seen[1:] == [gap, gap]:  # rarely, for the loss and for the return
                seen = [*seen[:2], *shown(drain(messages, 1))]
            assert seen == ["b", gap, *(["c"] if more else [])]
            assert messages.get(0) in (None, Gap("disconnected"))


def test_a_server_that_comes_back_empty_is_a_gap_at_once(own_server: Any):
    """found: waiting for the next message, which may be hours away."""
    with Holdfast(own_server.url, timeout="20s") as hf:
        topic = make(hf)
        with topic.subscribe() as messages:
            topic.publish("a")
            assert shown(drain(messages, 1)) == ["a"]
            own_server.kill()
            own_server.restart(empty=True)
            assert shown(drain(messages, 1)) == [("reset", None)]
            topic.publish("b")
            assert shown(drain(messages, 1)) == ["b"]


def test_while_the_server_is_away_subscribers_wait(own_server: Any):
    """found: an exception in the loop of everybody."""
    with Holdfast(own_server.url, timeout="300ms") as hf:
        topic = make(hf)
        position = (topic.publish("a")).position
        with topic.subscribe() as messages:
            own_server.kill()
            assert messages.get("500ms") is None
            with topic.subscribe(position) as late:
                assert late.get("500ms") is None
                with pytest.raises(Unavailable):
                    with topic.subscribe():
                        pass
                own_server.restart(empty=True)
                make(hf, "other").publish(1)
                for one in (messages, late):
                    assert shown(drain(one, 1)) == [("reset", None)]
    assert topic.stats().subscribers == 0


def test_without_the_right_to_listen_the_history_is_read(own_server: Any):
    """found: waiting for ever; saying nothing about it."""
    with Holdfast(own_server.url, namespace="shop") as admin:
        rules = "on >secret ~shop:* resetchannels +@all"
        admin.execute("ACL", "SETUSER", "deaf", *rules.split())
        url = f"redis://deaf:secret@127.0.0.1:{own_server.port}/0"
        with Holdfast(url, namespace="shop") as hf:
            topic, observer = make(hf), Observer(hf)
            with topic.subscribe() as messages:
                make(admin).publish("a")
                assert shown(drain(messages, 1)) == ["a"]
                assert messages.get(0) is None
                make(admin).publish("b")
                assert shown(drain(messages, 1)) == ["b"]
            told = [one for one in observer.of(ServerWarning) if "once a second" in one.consequence]
            assert len(told) == 1
            with pytest.raises(NoPermission, match="ssubscribe"):
                make(hf, history=0).subscribe().get()


def test_without_the_right_to_publish_nothing_is_kept_either(own_server: Any):
    """found: writing first, and then finding out."""
    with Holdfast(own_server.url, namespace="shop") as admin:
        rules = "on >secret ~shop:* resetchannels +@all"
        admin.execute("ACL", "SETUSER", "mute", *rules.split())
        url = f"redis://mute:secret@127.0.0.1:{own_server.port}/0"
        with Holdfast(url, namespace="shop") as hf:
            with pytest.raises(NoPermission):
                make(hf).publish("a")
        assert make(admin).history() == []
        assert admin.execute("EXISTS", *make(admin)._desk._keys) == 0


def test_the_end_of_the_client_ends_its_loops(place: Any, namespace: str):
    """found: a loop that hangs for ever."""
    hf = Holdfast(place.url, namespace=namespace)
    messages = make(hf).subscribe()
    assert messages.get(0) is None
    hf.close()
    for one in messages:
        raise AssertionError(one)
    messages.close()
