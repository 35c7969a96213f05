"""What goes wrong around locks: Holdfast passes every probe that benchmarks/locks/probes.py shows beside its
peers, in both flavours. They play side by side, on one stage: most of their time they wait.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from benchmarks.locks import probes
from benchmarks.locks.actors import OURS, TTL, Actor
from benchmarks.locks.failovers import ALL
from benchmarks.locks.stage import stage

# Only tasks are cancelled; without a C compiler no server has a clock of its own.
MAY_BE_IDLE = {"cancelled while acquiring", "server's clock jumps"}
IN_ANOTHER_PROCESS = {"process frozen"}  # which knows none of the kinds of this file


@dataclass
class Article:
    """A lock as it stands in many an article."""

    client: Any
    name: str
    ttl: float | None

    async def acquire(self, wait: float) -> bool:
        for _ in range(12 if wait else 1):  # whatever the wait
            px = None if self.ttl is None else int(1000 * self.ttl)
            if await self.client.set(self.name, "locked", nx=True, px=px):
                return True
            await asyncio.sleep(0.33)
        return False

    async def release(self) -> None:
        if not await self.client.delete(self.name):
            raise RuntimeError("not locked")

    async def __aenter__(self) -> bool:
        return await self.acquire(0)

    async def __aexit__(self, *_: object) -> None:
        await self.release()


class ReadersOfArticles(Actor):
    """They have nothing against any mishap."""

    library, tasks = "article", True

    def lock(self, name: str, *, ttl: float = TTL, **_: Any) -> Any:
        return Article(self._client, name, ttl)

    def plain(self, name: str) -> Any:
        return Article(self._client, name, None)

    def section(self, name: str, wait: float) -> Any:
        return Article(self._client, name, TTL)

    def release_mark(self, name: str) -> bytes:
        return b"DEL"

    async def _acquire(self, lock: Any, wait: float) -> bool:
        return await lock.acquire(wait)


@pytest.fixture(scope="module")
def verdicts():
    def kinds(mishap):
        return [*OURS, *([] if mishap.name in IN_ANOTHER_PROCESS else [ReadersOfArticles])]

    async def play(where):
        found = []
        # Whoever starts a process stops all threads of this one for a moment: those play by themselves.
        for heavy in (True, False):
            those = [one for one in ALL if heavy == one.name.startswith(("process", "server", "failover"))]
            found += await asyncio.gather(*(probes.play([one], kinds(one), where) for one in those))
        return {(one.mishap.name, one.kind): one.verdict for each in found for one in each}

    with stage(rounds=1, cancels=40) as where:
        return asyncio.run(play(where))


@pytest.mark.parametrize("kind", OURS, ids=["threads", "tasks"])
@pytest.mark.parametrize("mishap", ALL, ids=lambda one: one.name)
def test_holdfast_passes(verdicts, mishap, kind):
    """The column of Holdfast in the documentation says "ok" in each line."""
    verdict = verdicts[mishap.name, kind]

    assert verdict.ok or (verdict.ok is None and mishap.name in MAY_BE_IDLE), verdict


@pytest.mark.parametrize(
    "mishap", [one for one in ALL if one.name not in IN_ANOTHER_PROCESS], ids=lambda one: one.name
)
def test_a_lock_of_an_article_does_not(verdicts, mishap):
    """A probe that nobody fails says nothing."""
    verdict = verdicts[mishap.name, ReadersOfArticles]

    assert not verdict.ok and not verdict.text.startswith("breaks"), verdict
