# Generated from test_dead_letters_async.py by tools/unasync.py. Do not edit.
"""Dead letters: looked at, handled again once, thrown away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast.errors import ConfigurationError
from holdfast.streams import books
from holdfast.streams.options import Retention
from holdfast.streams.rules import Reject
from tests.streams.hands import hands


class Shop:
    """Bills what it is told to; mail gets everything."""

    def __init__(self, hf: Holdfast, partitions: int = 1, **options) -> None:
        self.hf = hf
        self.stream = stream = hf.stream("orders", partitions=partitions, **options)
        self.broken = True
        self.billed: list[int] = []
        self.mailed: list[int] = []
        self.messages: list[Any] = []

        @stream.subscriber(group="billing", max_deliveries=1)
        def bill(value: int, message) -> None:
            if self.broken:
                raise ValueError(f"no {value}") if value % 2 else Reject(f"never {value}")
            self.billed.append(value)
            self.messages.append(message)

        if not stream.options.deletes:

            @stream.subscriber(group="mail")
            def mail(value: int) -> None:
                self.mailed.append(value)

        self.dead = stream.dead_letters("billing")

    def run(self, *values: int) -> None:
        """Publish, and handle all there is."""
        self.stream.publish_many(values)
        self.hf.run(until="idle")


@pytest.mark.everywhere
def test_a_replayed_letter_is_handled_again_by_its_group_alone(
    hf: Holdfast, server_kind, transport, topology
):
    """Without it a repaired handler could not make good what it missed, or all others would do it twice."""
    shop = Shop(hf, partitions=3)
    shop.run(*range(6))
    assert shop.dead.count() == 6
    shop.broken = False
    shop.mailed.clear()
    assert shop.dead.replay() == 6
    assert shop.dead.count() == 0
    hf.run(until="idle")
    assert sorted(shop.billed) == list(range(6)) and shop.mailed == []


def test_a_letter_tells_what_happened(hf: Holdfast):
    """Without it an operator would have to guess from logs."""
    shop = Shop(hf)
    first = shop.stream.publish(1, key="ann", headers={"trace": "t"})
    shop.run(2)
    one, two = shop.dead.list()
    assert (one.message_id, one.value, one.deliveries, one.partition) == (first.id, 1, 1, 0)
    assert (one.key, one.headers, one.error) == ("ann", {"trace": "t"}, "ValueError: no 1")
    assert (two.value, two.error, two.key, two.headers) == (2, "Reject: never 2", None, {})
    assert abs(one.died_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert one.id.startswith("0:") and one.id != two.id


def test_list_shows_the_oldest_that_are_wanted(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """Without it the one among thousands would not be found."""
    monkeypatch.setattr(books, "PAGE", 2)
    shop = Shop(hf, partitions=2)
    for value in range(8):
        shop.run(value)
    assert [one.value for one in shop.dead.list()] == list(range(8))
    assert [one.value for one in shop.dead.list(limit=3)] == [0, 1, 2]
    odd = shop.dead.list(limit=3, where=lambda one: "ValueError" in one.error)
    assert [one.value for one in odd] == [1, 3, 5]
    with pytest.raises(ConfigurationError, match="limit=0"):
        shop.dead.list(limit=0)


def test_some_can_be_chosen_by_id_or_by_a_filter(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """Without it one bad message would come back with all that were repaired."""
    monkeypatch.setattr(books, "PAGE", 2)
    shop = Shop(hf, partitions=2)
    shop.run(*range(8))
    shop.broken = False
    letters = {one.value: one for one in shop.dead.list()}
    assert shop.dead.replay(letters[0].id, letters[5]) == 2
    assert shop.dead.replay(letters[0].id) == 0  # it is no dead letter any more
    assert shop.dead.replay(where=lambda one: one.value > 5) == 2
    hf.run(until="idle")
    assert sorted(shop.billed) == [0, 5, 6, 7]
    assert shop.dead.purge(letters[1]) == 1
    assert shop.dead.purge(where=lambda one: one.value == 2) == 1
    assert sorted(one.value for one in shop.dead.list()) == [3, 4]
    assert shop.dead.purge() == 2
    assert shop.dead.list() == []


def test_a_replayed_message_is_new_and_tells_where_it_came_from(hf: Holdfast):
    """Without it its deliveries would be used up, and its origin lost."""
    shop = Shop(hf)
    first = shop.stream.publish(1, id="o1", key="ann", headers={"trace": "t"})
    hf.run(until="idle")
    assert shop.dead.replay() == 1
    hf.run(until="idle")  # it dies again
    (again,) = shop.dead.list()
    assert again.message_id != first.id
    assert again.headers == {"trace": "t", "replayed-from": first.id}
    shop.broken = False
    assert shop.dead.replay() == 1
    hf.run(until="idle")
    (message,) = shop.messages
    assert (message.value, message.deliveries, message.partition_key, message.dedup_id) == (1, 1, "ann", "o1")
    assert message.headers == {"trace": "t", "replayed-from": first.id}
    (*_, last) = hf.execute("XRANGE", hands(shop.stream).stream, "-", "+")
    fields = dict(zip(last[1][::2], last[1][1::2], strict=True))
    assert set(fields) == {b"only", b"headers", b"data", b"key", b"id"} and fields[b"only"] == b"billing"


def test_headers_that_nobody_can_read_do_not_keep_a_letter_from_being_replayed(hf: Holdfast):
    """Without it what another program wrote could never be handled again."""
    shop = Shop(hf)
    by = hands(shop.stream)
    for headers in (b"\xc1", b"\xff", b"", b"\x01"):
        hf.execute("XADD", by.stream, "*", "data", b"\x01", "headers", headers)
    hf.run(until="idle")
    shop.broken = False
    assert shop.dead.replay() == 4
    hf.run(until="idle")
    assert shop.billed == [1, 1, 1, 1]


def test_a_work_queue_gets_back_what_it_had_deleted(hf: Holdfast):
    """Without it a dead letter of a work queue would be lost."""
    shop = Shop(hf, retention=Retention.work_queue())
    shop.run(1)
    assert (shop.stream.info()).entries == 0
    shop.broken = False
    assert shop.dead.replay() == 1
    hf.run(until="idle")
    assert shop.billed == [1] and (shop.stream.info()).entries == 0


def test_a_delayed_message_can_die_and_be_replayed(hf: Holdfast):
    """Without it what was delayed once would have no way back."""
    shop = Shop(hf)
    shop.stream.publish(1, delay="10ms")
    hf.run(until="idle")
    while not shop.dead.count():
        hf.run(until="idle")
    shop.broken = False
    assert shop.dead.replay() == 1
    hf.run(until="idle")
    assert shop.billed == [1]


@pytest.mark.parametrize("what", ["replay", "purge"])
def test_a_repeated_request_changes_nothing_and_answers_the_same(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch, what: str
):
    """Without it a lost reply would double a message, or report too few."""
    shop = Shop(hf)
    shop.run(1, 2, 3)
    run = shop.dead._desk.wire.run

    def twice(script, keys, args=(), **more):
        answer = run(script, keys, args, **more)
        if script.name == "streams/dead":
            assert run(script, keys, args, **more) == answer
        return answer

    monkeypatch.setattr(shop.dead._desk.wire, "run", twice)
    assert getattr(shop.dead, what)() == 3
    assert (shop.stream.info()).entries == (6 if what == "replay" else 3)


def test_a_letter_whose_value_cannot_be_read_is_listed(hf: Holdfast):
    """Without it the very messages that nobody understands could not be seen."""
    shop = Shop(hf, type=int)
    hf.execute("XADD", hands(shop.stream).stream, "*", "theirs", "x")
    hf.run(until="idle")
    (one,) = shop.dead.list()
    assert one.value is None and "CodecError" in one.error
    assert shop.dead.purge(one) == 1


@pytest.mark.parametrize("wrong", ["", "1-1", "1:1-1", "0:", "0:x", 5, None])
def test_an_id_that_is_none_is_refused(hf: Holdfast, wrong):
    """Without it a message's own id, given by mistake, would find nothing and say nothing."""
    dead = hf.stream("orders").dead_letters("billing")
    for act in (dead.replay, dead.purge):
        with pytest.raises(ConfigurationError, match="no id of a dead letter"):
            act(wrong)
        with pytest.raises(ConfigurationError, match="not both"):
            act("0:1-1", where=lambda one: True)


def test_what_dies_meanwhile_is_left_for_the_next_time(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch
):
    """Without it a handler that fails at once would keep a replay busy for ever."""
    monkeypatch.setattr(books, "PAGE", 2)
    shop = Shop(hf)
    shop.run(1, 2, 3, 4)
    seen = []
    for page in shop.dead._pages(shop.stream._desk.layout.parts[0], None):
        seen += [one.value for one in page]
        if page:
            shop.run(5)
    assert sorted(seen) == [1, 2, 3, 4] and shop.dead.count() == 6
