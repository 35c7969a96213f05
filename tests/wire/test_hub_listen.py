"""The hub hands payloads to listeners, and says where some could be missing.

Each guard was once removed by hand to see its test fail; "found:" says which.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast._compat import Signal
from holdfast._wire import connection
from holdfast._wire.hub import Hub, HubStumbled
from holdfast._wire.hub_ledger import State
from tests.wire.lab import Lab, Witness, child_status, until


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.stop()


@pytest.fixture
def hub(lab: Lab) -> Iterator[Hub]:
    hub = Hub(lab.connect, Witness(), interval=0.5, linger=0.1)
    yield hub
    hub.close(0)


class Ear:
    """A listener that remembers; what may be missing stands among what was heard as None."""

    def __init__(self) -> None:
        self.heard_so_far: list[bytes | None] = []

    def fire(self) -> None:
        self.heard_so_far.append(None)

    def heard(self, payload: bytes) -> None:
        self.heard_so_far.append(payload)


def standing(hub: Hub, ear: Ear, channel: str = "news") -> Any:
    watch = hub.listen(channel, ear)
    until(lambda: watch.state is State.ON and None in ear.heard_so_far)
    return watch


def test_every_message_is_handed_over_in_order_from_the_confirmation_on(lab: Lab, hub: Hub) -> None:
    """found: firing without handing over; handing over and firing."""
    ear = Ear()
    standing(hub, ear)
    for number in range(100):
        lab.ask("SPUBLISH", "news", number)
    until(lambda: len(ear.heard_so_far) > 100)
    assert ear.heard_so_far == [None, *(b"%d" % number for number in range(100))]


def test_who_joins_a_channel_that_stands_is_told_that_he_may_have_missed_something(
    lab: Lab, hub: Hub
) -> None:
    """found: not firing for the second one."""
    one, two = Ear(), Ear()
    standing(hub, one)
    lab.ask("SPUBLISH", "news", "a")
    until(lambda: b"a" in one.heard_so_far)
    standing(hub, two)
    lab.ask("SPUBLISH", "news", "b")
    until(lambda: b"b" in two.heard_so_far)
    assert two.heard_so_far == [None, b"b"]
    assert one.heard_so_far == [None, b"a", b"b"]


def test_watches_and_listeners_share_a_channel_and_a_connection(lab: Lab, hub: Hub) -> None:
    """found: a connection for each."""
    clients = int(lab.info("clients")["connected_clients"])
    ears = [Ear() for _ in range(50)]
    for number, ear in enumerate(ears):
        standing(hub, ear, f"news:{number % 5}")
    wake = Signal()
    hub.watch("news:0", wake)
    assert wake.wait(20)
    wake.clear()
    assert lab.ask("SPUBLISH", "news:0", "x") == 1
    assert wake.wait(20)
    until(lambda: sum(b"x" in ear.heard_so_far for ear in ears) == 10)
    assert int(lab.info("clients")["connected_clients"]) == clients + 1


def test_a_restart_is_told_and_then_everything_is_heard_again(lab: Lab, hub: Hub) -> None:
    """found: subscribing again in silence."""
    ear = Ear()
    watch = standing(hub, ear)
    lab.ask("SPUBLISH", "news", "before")
    until(lambda: b"before" in ear.heard_so_far)
    lab.kill()
    lab.start()
    until(lambda: lab.ask("SPUBLISH", "news", "after") == 1)
    until(lambda: b"after" in ear.heard_so_far)
    assert watch.state is State.ON
    middle = ear.heard_so_far[ear.heard_so_far.index(b"before") : ear.heard_so_far.index(b"after")]
    assert None in middle


def test_a_refusal_is_told_and_shows_in_the_state(lab: Lab) -> None:
    lab.ask("ACL", "SETUSER", "deaf", "on", "nopass", "+@all", "~*", "resetchannels")

    def connect(timeout: float) -> Any:
        return connection.connect(lab.target("deaf:x@"), timeout)

    hub, ear = Hub(connect, Witness()), Ear()
    with hub.listen("news", ear) as watch:
        until(lambda: watch.state is State.REFUSED)
        until(lambda: ear.heard_so_far == [None])
    hub.close(0)


def test_a_listener_that_raises_harms_nobody_else(lab: Lab) -> None:
    """found: letting the error end the round."""

    class Broken(Ear):
        def heard(self, payload: bytes) -> None:
            raise RuntimeError("broken")

    witness = Witness()
    hub, ear = Hub(lab.connect, witness), Ear()
    hub.listen("news", Broken())
    standing(hub, ear)
    lab.ask("SPUBLISH", "news", "a")
    until(lambda: b"a" in ear.heard_so_far)
    assert witness.count(HubStumbled) == 1
    hub.close(0)


def test_who_has_closed_hears_no_more(lab: Lab, hub: Hub) -> None:
    one, two = Ear(), Ear()
    watch = standing(hub, one)
    standing(hub, two)
    watch.close()
    watch.close()
    lab.ask("SPUBLISH", "news", "a")
    until(lambda: b"a" in two.heard_so_far)
    assert one.heard_so_far == [None]


def test_nothing_is_missing_that_was_not_told(lab: Lab) -> None:
    """What was said after the last telling is complete, whatever happens to the connection."""
    hub, ear = Hub(lab.connect, Witness(), interval=0.3), Ear()
    standing(hub, ear)
    rng, stop, said = random.Random(3), threading.Event(), 0

    def cut() -> None:
        while not stop.is_set():
            time.sleep(rng.random() * 0.05)
            lab.ask("CLIENT", "KILL", "TYPE", "pubsub")

    thread = threading.Thread(target=cut)
    thread.start()
    writer = lab.connect(5.0)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        said += 1
        writer.ask(connection.pack(("SPUBLISH", "news", said)), 1, time.monotonic() + 5)
    stop.set()
    thread.join()
    until(lambda: lab.ask("SPUBLISH", "news", "end") == 1)
    until(lambda: b"end" in ear.heard_so_far)
    writer.close()
    last, told, gaps = 0, True, 0
    for one in ear.heard_so_far:
        if one is None:
            told = True
        elif one != b"end":
            assert int(one) == last + 1 or (told and int(one) > last)
            gaps += int(one) != last + 1
            last, told = int(one), False
    assert gaps, "nothing was put to the test"
    hub.close(0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_starts_over_and_the_parent_goes_on(lab: Lab, hub: Hub) -> None:
    """found: a child that keeps the parent's listeners, or reads from its socket."""
    ear = Ear()
    standing(hub, ear)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            mine = Ear()
            standing(hub, mine)
            lab.ask("SPUBLISH", "news", "from the child")
            until(lambda: b"from the child" in mine.heard_so_far)
            code = int(ear.heard_so_far != [None])
        except BaseException as error:
            sys.stderr.write(f"child: {error!r}\n")
        finally:
            os._exit(code)
    assert child_status(pid) == 0
    until(lambda: b"from the child" in ear.heard_so_far)
    assert ear.heard_so_far == [None, b"from the child"]
