# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""How far a group is behind: never null, never wrong."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import AsyncHoldfast
from holdfast._compat import ASignal, asleep
from holdfast._coord.background import AsyncBackground
from holdfast.errors import ConfigurationError
from holdfast.streams import books
from holdfast.streams._stream_async import AsyncStream
from holdfast.streams.options import Lag, StreamOptions
from tests.streams.hands import hands, ids


async def _filled(ahf: AsyncHoldfast, count: int) -> tuple[AsyncStream[Any], list[str]]:
    stream = ahf.stream("orders")
    return stream, [one.id for one in await stream.publish_many(range(count))]


@pytest.mark.everywhere
async def test_the_lag_is_counted_over_all_partitions(ahf: AsyncHoldfast, server_kind, transport, topology):
    """Without it one partition would stand for all."""
    stream = ahf.stream("orders", partitions=3)
    await stream.publish_many(range(9))
    lag = await stream.group("billing").lag()
    assert (lag.entries, lag.exact, lag.pending, lag.oldest_pending) == (9, True, 0, 0.0)
    assert 0.0 <= lag.age < 60
    handled = []

    @stream.subscriber(group="billing", start="first")
    async def bill(value: int) -> None:
        handled.append(value)

    await ahf.run(until="idle")
    assert sorted(handled) == list(range(9))
    assert await stream.group("billing").lag() == Lag(0, True, 0.0, 0, 0.0)


async def test_a_stream_that_nobody_has_published_to_has_no_lag(ahf: AsyncHoldfast):
    """Without it a monitor would fail before the first message."""
    assert await ahf.stream("orders").group("billing").lag() == Lag(0, True, 0.0, 0, 0.0)


async def test_a_group_that_has_not_begun_is_behind_by_what_it_will_get(ahf: AsyncHoldfast):
    """Without it a group whose workers never came up would look as if it were done."""
    stream, _ = await _filled(ahf, 5)

    @stream.subscriber(group="late", start="new")
    async def late(value: int) -> None: ...

    assert (await stream.group("billing").lag()).entries == 5
    assert (await stream.group("late").lag()).entries == 0


async def test_pending_and_its_age_are_told(ahf: AsyncHoldfast):
    """Without it a message that hangs in a dead worker would not be seen."""
    stream, _ = await _filled(ahf, 5)
    by = hands(stream)
    await ahf.execute(*by.begin())
    taken = ids(await ahf.execute(*by.take(3)))
    await ahf.execute(*by.done(taken[0]))
    await asleep(0.005)  # ages are in milliseconds
    lag = await stream.group("billing").lag()
    assert (lag.entries, lag.exact, lag.pending) == (2, True, 2)
    assert 0.0 < lag.oldest_pending < 60 and lag.oldest_pending >= lag.age


# --- where the server's own number is null or wrong ---------------------------------------------------------


async def _servers(ahf: AsyncHoldfast, stream: str):
    (told,) = await ahf.execute("XINFO", "GROUPS", stream)
    return told[b"lag"]


async def test_deleted_entries_are_not_counted(ahf: AsyncHoldfast):
    """The server says null, or counts what is not there any more."""
    stream, published = await _filled(ahf, 10)
    by = hands(stream)
    await ahf.execute(*by.begin())
    await ahf.execute(*by.take(2))
    await ahf.execute("XDEL", by.stream, *published[5:8])
    assert await _servers(ahf, by.stream) != 5  # else this test shows nothing
    lag = await stream.group("billing").lag()
    assert (lag.entries, lag.exact, lag.pending) == (5, True, 2)


async def test_a_group_at_any_place_has_a_lag(ahf: AsyncHoldfast):
    """The server says null for a group that was made in the middle."""
    stream, published = await _filled(ahf, 10)
    by = hands(stream)
    await ahf.execute(*by.begin(published[6]))
    assert await _servers(ahf, by.stream) is None
    lag = await stream.group("billing").lag()
    assert (lag.entries, lag.exact) == (3, True)


async def test_what_somebody_has_told_the_server_is_not_believed(ahf: AsyncHoldfast):
    """XGROUP SETID with a wrong ENTRIESREAD makes the server's number wrong for ever."""
    stream, published = await _filled(ahf, 10)
    by = hands(stream)
    await ahf.execute(*by.begin())
    await ahf.execute("XGROUP", "SETID", by.stream, by.group, published[1], "ENTRIESREAD", 9)
    assert await _servers(ahf, by.stream) == 1
    lag = await stream.group("billing").lag()
    assert (lag.entries, lag.exact) == (8, True)


async def test_what_was_trimmed_unread_is_not_counted(ahf: AsyncHoldfast):
    """Redis 7.0 counts it."""
    stream, _ = await _filled(ahf, 10)
    by = hands(stream)
    await ahf.execute(*by.begin())
    await ahf.execute(*by.take(2))
    await ahf.execute("XTRIM", by.stream, "MAXLEN", "=", 4)
    lag = await stream.group("billing").lag()
    assert (lag.entries, lag.exact) == (4, True)


# --- bounds -------------------------------------------------------------------------------------------------


async def _at(ahf: AsyncHoldfast, read: int, count: int):
    stream, published = await _filled(ahf, count)
    await ahf.execute(*hands(stream).begin(published[read - 1] if read else "0"))
    return await stream.group("billing").lag()


async def test_a_long_way_is_counted_in_steps(ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch):
    """Without it 1,000 would be all that is ever told for sure."""
    monkeypatch.setattr(books, "COUNTED", 10)
    lag = await _at(ahf, 40, 100)
    assert (lag.entries, lag.exact) == (60, True)


async def test_beyond_the_bound_it_is_at_least_what_was_counted(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """Without it either the server would be busy with counting, or the number a guess."""
    monkeypatch.setattr(books, "COUNTED", 10)
    monkeypatch.setattr(books, "EXACTLY", 30)
    lag = await _at(ahf, 40, 100)
    assert (lag.entries, lag.exact) == (30, False)


@pytest.mark.parametrize("read", [0, 5])
async def test_where_little_was_read_it_is_exact_however_much_is_unread(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch, read: int
):
    """Without it a group that stands still since the beginning would have no number."""
    monkeypatch.setattr(books, "COUNTED", 10)
    monkeypatch.setattr(books, "EXACTLY", 30)
    lag = await _at(ahf, read, 100)
    assert (lag.entries, lag.exact) == (100 - read, True)


async def test_what_is_removed_while_it_is_counted_makes_it_a_bound(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """Without it a count that missed entries would be called exact."""
    monkeypatch.setattr(books, "COUNTED", 10)
    stream, published = await _filled(ahf, 60)
    by = hands(stream)
    await ahf.execute(*by.begin(published[19]))
    group = stream.group("billing")
    run = group._desk.wire.run
    steps: list[Any] = []

    async def meddling(*args, **more):
        if steps and steps[-1] is None:
            await ahf.execute("XDEL", by.stream, published[-1])
        steps.append(None)
        return await run(*args, **more)

    monkeypatch.setattr(group._desk.wire, "run", meddling)
    lag = await group.lag()
    assert len(steps) > 1 and lag.exact is False and lag.entries <= 40


async def test_large_entries_are_counted_in_small_steps(ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch):
    """Without it 1,000 entries of a megabyte would be copied at once inside of the server."""
    stream = ahf.stream("orders")
    published = [await stream.publish(b"x" * 1_000_000) for _ in range(12)]
    await ahf.execute(*hands(stream).begin(published[5].id))
    group = stream.group("billing")
    run = group._desk.wire.run
    steps: list[Any] = []

    async def counting(*args, **more):
        steps.append(await run(*args, **more))
        return steps[-1]

    monkeypatch.setattr(group._desk.wire, "run", counting)
    lag = await group.lag()
    assert (lag.entries, lag.exact) == (6, True)
    assert [one[1] for one in steps] == [4, 2]


async def test_a_consumer_keeps_the_lag_for_those_who_may_not_ask(
    ahf: AsyncHoldfast, monkeypatch: pytest.MonkeyPatch
):
    """Without it a scrape would wait for the server; and a graph would show for ever what once was."""
    monkeypatch.setattr(books, "OFTEN", 0.1)
    stream = ahf.stream("orders")
    begun, go_on = ASignal(), ASignal()

    @stream.subscriber(group="billing")
    async def bill(value: int) -> None:
        begun.fire()
        await go_on.wait(20)

    await stream.publish_many(range(3))
    assert stream.lags() == {}
    run = AsyncBackground("run", ahf.run)
    assert await begun.wait(20)
    await _until(lambda: stream.lags().get("billing", Lag(9, True, 0.0, 0, 0.0)).pending == 3)
    go_on.fire()
    await _until(lambda: stream.lags().get("billing", Lag(9, True, 0.0, 9, 0.0)).pending == 0)
    ahf.stop()
    await _until(lambda: not run.alive)
    await _until(lambda: stream.lags() == {})


async def _until(is_so) -> None:
    for _ in range(1000):
        if is_so():
            return
        await asleep(0.02)
    raise AssertionError("it does not come to that")


async def test_other_partitions_than_the_server_says_are_refused(ahf: AsyncHoldfast):
    """Without it a lag would be told of half of the stream."""
    await ahf.stream("orders", partitions=2).publish(1)
    other = AsyncStream[int](ahf._wire, "orders", StreamOptions())
    with pytest.raises(ConfigurationError, match="has 2 partitions"):
        await other.group("billing").lag()


@pytest.mark.parametrize("name", ["", "~later", 7])
async def test_a_group_needs_a_name(ahf: AsyncHoldfast, name):
    """Without it a wrong argument would be looked for on the server."""
    with pytest.raises(ConfigurationError, match="group="):
        ahf.stream("orders").group(name)
