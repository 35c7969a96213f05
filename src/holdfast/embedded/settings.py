"""The configuration file of an embedded server, as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.errors import ConfigurationError

# A private server is for one run: it writes nothing to the disk.
PRIVATE = {"save": '""', "appendonly": "no"}

# A kept one loses at most the second between two fsyncs of its log; a snapshot at its end would add nothing
# but time.
KEPT = {"save": "900 1", "appendonly": "yes", "appendfsync": "everysec", "shutdown-on-sigterm": "nosave"}

_COMMON = {"daemonize": "no", "bind": "127.0.0.1", "protected-mode": "yes", "unixsocketperm": "700"}
_OURS = ("dir", "port", "unixsocket", "requirepass", "daemonize", "logfile")


def settings(*, kept: bool, port: int, password: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Every line of the file but those that hold paths; `extra` wins.

    Raises: ConfigurationError if `extra` sets what embedding itself decides, or breaks out of its line.
    """
    for name, value in extra.items():
        if name.lower() in _OURS:
            raise ConfigurationError(
                f"config[{name!r}] is decided by embedding; use the arguments of start()"
            )
        if "\n" in name + value:
            raise ConfigurationError(f"config[{name!r}]={value!r} must be one line")
    lines = _COMMON | (KEPT if kept else PRIVATE) | {"port": str(port)}
    if password:
        lines["requirepass"] = quote(password)
    return lines | {name.lower(): value or '""' for name, value in extra.items()}


def text(lines: Mapping[str, str], *, home: str, socket_path: str) -> str:
    """The file, for a server that keeps its data in `home` and listens at `socket_path`."""
    whole = dict(lines) | {"dir": quote(home), "unixsocket": quote(socket_path)}
    return "".join(f"{name} {value}\n" for name, value in whole.items())


def quote(value: str) -> str:
    """`value` as one word of the file, whatever it contains."""
    plain = (
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in value.encode()
    )
    return f'"{"".join(plain)}"'
