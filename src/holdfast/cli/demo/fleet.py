"""All worker processes, as the demo sees them. They hold no resource that outlives the demo's end."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from typing import Self

from holdfast.cli.demo.messages import Failed, Go, Line, Phase, Ready, Setup, ToDemo
from holdfast.errors import Unavailable

_READY = 30.0  # seconds to start Python and connect


class Fleet:
    """The readers and the writer; a context manager. `size`: how many there are."""

    def __init__(self, size: int) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (closed in stop): what they say before they die
        self._workers: list[tuple[Line, subprocess.Popen[bytes]]] = []
        try:
            for _ in range(size):
                self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        line, theirs = Line.pair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "holdfast.cli.demo.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._words,
                stderr=self._words,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the demo alone
            )
        self._workers.append((line, process))

    def set_up(self, setups: list[Setup]) -> None:
        """Tell each who it is."""
        for (line, _), setup in zip(self._workers, setups, strict=True):
            with contextlib.suppress(OSError):  # `hear` will say more
                line.send(setup)

    def prepare(self, phase: Phase) -> None:
        """Return when all are ready for `phase`."""
        self._tell(phase)
        waiting = len(self._workers)
        give_up = time.monotonic() + _READY
        while waiting:
            if time.monotonic() > give_up:
                raise Unavailable(f"a worker process is not ready after {_READY:g} s")
            waiting -= sum(isinstance(message, Ready) for message in self.hear(0.1))

    def go(self, go: Go) -> None:
        """Have them begin."""
        self._tell(go)

    def hear(self, timeout: float) -> Iterator[ToDemo]:
        """What the workers say within `timeout` seconds. Raises: Unavailable if one failed."""
        lines = {line.connection: line for line, _ in self._workers}
        for ready in wait(list(lines), timeout):
            try:
                message = lines[ready].hear()  # type: ignore[index]  # (we asked for nothing but connections)
            except EOFError:
                raise Unavailable(f"a worker process ended: {self._last_words()}") from None
            if isinstance(message, Failed):
                raise Unavailable(f"a worker process failed: {message.text}")
            yield message

    def stop(self) -> None:
        """End them all, and return when they are gone. They hold nothing that wants a goodbye."""
        for _, process in self._workers:
            process.kill()
        for line, process in self._workers:
            process.wait()
            line.close()
        self._words.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _tell(self, order: Phase | Go) -> None:
        for line, _ in self._workers:
            with contextlib.suppress(OSError):  # `hear` will say more
                line.send(order)

    def _last_words(self) -> str:
        self._words.seek(0)
        return self._words.read().decode(errors="replace")[-2000:] or "without a word"
