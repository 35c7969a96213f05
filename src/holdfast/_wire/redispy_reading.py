"""How to read a reply from a redis-py connection within a time: its two flavours differ, so both halves by
hand.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any


class AsyncReading:
    """With asyncio, `read_response(timeout=...)` answers a time-out with None, which is a reply: keep time
    ourselves.
    """

    @staticmethod
    async def read(connection: Any, timeout: float) -> Any:
        """The next reply, undecoded. Raises: TimeoutError, and redis-py's exceptions, error replies
        included.
        """
        async with asyncio.timeout(timeout):
            return await connection.read_response(disable_decoding=True, timeout=math.inf)


class Reading:
    """In threads it raises."""

    @staticmethod
    def read(connection: Any, timeout: float) -> Any:
        """The next reply, undecoded. Raises: redis-py's exceptions, TimeoutError and error replies
        included.
        """
        return connection.read_response(disable_decoding=True, timeout=timeout)
