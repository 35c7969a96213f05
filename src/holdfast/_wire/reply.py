"""Raw replies -> values, for RESP2 and RESP3 alike. Pure."""

from __future__ import annotations

from typing import Any


def text(reply: Any) -> str:
    """A reply of text: bytes or str."""
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)


def mapping(reply: Any) -> dict[str, Any]:
    """A reply of pairs: a RESP3 map, or RESP2's flat list."""
    if isinstance(reply, dict):
        return {text(key): value for key, value in reply.items()}
    return {text(key): value for key, value in zip(reply[::2], reply[1::2], strict=True)}


def info(reply: Any) -> dict[str, str]:
    """What INFO printed, as a mapping."""
    lines = (line for line in text(reply).splitlines() if ":" in line and not line.startswith("#"))
    return {name: value for name, _, value in (line.partition(":") for line in lines)}
