"""Whose request it is: nobody chooses by what it is counted."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from holdfast import ConfigurationError
from holdfast.contrib.limits.address import Clients, forwarded, forwarded_for, parse_address, parse_network

PROXIES = ("10.0.0.0/8", "2001:db8:ffff::/48", "192.0.2.7")
CLIENTS = Clients(trusted=PROXIES)
NODES = Clients(trusted=PROXIES, header="Forwarded")

addresses = st.ip_addresses()
proxies = st.one_of(
    st.ip_addresses(network="10.0.0.0/8"),
    st.ip_addresses(network="2001:db8:ffff::/48"),
    st.just(ip_address("192.0.2.7")),
)
strangers = addresses.filter(
    lambda one: not CLIENTS.trusts(parse_address(str(one))) and not str(one).startswith("::ffff:")
)
# What a client may put into a header: servers let any of Latin-1 but line ends through.
junk = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=60)
hostile = st.one_of(
    junk,
    st.lists(
        st.sampled_from(
            ['"', "\\", ",", ";", "for=", 'for="', "[", "]", "=", " ", "1.2.3.4", "::1", "10.0.0.1", "a", "%"]
        ),
        max_size=20,
    ).map("".join),
    st.lists(proxies | addresses).map(lambda many: ", ".join(map(str, many))),
    st.lists(addresses).map(lambda many: ", ".join(node(one) for one in many)),
)


def node(address: Any) -> str:
    """An element of Forwarded, as a proxy writes it."""
    return f"for={address}" if address.version == 4 else f'for="[{address}]"'


def written(address: Any, style: int) -> str:
    """An address, as proxies write it into X-Forwarded-For."""
    if style == 1:
        return f"{address}:4711" if address.version == 4 else f"[{address}]:4711"
    return f"[{address}]" if style == 2 and address.version == 6 else str(address)


# --- spoofing ---


@given(strangers, hostile)
def test_a_stranger_is_not_asked_who_it_is(peer: Any, header: str):
    assert CLIENTS.find(str(peer), header) == peer
    assert NODES.find(str(peer), header) == peer


@given(strangers, st.lists(proxies, min_size=1, max_size=4), hostile, st.integers(0, 2), st.booleans())
@example(ip_address("198.51.100.1"), [ip_address("10.0.0.1")], '"', 0, False)
def test_what_a_client_sends_does_not_change_by_what_it_is_counted(
    client: Any, chain: list[Any], sent: str, style: int, lines: bool
):
    """The first proxy adds the client's address to whatever it has sent, each further one the one before."""
    hops = [client, *chain[:-1]]
    added = [written(hop, style) for hop in hops]
    assert CLIENTS.find(str(chain[-1]), ",".join([sent, *added])) == client
    assert CLIENTS.find(str(chain[-1]), ", ".join(added)) == client
    told = [node(hop) + (";proto=https" if style else "") for hop in hops]
    assert NODES.find(str(chain[-1]), (", " if lines else ",").join([sent, *told])) == client


@given(strangers, strangers, hostile, st.sampled_from(["X", "-", "unknown", '"', "1.2.3", "999.1.1.1", ""]))
def test_an_entry_that_cannot_be_read_hides_nobody_behind_it(one: Any, peer: Any, sent: str, bad: str):
    """Then they are all counted by the proxy that wrote it, wherever they come from."""
    line = f"{sent},{one}, {bad}"
    assert CLIENTS.find("10.9.9.9", line) == ip_address("10.9.9.9")
    assert CLIENTS.find("10.9.9.9", f"{line}, 10.1.1.1") == ip_address("10.1.1.1")
    if bad not in ("X", "-"):  # `for=X` is a name, which is no address either
        assert NODES.find("10.9.9.9", f"{sent},{node(one)},for={bad}") == ip_address("10.9.9.9")


@given(st.none() | st.text() | addresses.map(str), st.none() | st.text() | hostile)
@example("10.0.0.1", "," * 100_000)
@example("10.0.0.1", 'for="' + '\\"' * 10_000)
@example("10.0.0.1", "for=a; " + " ; " * 5_000)
@example("10.0.0.1", "for=a" + "  ;  " * 60 + '"')
@example("10.0.0.1", "a" * 100_000)
def test_nothing_raises(peer: str | None, line: str | None):
    for clients in (
        CLIENTS,
        NODES,
        Clients(trusted=["unix"]),
        Clients(),
        Clients(trusted=PROXIES, header="X-Real-IP"),
    ):
        found = clients.find(peer, line)
        assert clients.group(found)


@given(strangers, hostile)
def test_the_host_that_a_client_names_is_no_address_of_it(client: Any, host: str):
    """Proxies write what they were called by, quoted; a quote in it must not end the element."""
    quoted = host.replace("\\", "\\\\").replace('"', '\\"')
    assert NODES.find("10.0.0.1", f'{node(client)};host="{quoted}";proto=http') == client


@given(strangers, junk)
def test_only_the_header_that_was_named_is_read(client: Any, other: str):
    single = Clients(trusted=PROXIES, header="CF-Connecting-IP")
    assert single.find("10.0.0.1", str(client)) == client
    assert single.find("10.0.0.1", f"{client}, {client}") == ip_address("10.0.0.1")


# --- reading ---


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1\t", "192.0.2.1"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:c000:201]:1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]", "fe80::1"),
    ],
)
def test_addresses_as_people_write_them(text: str, address: str):
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "-", "unknown", "_hidden", "localhost", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4:", "1.2.3.4:x",
        "1.2.3.4:123456", "[1.2.3.4]", "[::1", "::1]", "[[::1]]", "::1:", "[::1]x", "1.2.3.4%eth0", "::1%",
        "1.2.3.4\n", "\u0661.2.3.4", "0x7f.1", "2130706433", "1.2.3.4/32", '"::1"',
        "::1%" + "z" * 300, "1.2.3.4 5.6.7.8",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str):
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("for=192.0.2.60;proto=http;by=203.0.113.43", ["192.0.2.60"]),
        ('For="[2001:db8:cafe::17]:4711"', ["2001:db8:cafe::17"]),
        ("for=192.0.2.43, for=198.51.100.17", ["198.51.100.17", "192.0.2.43"]),
        ('for=192.0.2.43; proto="http" ;, for="198.51.100.17:80"', ["198.51.100.17", "192.0.2.43"]),
        ('for="\\1.2.3.4"', ["1.2.3.4"]),
        ('host="a,b,for=9.9.9.9";for=1.2.3.4', ["1.2.3.4"]),
        ("for=unknown", [None]),
        ("for=_SEVKISEK", [None]),
        ("proto=http", [None]),
        ("for=1.2.3.4;for=5.6.7.8", [None]),
        ("for=2001:db8::1", [None]),
        ('for="2001:db8::1"', [None]),
        ("for=1.2.3.4,,for=5.6.7.8, ", ["5.6.7.8", "1.2.3.4"]),  # empty elements are none (RFC 9110)
        ('for=1.2.3.4;host="', [None]),
        ('for=9.9.9.9;x=", for=1.2.3.4', ["1.2.3.4", None]),
        ("", []),
    ],
)  # fmt: skip
def test_forwarded_as_in_rfc_7239(line: str, found: list[str | None]):
    assert [one if one is None else str(one) for one in forwarded(line)] == found


def test_forwarded_for_ends_with_what_it_cannot_read():
    assert forwarded_for("1.1.1.1, x, 2.2.2.2,3.3.3.3") == [*map(ip_address, ("3.3.3.3", "2.2.2.2")), None]


def test_hops_that_are_trusted_are_passed():
    assert str(CLIENTS.find("10.0.0.1", "9.9.9.9, 1.2.3.4, 192.0.2.7,10.2.2.2")) == "1.2.3.4"
    assert str(CLIENTS.find("10.0.0.1", "10.3.3.3, 192.0.2.7")) == "10.3.3.3"  # nobody else: a proxy itself
    assert str(CLIENTS.find("::ffff:10.0.0.1", "1.2.3.4")) == "1.2.3.4"
    assert str(CLIENTS.find("10.0.0.1", None)) == "10.0.0.1"


def test_socket_files():
    assert Clients().find(None, "1.2.3.4") is None
    assert Clients(trusted=["10.0.0.1"]).find("", "1.2.3.4") is None
    assert str(Clients(trusted=["unix"]).find("", "1.2.3.4")) == "1.2.3.4"
    assert Clients(trusted=["unix"]).find("testclient", "1.2.3.4") is None
    assert Clients(trusted=["unix"]).find("5.5.5.5", "1.2.3.4") == ip_address("5.5.5.5")


# --- groups ---


@given(st.ip_addresses(v=6), st.integers(1, 128), st.integers(0, 2**128 - 1))
@example(IPv6Address("::1"), 64, 0)
def test_addresses_of_one_network_are_one(address: IPv6Address, bits: int, other: int):
    assume(address.ipv4_mapped is None)
    clients = Clients(ipv6_prefix=bits)
    mask = (1 << (128 - bits)) - 1
    neighbour = IPv6Address((int(address) & ~mask) | (other & mask))
    assert clients.group(address) == clients.group(neighbour)
    group = clients.group(address)
    assert ip_network(group) == IPv6Network((int(address) & ~mask, bits))
    stranger = IPv6Address(int(address) ^ (1 << (128 - bits)))
    assert clients.group(stranger) != group


@given(st.ip_addresses(v=4))
def test_ipv4_is_the_same_in_any_clothes(address: IPv4Address):
    mapped = CLIENTS.find(f"::ffff:{address}", None)
    assert CLIENTS.group(mapped) == CLIENTS.group(address) == str(address)
    assert Clients(ipv4_prefix=24).group(address) == str(ip_network(f"{address}/24", strict=False))


def test_a_zone_makes_no_other_client():
    groups = {CLIENTS.group(CLIENTS.find(f"fe80::1{zone}", None)) for zone in ("", "%eth0", "%1")}
    assert groups == {"fe80::/64"}
    assert Clients(ipv6_prefix=128).group(parse_address("fe80::1%x")) == "fe80::1"


@pytest.mark.parametrize(
    "options",
    [
        {"trusted": "10.0.0.0/8"},
        {"trusted": ["10.0.0.1/8"]},
        {"trusted": ["localhost"]},
        {"trusted": [5]},
        {"trusted": ["*"]},
        {"header": ""},
        {"header": "X Forwarded"},
        {"ipv6_prefix": 0},
        {"ipv6_prefix": 129},
        {"ipv4_prefix": 33},
        {"ipv4_prefix": True},
        {"ipv6_prefix": "64"},
    ],
)
def test_bad_options_are_named(options: Any):
    (name,) = options
    with pytest.raises(ConfigurationError, match=name):
        Clients(**options)


def test_networks_of_mapped_addresses_are_those_of_ipv4():
    assert parse_network("::ffff:10.0.0.0/104") == ip_network("10.0.0.0/8")
    assert parse_network("2001:db8::1") == ip_network("2001:db8::1/128")
