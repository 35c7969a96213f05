# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What effects publish into another slot of a Cluster: from the outbox in their own slot to its stream.

An entry of the outbox is published under a dedup id made of its own place, and deleted after that; so
whatever dies in between, it arrives once (within an hour: so long the id is remembered).
"""

from __future__ import annotations

import msgspec

from holdfast.streams._desk_async import AsyncDesk
from holdfast.streams.layout import Partition
from holdfast.streams.record import Item, named

REMEMBERED_MS = 3_600_000
LIMIT = 100


async def relay(desk: AsyncDesk, part: Partition) -> None:
    """Publish what is in the outbox of `part`, at most LIMIT entries.

    Raises: Unavailable, Refused, Closed.
    """
    for id, flat in await desk.wire.execute("XRANGE", part.outbox, "-", "+", "COUNT", LIMIT):
        found = named(flat)
        target = Partition(found[b"to"].decode(), 0)
        fields = msgspec.msgpack.decode(found[b"fields"])
        dedup = f"{part.stream}:{id.decode()}"
        await desk.publish(target, [Item("", dedup, fields)], window_ms=REMEMBERED_MS)
        await desk.wire.execute("XDEL", part.outbox, id, retry="safe")
