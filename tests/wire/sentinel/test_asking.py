"""Finding the primary: sentinels that are frozen, dead, wrong or unwilling, and what is said of them."""

import statistics
import time
from contextlib import contextmanager
from typing import Any

import pytest

from holdfast._client import aopen_transport, check, open_transport
from holdfast._signals import Observers
from holdfast._wire.endpoint import Endpoint
from holdfast._wire.transport import WireFailure
from holdfast._wire.url import parse, with_address
from holdfast.errors import ConfigurationError, NoPermission, Unavailable

from .lab import KINDS, PATIENCE, Client, clients, load, make_lab, moved, timed, together, until


@contextmanager
def frozen(nodes):
    """These nodes are frozen inside."""
    for node in nodes:
        node.freeze()
    try:
        yield
    finally:
        for node in nodes:
            node.resume()


def connecting(url, kind, times=5, **options):
    """Seconds that a new client takes for its first answer, in the middle of some attempts."""
    took = []
    for _ in range(times):
        with Client(url, *kind, **options) as one:
            took.append(timed(lambda: one.execute("GET", "a"))[1])
    return statistics.median(took)


# --- sentinels that are away -----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_frozen_and_dead_sentinels_cost_nothing_while_one_answers(lab, kind):
    patience = 6.0
    whole = connecting(lab.url, kind, connect_timeout=patience)
    for count in (1, 2):
        with frozen(lab.sentinels[:count]):
            took = connecting(lab.url, kind, connect_timeout=patience)
        assert took < whole + patience / 20, f"{count} frozen: {took}, all well: {whole}"
    dead = connecting(lab.url.replace("@", "@127.0.0.1:1,", 1), kind, connect_timeout=patience)
    assert dead < whole + patience / 20, f"the first dead: {dead}, all well: {whole}"


def test_all_of_them_frozen_who_is_connected_goes_on_and_who_is_not_hears_it_in_time(lab):
    """A queue of callers is told as soon as a single one: they share what was found out."""
    patience = 0.8
    with (
        clients(lab.url) as some,
        clients(lab.url, KINDS, timeout=patience, connect_timeout=10) as late,
    ):
        for one in some:
            one.execute("SET", "a", 1)
        with frozen(lab.sentinels):
            calls = [
                lambda one=one: timed(lambda: one.execute("GET", "a")) for one in late for _ in range(20)
            ]
            for error, took in together(*calls):
                assert isinstance(error, Unavailable)
                assert took < 2 * patience
                # A connection that tasks share is given more time than each of them has: it is not over.
                named = all(f"{node.host}:{node.port}: " in str(error) for node in lab.sentinels)
                assert named or "no answer within the deadline" in str(error)
            for one in some:
                assert one.execute("GET", "a") == b"1"
        for one in late:  # and it passes
            until(lambda one=one: not isinstance(timed(lambda: one.execute("GET", "a"))[0], Unavailable))


def test_all_of_them_dead_each_is_named_with_its_reason():
    with make_lab(cuttable=False) as lab, clients(lab.url) as some:
        for one in some:
            one.execute("SET", "a", 1)
        for node in lab.sentinels:
            node.kill()
        for one in some:
            assert one.execute("GET", "a") == b"1"
        with clients(lab.url, timeout=0.3) as late:
            # The deadline may pass in the middle of an attempt: what the earlier ones found is told anyway.
            for error in together(
                *(lambda one=one: one.execute("GET", "a") for one in late for _ in range(16))
            ):
                assert isinstance(error, Unavailable)
                for node in lab.sentinels:
                    assert f"{node.host}:{node.port}: Connection refused" in str(error)
                assert lab.sentinel_password not in str(error)


# --- sentinels that know better, or nothing -----------------------------------------------------------------


def test_a_wrong_name_is_named_at_once(lab):
    url = lab.url.replace(lab.name, "shop")
    with clients(url) as some:
        for error, took in together(
            *(lambda one=one: timed(lambda: one.execute("GET", "a")) for one in some)
        ):
            assert isinstance(error, ConfigurationError)
            assert "'shop'" in str(error)
            assert took < PATIENCE / 4  # it is not tried again until the deadline


@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_wrong_password_of_the_sentinels_is_said_at_once(lab, password):
    url = lab.url.replace(lab.sentinel_password, password)
    with clients(url) as some:
        for error, took in together(
            *(lambda one=one: timed(lambda: one.execute("GET", "a")) for one in some)
        ):
            assert isinstance(error, NoPermission)
            assert "sentinel_password" in str(error)
            assert lab.password not in str(error)
            assert took < PATIENCE / 4


def test_a_wrong_password_of_the_primary_is_not_taken_for_that(lab):
    url = lab.url.replace(f":{lab.password}@", ":wrong@")
    with clients(url) as some:
        for error in together(*(lambda one=one: one.execute("GET", "a") for one in some)):
            assert isinstance(error, NoPermission)
            assert "sentinel_password" not in str(error)


@contextmanager
def user(lab, *rights):
    """The URL of a user of the sentinels who has these rights only."""
    for node in lab.sentinels:
        node.ask("ACL", "SETUSER", "watcher", "reset", "on", ">secret", "+hello", *rights)
    try:
        yield lab.url.replace(
            f"sentinel_password={lab.sentinel_password}", "sentinel_username=watcher&sentinel_password=secret"
        )
    finally:
        for node in lab.sentinels:
            node.ask("ACL", "DELUSER", "watcher")


def test_one_right_is_enough_and_without_it_that_is_said(lab):
    with user(lab, "+sentinel|get-master-addr-by-name") as url, clients(url) as some:
        for one in some:
            assert one.execute("SET", "a", 1, retry="safe") == b"OK"
    with user(lab) as url, clients(url) as some:
        for error, took in together(
            *(lambda one=one: timed(lambda: one.execute("GET", "a")) for one in some)
        ):
            assert isinstance(error, NoPermission)
            assert "NOPERM" in str(error)
            assert took < PATIENCE / 4


def test_without_the_right_to_subscribe_asking_notices(own_lab):
    """And who has it hears of it earlier."""
    rights = ("+sentinel|get-master-addr-by-name",)
    with user(own_lab, *rights) as url, clients(url) as deaf, Client(own_lab.url) as other:
        for one in [*deaf, other]:
            one.execute("SET", "a", 1)
        begun = time.monotonic()
        old = own_lab.primary
        own_lab.failover()
        until(lambda: other.seen.named("PrimaryMoved"))
        heard = time.monotonic() - begun
        until(lambda: all(one.seen.named("PrimaryMoved") for one in deaf))
        assert time.monotonic() - begun > heard
        assert old.ask("ROLE")[0] == "master"  # it gave no reason to ask
        assert not any(one.seen.named("SentinelEvent") for one in deaf)
        assert other.seen.named("SentinelEvent")
        for one in deaf:
            one.execute("SET", "b", 1)
        assert own_lab.await_failover(old).ask("GET", "b") == "1"


def test_the_other_sentinels_are_learnt_from_the_first(own_lab):
    first, *others = own_lab.sentinels
    one_place = f"{first.host}:{first.port}"
    url = own_lab.url.replace(",".join([one_place, *(f"{one.host}:{one.port}" for one in others)]), one_place)
    assert url != own_lab.url
    with clients(url) as some, load(some) as loads:
        until(lambda: all(len(one.safe) > 5 for one in loads))
        until(lambda: all(one.hf._place._watch.heard == 3 for one in some))
        old = own_lab.primary
        first.kill()
        old.kill()
        took, new = moved(own_lab, old)
        now = time.monotonic()
        until(lambda: all(one.works_since(now) for one in loads))
        for one in loads:
            one.stop()
            one.check(new)
            assert one.longest() < 2 * took


# --- the role -----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_replica_that_was_taken_for_the_primary_is_refused(lab, kind):
    """What a stale sentinel says is no more than a candidate."""
    flavour, transport = kind
    primary, replica = lab.primary, lab.replicas[0]
    for node, is_right in ((replica, False), (primary, True)):
        target = with_address(parse(lab.url), node.host, node.port, role="primary")
        settings = check(
            target,
            named=None,
            namespace="t",
            timeout=PATIENCE,
            connect_timeout=PATIENCE,
            max_connections=2,
            client=None,
            transport=transport,
            environment={},
        )
        place = Endpoint(str(target), target)
        opening: Any = aopen_transport if flavour == "async" else open_transport
        opened = opening(settings, place, Observers())
        give_up = time.monotonic() + PATIENCE
        with Client(lab.url, flavour) as runner:
            said, took = timed(lambda: runner.wait(opened.execute(("GET", "nothing"), give_up)))
            runner.wait(opened.aclose() if flavour == "async" else opened.close())
        assert took < PATIENCE / 4
        if is_right:
            assert said is None
        else:
            assert isinstance(said, WireFailure)
            assert not said.sent
            assert "is a replica, not the primary" in str(said)


def test_a_sentinel_that_slept_through_the_move_is_outvoted(own_lab):
    """It is the first in the list, and answers as quickly as the others, with what it knew."""
    old = own_lab.primary
    stale = own_lab.sentinels[0]
    stale.freeze()
    old.freeze()
    _, new = moved(own_lab, old)
    old.resume()
    stale.resume()
    with clients(own_lab.url) as some:
        for one in some:
            one.execute("SADD", f"new:{one.name}", 1)
            assert new.ask("SCARD", f"new:{one.name}") == 1
