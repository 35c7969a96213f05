# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Whether the servers of a room that keeps the only copy of something may throw it away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from holdfast._signals import ServerWarning
from holdfast._wire._async import AsyncWire
from holdfast._wire.script import Script

POLICY = Script.load(__package__, "policy")


async def require_keeping(
    wire: AsyncWire, keys: Iterable[str], what: str, consequence: str, *, accept_loss: bool
) -> None:
    """Make sure that no server of these keys evicts what `what` alone has; `consequence` is what to warn of
    where a server has no AOF. `keys`: one of each slot.

    Raises: UnsafeServer (not with `accept_loss`), Unavailable, Refused.
    """
    without_aof = False
    for key in keys:
        policy, aof = await wire.run(POLICY, (key,))
        facts = replace(await wire.facts(), eviction_policy=policy.decode() or None)
        facts.require_keeping(what, accept_loss=accept_loss)
        without_aof = without_aof or aof == b"0"
    if without_aof:
        wire.observer.notify(ServerWarning(server=wire.name, setting="appendonly", consequence=consequence))
