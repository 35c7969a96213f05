"""Who waits for a lock while a test looks at it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast.errors import LockError

Run = Callable[..., Any]

everywhere_once = pytest.mark.parametrize("topology", ["single", "cluster"])


@contextmanager
def waiter(hf: Holdfast, name: str, **options: Any) -> Iterator[None]:
    """A thread that waits for the lock `name` until this is left; then nobody holds it."""

    def wait() -> None:
        with contextlib.suppress(LockError):
            hf.lock(name, wait="60s", **options).acquire().release()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield
    finally:
        hf.lock(name).force_release()
        thread.join(30)
        assert not thread.is_alive()


def until(look: Callable[[], Any], is_so: Callable[[Any], bool]) -> Any:
    """What `look` returns once `is_so`."""
    give_up = time.monotonic() + 20
    while not is_so(found := look()):
        assert time.monotonic() < give_up, found
        time.sleep(0.02)
    return found
