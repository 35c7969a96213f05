"""Config files -> the arguments of a client. YAML and TOML, in two shapes.

Ours names the arguments; everything may also stand below a `holdfast:` table:

    url: redis://cache.internal:6379/0
    namespace: shop
    timeout: 2s
    tls: {ca: ca.pem, cert: client.pem, key: client.key}    # or `tls: true`; also `name` and `verify`

The flat shape that many articles print is read too, for one server, for Sentinel and for Cluster:

    redis:
      address: ["10.0.0.5:6379"]
      password: secret
      db: 0

    redis:
      failover_cluster: true
      master_name: mymaster
      address: ["10.0.0.5:26379", "10.0.0.6:26379", "10.0.0.7:26379"]
      password: secret
      sentinel_password: other        # and sentinel_username; without it the sentinels ask for none

    redis:
      startup_nodes: ["10.0.0.5:6379", {host: 10.0.0.6, port: 6379}]    # or `cluster: true` with `address`

An unknown key is an error: a misspelt timeout must not become a default. Precedence: argument > file >
environment > default.
"""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from holdfast._wire.url import Tls
from holdfast.errors import ConfigurationError

SETTINGS = frozenset(
    {"url", "namespace", "timeout", "connect_timeout", "max_connections", "tls", "transport"}
)
_FLAT = frozenset(
    {
        "address",
        "addresses",
        "cluster",
        "db",
        "failover_cluster",
        "host",
        "master_name",
        "password",
        "port",
        "sentinel_password",
        "sentinel_username",
        "startup_nodes",
        "username",
        *SETTINGS,
    }
)
_TLS = tuple(one.name for one in fields(Tls) if one.name != "context")


def read(path: str | Path) -> dict[str, Any]:
    """The settings in the file at `path` (.yaml, .yml or .toml), as keyword arguments.

    Raises: ConfigurationError that names the file, the key and the fix.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"config file {str(file)!r} is not UTF-8 text") from None
    except OSError as error:
        raise ConfigurationError(
            f"config file {str(file)!r} cannot be read: {error.strerror or error}"
        ) from error
    return settings(_parse(file, text), str(file))


def _parse(file: Path, text: str) -> Any:
    if file.suffix == ".toml":
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"config file {str(file)!r} is no TOML: {error}") from error
    if file.suffix not in {".yaml", ".yml"}:
        raise ConfigurationError(f"config file {str(file)!r} must end in .yaml, .yml or .toml")
    try:
        import yaml
    except ImportError as error:
        raise ConfigurationError(
            'reading YAML needs PyYAML: pip install "holdfast[yaml]", or write the file as TOML'
        ) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        # Only the place: the parser's own words quote the line, which may hold the password.
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError(f"config file {str(file)!r} is no YAML{place}") from None


def settings(content: Any, where: str) -> dict[str, Any]:
    """The keyword arguments that `content` (a parsed file) stands for; `where` names it in errors.

    Raises: ConfigurationError for an unknown key or a value of the wrong kind.
    """
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"{where}: a config file holds a table of settings such as 'url: redis://localhost:6379'"
        )
    outer = content.get("holdfast", content) if set(content) == {"holdfast"} else content
    if not isinstance(outer, dict):
        raise ConfigurationError(f"{where}: 'holdfast' must hold a table of settings")
    if "redis" in outer:
        rest = {name: value for name, value in outer.items() if name != "redis"}
        return {**_checked(_flat(outer["redis"], where), where), **_checked(rest, where)}
    return _checked(dict(outer), where)


def _checked(found: dict[str, Any], where: str) -> dict[str, Any]:
    for name in found:
        if name not in SETTINGS:
            raise ConfigurationError(
                f"{where}: unknown setting {name!r}; known are {', '.join(sorted(SETTINGS))}"
            )
    return {**found, "tls": _tls(found["tls"], where)} if "tls" in found else found


def _tls(told: Any, where: str) -> Tls | bool | None:
    if told is None or isinstance(told, bool):
        return told
    if not isinstance(told, dict):
        raise ConfigurationError(f"{where}: 'tls' must be true, or a table of {', '.join(_TLS)}")
    for name in told:
        if name not in _TLS:
            raise ConfigurationError(f"{where}: unknown setting 'tls.{name}'; known are {', '.join(_TLS)}")
    try:
        return Tls(**told)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _flat(table: Any, where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigurationError(f"{where}: 'redis' must hold a table with 'address', 'password', 'db'")
    for name in table:
        if name not in _FLAT:
            raise ConfigurationError(
                f"{where}: unknown setting 'redis.{name}'; known are {', '.join(sorted(_FLAT))}"
            )
    result = {name: table[name] for name in SETTINGS if name in table}
    if "url" not in result:
        result["url"] = _url(table, where)
    return result


def _url(table: dict[str, Any], where: str) -> str:
    sentinel = _flag(table, "failover_cluster", "master_name", where)
    cluster = _flag(table, "cluster", "startup_nodes", where)
    nodes = _nodes(table, where)
    who = _word(table.get("username"))
    if table.get("password"):
        who += ":" + _word(table["password"])
    start = f"{who}{'@' if who else ''}{','.join(nodes)}"
    if sentinel and cluster:
        raise ConfigurationError(f"{where}: redis.failover_cluster and redis.cluster exclude each other")
    if (sentinel or cluster) and not nodes:
        raise ConfigurationError(
            f"{where}: redis.address must name the {'sentinels' if sentinel else 'nodes'}"
        )
    db = table.get("db") or 0
    if cluster:
        return f"redis+cluster://{start}/{db}"
    if sentinel:
        return f"redis+sentinel://{start}/{_service(table, where)}/{db}{_sentinel_options(table)}"
    if len(nodes) != 1:
        raise ConfigurationError(
            f"{where}: redis.address must name one server, as in ['10.0.0.5:6379'], not {len(nodes)}; "
            "several need 'failover_cluster: true' and a 'master_name' (Sentinel), or 'cluster: true'"
        )
    return f"redis://{start}/{db}"


def _flag(table: dict[str, Any], name: str, sign: str, where: str) -> bool:
    """Whether the table says `name`; without a word about it, whether there is a `sign` of it."""
    told = table.get(name)
    if told is not None and not isinstance(told, bool):
        raise ConfigurationError(f"{where}: redis.{name} must be true or false")
    return bool(table.get(sign)) if told is None else told


def _nodes(table: dict[str, Any], where: str) -> list[str]:
    """The addresses in the table, as a URL has them."""
    names = [name for name in ("address", "addresses", "startup_nodes") if table.get(name)]
    if len(names) > 1:
        raise ConfigurationError(f"{where}: redis.{names[0]} and redis.{names[1]} say the same; keep one")
    named = table[names[0]] if names else []
    if not named and "host" in table:
        named = [{"host": table["host"], "port": table.get("port")}]
    return [_node(one, where) for one in (named if isinstance(named, list) else [named])]


def _node(named: Any, where: str) -> str:
    port = None
    if isinstance(named, dict) and set(named) <= {"host", "port"}:
        named, port = named.get("host"), named.get("port")
    if not isinstance(named, str) or not named:
        raise ConfigurationError(
            f"{where}: redis.address holds texts such as '10.0.0.5:6379', or host and port"
        )
    if named.count(":") > 1 and not named.startswith("["):
        named = f"[{named}]"
    return named if port is None else f"{named}:{port}"


def _service(table: dict[str, Any], where: str) -> str:
    if not table.get("master_name"):
        raise ConfigurationError(
            f"{where}: redis.failover_cluster needs redis.master_name, the primary's name at the sentinels"
        )
    return _word(table["master_name"])


def _sentinel_options(table: dict[str, Any]) -> str:
    names = [name for name in ("sentinel_username", "sentinel_password") if table.get(name)]
    options = "&".join(f"{name}={_word(table[name])}" for name in names)
    return f"?{options}" if options else ""


def _word(value: Any) -> str:
    return quote(str(value or ""), safe="")
