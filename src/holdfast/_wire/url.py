"""URL -> Target: where the server is and how to introduce oneself. Pure.

    redis://user:password@host:6379/0      valkey:// means the same
    unix:///run/redis.sock?db=0
    embedded://                            a private server of this process, gone with it
    embedded:///var/lib/shop               the same, kept in that directory and shared by the processes that
    name it

A password never appears in a message, a repr or a log line: `str(target)` shows `***` in its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from holdfast.errors import ConfigurationError

Kind = Literal["tcp", "unix", "embedded"]

SCHEMES: dict[str, Kind] = {"redis": "tcp", "valkey": "tcp", "unix": "unix", "embedded": "embedded"}
_NOT_YET = {
    "rediss": "TLS",
    "valkeys": "TLS",
    "redis+sentinel": "Sentinel",
    "valkey+sentinel": "Sentinel",
    "rediss+sentinel": "Sentinel",
    "redis+cluster": "Cluster",
    "valkey+cluster": "Cluster",
    "rediss+cluster": "Cluster",
}

NO_URL = """no server was named. Say which one, in the program or in the environment:

    Holdfast("redis://localhost:6379")          a server that runs already
    Holdfast("embedded://")                     a private one for development, started for you
    export HOLDFAST_URL=redis://localhost:6379  the same, for every process of this shell

There is no silent default: a forgotten variable must not give each host a server of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One server to talk to. `path` is the socket of `unix`, or the directory of `embedded` ("" for a private
    one).
    """

    kind: Kind
    host: str = "localhost"
    port: int = 6379
    path: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        if self.kind == "embedded":
            return f"embedded://{self.path}"
        who = ""
        if self.username or self.password:
            who = f"{quote(self.username or '')}{':***' if self.password else ''}@"
        if self.kind == "unix":
            return f"unix://{who}{self.path}" + (f"?db={self.db}" if self.db else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis://{who}{host}:{self.port}/{self.db}"


def parse(url: str) -> Target:
    """The target that `url` names.

    Raises: ConfigurationError that names the offending part and the fix, never the password.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"url={type(url).__name__} must be a str such as 'redis://localhost:6379'")
    kind = _kind(url)
    parts, wrong = _split(url)
    if wrong:
        raise ConfigurationError(f"{hide(url)!r}: {wrong}; write redis://host:port/db")
    port = parts.port
    if kind == "tcp" and "@" in f"{parts.path}{parts.query}{parts.fragment}":
        text = "write '/', '?' and '#' in a password as %2F, %3F and %23"
        raise ConfigurationError(f"{hide(url)!r}: {text}")
    options = _options(parts.query, url, kind)
    if kind == "embedded":
        return _embedded(parts.netloc, unquote(parts.path), url)
    if kind == "unix" and (parts.hostname or not parts.path):
        text = "a socket is written with three slashes, as in unix:///run/redis.sock"
        raise ConfigurationError(f"{hide(url)!r}: {text}")
    database = options.get("db", "0") if kind == "unix" else parts.path.strip("/") or options.get("db", "0")
    return Target(
        kind=kind,
        host=parts.hostname or "localhost",
        port=6379 if port is None else port,
        path=unquote(parts.path) if kind == "unix" else "",
        db=_database(database, url),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def _split(url: str) -> tuple[SplitResult, str]:
    """The parts of `url`, and what is wrong with it. Told, not raised: the parser's error quotes the
    password, and would come along as the context of ours.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return urlsplit(""), _safe(error, url)
    return parts, ""


def _kind(url: str) -> Kind:
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if separator and scheme in _NOT_YET:
        text = f"{scheme}:// ({_NOT_YET[scheme]}) is not in this release; use redis://, valkey:// or unix://"
        raise ConfigurationError(text)
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        text = f"it must start with one of {known}, as in redis://localhost:6379"
        raise ConfigurationError(f"{hide(url)!r} is no server URL; {text}")
    return SCHEMES[scheme]


def hide(url: str) -> str:
    """`url` without its password, also where it is too broken to be parsed."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    before, at, after = rest.rpartition("@")
    after, question, _ = after.partition("?")
    after += "?***" if question else ""  # some put a password there
    if not at:
        return f"{scheme}{separator}{after}"
    return f"{scheme}{separator}{before.partition(':')[0]}:***@{after}"


def _safe(error: ValueError, url: str) -> str:
    """The parser's own words, unless they quote what may be part of a password ("p#ss" makes it read the port
    there).
    """
    return "the port is not a number from 0 to 65535" if "ort" in str(error) or "@" in url else str(error)


def _embedded(netloc: str, path: str, url: str) -> Target:
    if netloc:
        text = "a directory is written with three slashes, as in embedded:///var/lib/shop"
        raise ConfigurationError(f"{hide(url)!r}: {text}")
    return Target(kind="embedded", path=path.rstrip("/") or path)


def _options(query: str, url: str, kind: Kind) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    allowed = {"db"} if kind != "embedded" else set()
    for name in options:
        if name not in allowed:
            raise ConfigurationError(
                f"{hide(url)!r}: unknown option {name!r}; timeouts and such are arguments of Holdfast(...)"
            )
    return options


def _database(text: str, url: str) -> int:
    if not text.isdecimal():
        raise ConfigurationError(
            f"{hide(url)!r}: the database {text!r} must be a number, as in redis://localhost:6379/0"
        )
    return int(text)
