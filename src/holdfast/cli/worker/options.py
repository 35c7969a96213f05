"""What `holdfast worker` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError

MOST_PROCESSES = 256


@dataclass(frozen=True, kw_only=True)
class Options:
    """`target`: MODULE:ATTRIBUTE of the client. `groups`: those to run, all by default. `processes`: how many
    run them. `health_host`, `health_port`: where /health answers; port None: nowhere, 0: any free one.
    `drain`: how long what is in work may take at the end. `log`: how lines of the log are written.
    """

    target: str
    groups: tuple[str, ...] | None = None
    processes: int = 1
    health_host: str = "127.0.0.1"
    health_port: int | None = None
    drain: Duration = "10s"
    log: Literal["text", "json"] = "text"

    def __post_init__(self) -> None:
        module, colon, attribute = self.target.partition(":")
        if not (colon and module and attribute):
            raise ConfigurationError(f"{self.target!r}: write MODULE:ATTRIBUTE, as in shop.app:hf")
        if not 1 <= self.processes <= MOST_PROCESSES:
            raise ConfigurationError(f"--processes {self.processes}: at least 1, at most {MOST_PROCESSES}")
        if self.health_port is not None and not 0 <= self.health_port <= 65535:
            raise ConfigurationError(f"--health-port {self.health_port}: a port is at most 65535")
        if self.groups is not None and not self.groups:
            raise ConfigurationError("--groups names none; leave it out to run all")
        seconds(self.drain, "--drain", zero=True)

    @property
    def patience(self) -> float:
        """`drain` in seconds."""
        return seconds(self.drain, "--drain", zero=True)
