"""The multiplexed connection of asyncio: order, cancellation, back-pressure, big values, several loops,
silence.
"""

import asyncio
import random
import threading
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from holdfast._signals import Disconnected, Signal
from holdfast._wire import mux, mux_connection
from holdfast._wire.connection import pack
from holdfast._wire.endpoint import Endpoint
from holdfast._wire.transport import ReplyError, WireFailure
from holdfast._wire.url import parse


class Wary(Endpoint):
    """A server that may be another one soon, as a primary that sentinels name."""

    suspicious_after = 0.05

    def __init__(self, name, target):
        super().__init__(name, target)
        self.quiet_at = []

    def quiet(self):
        self.quiet_at.append(monotonic())


@asynccontextmanager
async def opened(
    url, *, silence=5.0, connect_timeout=2.0, max_connections=8, signals=None, endpoint=Endpoint
):
    """A mux on the server at `url`; what it signals is added to `signals`."""
    one = mux.Mux(
        endpoint(url, parse(url)),
        connect_timeout=connect_timeout,
        max_connections=max_connections,
        silence=silence,
        notify=lambda signal: signals.append(signal) if signals is not None else None,
    )
    try:
        yield one
    finally:
        await one.aclose()


def soon(seconds=5.0):
    """A deadline."""
    return monotonic() + seconds


async def test_all_commands_of_one_tick_leave_in_one_write(faults):
    """And every reply finds its task. Found: flushing at once when the connection is idle made it two
    writes.
    """
    async with opened(faults.url) as one:
        await one.execute(("PING",), soon())
        faults.reset_counts()
        replies = await asyncio.gather(*(one.execute(("ECHO", f"{n}"), soon()) for n in range(100)))

        assert replies == [b"%d" % n for n in range(100)]
        assert faults.writes == 1
        assert faults.connections == 0


async def test_cancelled_and_timed_out_callers_corrupt_nothing(faults, namespace):
    """Half of the callers give up at random moments; nobody gets another's reply, and no connection is lost.

    Found: forgetting the place of a cancelled caller in the queue shifts every reply after it.
    """
    dice = random.Random(7)
    signals: list[Signal] = []
    async with opened(faults.url, signals=signals) as one:
        await one.execute(("PING",), soon())
        faults.reset_counts()

        async def ask(n):
            patience = dice.choice([dice.uniform(0, 0.003), 5.0])
            how = dice.choice(["cancel", "deadline"])
            try:
                async with asyncio.timeout(patience if how == "cancel" else 5):
                    reply = await one.execute(("ECHO", f"{n}"), soon(patience if how == "deadline" else 5))
            except (TimeoutError, WireFailure):
                return 0
            assert reply == b"%d" % n
            return 1

        answered = 0
        for batch in range(30):
            faults.delay(dice.choice([0, 0.001]))
            answered += sum(await asyncio.gather(*(ask(batch * 1000 + n) for n in range(50))))

        assert 0 < answered < 1500
        assert faults.connections == 0
        assert not [signal for signal in signals if isinstance(signal, Disconnected)]


async def test_an_error_reply_belongs_to_its_caller(server, namespace):
    """The neighbours in the same write are served."""
    async with opened(server.url) as one:
        await one.execute(("SET", f"{namespace}:a", "text"), soon())
        good, bad, also = await asyncio.gather(
            one.execute(("GET", f"{namespace}:a"), soon()),
            one.execute(("INCR", f"{namespace}:a"), soon()),
            one.execute(("GET", f"{namespace}:a"), soon()),
        )

        assert (good, also) == (b"text", b"text")
        assert isinstance(bad, ReplyError)


async def test_the_cap_holds_and_waiters_keep_their_deadline(faults, monkeypatch):
    """Beyond the cap nothing is sent; a waiter's time runs; when replies come the waiters go on.

    Found: without the cap all 60 were sent at once.
    """
    monkeypatch.setattr(mux_connection, "MAX_IN_FLIGHT", 10)
    async with opened(faults.url) as one:
        await one.execute(("PING",), soon())
        faults.reset_counts()
        faults.delay(0.3)
        first = [asyncio.ensure_future(one.execute(("ECHO", f"{n}"), soon())) for n in range(10)]
        await asyncio.sleep(0)
        late = [asyncio.ensure_future(one.execute(("ECHO", f"{n}"), soon())) for n in range(10, 60)]
        with pytest.raises(WireFailure, match="full") as caught:
            await one.execute(("ECHO", "impatient"), soon(0.1))
        assert not caught.value.sent
        assert len(faults.commands("ECHO")) == 10
        faults.delay(0)

        assert await asyncio.gather(*first, *late) == [b"%d" % n for n in range(60)]


async def test_a_turn_is_passed_on_by_a_waiter_who_is_cancelled_as_it_comes(faults, monkeypatch):
    """Found: the next waiter slept until its deadline, beside an idle connection."""
    monkeypatch.setattr(mux_connection, "MAX_IN_FLIGHT", 1)
    async with opened(faults.url) as one:
        await one.execute(("PING",), soon())
        faults.delay(0.1)

        async def lead():
            await one.execute(("ECHO", "a"), soon())
            unlucky.cancel()  # its turn was given in this very tick, and it has not run yet

        first = asyncio.ensure_future(lead())
        await asyncio.sleep(0)
        unlucky = asyncio.ensure_future(one.execute(("ECHO", "b"), soon(30)))
        next_one = asyncio.ensure_future(one.execute(("ECHO", "c"), soon(3)))

        assert await next_one == b"c"
        await first
        assert unlucky.cancelled()


async def test_big_values_do_not_starve_small_ones(faults, namespace):
    """Once a key is known to be big, small commands pass it on another connection.

    The big reply is held up for good by the proxy's lag, and yet small ones are answered. Found: with one
    lane they wait.
    """
    big, small = f"{namespace}:big", f"{namespace}:small"
    async with opened(faults.url) as one:
        await one.execute(("SET", big, b"x" * 2_000_000), soon())
        await one.execute(("SET", small, b"s"), soon())
        assert len(await one.execute(("GET", big), soon())) == 2_000_000

        lanes = one._here()
        owed_before = len(lanes.main.connection._owed)
        reading = [asyncio.ensure_future(one.execute(("GET", big), soon(30))) for _ in range(20)]
        await asyncio.sleep(0)
        assert len(lanes.main.connection._owed) == owed_before

        assert await one.execute(("GET", small), soon()) == b"s"
        assert not all(task.done() for task in reading)
        assert {len(reply) for reply in await asyncio.gather(*reading)} == {2_000_000}


async def test_a_write_that_does_not_fit_the_socket_waits_for_it(faults, namespace):
    """Pausing and resuming loses nothing and keeps the order."""
    async with opened(faults.url) as one:
        values = [bytes([n]) * 300_000 for n in range(40)]
        await asyncio.gather(
            *(one.execute(("SET", f"{namespace}:{n}", value), soon(20)) for n, value in enumerate(values))
        )

        assert [await one.execute(("GET", f"{namespace}:{n}"), soon()) for n in range(40)] == values


async def test_several_event_loops_share_one_mux(server):
    """Each has connections of its own; none waits for another."""
    async with opened(server.url) as one:
        results = []

        async def elsewhere(n):
            replies = await asyncio.gather(*(one.execute(("ECHO", f"{n}:{i}"), soon()) for i in range(50)))
            results.append(replies == [b"%d:%d" % (n, i) for i in range(50)])
            one._here().abort()
            await asyncio.sleep(0.01)

        threads = [threading.Thread(target=lambda n=n: asyncio.run(elsewhere(n))) for n in range(4)]
        for thread in threads:
            thread.start()
        assert await one.execute(("PING",), soon()) == b"PONG"
        for thread in threads:
            await asyncio.to_thread(thread.join, 20)

        assert results == [True] * 4


async def test_loops_that_ended_are_forgotten(server):
    """A client used from one short-lived loop after another keeps none of them."""
    async with opened(server.url) as one:

        async def once():
            assert await one.execute(("PING",), soon()) == b"PONG"
            one._here().abort()
            await asyncio.sleep(0.01)

        for _ in range(5):
            await asyncio.to_thread(lambda: asyncio.run(once()))

        assert len(one._lanes) <= 2


async def test_a_silent_connection_is_given_up(own_server):
    """A frozen server: callers time out, and once the silence has lasted the connection is replaced.

    Found: without the rule the dead connection was kept for ever.
    """
    async with opened(own_server.url, silence=0.4) as one:
        await one.execute(("PING",), soon())
        before = one._here().main.connection
        own_server.freeze()
        try:
            with pytest.raises(WireFailure) as caught:
                await one.execute(("PING",), soon(0.1))
            assert caught.value.sent
            async with asyncio.timeout(5):
                while before.is_open:
                    await asyncio.sleep(0.02)
        finally:
            own_server.resume()

        assert await one.execute(("PING",), soon()) == b"PONG"
        assert one._here().main.connection is not before


async def test_a_silent_connection_of_a_server_that_may_move_gets_no_more_commands(own_server):
    """The next one waits for a new connection, and so was certainly not executed if that fails.

    Found: every command of the first seconds of a failover went to the frozen primary and became Unconfirmed.
    """
    async with opened(own_server.url, endpoint=Wary, connect_timeout=0.2) as one:
        await one.execute(("SET", "a", 1), soon())
        own_server.freeze()
        with pytest.raises(WireFailure) as first:
            await one.execute(("INCR", "a"), soon(0.2))
        assert first.value.sent
        assert len(one.endpoint.quiet_at) >= 2  # wondered whether it is still the right one
        with pytest.raises(WireFailure) as second:
            await one.execute(("INCR", "a"), soon(0.5))
        assert not second.value.sent
        lanes = one._here()
        (leaving,) = lanes.leaving
        own_server.resume()
        assert await one.execute(("GET", "a"), soon()) == b"2"
        while lanes.leaving:  # the late answer came, was dropped, and the connection with it
            await asyncio.sleep(0.01)
        assert not leaving.is_open


async def test_a_lost_connection_tells_what_was_sent(own_server):
    """What had left is unclear, what had not is not, and neither is a new try. Found: calling all of it
    sent.
    """
    async with opened(own_server.url) as one:
        await one.execute(("PING",), soon())
        own_server.freeze()
        connection = one._here().main.connection
        left = connection.submit(pack(("PING",)), soon(), 1, None)
        await asyncio.sleep(0.01)
        queued = connection.submit(pack(("PING",)), soon(), 1, None)
        connection._lost("the test cut it")
        own_server.resume()

        assert (await left).sent is True
        assert (await queued).sent is False
        own_server.kill()
        with pytest.raises(WireFailure) as caught:
            await one.execute(("PING",), soon(1))
        assert caught.value.sent is False


async def test_a_thousand_tasks_open_one_connection(faults):
    """No pool to exhaust."""
    async with opened(faults.url) as one:
        replies = await asyncio.gather(*(one.execute(("ECHO", f"{n}"), soon()) for n in range(1000)))

        assert replies == [b"%d" % n for n in range(1000)]
        assert faults.connections == 1


async def test_conversations_are_capped_within_the_deadline(server):
    """The one too many waits for its deadline, not for ever; a cancelled one gives its permit back."""
    async with opened(server.url, max_connections=1) as one:
        async with one.conversation(soon()) as conversation:
            assert await conversation.execute(("PING",), soon()) == b"PONG"
            with pytest.raises(WireFailure, match="max_connections"):
                async with one.conversation(soon(0.05)):
                    pass
            waiting = asyncio.ensure_future(one.conversation(soon()).__aenter__())
            await asyncio.sleep(0.01)
            waiting.cancel()
        async with one.conversation(soon(1)) as conversation:
            assert await conversation.execute(("PING",), soon()) == b"PONG"


async def test_a_cancelled_conversation_leaves_no_stray_reply(server):
    """Its connection is dropped: nobody else waits for what it left behind. Found: reusing it."""
    async with opened(server.url, max_connections=1) as one:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), one.conversation(soon()) as conversation:
                await conversation.execute(("BLPOP", "nothing:here", 30), soon(40))
        async with one.conversation(soon()) as conversation:
            assert await conversation.execute(("ECHO", "mine"), soon(2)) == b"mine"


async def test_opening_is_shared_and_survives_a_cancelled_opener(faults):
    """Whoever asked first may go; the others get the connection."""
    faults.delay(0.05)
    async with opened(faults.url) as one:
        first = asyncio.ensure_future(one.execute(("ECHO", "a"), soon()))
        others = [asyncio.ensure_future(one.execute(("ECHO", "b"), soon())) for _ in range(5)]
        await asyncio.sleep(0.01)
        first.cancel()

        assert await asyncio.gather(*others) == [b"b"] * 5
        assert faults.connections == 1


def test_it_works_on_uvloop(server):
    """Found: uvloop's transport is no `asyncio.Transport`, and nothing worked at all."""
    import uvloop

    async def ask():
        async with opened(server.url) as one:
            replies = await asyncio.gather(*(one.execute(("ECHO", f"{n}"), soon()) for n in range(200)))
            async with one.conversation(soon()) as conversation:
                assert await conversation.execute(("PING",), soon()) == b"PONG"
            return replies

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(ask()) == [b"%d" % n for n in range(200)]


async def test_closing_while_a_connection_opens_cancels_nobody(faults):
    """Found: other tasks saw a CancelledError that nobody had asked for."""
    faults.delay(0.3)
    async with opened(faults.url) as one:
        asking = asyncio.ensure_future(one.execute(("PING",), soon()))
        await asyncio.sleep(0.05)
        await one.aclose()

        with pytest.raises(WireFailure, match="closed"):
            await asking


async def test_a_long_deadline_is_a_word_about_long_work(own_server):
    """Found: a script of 1 s was given up as silence, though its caller would have waited."""
    async with opened(own_server.url, silence=0.3) as one:
        script = """
            local t = redis.call('TIME')
            local ends = t[1] * 1e6 + t[2] + 1e6
            repeat t = redis.call('TIME') until t[1] * 1e6 + t[2] > ends
            return 7"""

        assert await one.execute(("EVAL", script, 0), soon(10)) == 7
