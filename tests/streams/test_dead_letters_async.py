# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Dead letters: looked at, handled again once, thrown away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import AsyncHoldfast
from holdfast.errors import ConfigurationError
from holdfast.streams import books
from holdfast.streams.options import Retention
from holdfast.streams.rules import Reject
from tests.streams.hands import hands


class AsyncShop:
    """Bills what it is told to; mail gets everything."""

    def __init__(self, ahf: AsyncHoldfast, partitions: int = 1, **options) -> None:
        self.ahf = ahf
        self.stream = stream = ahf.stream("orders", partitions=partitions, **options)
        self.broken = True
        self.billed: list[int] = []
        self.mailed: list[int] = []
        self.messages: list[Any] = []

        @stream.subscriber(group="billing", max_deliveries=1)
        async def bill(value: int, message) -> None:
            if self.broken:
                raise ValueError(f"no {value}") if value % 2 else Reject(f"never {value}")
            self.billed.append(value)
            self.messages.append(message)

        if not stream.options.deletes:

            @stream.subscriber(group="mail")
            async def mail(value: int) -> None:
                self.mailed.append(value)

        self.dead = stream.dead_letters("billing")

    async def run(self, *values: int) -> None:
        """Publish, and handle all there is."""
        await self.stream.publish_many(values)
        await self.ahf.run(until="idle")


@pytest.mark.everywhere
async def test_a_replayed_letter_is_handled_again_by_its_group_alone(
    ahf: AsyncHoldfast, server_kind, transport, topology
):
    """Without it a repaired handler could not make good what it missed, or all others would do it twice."""
    shop = AsyncShop(ahf, partitions=3)
    await shop.run(*range(6))
    assert await shop.dead.count() == 6
    shop.broken = False
    shop.mailed.clear()
    assert await shop.dead.replay() == 6
    assert await shop.dead.count() == 0
    await ahf.run(until="idle")
    assert sorted(shop.billed) == list(range(6)) and shop.mailed == []


async def test_a_letter_tells_what_happened(ahf: AsyncHoldfast):
    """Without it an operator would have to guess from logs."""
    shop = AsyncShop(ahf)
    first = await shop.stream.publish(1, key="ann", headers={"trace": "t"})
    await shop.run(2)
    one, two = await shop.dead.list()
    assert (one.message_id, one.value, one.deliveries, one.partition) == (first.id, 1, 1, 0)
    assert (one.key, one.headers, one.error) == ("ann", {"trace": "t"}, "ValueError: no 1")
    assert (two.value, two.error, two.key, two.headers) == (2, "Reject: never 2", None, {})
    assert abs(one.died_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert one.id.startswith("0:") and one.id != two.id


async def test_list_shows_the_oldest_that_are_wanted(ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch):
    """Without it the one among thousands would not be found."""
    monkeypatch.setattr(books, "PAGE", 2)
    shop = AsyncShop(ahf, partitions=2)
    for value in range(8):
        await shop.run(value)
    assert [one.value for one in await shop.dead.list()] == list(range(8))
    assert [one.value for one in await shop.dead.list(limit=3)] == [0, 1, 2]
    odd = await shop.dead.list(limit=3, where=lambda one: "ValueError" in one.error)
    assert [one.value for one in odd] == [1, 3, 5]
    with pytest.raises(ConfigurationError, match="limit=0"):
        await shop.dead.list(limit=0)


async def test_some_can_be_chosen_by_id_or_by_a_filter(ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch):
    """Without it one bad message would come back with all that were repaired."""
    monkeypatch.setattr(books, "PAGE", 2)
    shop = AsyncShop(ahf, partitions=2)
    await shop.run(*range(8))
    shop.broken = False
    letters = {one.value: one for one in await shop.dead.list()}
    assert await shop.dead.replay(letters[0].id, letters[5]) == 2
    assert await shop.dead.replay(letters[0].id) == 0  # it is no dead letter any more
    assert await shop.dead.replay(where=lambda one: one.value > 5) == 2
    await ahf.run(until="idle")
    assert sorted(shop.billed) == [0, 5, 6, 7]
    assert await shop.dead.purge(letters[1]) == 1
    assert await shop.dead.purge(where=lambda one: one.value == 2) == 1
    assert sorted(one.value for one in await shop.dead.list()) == [3, 4]
    assert await shop.dead.purge() == 2
    assert await shop.dead.list() == []


async def test_a_replayed_message_is_new_and_tells_where_it_came_from(ahf: AsyncHoldfast):
    """Without it its deliveries would be used up, and its origin lost."""
    shop = AsyncShop(ahf)
    first = await shop.stream.publish(1, id="o1", key="ann", headers={"trace": "t"})
    await ahf.run(until="idle")
    assert await shop.dead.replay() == 1
    await ahf.run(until="idle")  # it dies again
    (again,) = await shop.dead.list()
    assert again.message_id != first.id
    assert again.headers == {"trace": "t", "replayed-from": first.id}
    shop.broken = False
    assert await shop.dead.replay() == 1
    await ahf.run(until="idle")
    (message,) = shop.messages
    assert (message.value, message.deliveries, message.partition_key, message.dedup_id) == (1, 1, "ann", "o1")
    assert message.headers == {"trace": "t", "replayed-from": first.id}
    (*_, last) = await ahf.execute("XRANGE", hands(shop.stream).stream, "-", "+")
    fields = dict(zip(last[1][::2], last[1][1::2], strict=True))
    assert set(fields) == {b"only", b"headers", b"data", b"key", b"id"} and fields[b"only"] == b"billing"


async def test_headers_that_nobody_can_read_do_not_keep_a_letter_from_being_replayed(ahf: AsyncHoldfast):
    """Without it what another program wrote could never be handled again."""
    shop = AsyncShop(ahf)
    by = hands(shop.stream)
    for headers in (b"\xc1", b"\xff", b"", b"\x01"):
        await ahf.execute("XADD", by.stream, "*", "data", b"\x01", "headers", headers)
    await ahf.run(until="idle")
    shop.broken = False
    assert await shop.dead.replay() == 4
    await ahf.run(until="idle")
    assert shop.billed == [1, 1, 1, 1]


async def test_a_work_queue_gets_back_what_it_had_deleted(ahf: AsyncHoldfast):
    """Without it a dead letter of a work queue would be lost."""
    shop = AsyncShop(ahf, retention=Retention.work_queue())
    await shop.run(1)
    assert (await shop.stream.info()).entries == 0
    shop.broken = False
    assert await shop.dead.replay() == 1
    await ahf.run(until="idle")
    assert shop.billed == [1] and (await shop.stream.info()).entries == 0


async def test_a_delayed_message_can_die_and_be_replayed(ahf: AsyncHoldfast):
    """Without it what was delayed once would have no way back."""
    shop = AsyncShop(ahf)
    await shop.stream.publish(1, delay="10ms")
    await ahf.run(until="idle")
    while not await shop.dead.count():
        await ahf.run(until="idle")
    shop.broken = False
    assert await shop.dead.replay() == 1
    await ahf.run(until="idle")
    assert shop.billed == [1]


@pytest.mark.parametrize("what", ["replay", "purge"])
async def test_a_repeated_request_changes_nothing_and_answers_the_same(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch, what: str
):
    """Without it a lost reply would double a message, or report too few."""
    shop = AsyncShop(ahf)
    await shop.run(1, 2, 3)
    run = shop.dead._desk.wire.run

    async def twice(script, keys, args=(), **more):
        answer = await run(script, keys, args, **more)
        if script.name == "streams/dead":
            assert await run(script, keys, args, **more) == answer
        return answer

    monkeypatch.setattr(shop.dead._desk.wire, "run", twice)
    assert await getattr(shop.dead, what)() == 3
    assert (await shop.stream.info()).entries == (6 if what == "replay" else 3)


async def test_a_letter_whose_value_cannot_be_read_is_listed(ahf: AsyncHoldfast):
    """Without it the very messages that nobody understands could not be seen."""
    shop = AsyncShop(ahf, type=int)
    await ahf.execute("XADD", hands(shop.stream).stream, "*", "theirs", "x")
    await ahf.run(until="idle")
    (one,) = await shop.dead.list()
    assert one.value is None and "CodecError" in one.error
    assert await shop.dead.purge(one) == 1


@pytest.mark.parametrize("wrong", ["", "1-1", "1:1-1", "0:", "0:x", 5, None])
async def test_an_id_that_is_none_is_refused(ahf: AsyncHoldfast, wrong):
    """Without it a message's own id, given by mistake, would find nothing and say nothing."""
    dead = ahf.stream("orders").dead_letters("billing")
    for act in (dead.replay, dead.purge):
        with pytest.raises(ConfigurationError, match="no id of a dead letter"):
            await act(wrong)
        with pytest.raises(ConfigurationError, match="not both"):
            await act("0:1-1", where=lambda one: True)


async def test_what_dies_meanwhile_is_left_for_the_next_time(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """Without it a handler that fails at once would keep a replay busy for ever."""
    monkeypatch.setattr(books, "PAGE", 2)
    shop = AsyncShop(ahf)
    await shop.run(1, 2, 3, 4)
    seen = []
    async for page in shop.dead._pages(shop.stream._desk.layout.parts[0], None):
        seen += [one.value for one in page]
        if page:
            await shop.run(5)
    assert sorted(seen) == [1, 2, 3, 4] and await shop.dead.count() == 6
