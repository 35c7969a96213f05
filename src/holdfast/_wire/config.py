"""Config files -> the arguments of a client. YAML and TOML, in two shapes.

Ours names the arguments; everything may also stand below a `holdfast:` table:

    url: redis://cache.internal:6379/0
    namespace: shop
    timeout: 2s

The flat shape that many articles print is read too:

    redis:
      address: ["10.0.0.5:6379"]
      password: secret
      db: 0

An unknown key is an error: a misspelt timeout must not become a default. Precedence: argument > file >
environment > default.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import quote

from holdfast.errors import ConfigurationError

SETTINGS = frozenset({"url", "namespace", "timeout", "connect_timeout", "max_connections", "transport"})
_FLAT = frozenset(
    {
        "address",
        "addresses",
        "host",
        "port",
        "username",
        "password",
        "db",
        "failover_cluster",
        "master_name",
        *SETTINGS,
    }
)


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
    return found


def _flat(table: Any, where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigurationError(f"{where}: 'redis' must hold a table with 'address', 'password', 'db'")
    for name in table:
        if name not in _FLAT:
            raise ConfigurationError(
                f"{where}: unknown setting 'redis.{name}'; known are {', '.join(sorted(_FLAT))}"
            )
    if table.get("failover_cluster") or table.get("master_name"):
        raise ConfigurationError(
            f"{where}: redis.failover_cluster means Sentinel, which is not in this release; name one server"
        )
    result = {name: table[name] for name in SETTINGS if name in table}
    if "url" not in result:
        result["url"] = _url(table, where)
    return result


def _url(table: dict[str, Any], where: str) -> str:
    named = table.get("address", table.get("addresses"))
    addresses = [named] if isinstance(named, str) else list(named or [])
    if not addresses and "host" in table:
        addresses = [f"{table['host']}:{table.get('port', 6379)}"]
    if len(addresses) != 1:
        raise ConfigurationError(
            f"{where}: redis.address must name one server, as in ['10.0.0.5:6379'], not {len(addresses)}"
        )
    who = quote(str(table.get("username") or ""), safe="")
    if table.get("password"):
        who += ":" + quote(str(table["password"]), safe="")
    return f"redis://{who}{'@' if who else ''}{addresses[0]}/{table.get('db', 0)}"
