# Generated from test_waiting_async.py by tools/unasync.py. Do not edit.
"""Who waits asks next to nothing, is woken in order, and loses no wake-up.

Guards were removed by hand; "found:" says what was seen then.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from holdfast import Holdfast, LockTimeout
from holdfast._compat import sleep
from tests.cache.crowd import Crowd

WAITERS = 200


def stats(hf: Holdfast, *names: str) -> int:
    """How many commands called `names` the server has executed."""
    reply = hf.execute("INFO", "commandstats")
    text = reply.decode() if isinstance(reply, bytes) else str(reply)
    found = 0
    for line in text.split():
        name, _, rest = line.partition(":calls=")
        if name.removeprefix("cmdstat_") in names:
            found += int(rest.partition(",")[0])
    return found


def waiting(hf: Holdfast, name: str, count: int) -> None:
    """Return when so many wait."""
    Crowd.until(lambda: hf.lock(name).stats().waiting >= count)


@pytest.mark.parametrize("fair", [False, True])
def test_many_who_wait_ask_no_more_than_one(own_server, namespace: str, fair: bool):
    """found: everybody asking every SAFETY seconds; a subscription each. A fair one has its own channel."""
    with (
        Holdfast(own_server.url, namespace=namespace) as hf,
        Holdfast(own_server.url, namespace=namespace) as holder,
        Crowd() as crowd,
    ):
        lease = holder.lock("x", ttl="60s").acquire()
        order: list[int] = []

        def work(number: int) -> None:
            with hf.lock("x", ttl="60s", wait="50s", fair=fair):
                order.append(number)

        jobs = []
        for number in range(WAITERS if not fair else 60):
            jobs.append(crowd.start(lambda number=number: work(number)))
        waiting(hf, "x", len(jobs))
        sleep(0.4)
        asked = stats(hf, "evalsha", "eval")
        subscribed = stats(hf, "ssubscribe")
        assert subscribed == (len(jobs) if fair else 1)
        sleep(1.1)
        assert stats(hf, "evalsha", "eval") - asked <= 3  # SAFETY is 2 s, and a renewal
        asked = stats(hf, "evalsha", "eval")
        lease.release()
        for job in jobs:
            job.result()
        # Each asks once, or twice where its turn came while it was not looking, and gives it back.
        assert stats(hf, "evalsha", "eval") - asked <= 4 * len(jobs)
        assert sorted(order) == list(range(len(jobs)))
        assert stats(hf, "ssubscribe") == subscribed


def test_those_of_one_process_come_in_their_order(hf: Holdfast):
    """found: a queue that wakes its youngest."""
    lease = hf.lock("x").acquire()
    order: list[int] = []

    def work(number: int) -> None:
        with hf.lock("x", wait="30s"):
            order.append(number)

    with Crowd() as crowd:
        jobs = []
        for number in range(12):
            jobs.append(crowd.start(lambda number=number: work(number)))
            waiting(hf, "x", number + 1)
            sleep(0.01)
        lease.release()
        for job in jobs:
            job.result()
    assert order == list(range(12))


def test_no_hand_over_is_forgotten(hf: Holdfast, place, namespace: str):
    """A hundred times from client to client, with no time in between; a lost wake-up would cost 2 s each.

    found: no look after the subscription is confirmed.
    """
    begun = time.monotonic()
    with Holdfast(place.url, namespace=namespace) as second:

        def work(hf: Holdfast) -> None:
            for _ in range(50):
                with hf.lock("x", wait="30s"):
                    pass

        with Crowd() as crowd:
            jobs = [crowd.start(lambda hf=hf: work(hf)) for hf in (hf, second)]
            for job in jobs:
                job.result()
    assert time.monotonic() - begun < 20


def test_an_end_that_nobody_tells_is_waited_for_no_longer_than_the_ttl(
    hf: Holdfast, place, namespace: str
):
    """Found: the next of a process slept two seconds, whatever the ttl of the one before it."""
    lock = hf.lock("x", ttl="400ms", renew=False, wait="20s")
    got: list[float] = []

    def work() -> Any:
        lease = lock.acquire()
        got.append(time.monotonic())
        return lease

    with Holdfast(place.url, namespace=namespace) as second:
        leases = [second.lock("x", ttl="400ms", renew=False).acquire()]
        got.append(time.monotonic())
        with Crowd() as crowd:
            for job in [crowd.start(work) for _ in range(3)]:
                leases.append(job.result())
        for lease in leases:  # in threads, they are not in the order of the grants
            Crowd.until(lease.lost.is_set)
    pauses = [later - earlier for earlier, later in zip(got, got[1:], strict=False)]
    assert min(pauses) > 0.3 and sorted(pauses)[1] < 1.2, pauses


def test_who_gives_up_leaves_his_place_to_the_next(hf: Holdfast):
    """found: a turn that is not given back, a deadline that begins anew with each turn."""
    lease = hf.lock("x").acquire()
    with Crowd() as crowd:
        begun = time.monotonic()
        impatient = [crowd.start(lambda: hf.lock("x").acquire(wait="300ms")) for _ in range(5)]
        waiting(hf, "x", 5)
        patient = crowd.start(lambda: hf.lock("x").acquire(wait="30s"))
        for job in impatient:
            with pytest.raises(LockTimeout):
                job.result()
        assert time.monotonic() - begun < 2.0  # and not five times that
        begun = time.monotonic()
        lease.release()
        (patient.result()).release()
        assert time.monotonic() - begun < 1.5
    assert hf.lock("x").stats().waiting == 0
    assert not hf._locks.waiting.queues.busy(hf.lock("x").key)


def test_it_goes_on_where_pubsub_is_forbidden(own_server, namespace: str):
    """found: whoever may not subscribe waited for a push that never came."""
    with Holdfast(own_server.url, namespace=namespace) as admin:
        admin.execute(
            "ACL", "SETUSER", "deaf", "on", ">pw", "~*", "resetchannels", "+@all", "-ssubscribe"
        )
        url = own_server.url.split("@")[-1]
        with Holdfast(f"redis://deaf:pw@{url}", namespace=namespace) as deaf:
            waits = []
            for fair in (False, True):
                lease = admin.lock("x").acquire()
                with Crowd() as crowd:
                    job = crowd.start(lambda fair=fair: deaf.lock("x", fair=fair).acquire(wait="20s"))
                    sleep(0.4)
                    begun = time.monotonic()
                    lease.release()
                    theirs = job.result()
                    waits.append(time.monotonic() - begun)
                    theirs.release()
            assert min(waits) < 0.8 and max(waits) < 1.5  # a rest is at most half a second
            asked = stats(admin, "evalsha")
            lease = admin.lock("x").acquire()
            with pytest.raises(LockTimeout):
                deaf.lock("x").acquire(wait="600ms")
            assert stats(admin, "evalsha") - asked < 40  # it rests in between
            lease.release()


@pytest.mark.parametrize("missing", ["client|tracking", "info", "publish"])
def test_it_works_with_fewer_rights(own_server, namespace: str, missing: str):
    """Without tracking, a loss is found at the next renewal. found: a refused CLIENT TRACKING taken for a
    renewal's answer.
    """
    refused = ["-publish", "-spublish"] if missing == "publish" else [f"-{missing}"]
    with Holdfast(own_server.url, namespace=namespace) as admin:
        admin.execute("ACL", "SETUSER", "poor", "on", ">pw", "~*", "&*", "+@all", *refused)
        url = own_server.url.split("@")[-1]
        with Holdfast(f"redis://poor:pw@{url}", namespace=namespace) as poor:
            lock = poor.lock("x", ttl="600ms")
            lease = lock.acquire()
            sleep(0.8)
            lease.ensure()
            lease.release()
            lease = lock.acquire()
            sleep(0.3)
            assert admin.lock("x").force_release()
            Crowd.until(lease.lost.is_set)
            assert lease.cause == "vanished"
            theirs = admin.lock("x").acquire()
            with Crowd() as crowd:
                job = crowd.start(lambda: lock.acquire(wait="20s"))
                sleep(0.1)
                theirs.release()
                (job.result()).release()
