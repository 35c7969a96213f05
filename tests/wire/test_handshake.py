"""The introduction: what is sent first, and which servers are not talked to any further."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from holdfast._wire import handshake
from holdfast._wire.connection import connect
from holdfast._wire.transport import HandshakeRefused, ReplyError, WireFailure, WrongRole
from holdfast._wire.url import Target, parse, sentinel_of, with_address
from tests.wire.lab import Lab

PRIMARY = {b"server": b"redis", b"version": b"7.4.0", b"role": b"master"}
REPLICA = {**PRIMARY, b"role": b"replica"}
OK = b"OK"


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("s"))
    yield lab
    lab.stop()


CLUSTER = parse("redis+cluster://ann:pw@h1")
SENTINEL = parse("redis+sentinel://ann:pw@h1/m/2?sentinel_password=other")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (parse("redis://h"), [("HELLO", "3"), "NAME"]),
        (parse("redis://:pw@h/2"), [("HELLO", "3", "AUTH", "default", "pw"), "NAME", ("SELECT", 2)]),
        (with_address(CLUSTER, "n", 1), [("HELLO", "3", "AUTH", "ann", "pw"), "NAME"]),
        (
            with_address(CLUSTER, "n", 1, role="replica"),
            [("HELLO", "3", "AUTH", "ann", "pw"), "NAME", ("READONLY",)],
        ),
        (
            with_address(SENTINEL, "n", 1, role="replica"),
            [("HELLO", "3", "AUTH", "ann", "pw"), "NAME", ("SELECT", 2)],
        ),
        (sentinel_of(SENTINEL, "h1", 26379), [("HELLO", "3", "AUTH", "default", "other"), "NAME"]),
    ],
)
def test_what_is_said_first(target: Target, expected: list[Any]) -> None:
    """Credentials, database and READONLY go to those who understand them."""
    named = [("CLIENT", "SETNAME", "holdfast") if one == "NAME" else one for one in expected]
    assert handshake.commands(target) == named


def test_a_replica_is_refused_where_a_primary_is_wanted() -> None:
    """By its reply to HELLO, which says so anyway."""
    wanted = with_address(SENTINEL, "::1", 7000, role="primary")
    handshake.check(wanted, [PRIMARY, OK, OK])
    with pytest.raises(WrongRole, match="cannot connect: ::1:7000 is a replica, not the primary") as caught:
        handshake.check(wanted, [REPLICA, OK, OK])
    assert not caught.value.sent
    handshake.check(replace(wanted, role=""), [REPLICA, OK, OK])
    handshake.check(replace(wanted, role="replica"), [PRIMARY, OK, OK])


def test_only_what_matters_must_succeed() -> None:
    """HELLO and SELECT; neither the name nor READONLY, which servers outside of a Cluster do not know."""
    no = ReplyError("ERR no")
    handshake.check(replace(parse("redis://h"), readonly=True), [PRIMARY, no, no])
    handshake.check(replace(parse("redis://h/2"), readonly=True), [PRIMARY, no, OK, no])
    with pytest.raises(HandshakeRefused, match="SELECT 2"):
        handshake.check(replace(parse("redis://h/2"), readonly=True), [PRIMARY, OK, no, OK])
    with pytest.raises(HandshakeRefused, match="HELLO") as caught:
        handshake.check(parse("redis://:pw@h"), [ReplyError("ERR unknown, with args beginning with: pw"), OK])
    assert "pw" not in str(caught.value)


def test_a_real_server_that_was_demoted(lab: Lab) -> None:
    """The refusal is told as it is, not as a broken connection."""
    wanted = replace(lab.target(), role="primary", readonly=True)
    connect(wanted, 5).close()
    lab.ask("REPLICAOF", "127.0.0.1", 1)
    with pytest.raises(WireFailure, match="^cannot connect: .* is a replica") as caught:
        connect(wanted, 5)
    assert isinstance(caught.value, WrongRole)
