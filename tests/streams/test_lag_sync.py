# Generated from test_lag_async.py by tools/unasync.py. Do not edit.
"""How far a group is behind: never null, never wrong."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Holdfast
from holdfast._compat import Signal, sleep
from holdfast._coord.background import Background
from holdfast.errors import ConfigurationError
from holdfast.streams import books
from holdfast.streams._stream_sync import Stream
from holdfast.streams.options import Lag, StreamOptions
from tests.streams.hands import hands, ids


def _filled(hf: Holdfast, count: int) -> tuple[Stream[Any], list[str]]:
    stream = hf.stream("orders")
    return stream, [one.id for one in stream.publish_many(range(count))]


@pytest.mark.everywhere
def test_the_lag_is_counted_over_all_partitions(hf: Holdfast, server_kind, transport, topology):
    """Without it one partition would stand for all."""
    stream = hf.stream("orders", partitions=3)
    stream.publish_many(range(9))
    lag = stream.group("billing").lag()
    assert (lag.entries, lag.exact, lag.pending, lag.oldest_pending) == (9, True, 0, 0.0)
    assert 0.0 <= lag.age < 60
    handled = []

    @stream.subscriber(group="billing", start="first")
    def bill(value: int) -> None:
        handled.append(value)

    hf.run(until="idle")
    assert sorted(handled) == list(range(9))
    assert stream.group("billing").lag() == Lag(0, True, 0.0, 0, 0.0)


def test_a_stream_that_nobody_has_published_to_has_no_lag(hf: Holdfast):
    """Without it a monitor would fail before the first message."""
    assert hf.stream("orders").group("billing").lag() == Lag(0, True, 0.0, 0, 0.0)


def test_a_group_that_has_not_begun_is_behind_by_what_it_will_get(hf: Holdfast):
    """Without it a group whose workers never came up would look as if it were done."""
    stream, _ = _filled(hf, 5)

    @stream.subscriber(group="late", start="new")
    def late(value: int) -> None: ...

    assert (stream.group("billing").lag()).entries == 5
    assert (stream.group("late").lag()).entries == 0


def test_pending_and_its_age_are_told(hf: Holdfast):
    """Without it a message that hangs in a dead worker would not be seen."""
    stream, _ = _filled(hf, 5)
    by = hands(stream)
    hf.execute(*by.begin())
    taken = ids(hf.execute(*by.take(3)))
    hf.execute(*by.done(taken[0]))
    sleep(0.005)  # ages are in milliseconds
    lag = stream.group("billing").lag()
    assert (lag.entries, lag.exact, lag.pending) == (2, True, 2)
    assert 0.0 < lag.oldest_pending < 60 and lag.oldest_pending >= lag.age


# --- where the server's own number is null or wrong ---------------------------------------------------------


def _servers(hf: Holdfast, stream: str):
    (told,) = hf.execute("XINFO", "GROUPS", stream)
    return told[b"lag"]


def test_deleted_entries_are_not_counted(hf: Holdfast):
    """The server says null, or counts what is not there any more."""
    stream, published = _filled(hf, 10)
    by = hands(stream)
    hf.execute(*by.begin())
    hf.execute(*by.take(2))
    hf.execute("XDEL", by.stream, *published[5:8])
    assert _servers(hf, by.stream) != 5  # else this test shows nothing
    lag = stream.group("billing").lag()
    assert (lag.entries, lag.exact, lag.pending) == (5, True, 2)


def test_a_group_at_any_place_has_a_lag(hf: Holdfast):
    """The server says null for a group that was made in the middle."""
    stream, published = _filled(hf, 10)
    by = hands(stream)
    hf.execute(*by.begin(published[6]))
    assert _servers(hf, by.stream) is None
    lag = stream.group("billing").lag()
    assert (lag.entries, lag.exact) == (3, True)


def test_what_somebody_has_told_the_server_is_not_believed(hf: Holdfast):
    """XGROUP SETID with a wrong ENTRIESREAD makes the server's number wrong for ever."""
    stream, published = _filled(hf, 10)
    by = hands(stream)
    hf.execute(*by.begin())
    hf.execute("XGROUP", "SETID", by.stream, by.group, published[1], "ENTRIESREAD", 9)
    assert _servers(hf, by.stream) == 1
    lag = stream.group("billing").lag()
    assert (lag.entries, lag.exact) == (8, True)


def test_what_was_trimmed_unread_is_not_counted(hf: Holdfast):
    """Redis 7.0 counts it."""
    stream, _ = _filled(hf, 10)
    by = hands(stream)
    hf.execute(*by.begin())
    hf.execute(*by.take(2))
    hf.execute("XTRIM", by.stream, "MAXLEN", "=", 4)
    lag = stream.group("billing").lag()
    assert (lag.entries, lag.exact) == (4, True)


# --- bounds -------------------------------------------------------------------------------------------------


def _at(hf: Holdfast, read: int, count: int):
    stream, published = _filled(hf, count)
    hf.execute(*hands(stream).begin(published[read - 1] if read else "0"))
    return stream.group("billing").lag()


def test_a_long_way_is_counted_in_steps(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """Without it 1,000 would be all that is ever told for sure."""
    monkeypatch.setattr(books, "COUNTED", 10)
    lag = _at(hf, 40, 100)
    assert (lag.entries, lag.exact) == (60, True)


def test_beyond_the_bound_it_is_at_least_what_was_counted(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch
):
    """Without it either the server would be busy with counting, or the number a guess."""
    monkeypatch.setattr(books, "COUNTED", 10)
    monkeypatch.setattr(books, "EXACTLY", 30)
    lag = _at(hf, 40, 100)
    assert (lag.entries, lag.exact) == (30, False)


@pytest.mark.parametrize("read", [0, 5])
def test_where_little_was_read_it_is_exact_however_much_is_unread(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch, read: int
):
    """Without it a group that stands still since the beginning would have no number."""
    monkeypatch.setattr(books, "COUNTED", 10)
    monkeypatch.setattr(books, "EXACTLY", 30)
    lag = _at(hf, read, 100)
    assert (lag.entries, lag.exact) == (100 - read, True)


def test_what_is_removed_while_it_is_counted_makes_it_a_bound(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch
):
    """Without it a count that missed entries would be called exact."""
    monkeypatch.setattr(books, "COUNTED", 10)
    stream, published = _filled(hf, 60)
    by = hands(stream)
    hf.execute(*by.begin(published[19]))
    group = stream.group("billing")
    run = group._desk.wire.run
    steps: list[Any] = []

    def meddling(*args, **more):
        if steps and steps[-1] is None:
            hf.execute("XDEL", by.stream, published[-1])
        steps.append(None)
        return run(*args, **more)

    monkeypatch.setattr(group._desk.wire, "run", meddling)
    lag = group.lag()
    assert len(steps) > 1 and lag.exact is False and lag.entries <= 40


def test_large_entries_are_counted_in_small_steps(hf: Holdfast, monkeypatch: pytest.MonkeyPatch):
    """Without it 1,000 entries of a megabyte would be copied at once inside of the server."""
    stream = hf.stream("orders")
    published = [stream.publish(b"x" * 1_000_000) for _ in range(12)]
    hf.execute(*hands(stream).begin(published[5].id))
    group = stream.group("billing")
    run = group._desk.wire.run
    steps: list[Any] = []

    def counting(*args, **more):
        steps.append(run(*args, **more))
        return steps[-1]

    monkeypatch.setattr(group._desk.wire, "run", counting)
    lag = group.lag()
    assert (lag.entries, lag.exact) == (6, True)
    assert [one[1] for one in steps] == [4, 2]


def test_a_consumer_keeps_the_lag_for_those_who_may_not_ask(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch
):
    """Without it a scrape would wait for the server; and a graph would show for ever what once was."""
    monkeypatch.setattr(books, "OFTEN", 0.1)
    stream = hf.stream("orders")
    begun, go_on = Signal(), Signal()

    @stream.subscriber(group="billing")
    def bill(value: int) -> None:
        begun.fire()
        go_on.wait(20)

    stream.publish_many(range(3))
    assert stream.lags() == {}
    run = Background("run", hf.run)
    assert begun.wait(20)
    _until(lambda: stream.lags().get("billing", Lag(9, True, 0.0, 0, 0.0)).pending == 3)
    go_on.fire()
    _until(lambda: stream.lags().get("billing", Lag(9, True, 0.0, 9, 0.0)).pending == 0)
    hf.stop()
    _until(lambda: not run.alive)
    _until(lambda: stream.lags() == {})


def _until(is_so) -> None:
    for _ in range(1000):
        if is_so():
            return
        sleep(0.02)
    raise AssertionError("it does not come to that")


def test_other_partitions_than_the_server_says_are_refused(hf: Holdfast):
    """Without it a lag would be told of half of the stream."""
    hf.stream("orders", partitions=2).publish(1)
    other = Stream[int](hf._wire, "orders", StreamOptions())
    with pytest.raises(ConfigurationError, match="has 2 partitions"):
        other.group("billing").lag()


@pytest.mark.parametrize("name", ["", "~later", 7])
def test_a_group_needs_a_name(hf: Holdfast, name):
    """Without it a wrong argument would be looked for on the server."""
    with pytest.raises(ConfigurationError, match="group="):
        hf.stream("orders").group(name)
