"""A lease that the garbage collector ends must not wait for the mutex.

Seen: a thread was being started under the mutex; in it, before it had said that it runs, the collector found
a forgotten lease, which wanted the mutex. Both waited for ever.
"""

from __future__ import annotations

import threading
import warnings
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast._wire.mutex import MUTEX


@pytest.mark.parametrize("kind", ["lock", "multilock", "observation"])
def test_the_collector_does_not_wait(hf: Holdfast, kind: str):
    lease: Any = {
        "lock": lambda: hf.lock("a").acquire(),
        "multilock": lambda: hf.multilock(["a", "b"]).acquire(),
        "observation": lambda: hf.leader("a").observe(),
    }[kind]()
    ended = threading.Event()

    def collect() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            lease.__del__()
        ended.set()

    with MUTEX:
        threading.Thread(target=collect, daemon=True).start()
        assert ended.wait(10)
    (lease.close if kind == "observation" else lease.release)()
