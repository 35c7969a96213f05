"""How safe a write must be before it counts as done. Pure.

A primary answers before its replicas have the write. If it then dies, the write can be gone although it was
acknowledged. WAIT lets the caller wait for the replicas, WAITAOF for the disks; both answer with a count, and
a count that is too small is an error here, never a detail to overlook.

Promise: no error means that so many replicas had the write (with `disk`: on their disks, and on the
primary's). Not promised: that a failover then picks one of those replicas. Sentinel and Cluster prefer the
one that is furthest, so with `replicas` = all but one it does. A write that raises NotDurable is not taken
back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast._wire.transport import Command, ReplyError
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError, NotDurable, UnsafeServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Durability:
    """A write is done when `replicas` replicas have it, within the duration `within`; with `disk`, when it is
    on their disks and on the primary's (which takes up to a second: the server reports disks once a second).

    Raises: ConfigurationError for a policy that asks for nothing.
    """

    replicas: int = 1
    within: Duration = "1s"
    disk: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.replicas, bool) or not isinstance(self.replicas, int) or self.replicas < 0:
            raise ConfigurationError(
                f"Durability(replicas={self.replicas!r}) must be a whole number, 0 or more"
            )
        if not self.replicas and not self.disk:
            raise ConfigurationError(
                "Durability(replicas=0) asks for nothing; add disk=True, or leave it out"
            )
        seconds(self.within, "within")

    @property
    def patience(self) -> float:
        """Seconds for which to wait."""
        return seconds(self.within, "within")

    @property
    def command(self) -> Command:
        """What to send behind the write, on the same connection."""
        milliseconds = max(1, round(self.patience * 1000))  # 0 would mean "for ever"
        if self.disk:
            return ("WAITAOF", 1, self.replicas, milliseconds)
        return ("WAIT", self.replicas, milliseconds)

    def check(self, reply: Any, what: str, server: str) -> None:
        """Judge the count that the server answered.

        Raises: NotDurable if it is too small; UnsafeServer if the server cannot tell (no AOF, too old).
        """
        done = f"{what} was executed on {server}, but "
        if isinstance(reply, ReplyError):
            raise UnsafeServer(f"{done}whether it is safe cannot be known: {reply}")
        local, replicas = reply if isinstance(reply, list) else (1, reply)
        if int(replicas) < self.replicas or (self.disk and int(local) < 1):
            where = "have it on disk" if self.disk else "have it"
            own = " and its own disk does not" if self.disk and int(local) < 1 else ""
            seen = f"only {replicas} of {self.replicas} replicas {where}{own} after {self.patience:.3g} s"
            raise NotDurable(
                f"{done}{seen}; it may be lost if the primary fails now",
                confirmed=int(replicas),
                wanted=self.replicas,
            )
