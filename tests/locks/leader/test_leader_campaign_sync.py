# Generated from test_leader_campaign_async.py by tools/unasync.py. Do not edit.
"""Campaigning and observing. "found:" says what was seen when the bug was planted by hand."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from holdfast import Holdfast, Closed
from holdfast._compat import sleep
from tests.cache.crowd import Crowd, Observer
from tests.locks.leader.test_leader_sync import SOON, leads
from tests.locks.leader.work import Working, Diary

# --- the campaign ------------------------------------------------------------------------------------------


def test_a_server_that_is_away_ends_no_campaign(faults, namespace: str):
    diary = Diary()
    faults.refuse()
    with Holdfast(faults.url, namespace=namespace, timeout="200ms", require_server=False) as hf:
        leader = hf.leader("x", ttl="5s")
        with Crowd() as crowd:
            run = crowd.start(lambda: leader.run(Working(diary, "one")))
            sleep(0.8)
            assert not run.done
            faults.accept()
            leads(diary, "one")
            leader.stop()
            run.result()


def test_a_server_that_refuses_ends_no_campaign(own_server, namespace: str):
    """It is said once. found: with Refused not caught, the run raised."""
    with Holdfast(own_server.url, namespace=namespace) as hf:
        diary, watcher = Diary(), Observer()
        hf.observers.add(watcher)
        hf.execute("CONFIG", "SET", "min-replicas-to-write", 1)
        leader = hf.leader("x", ttl="5s")
        with Crowd() as crowd:
            run = crowd.start(lambda: leader.run(Working(diary, "one")))
            sleep(0.8)
            assert not run.done
            hf.execute("CONFIG", "SET", "min-replicas-to-write", 0)
            leads(diary, "one")
            leader.stop()
            run.result()
        told = watcher.names()
        assert told.count("CampaignFailing") == 1 and told.count("LeaderElected") == 1


def test_a_campaign_can_be_stopped_from_another_thread(hf: Holdfast):
    """While it waits, before it begins, and while it leads. found: without the queue of its own, only after
    the leader had gone.
    """
    diary = Diary()
    leading, patient, waiting, late = (hf.leader("x", ttl="20s") for _ in range(4))
    with Crowd() as crowd:
        first = crowd.start(lambda: leading.run(Working(diary, "one")))
        leads(diary, "one")
        before = crowd.start(lambda: patient.run(Working(diary, "patient")))
        sleep(0.2)
        others = [crowd.start(lambda: waiting.run(Working(diary, "two"))) for _ in range(3)]
        sleep(0.3)
        begun = time.monotonic()
        threading.Thread(target=waiting.stop).start()
        for other in others:
            assert other.result() is None
        assert time.monotonic() - begun < SOON
        late.stop()
        late.run(Working(diary, "three"))
        assert diary.at_work == ["one"] and not before.done
        patient.stop()
        assert before.result() is None
        threading.Thread(target=leading.stop).start()
        assert first.result() is None


def test_a_closed_client_ends_the_run(server, namespace: str):
    diary = Diary()
    hf = Holdfast(server.url, namespace=namespace)
    with Crowd() as crowd:
        run = crowd.start(lambda: hf.leader("x", ttl="1s").run(Working(diary, "one")))
        leads(diary, "one")
        hf.close()
        with pytest.raises(Closed):
            run.result()
    assert diary.spans[0].cause == "closed"


# --- observing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", ["single", "cluster"])
def test_observers_see_every_change(hf: Holdfast, place, namespace: str, transport: str):
    """found: without tell.lua an election was seen up to 2 s late."""
    diary, seen = Diary(), []
    with Holdfast(place.url, namespace=namespace, transport=transport) as second:
        observation = second.leader("x").observe()

        def watch() -> None:
            with observation:
                for holder in observation:
                    seen.append("" if holder is None else holder.label)

        with Crowd() as crowd:
            watching = crowd.start(watch)
            Crowd.until(lambda: seen, [""])
            for turn, who in enumerate("abc"):
                leader = hf.leader("x", ttl="20s", label=who)
                run = crowd.start(lambda leader=leader, who=who: leader.run(Working(diary, who)))
                leads(diary, who)
                begun = time.monotonic()
                Crowd.until(lambda: len(seen), 2 + 2 * turn)
                leader.stop()
                run.result()
                Crowd.until(lambda: len(seen), 3 + 2 * turn)
                assert time.monotonic() - begun < SOON
            observation.close()
            watching.result()
    assert seen == ["", "a", "", "b", "", "c", ""]


def test_an_observer_asks_little(faults, namespace: str):
    """Less than once in a second while nothing happens; and its end can be waited for."""
    diary, seen = Diary(), []
    with Holdfast(faults.url, namespace=namespace) as hf:
        leader, observation = hf.leader("x", ttl="20s"), hf.leader("x").observe()

        def watch() -> None:
            for holder in observation:
                seen.append(holder)

        with Crowd() as crowd:
            run = crowd.start(lambda: leader.run(Working(diary, "one")))
            leads(diary, "one")
            watching = crowd.start(watch)
            Crowd.until(lambda: len(seen), 1)
            sleep(0.5)
            faults.reset_counts()
            sleep(2.0)
            assert len([one for one in faults.commands("EVALSHA") if leader.key.encode() in one]) <= 4
            begun = time.monotonic()
            observation.close()
            watching.result()
            assert time.monotonic() - begun < SOON
            leader.stop()
            run.result()
    assert len(seen) == 1


def test_an_observer_hears_of_a_leader_that_fell_silent(hf: Holdfast, server, namespace: str):
    """Nobody tells; its ttl does."""
    seen: list[Any] = []
    lost = hf.leader("x", ttl="700ms")._seat().try_acquire()
    assert lost is not None
    lost._keeping.close()  # as if its process had died
    with hf.leader("x").observe() as observation:
        for holder in observation:
            seen.append(holder)
            if holder is None:
                break
    assert len(seen) == 2 and seen[0].fence == lost.fence
