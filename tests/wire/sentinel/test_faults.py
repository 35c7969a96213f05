"""The primary dies, freezes, is cut off or is replaced under load: who notices, how soon, and what is lost.

All four kinds of client go through the same fault at the same time.
"""

import time
from concurrent.futures import ThreadPoolExecutor as Pool
from functools import partial

import pytest

from holdfast.errors import Unavailable

from .lab import KINDS, clients, clients_of, load, moved, timed, together, until

HASTE = 0.4  # seconds; less than sentinels take


def warm(loads):
    """Wait until every worker has done something."""
    until(lambda: all(len(one.safe) > 20 and one.counted > 10 for one in loads))


def nothing_reaches(old, some, seconds):
    """Watch `old` for `seconds`, or until it has become a replica: nothing of after the move may arrive."""
    end = time.monotonic() + seconds
    looks = 0
    while time.monotonic() < end and old.ask("ROLE")[0] == "master":
        for key in some:
            assert not old.ask("EXISTS", key), f"{key} at the older primary"
        looks += 1
        time.sleep(0.01)
    assert looks, "it did not believe in itself for a moment: nothing was tested"


def test_killed_under_load_while_the_first_sentinel_is_frozen(own_lab):
    """What may be repeated never fails, what may not is never doubled, and nobody waits longer than the
    sentinels, whatever becomes of one of them.
    """
    with clients(own_lab.url, connect_timeout=10) as some, load(some) as loads:
        warm(loads)
        old = own_lab.primary
        own_lab.sentinels[0].freeze()
        old.kill()
        hasty = together(*(partial(timed, partial(one.execute, "GET", "a", timeout=HASTE)) for one in some))
        took, new = moved(own_lab, old)
        now = time.monotonic()
        until(lambda: all(one.works_since(now) for one in loads))
        for one in loads:
            one.stop()
            one.check(new)
            assert one.longest() < 2 * took, one.client.name
        for error, took in hasty:  # whose time was over before the sentinels had decided
            assert type(error) is Unavailable
            assert HASTE / 2 < took < 2 * HASTE


@pytest.mark.parametrize("fault", ["freeze", "cut_off"])
def test_a_zombie_gets_nothing(own_lab, fault):
    """It comes back believing in itself: neither who stayed connected writes to it, nor a connection that lay
    in a pool.
    """
    undo = {"freeze": "resume", "cut_off": "heal"}[fault]
    with (
        clients(own_lab.url, connect_timeout=10) as some,
        clients(own_lab.url, KINDS, connect_timeout=10) as idle,
        load(some) as loads,
    ):
        for one in idle:
            one.execute("GET", "a")
        warm(loads)
        old = own_lab.primary
        getattr(old, fault)()
        took, new = moved(own_lab, old)
        now = time.monotonic()
        until(lambda: all(one.era and one.works_since(now) for one in loads))
        getattr(old, undo)()
        for one in idle:
            one.execute("SADD", f"idle:{one.name}", 1, retry="safe")
        nothing_reaches(old, [*(f"idle:{one.name}" for one in idle), *(one.set_of(1) for one in loads)], 2.5)
        for one in loads:
            one.stop()
            one.check(new)
            assert one.longest() < 2 * took, one.client.name
            assert one.unsure, one.client.name  # what was on its way may have happened: it is not repeated
        for one in idle:
            assert new.ask("SCARD", f"idle:{one.name}") == 1


def test_a_planned_failover_is_followed_at_once(own_lab):
    """The older primary is in good health and believes in itself for seconds; what it takes then is lost."""
    with clients(own_lab.url) as some, load(some) as loads:
        warm(loads)
        old = own_lab.primary
        own_lab.failover()
        until(lambda: all(one.acked.get(1) for one in loads))
        assert old.ask("ROLE")[0] == "master"  # so it was not its demotion that made us go
        assert not clients_of(old)
        nothing_reaches(old, [one.set_of(1) for one in loads], 1.5)
        new = own_lab.await_failover(old)
        for one in loads:
            one.stop()
            one.check(new)


@pytest.mark.parametrize("fault", ["freeze", "kill", "failover"])
def test_what_is_under_way_ends_with_the_primary(own_lab, fault):
    """A connection that is being made, one that waits in BLPOP, one between WATCH and EXEC: none of them ends
    at a time of its own.
    """
    own = 60.0
    with clients(own_lab.url, timeout=own, connect_timeout=own) as some, Pool(64) as pool:
        for one in some:
            one.execute("SET", f"watched:{one.name}", 0)
        old = own_lab.primary
        popping = [pool.submit(one.execute, "BLPOP", f"nothing:{one.name}", own) for one in some]
        changing = [pool.submit(change, one) for one in some]
        until(lambda: int(old.info("clients")["blocked_clients"]) == len(some))
        own_lab.failover() if fault == "failover" else getattr(old, fault)()
        dialling = [
            pool.submit(one.execute, *ask) for one in some for ask in (["GET", "a"], BIG, ["GET", "b"])
        ]
        lending = [pool.submit(one.execute, "BLPOP", "nothing", 0.1) for one in some]
        new = own_lab.await_failover(old)
        until(lambda: all(one.done() for one in [*popping, *changing, *dialling, *lending]), timeout=own / 6)
        for one in popping:
            assert isinstance(one.exception(), Unavailable)
        for one in dialling:
            assert one.exception() is None
        for one in lending:  # not repeated, so it may have found nobody
            assert isinstance(one.exception(), Unavailable | None)
        for client, one in zip(some, changing, strict=True):
            assert isinstance(one.exception(), Unavailable), client.name
            assert new.ask("EXISTS", f"half:{client.name}", f"other:{client.name}") == 0


BIG = ("ECHO", "x" * 100_000)  # takes a connection of its own, where connections are shared


def change(client):
    """A transaction that is begun before the move and committed after it."""
    moved = client.seen
    key = client.name
    client.transact(
        [f"watched:{key}"],
        lambda: until(lambda: moved.named("PrimaryMoved")),
        [("SET", f"half:{key}", 1), ("SET", f"other:{key}", 1)],
    )
