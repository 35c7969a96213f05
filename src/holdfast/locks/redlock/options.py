"""What can be chosen about a Redlock. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypedDict

from holdfast.durations import Duration, optional_seconds, seconds
from holdfast.errors import ConfigurationError
from holdfast.locks.holder import Holder
from holdfast.locks.options import HoldOptions

LEAST_TIMEOUT = 0.05  # seconds; below it a busy machine finds its nodes too slow
PART = 0.05  # of the ttl, that a node has for an answer
MOST = 0.9  # of the ttl, beyond which nothing would be left


class RedlockKeywords(TypedDict, total=False):
    """The arguments of a Redlock beside its nodes, its name and its ttl."""

    wait: Duration | None
    longest_lease: Duration | None
    node_timeout: Duration | None
    renew: bool
    max_hold: Duration | None
    label: str
    on_lost: Callable[[Any], object] | None
    on_danger: Callable[[Any], object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RedlockOptions(HoldOptions):
    """As HoldOptions says, without `on_wanted`.

    `longest_lease`: the longest ttl that anybody uses with this name; a node that was restarted does not
    count before so much time has passed. None: our own ttl. `node_timeout`: what one node has for an answer,
    connecting included, much less than the ttl. None: 5 % of the ttl, at least 50 ms.
    """

    ttl: Duration = "10s"
    longest_lease: Duration | None = None
    node_timeout: Duration | None = None
    longest_s: float = field(init=False, repr=False, compare=False)
    node_timeout_s: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        HoldOptions.__post_init__(self)
        if self.on_wanted is not None:
            raise ConfigurationError("on_wanted=...: nobody can ask for a Redlock back; leave it out")
        longest = optional_seconds(self.longest_lease, "longest_lease")
        longest = self.ttl_s if longest is None else longest
        if longest < self.ttl_s:
            raise ConfigurationError(
                f"longest_lease={self.longest_lease!r} is shorter than ttl={self.ttl!r}: a node could count "
                f"again while a lease that it has forgotten goes on; make it at least as long"
            )
        if self.node_timeout is None:
            patience = min(max(LEAST_TIMEOUT, self.ttl_s * PART), self.ttl_s / 4)
        else:
            patience = seconds(self.node_timeout, "node_timeout")
        if patience > self.ttl_s * MOST:
            raise ConfigurationError(
                f"node_timeout={self.node_timeout!r} must be much shorter than ttl={self.ttl!r}: the time "
                f"that the nodes take is taken from the lease"
            )
        object.__setattr__(self, "longest_s", longest)
        object.__setattr__(self, "node_timeout_s", patience)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedlockNode:
    """How one node of a Redlock stands.

    `server`: its name. `holder`: who has the lock there, None if nobody has, or the node did not answer.
    `uptime`: seconds, None if unknown. `counts`: would it count for a grant now? `error`: why it did not
    answer, "" if it did.
    """

    server: str
    holder: Holder | None = None
    uptime: float | None = None
    counts: bool = False
    error: str = ""
