"""The hub against a real server that restarts, freezes, refuses and disappears.

Each guard was once removed by hand to see its test fail; "found:" says which.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast._compat import ASignal, Signal
from holdfast._signals import Connected, Disconnected, ServerWarning
from holdfast._wire import connection, hub_line
from holdfast._wire.hub import CommandDropped, Hub, HubStumbled
from holdfast._wire.hub_ledger import Kept, Outbox
from holdfast.errors import Closed
from tests.wire.lab import Lab, Witness, child_status, until

forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("s"))
    yield lab
    lab.stop()


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def hub(lab: Lab, witness: Witness) -> Iterator[Hub]:
    hub = Hub(lab.connect, witness, interval=5.0, linger=0.2)
    yield hub
    hub.close(0)


@pytest.fixture
def brisk(lab: Lab, witness: Witness) -> Iterator[Hub]:
    """A hub that looks at its books often."""
    hub = Hub(lab.connect, witness, interval=0.3, linger=0.1)
    yield hub
    hub.close(0)


def nothing() -> None:
    pass


def confirmed(hub: Hub, channel: str) -> tuple[Any, Signal]:
    """A watch whose subscription stands, and its signal, cleared."""
    wake = Signal()
    watch = hub.watch(channel, wake)
    assert wake.wait(20)
    assert watch.pushing
    wake.clear()
    return watch, wake


# --- watching -----------------------------------------------------------------------------------------------


def test_a_watch_fires_when_confirmed_and_at_every_message(lab: Lab, hub: Hub) -> None:
    """found: not firing at once for a channel that is confirmed already."""
    watch, wake = confirmed(hub, "news")
    for _ in range(3):
        assert lab.ask("SPUBLISH", "news", "x") == 1
        assert wake.wait(20)
        wake.clear()
    lab.ask("SPUBLISH", "other", "x")
    second = Signal()
    hub.watch("news", second)
    assert second.wait(20), "confirmed already, so it fires at once"
    watch.close()
    watch.close()
    lab.ask("SPUBLISH", "news", "x")
    time.sleep(0.05)
    assert not wake.wait(0), "a closed watch is left alone"


def test_no_wake_up_is_lost_between_subscribing_and_the_message(lab: Lab, hub: Hub) -> None:
    """The writer writes, then publishes, at any moment around the subscription; nobody waits in vain.

    found: not firing at the confirmation.
    """
    rng = random.Random(7)
    writer = lab.connect(5.0)
    for turn in range(400):
        key = channel = f"turn:{turn // 2}"  # every other turn finds the channel subscribed and lingering
        delay = rng.random() * 0.001

        def write(key: str = key, turn: int = turn, delay: float = delay) -> None:
            time.sleep(delay)
            writer.ask(
                connection.pack(("SET", key, turn)) + connection.pack(("SPUBLISH", key, "set")),
                2,
                time.monotonic() + 5,
            )

        thread = threading.Thread(target=write)
        thread.start()
        wake = Signal()
        reader = lab.connect(5.0)
        with hub.watch(channel, wake):
            while True:
                wake.clear()
                if reader.ask(connection.pack(("GET", key)), 1, time.monotonic() + 5) == [str(turn).encode()]:
                    break
                assert wake.wait(4), f"turn {turn}: slept through the message"  # less than `interval`
        thread.join()
        reader.close()
    writer.close()


def test_waiters_come_in_waves_and_cost_one_subscription(lab: Lab, witness: Witness) -> None:
    """found: leaving a channel at once."""
    hub = Hub(lab.connect, witness, linger=30.0)
    for turn in range(20):
        watch, _ = confirmed(hub, "wave")
        watch.close()
        confirmed(hub, f"other:{turn}")  # so that the hub has looked at its books
    assert lab.calls("ssubscribe") == 21
    hub.close(0)


def test_a_channel_without_waiters_is_left_and_can_be_watched_again(lab: Lab, brisk: Hub) -> None:
    watch, _ = confirmed(brisk, "news")
    kept, _ = confirmed(brisk, "other")
    watch.close()
    until(lambda: lab.ask("PUBSUB", "SHARDNUMSUB", "news") == [b"news", 0])
    assert lab.ask("PUBSUB", "SHARDNUMSUB", "other") == [b"other", 1]
    again, wake = confirmed(brisk, "news")
    lab.ask("SPUBLISH", "news", "x")
    assert wake.wait(20)
    kept.close()
    again.close()


def test_a_thousand_watches(lab: Lab, brisk: Hub) -> None:
    wakes = [Signal() for _ in range(1000)]
    watches = [brisk.watch(f"c:{number}", wake) for number, wake in enumerate(wakes)]
    for wake in wakes:
        assert wake.wait(20)
        wake.clear()
    speaker = lab.connect(5.0)
    requests = b"".join(connection.pack(("SPUBLISH", f"c:{number}", "x")) for number in range(1000))
    assert speaker.ask(requests, 1000, time.monotonic() + 20) == [1] * 1000
    speaker.close()
    assert all(wake.wait(20) for wake in wakes)
    assert lab.calls("ssubscribe") == 1000
    for watch in watches:
        watch.close()
    until(lambda: lab.ask("PUBSUB", "SHARDCHANNELS") == [])


def test_tasks_of_two_loops_and_a_thread_are_woken_by_one_message(lab: Lab, hub: Hub) -> None:
    ready = threading.Barrier(3)
    woken: list[str] = []

    async def wait_for_it(name: str) -> None:
        wake = ASignal()
        with hub.watch("all", wake):
            assert await wake.wait(20)
            wake.clear()
            await asyncio.to_thread(ready.wait, 20)
            assert await wake.wait(20)
            woken.append(name)

    threads = [threading.Thread(target=asyncio.run, args=(wait_for_it(name),)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    _, wake = confirmed(hub, "all")
    ready.wait(20)
    lab.ask("SPUBLISH", "all", "x")
    assert wake.wait(20)
    for thread in threads:
        thread.join(20)
    assert sorted(woken) == ["one", "two"]


def test_a_restarted_server_wakes_and_is_watched_again(lab: Lab, hub: Hub, witness: Witness) -> None:
    """found: not firing at the loss; not asking again for the channels."""
    watch, wake = confirmed(hub, "news")
    lab.kill()
    assert wake.wait(20), "something may have been published that we shall never see"
    until(lambda: not watch.pushing)
    late = Signal()
    with hub.watch("late", late):
        assert late.wait(20), "nothing can wake it now, so it must not sleep"
        late.clear()
        wake.clear()
        lab.start()
        assert wake.wait(20)
        assert late.wait(20)
        assert watch.pushing
        until(lambda: lab.ask("PUBSUB", "SHARDNUMSUB", "news") == [b"news", 1])
        wake.clear()
        lab.ask("SPUBLISH", "news", "x")
        assert wake.wait(20)
    assert witness.count(Disconnected) == 1, "an outage is told once"
    assert witness.count(Connected) == 2


def test_a_frozen_server_is_noticed(lab: Lab, witness: Witness) -> None:
    """The socket stays healthy, only nobody answers. found: no PING; no deadline for the PONG."""
    hub = Hub(lab.connect, witness, interval=0.2, connect_timeout=0.2)
    watch, wake = confirmed(hub, "news")
    lab.signal(signal.SIGSTOP)
    assert wake.wait(20)
    until(lambda: not watch.pushing)
    done = Signal()
    hub.deliver("kept", ("SET", "kept", 1), done.fire)
    wake.clear()
    assert not done.wait(0.5)
    lab.signal(signal.SIGCONT)
    assert wake.wait(20)
    assert done.wait(20)
    until(lambda: watch.pushing)
    wake.clear()
    lab.ask("SPUBLISH", "news", "x")
    assert wake.wait(20)
    assert hub.close(5) == []


def test_a_link_that_is_only_quiet_is_kept(lab: Lab, witness: Witness) -> None:
    hub = Hub(lab.connect, witness, interval=0.05)
    confirmed(hub, "news")
    before = lab.calls("ping")
    until(lambda: lab.calls("ping") > before + 5)
    assert witness.count(Connected) == 1
    assert witness.count(Disconnected) == 0
    hub.close(0)


def test_a_user_without_channels_is_told_to_poll(lab: Lab, witness: Witness) -> None:
    """found: taking the refusal for a confirmation."""
    lab.ask("ACL", "SETUSER", "deaf", "on", ">pass", "~*", "+@all", "resetchannels")
    hub = Hub(lambda timeout: connection.connect(lab.target("deaf:pass@"), timeout), witness)
    for channel in ("one", "two"):
        wake = Signal()
        with hub.watch(channel, wake) as watch:
            assert wake.wait(20), "whoever waits must learn of it"
            assert not watch.pushing
            second = Signal()
            with hub.watch(channel, second):
                assert second.wait(20)
    assert witness.count(ServerWarning) == 1, "once is enough"
    assert witness.count(Disconnected) == 0
    done = Signal()
    hub.deliver("k", ("SET", "k", 1), done.fire)
    assert done.wait(20)
    lab.ask("ACL", "SETUSER", "deaf", "allchannels")
    confirmed(hub, "three")
    hub.close(0)


def test_a_connection_without_work_is_closed_and_made_again(lab: Lab, brisk: Hub, monkeypatch: Any) -> None:
    monkeypatch.setattr(hub_line, "IDLE", 0.1)
    watch, _ = confirmed(brisk, "news")
    clients = int(lab.info("clients")["connected_clients"])
    watch.close()
    until(lambda: int(lab.info("clients")["connected_clients"]) == clients - 1)
    confirmed(brisk, "news")


# --- delivering ---------------------------------------------------------------------------------------------


def test_kept_commands_arrive_after_a_restart_and_are_then_left_alone(lab: Lab, hub: Hub) -> None:
    """found: forgetting a command when it is sent; sending again after the confirmation."""
    done: Counter[int] = Counter()
    lab.kill()
    for number in range(300):
        hub.deliver(number, ("SADD", "kept", number), partial(done.update, [number]))
    time.sleep(0.1)
    assert hub.undelivered() == 300
    assert not done
    lab.start()
    until(lambda: not hub.undelivered())
    until(lambda: len(done) == 300)
    assert set(done.values()) == {1}
    assert lab.ask("SCARD", "kept") == 300
    assert lab.calls("sadd") == 300
    time.sleep(0.1)
    assert lab.calls("sadd") == 300


def test_what_was_confirmed_has_arrived_however_often_the_server_dies(lab: Lab, hub: Hub) -> None:
    """found: calling `done` for what was only sent; not sending again what was under way at the death."""
    done: list[int] = []
    total = 0

    def more() -> None:
        nonlocal total
        for _ in range(300):
            hub.deliver(total, ("SADD", "kept", total), partial(done.append, total))
            total += 1

    for _ in range(4):
        more()
        until(lambda: done and not hub.undelivered())
        lab.signal(signal.SIGSTOP)
        more()
        time.sleep(0.05)  # the first of these are under way now
        lab.kill()
        confirmed_so_far = {str(number).encode() for number in done}
        lab.start()
        assert confirmed_so_far <= set(lab.ask("SMEMBERS", "kept"))
    until(lambda: not hub.undelivered())
    until(lambda: len(done) == total)
    assert sorted(done) == [*range(total)]
    assert lab.ask("SCARD", "kept") == total


def test_what_was_replaced_is_not_sent_again() -> None:
    """found: looking only when the answer comes."""
    outbox = Outbox()
    old, new = (Kept("name", ("SET", "k", value), nothing) for value in "ab")
    outbox.put(old)
    assert outbox.take(9) == [old]
    outbox.put(new)
    outbox.again(old)
    assert outbox.take(9) == [new]
    assert not outbox.settle(old)
    assert len(outbox) == 1


def test_the_latest_of_a_name_wins(lab: Lab, hub: Hub) -> None:
    done: list[int] = []
    lab.kill()
    for number in range(5):
        hub.deliver("name", ("SET", "k", number), partial(done.append, number))
    assert hub.undelivered() == 1
    lab.start()
    until(lambda: done)
    time.sleep(0.05)
    assert done == [4]
    assert lab.ask("GET", "k") == b"4"
    assert lab.calls("set") == 1


def test_an_answer_to_an_earlier_command_does_not_confirm_a_later_one(lab: Lab, hub: Hub) -> None:
    """found: confirming by name."""
    done: list[int] = []
    hub.deliver("warm", ("SET", "k", 0), partial(done.append, 0))
    until(lambda: done)
    lab.signal(signal.SIGSTOP)
    for number in range(1, 4):
        hub.deliver("name", ("SET", "k", number), partial(done.append, number))
        time.sleep(0.05)  # under way
    assert hub.undelivered() == 1
    lab.signal(signal.SIGCONT)
    until(lambda: not hub.undelivered())
    until(lambda: len(done) == 2)
    assert done == [0, 3]
    assert lab.ask("GET", "k") == b"3"


def test_what_never_heals_is_dropped_and_told(lab: Lab, hub: Hub, witness: Witness, caplog: Any) -> None:
    done: list[str] = []
    lab.ask("SET", "text", "x")
    hub.deliver("wrong", ("SADD", "text", 1), lambda: done.append("wrong"))
    hub.deliver("right", ("SADD", "set", 1), lambda: done.append("right"))
    until(lambda: not hub.undelivered())
    until(lambda: witness.count(CommandDropped))
    assert done == ["right"]
    assert "WRONGTYPE" in caplog.text
    with pytest.raises(TypeError):
        hub.deliver("odd", ("SET", "k", None), nothing)  # type: ignore[arg-type]
    assert hub.undelivered() == 0


def test_what_heals_is_tried_until_it_has(lab: Lab, hub: Hub, witness: Witness) -> None:
    """found: dropping at out-of-memory; trying again without a rest."""
    lab.ask("CONFIG", "SET", "maxmemory", 1)
    done: list[str] = []
    hub.deliver("big", ("SET", "big", "x"), lambda: done.append("big"))
    hub.deliver("small", ("UNLINK", "other"), lambda: done.append("small"))
    until(lambda: done == ["small"])
    until(lambda: lab.refusals("OOM") >= 3)
    before = lab.refusals("OOM")
    time.sleep(0.2)
    assert lab.refusals("OOM") < before + 50, "the server is left in peace between attempts"
    assert hub.undelivered() == 1
    lab.ask("CONFIG", "SET", "maxmemory", 0)
    until(lambda: done == ["small", "big"])
    assert witness.count(CommandDropped) == 0


# --- mishaps ------------------------------------------------------------------------------------------------


def test_a_callback_that_raises_harms_nobody_else(lab: Lab, hub: Hub, witness: Witness) -> None:
    """found: letting the error end the thread."""

    class Broken:
        def fire(self) -> None:
            raise RuntimeError("broken")

    watch, wake = confirmed(hub, "news")
    with hub.watch("fresh", Broken()):
        until(lambda: witness.count(HubStumbled) == 1)
    done = Signal()
    hub.deliver("one", ("SET", "k", 1), lambda: 1 / 0)
    hub.deliver("two", ("SET", "k", 1), done.fire)
    assert done.wait(20)
    assert witness.count(HubStumbled) == 2
    lab.ask("SPUBLISH", "news", "x")
    assert wake.wait(20)
    assert witness.count(Disconnected) == 0
    watch.close()


def test_a_bug_in_the_thread_is_told_and_survived(lab: Lab, witness: Witness, monkeypatch: Any) -> None:
    """found: no guard around the loop."""
    hub = Hub(lab.connect, witness)
    watch, wake = confirmed(hub, "news")

    def bug(self: Any) -> None:
        raise LookupError("planted")

    with monkeypatch.context() as planted:
        planted.setattr(hub_line.Ear, "_speak", bug)
        done = Signal()
        hub.deliver("kept", ("SET", "k", 1), done.fire)
        until(lambda: witness.count(HubStumbled) > 2)
        assert wake.wait(20)
    assert done.wait(20)
    until(lambda: watch.pushing)
    wake.clear()
    until(lambda: lab.ask("SPUBLISH", "news", "x") == 1)
    assert wake.wait(20)
    hub.close(0)


def test_a_server_that_cannot_be_reached_is_tried_for_ever(tmp_path: Path, witness: Witness) -> None:
    attempts: list[float] = []

    def refuse(timeout: float) -> Any:
        attempts.append(timeout)
        raise [OSError("no"), RuntimeError("odd")][len(attempts) % 2]

    hub = Hub(refuse, witness, connect_timeout=1.5)
    wake = Signal()
    watch = hub.watch("news", wake)
    hub.deliver("kept", ("SET", "k", 1), nothing)
    until(lambda: len(attempts) > 6)
    assert wake.wait(0)
    assert not watch.pushing
    assert witness.count(Disconnected) == 2, "one for each connection, not one for each attempt"
    assert witness.count(HubStumbled) == 0
    assert hub.close(0.05) == ["kept"]


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_pauses_grow_to_a_limit(failures: int, dice: float) -> None:
    limit = hub_line.pause(failures, 1.0)
    assert hub_line.FIRST_PAUSE <= limit <= hub_line.LONGEST_PAUSE
    assert 0 <= hub_line.pause(failures, dice) <= limit <= hub_line.pause(failures + 1, 1.0)


# --- the end ------------------------------------------------------------------------------------------------


def hub_threads() -> int:
    return sum(thread.name == "holdfast-hub" for thread in threading.enumerate())


def test_close_wakes_who_waits(lab: Lab, hub: Hub) -> None:
    watch, wake = confirmed(hub, "news")
    woken = threading.Thread(target=wake.wait, args=(None,))
    woken.start()
    assert hub.close(5) == []
    woken.join(20)
    assert not woken.is_alive()
    assert not watch.pushing
    watch.close()
    assert hub.close(5) == []
    for late in (lambda: hub.watch("x", wake), lambda: hub.deliver("x", ("PING",), nothing)):
        with pytest.raises(Closed):
            late()
    until(lambda: hub_threads() == 0)


def test_close_wakes_who_waits_before_it_delivers(lab: Lab, hub: Hub) -> None:
    """found: waking nobody; waking at the end only."""
    watch, wake = confirmed(hub, "news")
    lab.signal(signal.SIGSTOP)
    hub.deliver("kept", ("SET", "k", 1), nothing)
    left: list[Any] = []
    closing = threading.Thread(target=lambda: left.append(hub.close(300)))
    closing.start()
    assert wake.wait(20)
    assert not left
    lab.signal(signal.SIGCONT)
    closing.join(20)
    assert left == [[]]
    watch.close()


def test_close_delivers_what_it_can(lab: Lab, hub: Hub) -> None:
    """found: leaving with the outbox full; staying till the end of `drain` with an empty one."""
    done: list[int] = []
    for number in range(1000):
        hub.deliver(number, ("SADD", "kept", number), partial(done.append, number))
    assert hub.close(300) == []  # far beyond the test's own limit
    assert len(done) == lab.ask("SCARD", "kept") == 1000


def test_close_names_what_is_left(lab: Lab, hub: Hub) -> None:
    lab.kill()
    hub.deliver("a", ("SET", "a", 1), nothing)
    hub.deliver(("b", 2), ("SET", "b", 1), nothing)
    assert hub.close(0.1) == ["a", ("b", 2)]
    assert hub.close(0.1) == ["a", ("b", 2)]
    until(lambda: hub_threads() == 0)


def test_close_while_the_server_is_frozen_ends_in_time(lab: Lab, witness: Witness) -> None:
    hub = Hub(lab.connect, witness, connect_timeout=30.0)
    confirmed(hub, "news")
    lab.signal(signal.SIGSTOP)
    hub.deliver("a", ("SET", "a", 1), nothing)
    begun = time.monotonic()
    assert hub.close(0.2) == ["a"]
    assert time.monotonic() - begun < 15, "not the 30 s of the connection under way"


def test_an_unused_hub_has_no_thread_and_closes(lab: Lab, witness: Witness) -> None:
    before = hub_threads()
    hub = Hub(lab.connect, witness)
    assert hub_threads() == before
    assert hub.close() == []


def test_a_forgotten_client_loses_its_thread(lab: Lab, witness: Witness) -> None:
    """found: a thread that holds its hub; one that leaves without a last firing."""
    hub = Hub(lab.connect, witness)
    watch, _ = confirmed(hub, "news")
    assert hub_threads() == 1
    clients = int(lab.info("clients")["connected_clients"])
    del hub
    gc.collect()
    until(lambda: hub_threads() == 0)
    until(lambda: int(lab.info("clients")["connected_clients"]) == clients - 1)
    assert not watch.pushing
    watch.close()


@pytest.mark.parametrize("server", ["up", "down"])
def test_an_open_hub_does_not_disturb_the_end_of_the_interpreter(lab: Lab, server: str) -> None:
    program = """
        import sys
        from holdfast._compat import Signal
        from holdfast._signals import Silence
        from holdfast._wire import pool, url
        from holdfast._wire.hub import Hub
        target = url.parse("unix://" + sys.argv[1])
        hub = Hub(lambda timeout: connection.connect(target, timeout), Silence())
        wake = Signal()
        hub.watch("news", wake)
        hub.deliver("kept", ("SET", "k", 1), lambda: None)
        assert wake.wait(20)
    """
    if server == "down":
        lab.kill()
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program), lab.socket]
    ended = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


# --- fork ---------------------------------------------------------------------------------------------------


def in_child(work: Callable[[], Any]) -> Callable[[], bool]:
    """Run `work` in the child of a fork; the result waits for it and says whether it went well."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            sys.stderr.write(f"child: {error!r}\n")
        finally:
            os._exit(code)
    return lambda: child_status(pid) == 0


@forks
def test_a_child_has_its_own_hub_and_leaves_the_parents_alone(lab: Lab, hub: Hub, witness: Witness) -> None:
    """found: shutting the parent's connection down."""
    watch, wake = confirmed(hub, "news")
    done = Signal()
    hub.deliver("warm", ("SET", "k", 1), done.fire)
    assert done.wait(20)

    def child() -> None:
        other, _ = confirmed(hub, "child")
        done = Signal()
        hub.deliver("child", ("SET", "child", 1), done.fire)
        assert done.wait(20)
        assert hub.close(5) == []

    assert in_child(child)()
    assert lab.ask("GET", "child") == b"1"
    done.clear()
    hub.deliver("warm", ("SET", "k", 2), done.fire)
    assert done.wait(20)
    lab.ask("SPUBLISH", "news", "x")
    assert wake.wait(20)
    assert watch.pushing
    assert witness.count(Disconnected) == 0
    assert witness.count(Connected) == 2, "the parent's two connections of the beginning"


@forks
def test_a_child_does_not_hold_the_parents_connections_open(lab: Lab, hub: Hub) -> None:
    """found: not closing our copies."""
    confirmed(hub, "news")
    clients = int(lab.info("clients")["connected_clients"])
    ours, theirs = os.pipe()

    def child() -> None:
        os.close(theirs)
        os.read(ours, 1)  # lives until the parent has seen enough

    went_well = in_child(child)
    hub.close(0)
    until(lambda: int(lab.info("clients")["connected_clients"]) == clients - 1)
    os.close(theirs)
    assert went_well()
    os.close(ours)


@forks
def test_a_child_takes_over_what_was_not_delivered(lab: Lab, hub: Hub) -> None:
    """found: a child that forgets the outbox; one that keeps it but starts no thread."""
    lab.kill()
    done: list[int] = []
    for number in range(10):
        hub.deliver(number, ("APPEND", f"k{number}", "x"), partial(done.append, number))
    time.sleep(0.05)

    def child() -> None:
        until(lambda: sorted(done) == [*range(10)])
        assert hub.undelivered() == 0

    went_well = in_child(child)
    lab.start()
    until(lambda: sorted(done) == [*range(10)])
    assert went_well()
    assert [lab.ask("GET", f"k{number}") for number in range(10)] == [b"xx"] * 10, "once by each"


@forks
def test_forks_at_any_moment_leave_no_lock_behind(lab: Lab, hub: Hub) -> None:
    """found: a lock that is not renewed in the child."""
    stop = threading.Event()

    def hammer(name: str) -> None:
        wake, turn = Signal(), 0
        while not stop.is_set():
            turn += 1
            with hub.watch(f"{name}:{turn % 7}", wake):
                hub.deliver((name, turn % 5), ("SET", name, turn), nothing)

    threads = [threading.Thread(target=hammer, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()

    def child() -> None:
        confirmed(hub, "child")
        until(lambda: not hub.undelivered())
        hub.close(0)

    try:
        for _ in range(10):
            time.sleep(0.01)
            assert in_child(child)()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
