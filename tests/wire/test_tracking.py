"""Tracking: every change is told, or that nothing is heard; and it comes back after every failure."""

import time
from contextlib import contextmanager

import pytest

from holdfast import Holdfast
from holdfast._compat import monotonic
from holdfast.testing import FaultProxy, start
from tests.wire.lab import until

EVERY = 0.05


class Holder:
    """Holds copies as a near cache would: none while nothing is heard, and drops what changed."""

    def __init__(self):
        self.copies = {}
        self.hears = False
        self.founds = self.losses = 0

    def invalidated(self, keys):
        for key in list(self.copies) if keys is None else keys:
            self.copies.pop(key, None)

    def lost(self):
        self.hears = False
        self.losses += 1
        self.copies.clear()

    def found(self):
        self.hears = True
        self.founds += 1


@contextmanager
def tracked(hf, prefix="near:"):
    """A holder of the keys with `prefix`, which hears."""
    holder = Holder()
    with hf._hub.track(prefix, holder, every=EVERY) as tracking:
        until(lambda: holder.hears)
        yield holder, tracking


def test_every_change_is_told_to_whom_it_concerns(hf):
    with tracked(hf, "near:") as (near, _), tracked(hf, "far:") as (far, _):
        near.copies = {b"near:1": 1, b"near:2": 2}
        far.copies = {b"far:1": 1}
        hf.execute("SET", "near:1", "x")
        until(lambda: near.copies == {b"near:2": 2})
        assert far.copies == {b"far:1": 1}
        hf.execute("EVAL", "redis.call('DEL', 'near:1') redis.call('SET', 'far:1', 1)", 0)
        until(lambda: far.copies == {})


def test_a_flush_tells_everybody(own_server):
    with Holdfast(own_server.url) as hf, tracked(hf, "near:") as (near, _):
        near.copies = {b"near:1": 1}
        hf.execute("FLUSHALL")
        until(lambda: near.copies == {})


def test_a_prefix_that_is_tracked_twice_and_again(hf):
    """The server takes a prefix once for each connection."""
    with tracked(hf) as (first, _):
        with tracked(hf) as (second, _):
            second.copies = {b"near:1": 1}
        with tracked(hf) as (third, _):
            first.copies = {b"near:1": 1}
            third.copies = {b"near:1": 1}
            hf.execute("SET", "near:1", "x")
            until(lambda: first.copies == third.copies == {})
            assert second.copies == {b"near:1": 1}  # it asked no longer
    with tracked(hf) as (last, _):
        last.copies = {b"near:1": 1}
        hf.execute("SET", "near:1", "x")
        until(lambda: last.copies == {})


def test_a_silent_link_shows_by_an_age_that_grows(server, namespace):
    """Nobody has to notice: the proof of freshness simply gets old."""
    with (
        FaultProxy(server) as link,
        Holdfast(link.url, namespace=namespace) as hf,
        tracked(hf) as (_, tracking),
    ):
        until(lambda: monotonic() - tracking.as_of < 1)
        link.blackhole()
        silent = monotonic()
        until(lambda: monotonic() - tracking.as_of > 0.5)
        assert tracking.as_of <= silent
        link.heal()
        until(lambda: tracking.as_of > silent)


def test_a_lost_connection_is_told_and_made_anew(server, namespace):
    with (
        FaultProxy(server) as link,
        Holdfast(link.url, namespace=namespace) as hf,
        tracked(hf) as (holder, tracking),
    ):
        holder.copies = {b"near:1": 1}
        link.refuse()
        link.cut()
        until(lambda: holder.losses == 1)
        assert holder.copies == {}
        assert tracking.as_of == float("-inf")
        with Holdfast(server.url) as other:
            other.execute("SET", "near:1", "x")
        link.accept()
        until(lambda: holder.founds == 2)


def test_a_server_that_forbids_it_is_no_error(own_server):
    """Whoever asks sees it, and does without."""
    with Holdfast(own_server.url) as admin:
        admin.execute("ACL", "SETUSER", "ann", "on", ">pw", "~*", "+@all", "-client|tracking")
    with Holdfast(f"redis://ann:pw@127.0.0.1:{own_server.port}") as hf:
        holder = Holder()
        with hf._hub.track("near:", holder, every=EVERY) as tracking:
            until(lambda: tracking.is_refused)
        assert not holder.hears


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_tracking_follows_the_primary(own_sentinel_lab, fault):
    """A change made at the new primary is told, and what was held of the older one is dropped."""
    lab = own_sentinel_lab
    with Holdfast(lab.url, timeout="20s") as hf, tracked(hf) as (holder, _):
        holder.copies = {b"near:1": 1}
        old = lab.primary
        getattr(old, fault)()
        hf.execute("SET", "near:0", "x", retry="safe")
        until(lambda: holder.founds == 2 and holder.hears)
        assert holder.losses == 1
        assert holder.copies == {}
        holder.copies = {b"near:1": 1}
        hf.execute("SET", "near:1", "x")
        until(lambda: holder.copies == {})
        old.resume() if fault == "freeze" else None


def test_tracking_on_every_node_of_a_cluster(own_cluster_lab):
    """All primaries tell; one that is replaced by its replica, and slots that move, empty what is held."""
    lab = own_cluster_lab
    keys = [f"near:{number}" for number in range(30)]
    with Holdfast(lab.url, timeout="20s") as hf:
        hf.execute("PING")
        with tracked(hf) as (holder, tracking):

            def all_are_told():
                holder.copies = {key.encode(): 1 for key in keys}
                for key in keys:
                    hf.execute("SET", key, "x", retry="safe")
                until(lambda: holder.copies == {})

            all_are_told()
            assert holder.losses == 0
            lab.primary_of(keys[0]).kill()
            hf.execute("SET", keys[0], "x", retry="safe")
            until(lambda: holder.hears and holder.losses)
            all_are_told()
            until(lambda: monotonic() - tracking.as_of < 1)


def test_a_fork_starts_with_nothing(hf):
    """The parent's connection is not the child's: what was copied may be old."""
    import os

    from tests.wire.lab import child_status

    with tracked(hf) as (holder, _):
        holder.copies = {b"near:1": 1}
        child = os.fork()
        if not child:
            ok = holder.copies == {}
            until(lambda: holder.hears)
            holder.copies = {b"near:1": 1}
            hf.execute("SET", "near:1", "x")
            until(lambda: holder.copies == {})
            os._exit(0 if ok else 1)
        assert child_status(child) == 0
        time.sleep(2 * EVERY)
        assert holder.hears


def test_a_closed_client_is_told_as_lost():
    with start() as server:
        hf = Holdfast(server.url)
        with tracked(hf) as (holder, _):
            hf.close()
            assert holder.losses == 1
