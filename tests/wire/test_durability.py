"""Durability is a value that refuses nonsense, and a count that is judged. Pure."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import ConfigurationError, Durability, NotDurable, Unconfirmed, UnsafeServer
from holdfast._wire.transport import ReplyError


@pytest.mark.parametrize(
    "options", [{"replicas": -1}, {"replicas": True}, {"replicas": 1.5}, {"replicas": 0}, {"within": "soon"}]
)
def test_nonsense_is_refused(options):
    with pytest.raises(ConfigurationError):
        Durability(**options)


def test_what_is_sent_behind_the_write():
    assert Durability(replicas=2, within="150ms").command == ("WAIT", 2, 150)
    assert Durability(replicas=1, disk=True).command == ("WAITAOF", 1, 1, 1000)
    assert Durability(replicas=0, disk=True).command == ("WAITAOF", 1, 0, 1000)
    assert Durability(within=0.0001).command == ("WAIT", 1, 1)  # 0 would mean: for ever


@given(st.integers(1, 5), st.integers(0, 9), st.integers(0, 1), st.booleans())
def test_no_count_that_is_too_small_passes(wanted, counted, local, disk):
    policy = Durability(replicas=wanted, disk=disk)
    reply = [local, counted] if disk else counted
    if counted >= wanted and (local or not disk):
        policy.check(reply, "SET", "here")
        return
    with pytest.raises(NotDurable, match=rf"only {counted} of {wanted}") as caught:
        policy.check(reply, "SET", "here")
    assert isinstance(caught.value, Unconfirmed)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.confirmed, again.wanted) == (counted, wanted)


def test_a_server_that_cannot_tell_is_no_success():
    with pytest.raises(UnsafeServer, match="executed.*appendonly"):
        Durability(disk=True).check(
            ReplyError("ERR WAITAOF cannot be used ... appendonly is disabled."), "SET", "x"
        )
