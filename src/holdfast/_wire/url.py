"""URL -> Target: where the server is and how to introduce oneself. Pure.

    redis://user:password@host:6379/0      valkey:// means the same
    rediss://host:6379/0?tls_ca=ca.pem     the same over TLS; also valkeys://
    redis+sentinel://user:password@h1:26379,h2,[::1]:26380/mymaster/0
    redis+cluster://user:password@h1:7000,h2:7001
    unix:///run/redis.sock?db=0
    embedded://                            a private server of this process, gone with it
    embedded:///var/lib/shop               the same, kept in that directory and shared by the processes that
    name it

TLS for Sentinel and Cluster: rediss+sentinel://, rediss+cluster://. The options tls_ca, tls_cert, tls_key,
tls_name and tls_verify are the arguments of `Tls`. Sentinels may have credentials of their own
(sentinel_username, sentinel_password) and differ in TLS (sentinel_tls=yes or no).

A password never appears in a message, a repr or a log line: `str(target)` shows `***` in its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args
from urllib.parse import quote, unquote

from holdfast.errors import ConfigurationError

Kind = Literal["tcp", "unix", "embedded", "sentinel", "cluster"]
Role = Literal["", "primary", "replica"]
Verify = Literal["full", "chain", "none"]
Address = tuple[str, int]

_FORMS: dict[str, Kind] = {"": "tcp", "+sentinel": "sentinel", "+cluster": "cluster"}
SCHEMES: dict[str, Kind] = {
    **{
        f"{brand}{tls}{form}": kind
        for form, kind in _FORMS.items()
        for tls in ("", "s")
        for brand in ("redis", "valkey")
    },
    "unix": "unix",
    "embedded": "embedded",
}
PORTS: dict[Kind, int] = {"tcp": 6379, "sentinel": 26379, "cluster": 6379}

_EXAMPLES = {"tcp": "host:port/db", "sentinel": "h1:26379,h2:26379/mymaster", "cluster": "h1:6379,h2:6379"}

_TLS_OPTIONS = {"tls_ca", "tls_cert", "tls_key", "tls_name", "tls_verify"}
_SENTINEL_OPTIONS = {"sentinel_username", "sentinel_password", "sentinel_tls"}
_WHITE = str.maketrans("", "", "\t\r\n")  # an environment variable read from a file ends in one
_PARTS = re.compile(r"([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_ENTRY = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]*))(?::(\d*))?", re.ASCII)

NO_URL = """no server was named. Say which one, in the program or in the environment:

    Holdfast("redis://localhost:6379")          a server that runs already
    Holdfast("embedded://")                     a private one for development, started for you
    export HOLDFAST_URL=redis://localhost:6379  the same, for every process of this shell

There is no silent default: a forgotten variable must not give each host a server of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How the server's certificate is checked, and which one is shown to it.

    `ca`: file with the certificates that may sign the server's (None: the system's). `cert`, `key`: files
    with a certificate of our own and its key, for servers that ask for one (None: the key is in `cert`).
    `name`: what the server's certificate must be made out to (None: the host in the URL).
    `verify`: "full", "chain" (signed by a known one, whatever its name) or "none" (whoever is in between can
    read and change everything). `context`: an ssl.SSLContext of your own, in place of all but `name`.

    Raises: ConfigurationError that names the value.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    name: str | None = None
    verify: Verify = "full"
    context: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for what in ("ca", "cert", "key", "name"):
            value = getattr(self, what)
            if value is not None and (not isinstance(value, str) or not value):
                raise ConfigurationError(f"Tls({what}={value!r}) must be a str, and not empty")
        if self.verify not in get_args(Verify):
            raise ConfigurationError(f"Tls(verify={self.verify!r}) must be 'full', 'chain' or 'none'")
        if self.key is not None and self.cert is None:
            raise ConfigurationError(f"Tls(key={self.key!r}) needs cert=, the certificate that it belongs to")
        if self.context is not None and replace(self, context=None, name=None) != Tls():
            raise ConfigurationError(
                "Tls(context=...) replaces ca=, cert=, key= and verify=; load them into the context"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to talk to: one server, or the `nodes` (sentinels, or nodes of a Cluster) that know where it is.

    `path` is the socket of `unix`, or the directory of `embedded` ("" for a private one). `service` is the
    name of the primary at the sentinels. `role`: a connection for the "primary" refuses a replica.
    `readonly`: the connection may read from a replica of a Cluster.
    """

    kind: Kind
    host: str = "localhost"
    port: int = 6379
    path: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    nodes: tuple[Address, ...] = ()
    service: str = ""
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    sentinel_tls: Tls | None = None
    role: Role = ""
    readonly: bool = False

    def __str__(self) -> str:
        if self.kind == "embedded":
            return f"embedded://{self.path}"
        who = ""
        if self.username or self.password:
            who = f"{quote(self.username or '')}{':***' if self.password else ''}@"
        if self.kind == "unix":
            return f"unix://{who}{self.path}" + (f"?db={self.db}" if self.db else "")
        scheme = "redis" if self.tls is None else "rediss"
        if self.kind == "tcp":
            return f"{scheme}://{who}{_shown(self.host, self.port)}/{self.db}"
        nodes = ",".join(_shown(*node) for node in self.nodes)
        end = f"/{quote(self.service, safe='')}/{self.db}" if self.kind == "sentinel" else ""
        return f"{scheme}+{self.kind}://{who}{nodes}{end}"


def with_address(target: Target, host: str, port: int, *, role: Role = "") -> Target:
    """One node of `target`, with the same credentials, TLS and database.

    `role`: "primary" makes the handshake refuse a replica; "replica" lets a Cluster's replica answer reads.
    """
    return Target(
        kind="tcp",
        host=host,
        port=port,
        db=target.db,
        username=target.username,
        password=target.password,
        tls=target.tls,
        role=role,
        readonly=role == "replica" and target.kind == "cluster",
    )


def sentinel_of(target: Target, host: str, port: int) -> Target:
    """One sentinel of `target`, with the credentials and TLS of the sentinels."""
    return Target(
        kind="tcp",
        host=host,
        port=port,
        username=target.sentinel_username,
        password=target.sentinel_password,
        tls=target.sentinel_tls,
    )


def with_tls(target: Target, tls: Tls) -> Target:
    """`target` over TLS, its sentinels too, unless its URL switched TLS on for the data nodes only.

    Raises: ConfigurationError for a unix socket and for an embedded server.
    """
    if target.kind in {"unix", "embedded"}:
        raise ConfigurationError(f"tls= is for servers that are reached by TCP, not for {target}")
    plain_sentinels = target.kind != "sentinel" or (target.tls is not None and target.sentinel_tls is None)
    return replace(target, tls=tls, sentinel_tls=None if plain_sentinels else tls)


def parse(url: str) -> Target:
    """The target that `url` names.

    Raises: ConfigurationError that names the offending part and the fix, never the password.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"url={type(url).__name__} must be a str such as 'redis://localhost:6379'")
    url = url.translate(_WHITE).strip()
    kind = _kind(url)
    scheme, _, rest = url.partition("://")
    match = _PARTS.match(rest)
    assert match is not None  # it matches anything
    netloc, path, query, fragment = (part or "" for part in match.groups())
    if kind in PORTS and "@" in f"{path}{query}{fragment}":
        text = "write '/', '?', '#' and '@' in a password as %2F, %3F, %23 and %40"
        raise ConfigurationError(f"{hide(url)!r}: {text}")
    options = _options(query, url, kind)
    if kind == "embedded":
        return _embedded(netloc, unquote(path), url)
    who, _, hosts = netloc.rpartition("@")
    username, _, password = who.partition(":")
    target = Target(
        kind=kind,
        username=unquote(username) if username else None,
        password=unquote(password) if password else None,
    )
    if kind == "unix":
        return _unix(target, hosts, unquote(path), options, url)
    nodes = _nodes(hosts, kind, url)
    tls, sentinel_tls = _tls(scheme.lower(), kind, options, url)
    target = replace(target, tls=tls, sentinel_tls=sentinel_tls)
    if kind == "sentinel":
        return _sentinel(replace(target, nodes=nodes), path, options, url)
    db = _database(path.strip("/") or options.get("db", "0"), url)
    if kind == "tcp":
        return replace(target, host=nodes[0][0], port=nodes[0][1], db=db)
    if db:
        raise ConfigurationError(f"{hide(url)!r}: a Cluster has only the database 0, not {db}")
    return replace(target, nodes=nodes)


def _kind(url: str) -> Kind:
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
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
    if "?" in before:  # is it the end of the credentials, or a part of what follows the question mark?
        before, after = before.partition("?")[0], "***"
    return f"{scheme}{separator}{before.partition(':')[0]}:***@{after}"


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _nodes(hosts: str, kind: Kind, url: str) -> tuple[Address, ...]:
    """The addresses in `hosts`, each once. By hand: urlsplit knows only one host, newer ones refuse more."""
    entries = hosts.split(",")
    if kind == "tcp":
        if len(entries) > 1:
            text = "several servers are written redis+sentinel://h1,h2/mymaster or redis+cluster://h1,h2"
            raise ConfigurationError(f"{hide(url)!r}: {text}")
        return (_node(hosts, kind, url, default="localhost"),)
    if not hosts:
        raise ConfigurationError(f"{hide(url)!r}: name a host, as in redis+{kind}://{_EXAMPLES[kind]}")
    return tuple(dict.fromkeys(_node(entry, kind, url) for entry in entries))


def _node(entry: str, kind: Kind, url: str, default: str = "") -> Address:
    form = "redis" if kind == "tcp" else f"redis+{kind}"
    match = _ENTRY.fullmatch(entry)
    if match is None:
        wrong = "the port is not a number from 0 to 65535, or an IPv6 address is not in brackets as in [::1]"
        raise ConfigurationError(f"{hide(url)!r}: {wrong}; write {form}://{_EXAMPLES[kind]}")
    bracketed, plain, port = match.groups()
    host, number = (bracketed or plain).lower() or default, int(port or PORTS[kind])
    if not host or number > 65535:
        wrong = "the port is not a number from 0 to 65535" if host else "a host is empty"
        raise ConfigurationError(f"{hide(url)!r}: {wrong}; write {form}://{_EXAMPLES[kind]}")
    return host, number


def _unix(target: Target, host: str, path: str, options: dict[str, str], url: str) -> Target:
    if host or not path:
        text = "a socket is written with three slashes, as in unix:///run/redis.sock"
        raise ConfigurationError(f"{hide(url)!r}: {text}")
    return replace(target, path=path, db=_database(options.get("db", "0"), url))


def _embedded(netloc: str, path: str, url: str) -> Target:
    if netloc:
        text = "a directory is written with three slashes, as in embedded:///var/lib/shop"
        raise ConfigurationError(f"{hide(url)!r}: {text}")
    return Target(kind="embedded", path=path.rstrip("/") or path)


def _sentinel(target: Target, path: str, options: dict[str, str], url: str) -> Target:
    service, _, db = path.strip("/").partition("/")
    if not service:
        text = "name the primary as the sentinels know it, as in redis+sentinel://h1,h2/mymaster"
        raise ConfigurationError(f"{hide(url)!r}: {text}")
    username, password = (options.get(f"sentinel_{what}") for what in ("username", "password"))
    if username and not password:
        raise ConfigurationError(f"{hide(url)!r}: sentinel_username needs sentinel_password")
    return replace(
        target,
        service=unquote(service),
        db=_database(db or options.get("db", "0"), url),
        sentinel_username=username or None,
        sentinel_password=password or None,
    )


def _tls(scheme: str, kind: Kind, options: dict[str, str], url: str) -> tuple[Tls | None, Tls | None]:
    """How data nodes and sentinels are spoken to."""
    brand, plus, form = scheme.partition("+")
    here = brand in {"rediss", "valkeys"}
    at_sentinels = options.get("sentinel_tls", "yes" if here else "no")
    if at_sentinels not in {"yes", "no"}:
        raise ConfigurationError(f"{hide(url)!r}: sentinel_tls={at_sentinels!r} must be yes or no")
    there = kind == "sentinel" and at_sentinels == "yes"
    chosen: dict[str, Any] = {name[4:]: options[name] for name in options if name in _TLS_OPTIONS}
    if chosen and not here and not there:
        name = next(iter(chosen))
        text = f"tls_{name} is for TLS; use {brand}s{plus}{form}://"
        raise ConfigurationError(f"{hide(url)!r}: {text}")
    try:
        tls = Tls(**chosen)
    except ConfigurationError as error:
        raise ConfigurationError(f"{hide(url)!r}: {error}") from None
    return tls if here else None, tls if there else None


def _options(query: str, url: str, kind: Kind) -> dict[str, str]:
    """The options after the question mark. Not by parse_qsl: it reads "+" as a blank, also in passwords."""
    options: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        options[unquote(name)] = unquote(value)
    allowed = {"db"} if kind != "embedded" else set()
    if kind in PORTS:
        allowed |= _TLS_OPTIONS
    if kind == "sentinel":
        allowed |= _SENTINEL_OPTIONS
    for name in options:
        if name in _TLS_OPTIONS and name not in allowed:
            raise ConfigurationError(f"{hide(url)!r}: {name} is for TLS; use rediss://")
        if name not in allowed:
            text = f"unknown option {name!r}; timeouts and such are arguments of Holdfast(...)"
            # What looks like an option may be the rest of a password.
            if "sentinel_password" in options and name not in _SENTINEL_OPTIONS:
                text = "an unknown option beside sentinel_password; write '&' in a password as %26"
            raise ConfigurationError(f"{hide(url)!r}: {text}")
    return options


def _database(text: str, url: str) -> int:
    if not text.isdecimal():
        raise ConfigurationError(
            f"{hide(url)!r}: the database {text!r} must be a number, as in redis://localhost:6379/0"
        )
    return int(text)
