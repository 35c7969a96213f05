"""A request as limits see it, and what it can be counted by. Pure.

A key function takes an `Asked` and says by what the request is counted, or None: not at all. What it says
is all that a limiter knows of the request, so a key function is where a limit is got around: if a client can
choose the answer freely, every request is its first. `by_address` cannot be chosen (see address.py),
`by_user` not where users are authenticated before. `by_header` can, unless the header was checked before: put
the middleware behind that check.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from holdfast.contrib.limits.address import Address, Clients

_LONGEST = 96  # characters of a subject that stay readable; what is longer is hashed, as keys are paid for


class Asked:
    """A request. Frameworks subclass it, and look things up when they are asked for.

    `method` in upper case. `path` as it was asked for. `native`: the framework's own request: the scope of
    ASGI, the environ of WSGI, Django's HttpRequest.
    """

    __slots__ = ("_address", "_clients", "_route", "method", "native", "path")

    def __init__(self, method: str, path: str, native: Any, clients: Clients) -> None:
        self.method = method.upper()
        self.path = path
        self.native = native
        self._clients = clients
        self._address: tuple[Address | None] | None = None
        self._route: str | None = None

    def header(self, name: str) -> str | None:
        """The request's header `name`, in any case; its lines are joined by commas; None: there is none."""
        raise NotImplementedError(name)

    @property
    def peer(self) -> str | None:
        """The address of the connection's other end, which may be a proxy."""
        return None

    @property
    def user(self) -> str | None:
        """Who is authenticated, by an id; None: nobody."""
        return None

    def find_route(self) -> str | None:
        """The template of the route that will answer, "/items/{id}"; None if it is not known."""
        return None

    @property
    def address(self) -> Address | None:
        """The address of the client, behind proxies that are trusted; None if it has none."""
        if self._address is None:
            clients = self._clients
            line = self.header(clients.header) if clients.trusted else None
            self._address = (clients.find(self.peer, line),)
        return self._address[0]

    @property
    def client(self) -> str:
        """What the address is counted by: "192.0.2.1", "2001:db8::/64"."""
        return self._clients.group(self.address)

    @property
    def route(self) -> str:
        """The template of the route that will answer; "" if none will or it is not known: all of these are
        one route, for there is no end of paths.
        """
        if self._route is None:
            self._route = self.find_route() or ""
        return self._route


class Answered:
    """How a request was answered, as `settle` functions see it.

    `status`: 500 if there was no answer. `sent`: bytes of the body. `seen`: False where nobody knows how many
    these were, and `sent` is 0: of a stream in Flask and Django, and for `limited` of FastAPI.
    """

    __slots__ = ("seen", "sent", "status")

    def __init__(self, status: int, sent: int = 0, *, seen: bool = True) -> None:
        self.status = status
        self.sent = sent
        self.seen = seen


Key = Callable[[Asked], str | None]
Cost = Callable[[Asked], int]
Settle = Callable[[Asked, Answered], int | None]


def by_address(asked: Asked) -> str:
    """The client's address; of IPv6 its network."""
    return f"ip:{asked.client}"


def by_user(asked: Asked) -> str:
    """Who is authenticated, or else the address: whoever does not log in is not without limits."""
    user = asked.user
    return by_address(asked) if user is None else f"user:{user}"


def by_route(asked: Asked) -> str:
    """The route, whoever asks: what a resource can bear. All paths without a route are one."""
    return f"route:{asked.route}"


def by_path(asked: Asked) -> str:
    """The path as it was asked for, whoever asks. There is no end of paths: only where they are few, or where
    the application has refused all others before.
    """
    return f"path:{asked.path}"


def everyone(_asked: Asked) -> str:
    """All requests together."""
    return "all"


def by_header(name: str) -> Key:
    """The value of the header `name`, or else the address. Only a hash of it goes to the server, since such
    headers hold secrets. The header must have been checked before: see the top of this file.
    """

    def by_this_header(asked: Asked) -> str:
        value = asked.header(name)
        return f"{name.lower()}:{_digest(value)}" if value else by_address(asked)

    return by_this_header


class combined:  # noqa: N801 (it is called as the functions beside it are)
    """By all of these together: `combined(by_route, by_user)`. None if one of them says None."""

    __slots__ = ("keys",)

    def __init__(self, *keys: Key) -> None:
        self.keys = keys

    def __call__(self, asked: Asked) -> str | None:
        """By what the request is counted."""
        parts = [key(asked) for key in self.keys]
        if None in parts:
            return None
        # With its length, so that no two lists of parts read alike.
        return "|".join(f"{len(part)},{part}" for part in parts if part is not None)


def needs_user(key: Key) -> bool:
    """Does `key` ask who is authenticated? Then a framework may have to look it up before."""
    return key is by_user or (isinstance(key, combined) and any(map(needs_user, key.keys)))


def content_bytes(unknown: int, least: int = 1) -> Cost:
    """The cost of a request in bytes of its content, as `Content-Length` announces it: at least `least`.

    `unknown`: the cost if it is not announced, which a client can choose: as much as you would accept.
    """

    def announced(asked: Asked) -> int:
        told = (asked.header("content-length") or "").strip()
        if told:
            # Servers refuse what is no number; should one let it pass, it is not for free.
            return max(least, int(told)) if told.isascii() and told.isdigit() and len(told) < 16 else unknown
        chunked = asked.header("transfer-encoding") is not None
        return unknown if chunked or asked.method in {"POST", "PUT", "PATCH"} else least

    return announced


def content_sent(asked: Asked, answered: Answered) -> int | None:
    """For `settle`: the bytes of the answer's body, at least 1. Where these are not known (see Answered) the
    estimate stays: or streams would cost next to nothing.
    """
    del asked
    return max(1, answered.sent) if answered.seen else None


def subject(text: str, route: str | None) -> str:
    """What a limiter counts by: `text`, of one `route` or (None) of all; hashed if it is long."""
    if not text.isprintable() or len(text) > _LONGEST:
        text = f"#{_digest(text)}"
    if route is None:
        return text
    short = route.isprintable() and len(route) <= _LONGEST
    where = route.replace(" ", "%20") if short else f"#{_digest(route)}"
    return f"{where or '-'} {text}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
