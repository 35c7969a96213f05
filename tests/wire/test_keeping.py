"""The keeper of leases alone, against a real server: renewed in time, told in time, never renewed once it is
closed.

Guards were removed by hand; "found:" says what was seen then.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast._compat import boottime
from holdfast._wire import hub_keeper
from holdfast._wire.hub import Hub
from holdfast._wire.hub_keeping import Keeping, Keepings, certain
from holdfast._wire.script import Script
from holdfast.errors import Closed
from tests.wire.lab import Lab, Witness, until

KEEP = Script.parse(
    "keep",
    """-- retry: safe
local held = redis.call('GET', KEYS[1])
if not held then return 0 end
if held ~= ARGV[1] then return -1 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('INCR', KEYS[1] .. ':n')
return redis.call('GET', KEYS[1]) and 1
""",
)


class Tenant:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.at: float = 0.0
        self.until = 0.0

    def renewed(self, until: float) -> None:
        self.until = until

    def wanted(self) -> None:
        self.told.append("wanted")

    def endangered(self) -> None:
        self.told.append("danger")

    def lost(self, cause: str) -> None:
        self.at = boottime()
        self.told.append(cause)


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("s"))
    yield lab
    lab.stop()


@pytest.fixture
def hub(lab: Lab) -> Iterator[Hub]:
    hub = Hub(lab.connect, Witness(), interval=5.0, connect_timeout=0.5)
    yield hub
    hub.close(0)


def grant(
    lab: Lab, key: str, ttl: float, *, script: Script | None = KEEP, **more: Any
) -> tuple[Keeping, Tenant]:
    tenant = Tenant()
    asked = boottime()
    lab.ask("SET", key, "mine", "PX", int(ttl * 1000))
    more.setdefault("until", certain(asked, ttl))
    return Keeping(tenant, script, (key,), ("mine", int(ttl * 1000)), ttl=ttl, **more), tenant


def renewals(lab: Lab, key: str) -> int:
    return int(lab.ask("GET", f"{key}:n") or 0)


# --- renewed ------------------------------------------------------------------------------------------------


def test_it_is_renewed_until_it_is_closed(lab: Lab, hub: Hub) -> None:
    """found: a close() that leaves it in the book."""
    keeping, tenant = grant(lab, "k", 0.6)
    hub.keep(keeping)
    time.sleep(1.5)
    assert tenant.told == [] and lab.ask("GET", "k") == b"mine"
    assert 4 <= renewals(lab, "k") <= 9  # every third of the ttl, and a first look
    assert keeping.close() is True and keeping.close() is False
    assert hub.keepings() == []
    count = renewals(lab, "k")
    time.sleep(0.8)
    assert lab.ask("EXISTS", "k") == 0 and renewals(lab, "k") == count
    assert tenant.told == []
    keeping.lose("taken")
    assert tenant.told == [] and keeping.cause is None


def test_an_answer_under_way_does_not_bring_back_what_is_closed(lab: Lab, hub: Hub) -> None:
    """found: an answer that is heard after the close."""
    for _ in range(6):
        keeping, tenant = grant(lab, "k", 1.0)
        hub.keep(keeping)
        until(lambda keeping=keeping: keeping.state == "asked" or renewals(lab, "k") > 0)
        keeping.close()
        end = keeping.until
        time.sleep(0.02)
        assert keeping.state == "over" and keeping.until == end and tenant.told == []
        lab.ask("DEL", "k", "k:n")


def test_many_are_renewed_in_few_writes(lab: Lab, hub: Hub) -> None:
    """found: a write each. Counted is what the server read at once."""
    granted = [grant(lab, f"k{number}", 6.0) for number in range(200)]
    for keeping, _ in granted:
        hub.keep(keeping)
    time.sleep(0.8)  # to begin with, each is looked at
    reads, calls, looks = int(lab.info("stats")["total_reads_processed"]), lab.calls("evalsha"), 0
    while lab.calls("evalsha") < calls + 200:
        looks += 1
        assert looks < 200
        time.sleep(0.1)
    reads = int(lab.info("stats")["total_reads_processed"]) - reads - looks
    assert reads < 50, reads
    assert all(tenant.told == [] for _, tenant in granted)


def test_a_short_lease_among_long_ones_is_renewed_in_time(lab: Lab, hub: Hub) -> None:
    """found: a thread that is not rung for one that is due before its next look."""
    for number in range(5):
        hub.keep(grant(lab, f"long{number}", 60.0)[0])
    time.sleep(0.6)
    keeping, tenant = grant(lab, "short", 1.0)
    hub.keep(keeping)
    time.sleep(1.5)
    assert tenant.told == [] and lab.ask("EXISTS", "short") == 1
    keeping.close()


def test_the_deadline_is_counted_from_before_the_request(lab: Lab, hub: Hub) -> None:
    """By the server's own word: it has the key for longer than we say. found: counted from the answer."""
    keeping, tenant = grant(lab, "k", 2.0)
    hub.keep(keeping)
    for _ in range(3):
        seen, tenant.until = tenant.until, 0.0
        until(lambda: tenant.until)
        assert tenant.until > seen
        left = lab.ask("PTTL", "k") / 1000
        assert keeping.until <= boottime() + left
    keeping.close()


# --- told ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "cause"),
    [(("DEL", "k"), "vanished"), (("SET", "k", "x"), "taken"), (("FLUSHALL",), "vanished")],
)
def test_a_change_by_others_is_told_at_once(lab: Lab, hub: Hub, change: tuple[str, ...], cause: str) -> None:
    keeping, tenant = grant(lab, "k", 60.0)
    other, theirs = grant(lab, "other", 60.0)
    hub.keep(keeping)
    hub.keep(other)
    until(lambda: renewals(lab, "k"))
    count = renewals(lab, "other")
    begun = boottime()
    lab.ask(*change)
    until(lambda: tenant.told)
    assert tenant.told == [cause] and tenant.at - begun < 5 and keeping.cause == cause
    if change != ("FLUSHALL",):
        time.sleep(0.1)
        assert theirs.told == [] and renewals(lab, "other") == count  # nobody asked for it
        other.close()


def test_own_renewals_are_no_news(lab: Lab, hub: Hub) -> None:
    """found: without NOLOOP each renewal was the reason for the next."""
    keeping, _ = grant(lab, "k", 30.0)
    hub.keep(keeping)
    until(lambda: renewals(lab, "k"))
    time.sleep(0.5)
    assert renewals(lab, "k") == 1
    keeping.close()


def test_a_server_that_is_silent_is_told_of_before_the_end(lab: Lab, hub: Hub) -> None:
    """In danger at a third, lost before the key can be another's. found: waiting for the answer instead."""
    keeping, tenant = grant(lab, "k", 1.5)
    hub.keep(keeping)
    until(lambda: renewals(lab, "k"))
    lab.signal(signal.SIGSTOP)
    end = keeping.until
    until(lambda: len(tenant.told) == 2)
    lab.signal(signal.SIGCONT)
    assert tenant.told == ["danger", "unreachable"]
    assert keeping.until <= end + 1.5 and tenant.at < keeping.until + 0.5


def test_one_that_is_not_renewed_is_watched_to_its_end(lab: Lab, hub: Hub) -> None:
    keeping, tenant = grant(lab, "k", 0.4, script=None)
    before = lab.calls("evalsha") + lab.calls("eval")
    hub.keep(keeping)
    until(lambda: len(tenant.told) == 2)
    assert tenant.told == ["danger", "expired"]
    assert lab.calls("evalsha") + lab.calls("eval") == before


def test_one_is_not_renewed_beyond_its_longest_time(lab: Lab, hub: Hub) -> None:
    begun = boottime()
    keeping, tenant = grant(lab, "k", 0.4, max_until=begun + 1.0)
    hub.keep(keeping)
    until(lambda: tenant.told)
    assert tenant.told == ["max_hold"] and 0.9 < tenant.at - begun < 5


def test_one_that_is_over_when_it_comes_is_told_at_once(lab: Lab, hub: Hub) -> None:
    keeping, tenant = grant(lab, "k", 0.4, until=boottime() - 1)
    hub.keep(keeping)
    until(lambda: tenant.told)
    assert tenant.told[-1] in ("expired", "unreachable")  # the latter if there is no connection yet


def test_a_hub_that_closes_tells_all(lab: Lab, hub: Hub) -> None:
    """found: leases that nobody renews and nobody tells."""
    granted = [grant(lab, f"k{number}", 60.0) for number in range(10)]
    for keeping, _ in granted:
        hub.keep(keeping)
    hub.close(0)
    assert [tenant.told for _, tenant in granted] == [["closed"]] * 10
    with pytest.raises(Closed):
        hub.keep(grant(lab, "late", 60.0)[0])


def test_a_stopped_thread_finds_what_is_over(lab: Lab, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a suspended machine: the clock has gone on, and nobody had asked. found: "unreachable"."""
    keeping, tenant = grant(lab, "k", 60.0)
    hub.keep(keeping)
    until(lambda: tenant.until)
    monkeypatch.setattr(hub_keeper, "boottime", lambda: boottime() + 120)
    hub._at_work().bell.ring()
    until(lambda: tenant.told)
    assert tenant.told[-1] == "expired"


# --- trouble ------------------------------------------------------------------------------------------------


def test_refusals_that_may_pass_are_tried_again(lab: Lab, hub: Hub) -> None:
    """Out of memory, too few replicas: found: a refusal taken for a loss."""
    keeping, tenant = grant(lab, "k", 3.0)
    hub.keep(keeping)
    until(lambda: renewals(lab, "k"))
    lab.ask("CONFIG", "SET", "min-replicas-to-write", "3")
    time.sleep(1.2)
    assert tenant.told == [] and lab.refusals("NOREPLICAS") > 0
    assert lab.refusals("NOREPLICAS") < 60  # with a rest in between
    lab.ask("CONFIG", "SET", "min-replicas-to-write", "0")
    count = renewals(lab, "k")
    until(lambda: renewals(lab, "k") > count)
    assert "unreachable" not in tenant.told
    keeping.close()


def test_a_tenant_that_raises_costs_the_others_nothing(lab: Lab, hub: Hub) -> None:
    """The hub starts over with fresh connections; who is well is renewed. found: the thread ended."""
    bad, tenant = grant(lab, "bad", 60.0)
    good, other = grant(lab, "good", 0.9)

    def renewed(until: float) -> None:
        raise ValueError("a bug")

    tenant.renewed = renewed  # type: ignore[method-assign]
    hub.keep(good)
    hub.keep(bad)
    time.sleep(1.0)
    bad.close()
    time.sleep(0.3)
    assert other.told == [] and lab.ask("EXISTS", "good") == 1
    good.close()


def test_threads_that_come_and_go(lab: Lab, hub: Hub) -> None:
    """Kept and closed by many threads at once; in the end the book is empty and nobody was told anything."""
    wrong: list[Any] = []

    def work(number: int) -> None:
        try:
            for turn in range(40):
                keeping, tenant = grant(lab, f"k{number}", 5.0)
                hub.keep(keeping)
                if turn % 4 == 0:
                    time.sleep(0.003)
                if not keeping.close() or tenant.told:
                    wrong.append(tenant.told)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert wrong == [] and hub.keepings() == []


def test_who_moves_to_another_hub_is_renewed_there(lab: Lab, hub: Hub) -> None:
    """As when a slot moves. found: both renewed it, or nobody did."""
    second = Hub(lab.connect, Witness())
    try:
        keeping, tenant = grant(lab, "k", 0.6)
        hub.keep(keeping)
        time.sleep(0.3)
        keeping.move_to(second)
        assert hub.keepings() == [] and second.keepings() == [keeping]
        hub.close(0)
        time.sleep(1.2)
        assert tenant.told == [] and lab.ask("EXISTS", "k") == 1
        keeping.close()
        keeping.move_to(second)
        assert second.keepings() == []
    finally:
        second.close(0)


def test_the_book_says_whom_to_wake() -> None:
    book = Keepings()
    now = boottime()
    late = Keeping(Tenant(), KEEP, ("a",), (), ttl=60.0, until=now + 60)
    soon = Keeping(Tenant(), KEEP, ("b",), (), ttl=0.3, until=now + 0.3)
    book.next_look = now + 0.2
    assert not book.add(late) and book.add(soon)
    book.look_again([b"a"])
    assert late.due == 0.0 and soon.due > now
    book.look_again(None)
    assert soon.due == 0.0
    soon.close()
    assert not book.add(soon) and book.all() == [late]
