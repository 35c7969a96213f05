"""Calls side by side: threads, or tasks of one event loop. Both halves by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LONGEST = 30.0  # seconds


class AsyncCrew:
    """Tasks."""

    @staticmethod
    async def all(calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """What `calls` come to."""
        async with asyncio.timeout(LONGEST):
            return await asyncio.gather(*(call() for call in calls))

    @staticmethod
    async def rest(seconds: float) -> None:
        """Let the others work."""
        await asyncio.sleep(seconds)


class Crew:
    """Threads."""

    @staticmethod
    def all(calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """What `calls` come to."""
        with ThreadPoolExecutor(len(calls)) as pool:
            futures = [pool.submit(call) for call in calls]
            return [future.result(LONGEST) for future in futures]

    @staticmethod
    def rest(seconds: float) -> None:
        """Let the others work."""
        time.sleep(seconds)
