"""Whose request it is, by its address: behind proxies that are trusted, and by networks for IPv6. Pure.

A header such as `X-Forwarded-For` is a list to which every proxy adds, on the right, the address it was
called from. What stands left of the first entry that a proxy of ours has written is the client's own
invention. So:

* Unless the peer of the connection is trusted, the peer is the client and no header is read.
* Else the list is read from the right. A hop that is trusted itself passes the question on to its left
  neighbour; the first that is not is the client.
* An entry that cannot be read ends it: the client is then the last hop that is known, a proxy of ours. All
  who come that way share its limit: worse for them, and no way around a limit.

Promised: a client whose address is not trusted cannot choose what it is counted by, whatever it sends, as
long as the proxies in front write the header that is read. One header is read, never a second one: a client
would fill in the one that its proxy leaves alone. Nothing here raises because of what a client sent.

Not promised: anything if `trusted` names networks from which clients come, or where something in front, such
as a server with its own list of proxies, has replaced the peer's address already.

An owner of one IPv6 line has 2**64 addresses or more, so these are counted by network, /64 unless told
otherwise. IPv4 in its IPv6 clothes (::ffff:192.0.2.1) is IPv4, and a zone (fe80::1%eth0) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from holdfast.errors import ConfigurationError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNIX: Final = "unix"
"""In a list of trusted peers: whoever connects through a socket file, which has no address."""

_MAPPED = IPv6Network("::ffff:0:0/96")
_LONGEST = 200  # characters of one entry; nobody's address is longer, and a zone is no reason to read on
_MOST_HOPS = 64  # entries that are looked at, so that a header of commas costs little

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_PAIR = re.compile(rf"({_WORD})=({_WORD}|{_QUOTED})")
_PLAIN_PAIR = rf"{_WORD}=(?:{_WORD}|{_QUOTED})"
# Possessive, since blanks between two semicolons could be shared out in many ways.
_ELEMENT = re.compile(rf"{_PLAIN_PAIR}(?:[ \t]*+;[ \t]*+(?:{_PLAIN_PAIR})?)*+")
_ESCAPED = re.compile(r"\\(.)")
_NAME = re.compile(_WORD)
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::[0-9]{1,5})?")
_WITH_PORT = re.compile(r"([0-9.]+):[0-9]{1,5}")


def parse_address(text: str) -> Address | None:
    """The address `text`, perhaps in brackets, with a port or a zone; None if it is none."""
    text = text.strip(" \t")
    if len(text) > _LONGEST:
        return None
    if found := _BRACKETED.fullmatch(text):
        text = found[1]
        if ":" not in text:
            return None
    elif found := _WITH_PORT.fullmatch(text):
        text = found[1]
    text, percent, zone = text.partition("%")
    if percent and (not zone or ":" not in text):
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def parse_network(text: str) -> Network:
    """The network `text`, as in "10.0.0.0/8" or "2001:db8::1".

    Raises: ConfigurationError if it is none, or has bits set behind its prefix.
    """
    try:
        network = ip_network(text.strip())
    except (ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"trusted={text!r}: {error}; it must be an address or a network, "
            f'as in "10.0.0.0/8", or "{UNIX}" for socket files'
        ) from error
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        inner = IPv4Address(int(network.network_address) & 0xFFFFFFFF)
        return IPv4Network((inner, network.prefixlen - 96))
    return network


def forwarded_for(line: str) -> Sequence[Address | None]:
    """The addresses in a value of `X-Forwarded-For`, from the right; None for what is none, which is last."""
    found: list[Address | None] = []
    for entry in reversed(line.rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]):
        found.append(parse_address(entry))
        if found[-1] is None:
            break
    return found


def forwarded(line: str) -> Sequence[Address | None]:
    """The addresses in a value of `Forwarded` (RFC 7239), from the right, as `forwarded_for`.

    A comma may stand in a quoted string, and what stands to the left may be anybody's, an open quote for
    example. So an element is the shortest well-formed one that ends where the line ends. It is the right one:
    what follows a comma inside of a quoted string has one quote too many to be well-formed.
    """
    found: list[Address | None] = []
    parts = line.rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]
    element = ""
    for part in reversed(parts):
        if not element and not part.strip(" \t"):
            continue  # an empty element is none
        element = f"{part},{element}" if element else part
        if _ELEMENT.fullmatch(element.strip(" \t;")) is None:
            continue
        found.append(_node(element))
        if found[-1] is None:
            return found
        element = ""
    return [*found, None] if element else found


def _node(element: str) -> Address | None:
    """The address that an element is `for`."""
    nodes = [value for name, value in _PAIR.findall(element) if name.lower() == "for"]
    if len(nodes) != 1:
        return None
    node = nodes[0]
    if node.startswith('"'):
        node = _ESCAPED.sub(r"\1", node[1:-1])
    # An IPv6 address must be in brackets there, and is not guessed at without.
    return None if ":" in node and not (node.startswith("[") or "." in node) else parse_address(node)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """How the client of a request is found, and what it is counted by.

    `trusted`: the proxies, as networks or addresses; "unix" for whoever connects through a socket file.
    `header`: the one that they write: "X-Forwarded-For", "Forwarded", or the name of a header with one
    address, such as "CF-Connecting-IP". `ipv4_prefix`, `ipv6_prefix`: bits of an address that count.

    Raises: ConfigurationError that names the option and its value.
    """

    trusted: Sequence[str] = ()
    header: str = "X-Forwarded-For"
    ipv4_prefix: int = 32
    ipv6_prefix: int = 64
    networks: tuple[Network, ...] = field(init=False, repr=False, compare=False)
    reads: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        if isinstance(self.trusted, str):
            raise ConfigurationError(f'trusted={self.trusted!r} must be a list, as in ["10.0.0.0/8"]')
        put(self, "trusted", tuple(self.trusted))
        put(self, "networks", tuple(parse_network(one) for one in self.trusted if one != UNIX))
        if not isinstance(self.header, str) or _NAME.fullmatch(self.header) is None:
            raise ConfigurationError(f"proxy_header={self.header!r} must be the name of a header")
        put(self, "reads", self.header.lower())
        for name, most in (("ipv4_prefix", 32), ("ipv6_prefix", 128)):
            bits = getattr(self, name)
            if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= most:
                raise ConfigurationError(f"{name}={bits!r} must be a number of bits from 1 to {most}")

    def trusts(self, address: Address | None) -> bool:
        """Is `address` a proxy of ours? None: a socket file."""
        if address is None:
            return UNIX in self.trusted
        return any(address in network for network in self.networks if network.version == address.version)

    def find(self, peer: str | None, line: str | None) -> Address | None:
        """The address of the client; None if it has none, behind a socket file for example.

        `peer`: of the connection; `line`: the header's value, its lines joined by commas.
        """
        known = parse_address(peer) if peer else None
        if line is None or not self.trusted or (peer and known is None) or not self.trusts(known):
            return known  # a peer that is no address is nobody to believe
        for hop in self._hops(line):
            if hop is None:
                break
            known = hop
            if not self.trusts(hop):
                break
        return known

    def _hops(self, line: str) -> Sequence[Address | None]:
        if self.reads == "x-forwarded-for":
            return forwarded_for(line)
        return forwarded(line) if self.reads == "forwarded" else (parse_address(line),)

    def group(self, address: Address | None) -> str:
        """What requests from `address` are counted by: "192.0.2.1", "2001:db8::/64"."""
        if address is None:
            return "-"
        bits = self.ipv4_prefix if address.version == 4 else self.ipv6_prefix
        if bits == address.max_prefixlen:
            return str(address).partition("%")[0]
        network = IPv4Network if address.version == 4 else IPv6Network  # ::1 as a number could be either
        return str(network((int(address), bits), strict=False))
