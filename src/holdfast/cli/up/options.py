"""What the command line asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import ConfigurationError

TOPOLOGIES = ("single", "sentinel", "cluster", "redlock")

# Which topologies an option is for; the others are for all of them.
_ONLY = {
    "keep": ("single", "sentinel"),
    "replicas": ("sentinel", "cluster"),
    "sentinels": ("sentinel",),
    "primaries": ("cluster",),
    "count": ("redlock",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`topology`: one of TOPOLOGIES. `password`: of every node; None for random ones, "" for none.

    `keep`: where data is to stay. `replicas`, `sentinels`, `primaries`, `count`: how many, None for the usual
    number. `seconds`: when to end by itself. `command`: what to run instead of waiting. `json`: print nothing
    but one object.
    """

    topology: str = "single"
    tls: bool = False
    password: str | None = None
    keep: Path | None = None
    replicas: int | None = None
    sentinels: int | None = None
    primaries: int | None = None
    count: int | None = None
    binary: str | None = None
    seconds: float | None = None
    json: bool = False
    command: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, topologies in _ONLY.items():
            value = getattr(self, name)
            if value is not None and self.topology not in topologies:
                raise ConfigurationError(
                    f"--{name} {value} is for {' and '.join(topologies)}, not for {self.topology}"
                    + (_KEEPING if name == "keep" else "")
                )
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise ConfigurationError(f"--for {self.seconds:g}: it takes seconds, more than 0")
        if self.command is not None:
            self._check_command(self.command)
        if self.keep is not None and self.topology == "sentinel":
            _check_new(self.keep)

    def _check_command(self, command: tuple[str, ...]) -> None:
        if not command:
            raise ConfigurationError("there is no command behind --")
        if self.seconds is not None:
            raise ConfigurationError(
                f"--for {self.seconds:g}: a command behind -- ends by itself; leave one out"
            )
        if self.json:
            raise ConfigurationError(
                "--json: what the command behind -- prints would follow it; the command finds the URL in"
                " HOLDFAST_URL"
            )

    def sizes(self) -> dict[str, int]:
        """How many of what, where the command line said so."""
        asked = {name: getattr(self, name) for name in ("replicas", "sentinels", "primaries", "count")}
        return {name: value for name, value in asked.items() if value is not None}


_KEEPING = (
    ": its nodes begin empty each time. `single` goes on with the data that is there, and `sentinel` leaves"
    " data and logs behind, to look at"
)


def _check_new(folder: Path) -> None:
    try:
        used = any(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"--keep {folder}: {error.strerror}") from error
    if used:
        raise ConfigurationError(
            f"--keep {folder}: it is not empty, and the nodes of `sentinel` begin empty each time: name a new"
            " directory, in which they will leave data and logs. Only `single` goes on with what is there"
        )
