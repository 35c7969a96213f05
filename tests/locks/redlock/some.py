"""What the tests of Redlock share, for both flavours."""

from __future__ import annotations

from typing import Any

from holdfast.durations import seconds
from holdfast.embedded import IndependentLab
from holdfast.locks.redlock._async import AsyncRedlock
from holdfast.locks.redlock._sync import Redlock


def patient(options: dict[str, Any]) -> dict[str, Any]:
    """Options for a busy machine, with `options` among them."""
    ttl = seconds(options.get("ttl", "5m"))  # longer than any test waits: nothing is gone by itself
    return {"ttl": ttl, "wait": "20s", "node_timeout": min(1.0, ttl * 0.4)} | options


class AsyncOver:
    """`async with AsyncOver(lab, namespace) as lock:` a Redlock that is closed at the end."""

    def __init__(self, nodes: Any, namespace: str, name: str = "x", **options: Any) -> None:
        self.lock = AsyncRedlock(urls(nodes), name, namespace=namespace, **patient(options))

    async def __aenter__(self) -> AsyncRedlock:
        return self.lock

    async def __aexit__(self, *_: object) -> None:
        await self.lock.close(drain="5s")


class Over:
    """`with Over(lab, namespace) as lock:` a Redlock that is closed at the end."""

    def __init__(self, nodes: Any, namespace: str, name: str = "x", **options: Any) -> None:
        self.lock = Redlock(urls(nodes), name, namespace=namespace, **patient(options))

    def __enter__(self) -> Redlock:
        return self.lock

    def __exit__(self, *_: object) -> None:
        self.lock.close(drain="5s")


def urls(nodes: Any) -> Any:
    """What a lab, or a list, names."""
    return nodes.urls if isinstance(nodes, IndependentLab) else nodes


def left(lab: IndependentLab, lock: Any, part: str = "") -> list[int]:
    """On which nodes there is the key of `lock` (or what else it keeps)."""
    return [place for place, node in enumerate(lab.nodes) if node.ask("EXISTS", lock.key + part)]


def tombs(lab: IndependentLab, namespace: str) -> int:
    """How many tombstones there are."""
    return sum(len(node.ask("KEYS", f"{namespace}:*:x:*")) for node in lab.nodes)
