"""Calls side by side: threads, or tasks of one event loop. Both halves by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LONGEST = 30.0  # seconds


class AsyncCrew:
    """Tasks."""

    @staticmethod
    async def all(calls: Sequence[Callable[[], Any]], *, errors: bool = False) -> list[Any]:
        """What `calls` come to; with `errors`, what they raise is among it."""
        async with asyncio.timeout(LONGEST):
            return await asyncio.gather(*(call() for call in calls), return_exceptions=errors)


class Crew:
    """Threads."""

    @staticmethod
    def all(calls: Sequence[Callable[[], Any]], *, errors: bool = False) -> list[Any]:
        """What `calls` come to; with `errors`, what they raise is among it."""

        def outcome(call: Callable[[], Any]) -> Any:
            try:
                return call()
            except Exception as error:
                if errors:
                    return error
                raise

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(outcome, calls, timeout=LONGEST))
