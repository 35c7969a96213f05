"""What sentinels say, and whom to believe: pure, so that every case can be tried."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast._wire.sentinel import rules
from holdfast._wire.sentinel.rules import Event, Opinion
from holdfast._wire.transport import HandshakeRefused, ReplyError, WireFailure
from holdfast.errors import ConfigurationError, NoPermission

NOPERM = ReplyError("NOPERM User watcher has no permissions to run the 'sentinel|master' command")
HOSTS = st.one_of(
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z][a-z0-9-]{0,8}(\.[a-z]{2,5}){0,2}", fullmatch=True),
)
ADDRESSES = st.tuples(HOSTS, st.integers(1, 65535))
NAMES = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=12)
OPINIONS = st.lists(
    st.builds(
        Opinion,
        st.sampled_from([("a", 1), ("b", 2), ("c", 3)]),
        st.one_of(st.none(), st.integers(0, 4)),
    ),
    min_size=1,
    max_size=7,
)


def flat(pairs):
    """A map as RESP2 has it."""
    return [part for pair in pairs.items() for part in pair]


def said(address, epoch, others, resp):
    """A sentinel's replies to the questions."""
    host, port = address
    shape = flat if resp == 2 else dict
    about = shape({b"name": b"mymaster", b"config-epoch": str(epoch).encode(), b"ip": host.encode()})
    known = [shape({b"ip": one.encode(), b"port": str(number).encode()}) for one, number in others]
    return [[host.encode(), str(port).encode()], about, known]


# --- opinions -----------------------------------------------------------------


@given(
    address=ADDRESSES,
    epoch=st.integers(0, 1 << 40),
    others=st.lists(ADDRESSES, max_size=4),
    resp=st.sampled_from([2, 3]),
)
def test_an_opinion_is_read_from_both_protocols(address, epoch, others, resp):
    assert rules.opinion(said(address, epoch, others, resp)) == Opinion(address, epoch, tuple(others))


@given(ADDRESSES, st.integers(0, 9), st.lists(ADDRESSES, max_size=2))
def test_rights_that_are_missing_cost_only_what_they_hide(address, epoch, others):
    where, about, known = said(address, epoch, others, 3)

    assert rules.opinion([where, NOPERM, known]) == Opinion(address, None, tuple(others))
    assert rules.opinion([where, about, NOPERM]) == Opinion(address, epoch, ())
    assert rules.opinion([where, NOPERM, NOPERM]) == Opinion(address)
    assert rules.opinion([where, None, None]) == Opinion(address)
    assert rules.opinion([NOPERM, about, known]) is None
    assert rules.opinion([None, ReplyError("ERR No such master with that name"), None]) is None


# --- whom to believe -----------------------------------------------------------------


def test_a_newer_configuration_outvotes_any_number_of_older_ones():
    old, new = Opinion(("old", 1), 6), Opinion(("new", 2), 7)

    assert rules.believed([old, old, old, old, new]) == (7, ("new", 2))


def test_within_one_configuration_most_votes_win():
    assert rules.believed([Opinion(("a", 1), 3), Opinion(("b", 2), 3), Opinion(("a", 1), 3)]) == (3, ("a", 1))


def test_who_may_not_tell_the_epoch_votes_but_is_never_newer():
    silent = Opinion(("old", 1))

    assert rules.believed([silent, silent, Opinion(("new", 2), 7)]) == (7, ("new", 2))
    assert rules.believed([silent, silent, Opinion(("new", 2))]) == (None, ("old", 1))
    tie = [Opinion(("x", 1), 7), Opinion(("y", 2), 7)]
    assert rules.believed([*tie, Opinion(("x", 1))]) == (7, ("x", 1))
    assert rules.believed([*tie, Opinion(("y", 2))]) == (7, ("y", 2))


def test_without_an_opinion_nobody_is_believed():
    assert rules.believed([]) is None


@given(OPINIONS, st.randoms(use_true_random=False))
def test_the_order_of_the_answers_does_not_matter(opinions, dice):
    shuffled = [*opinions]
    dice.shuffle(shuffled)

    assert rules.believed(shuffled) == rules.believed(opinions)


@given(OPINIONS)
def test_what_is_believed_was_said_as_of_the_newest_epoch(opinions):
    believed = rules.believed(opinions)
    assert believed is not None
    epoch, primary = believed

    assert any(one.epoch == epoch and one.primary == primary for one in opinions)
    known = [one.epoch for one in opinions if one.epoch is not None]
    assert epoch == (max(known) if known else None)


# --- when nobody helps -----------------------------------------------------------------


def shrugs(*causes):
    said: list[Any] = [*causes]
    return [
        rules.shrug(f"h{place}:1", failure, replies, "shop") for place, (failure, replies) in enumerate(said)
    ]


DEAD: Any = (WireFailure("cannot connect: Connection refused", sent=False), [])
UNKNOWN: Any = (None, [None, ReplyError("ERR No such master with that name"), None])
DENIED: Any = (HandshakeRefused("HELLO", "WRONGPASS invalid username-password pair or user is disabled."), [])
NO_RIGHT: Any = (None, [NOPERM, NOPERM, NOPERM])
NO_SENTINEL: Any = (None, [ReplyError("ERR unknown command 'SENTINEL', with args beginning with: 'x'")] * 3)


def test_a_name_that_all_sentinels_deny_is_wrong():
    error = rules.nobody(shrugs(UNKNOWN, UNKNOWN), "shop", before=False)

    assert isinstance(error, ConfigurationError)
    assert "'shop'" in str(error)
    assert "h0:1, h1:1" in str(error)


def test_a_password_that_all_sentinels_refuse_is_wrong():
    error = rules.nobody(shrugs(DENIED, NO_RIGHT), "shop", before=False)

    assert isinstance(error, NoPermission)
    assert "sentinel_password" in str(error)
    assert "WRONGPASS" in str(error)
    assert "NOPERM" in str(error)


@pytest.mark.parametrize(
    "causes",
    [(DEAD,), (DEAD, UNKNOWN), (DENIED, UNKNOWN), (DENIED, DEAD), (NO_SENTINEL,), ()],
)
def test_what_may_pass_is_tried_again_and_each_sentinel_is_named_with_its_reason(causes):
    error = rules.nobody(shrugs(*causes), "shop", before=False)

    assert isinstance(error, WireFailure)
    assert not error.sent
    for number in range(len(causes)):
        assert f"h{number}:1: " in str(error)


@pytest.mark.parametrize("cause", [UNKNOWN, DENIED])
def test_what_worked_before_is_tried_again(cause):
    """An operator may be renewing the configuration at this moment."""
    assert isinstance(rules.nobody(shrugs(cause, cause), "shop", before=True), WireFailure)


def test_the_words_of_a_refused_connection_are_not_said_twice():
    error = rules.nobody(shrugs(DEAD), "shop", before=False)

    assert str(error).count("cannot connect") == 1
    assert "h0:1: Connection refused" in str(error)


# --- events -----------------------------------------------------------------


@given(NAMES, ADDRESSES, ADDRESSES)
def test_a_switch_says_from_where_to_where(service, old, new):
    message = f"{service} {old[0]} {old[1]} {new[0]} {new[1]}"

    assert rules.event("+switch-master", message) == Event("+switch-master", service, service, old, new)


@given(NAMES, NAMES, ADDRESSES, ADDRESSES, st.sampled_from(["slave", "sentinel"]))
def test_an_event_of_a_replica_or_a_sentinel_names_its_primary(service, name, one, primary, kind):
    message = f"{kind} {name} {one[0]} {one[1]} @ {service} {primary[0]} {primary[1]}"

    assert rules.event("+sdown", message) == Event("+sdown", f"{kind} {one[0]}:{one[1]}", service)


@given(NAMES, ADDRESSES)
def test_an_event_of_the_primary_itself(service, primary):
    message = f"master {service} {primary[0]} {primary[1]}"
    told = Event("+odown", f"master {primary[0]}:{primary[1]}", service)

    assert rules.event("+odown", message + " #quorum 2/2") == rules.event("+odown", message) == told
    aborted = rules.event("-failover-abort-no-good-slave", message)
    assert aborted is not None
    assert aborted.service == service


@given(st.sampled_from([*rules.CHANNELS, "-failover-abort-x"]), st.text(max_size=60))
def test_a_message_that_cannot_be_read_is_no_event(channel, message):
    """Whatever a later version says: no exception, and no move that was not announced."""
    found = rules.event(channel, message)

    assert found is None or (found.new is not None) == (channel == "+switch-master")
