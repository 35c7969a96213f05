"""The cookie of a session, and the answers when there is no session to be had. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypedDict, get_args

from holdfast.errors import (
    ConfigurationError,
    ConflictError,
    HoldfastError,
    Refused,
    SessionGone,
    Unavailable,
)

SameSite = Literal["lax", "strict", "none"]
Away = Literal["refuse", "anonymous"]

NO_STORE: Final = "no-store"
CLEAR_SITE_DATA: Final = '"cache", "cookies", "storage"'

TOO_LATE: Final = (
    "a session was changed too late: the answer had begun, and its cookie can no longer be set (touch the "
    "session before, or begin it in an earlier request)"
)

_NAME = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class CookieKeywords(TypedDict, total=False):
    """The arguments of a middleware beside its sessions; see CookiePolicy."""

    cookie: str | None
    secure: bool
    samesite: SameSite
    path: str
    domain: str | None
    persistent: bool
    away: Away
    clear_site_data: bool
    user_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CookiePolicy:
    """The cookie, and what is done when the server is away.

    cookie            its name. None: `__Host-session`, of which browsers know that no other host and no plain
                      HTTP has set it; where that prefix is not allowed, `__Secure-session` or `session`.
    secure            send it over TLS only. False is for development without TLS.
    samesite          "lax", "strict" or "none" (which needs `secure`). "lax" keeps it out of POSTs from other
                      sites, which is most of the protection against CSRF.
    path, domain      where the browser sends it. A domain includes every host below it: leave it out.
    persistent        the browser keeps it when it is closed, for as long as the session may last. It is not
                      sent again meanwhile: an answer that is late would undo what another one has set.
    away              "refuse": 503 while the server is away; "anonymous": read as nobody's.
    clear_site_data   `logout` also tells the browser to drop its cache and storage for this site.
    user_key          where the application itself, or a library such as Flask-Login ("_user_id"), notes in
                      the session who has signed in: then what puts a value there is a login, and what takes
                      it away a logout; the rest of the data stays, whosever it was: the library, or the
                      application, has to drop it. None: `login` and `logout` are called.

    Raises: ConfigurationError that names the option and its value.
    """

    cookie: str | None = None
    secure: bool = True
    samesite: SameSite = "lax"
    path: str = "/"
    domain: str | None = None
    persistent: bool = False
    away: Away = "refuse"
    clear_site_data: bool = False
    user_key: str | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name, kind in (("samesite", SameSite), ("away", Away)):
            if getattr(self, name) not in get_args(kind):
                names = ", ".join(f'"{one}"' for one in get_args(kind))
                raise ConfigurationError(f"{name}={getattr(self, name)!r} must be one of {names}")
        if not self.path.startswith("/") or set(self.path) & set(";, \r\n"):
            raise ConfigurationError(f'path={self.path!r} must be a path, as in "/" or "/app"')
        if self.domain is not None and (not self.domain or set(self.domain) & set(";, \r\n")):
            raise ConfigurationError(f"domain={self.domain!r} must be the name of a host, or None")
        if self.samesite == "none" and not self.secure:
            raise ConfigurationError(
                'samesite="none" needs secure=True: browsers refuse the cookie otherwise'
            )
        host = self.secure and self.path == "/" and self.domain is None
        if self.cookie is None:
            put(self, "cookie", ("__Host-" if host else "__Secure-" if self.secure else "") + "session")
        if not self.cookie or not set(self.cookie) <= _NAME:
            raise ConfigurationError(f"cookie={self.cookie!r} is no name that a cookie may have")
        if self.cookie.startswith("__Host-") and not host:
            raise ConfigurationError(
                f'cookie={self.cookie!r} needs secure=True, path="/" and no domain, or browsers refuse it'
            )
        if self.cookie.startswith("__Secure-") and not self.secure:
            raise ConfigurationError(f"cookie={self.cookie!r} needs secure=True, or browsers refuse it")

    @property
    def name(self) -> str:
        """The name of the cookie."""
        return str(self.cookie)

    def found_in(self, header: str) -> str | None:
        """The id in a `Cookie` header. If there are several of this name, the one for the longest path, which
        comes first.
        """
        for pair in header.split(";"):
            name, equals, value = pair.strip().partition("=")
            if equals and name == self.name and value:
                return value.strip('"')
        return None

    def given(self, id: str, lasting: float | None) -> str:
        """The `Set-Cookie` header that hands out `id`, for so many seconds; None: until it closes."""
        age = "" if lasting is None else f"; Max-Age={int(lasting)}"
        return f"{self.name}={id}{age}{self._attributes}"

    @property
    def taken(self) -> str:
        """The `Set-Cookie` header that deletes the cookie."""
        return f'{self.name}=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0{self._attributes}'

    @property
    def _attributes(self) -> str:
        domain = "" if self.domain is None else f"; Domain={self.domain}"
        secure = "; Secure" if self.secure else ""
        return f"; Path={self.path}{domain}; HttpOnly{secure}; SameSite={self.samesite.capitalize()}"


class Answer(NamedTuple):
    """An answer that stands in for the application's."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def refusal(error: HoldfastError) -> Answer | None:
    """What to answer when the session could be neither read nor written; None: raise `error`."""
    match error:
        case SessionGone() | ConflictError():
            detail = "The session ended while this request was worked on, so what it changed was not kept."
            return _problem(409, "The session has ended", detail)
        case Unavailable() | Refused():
            detail = "The session cannot be reached at the moment, so nothing of it was read or kept."
            return _problem(503, "Sessions are not available", detail, ("retry-after", "1"))
        case _:
            return None


def _problem(status: int, title: str, detail: str, *more: tuple[str, str]) -> Answer:
    """An answer of problem+json (RFC 9457)."""
    told: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    headers = [("content-type", "application/problem+json"), ("cache-control", NO_STORE), *more]
    return Answer(status, headers, json.dumps(told).encode())
