"""Processes that consume, to be stopped, killed and forked."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from tests.locks.actors import Actor, actor

_WORKER = """
from holdfast.streams.options import Backoff
numbers = hf.stream("numbers", key=lambda number: number % 4)
threading.Thread(target=lambda: (hear(), hf.stop()), daemon=True).start()
"""


def worker(server: Any, namespace: str, code: str) -> AbstractContextManager[Actor]:
    """A process with a stream `numbers` that runs `code`; it stops when it hears a line."""
    return actor(server, namespace, _WORKER + code)
