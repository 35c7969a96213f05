"""What tests of streams look at: types of values, and what the server keeps. Both flavours by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic

from holdfast import AsyncHoldfast, Holdfast
from holdfast.streams.options import Backoff
from tests.cache.crowd import Observer

AT_ONCE = Backoff(0)


@dataclass
class Order:
    id: int
    amount: int = 1


class Invoice(msgspec.Struct):
    order: int


class Parcel(pydantic.BaseModel):
    weight: int
    to: str = "home"


def watched(ahf: AsyncHoldfast | Holdfast) -> Observer:
    """Everything that this client tells from now on."""
    observer = ahf._wire.observer = Observer()  # type: ignore[assignment]
    return observer


class AsyncLook:
    """What the server keeps."""

    @staticmethod
    async def dead(ahf: AsyncHoldfast, stream: Any, group: str) -> list[tuple[bytes, bytes, bytes]]:
        """Dead letters of all partitions: id, deliveries, error."""
        found = []
        for part in stream._desk.layout.parts:
            for _, flat in await ahf.execute("XRANGE", part.group(group).dead, "-", "+"):
                named = dict(zip(flat[::2], flat[1::2], strict=True))
                found.append((named[b"~id"], named[b"~deliveries"], named[b"~error"]))
        return found

    @staticmethod
    async def pending(ahf: AsyncHoldfast, stream: Any, group: str) -> int:
        """Entries that are delivered and not acknowledged."""
        counts = [await ahf.execute("XPENDING", part.stream, group) for part in stream._desk.layout.parts]
        return sum(one[0] for one in counts)


class Look:
    """What the server keeps."""

    @staticmethod
    def dead(ahf: Holdfast, stream: Any, group: str) -> list[tuple[bytes, bytes, bytes]]:
        """Dead letters of all partitions: id, deliveries, error."""
        found = []
        for part in stream._desk.layout.parts:
            for _, flat in ahf.execute("XRANGE", part.group(group).dead, "-", "+"):
                named = dict(zip(flat[::2], flat[1::2], strict=True))
                found.append((named[b"~id"], named[b"~deliveries"], named[b"~error"]))
        return found

    @staticmethod
    def pending(ahf: Holdfast, stream: Any, group: str) -> int:
        """Entries that are delivered and not acknowledged."""
        counts = [ahf.execute("XPENDING", part.stream, group) for part in stream._desk.layout.parts]
        return sum(one[0] for one in counts)
