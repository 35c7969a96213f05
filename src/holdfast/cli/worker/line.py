"""The line between a supervisor and one of its processes: JSON, a line each, both ways.

It is also how each learns that the other is gone: the kernel closes the end of a dead process, however it
died. A thread reads. Whoever speaks waits two seconds at most: a frozen process must not stop the other.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

_SEND = struct.pack("ll", 2, 0)  # seconds, microseconds

Message = dict[str, Any]


class Line:
    """One end. `hear` is called with each message and `gone` at the end, both in the thread that reads."""

    def __init__(
        self, sock: socket.socket, hear: Callable[[Message], None], gone: Callable[[], None]
    ) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND)
        self._sock = sock
        self._turn = threading.Lock()
        self._asked: dict[int, queue.SimpleQueue[Any]] = {}
        self._numbers = itertools.count(1)
        self._hear, self._gone = hear, gone
        self._reader = threading.Thread(target=self._read, name="holdfast-worker-line", daemon=True)
        self._reader.start()

    def tell(self, **message: Any) -> bool:
        """Send `message`; False if nobody takes it."""
        try:
            with self._turn:
                self._sock.sendall(json.dumps(message, default=str).encode() + b"\n")
        except OSError:
            self.close()  # half a line may have left: nothing behind it could be read
            return False
        return True

    def ask(self, what: str) -> Callable[[float], Any]:
        """Ask the other end; what is returned gives the answer within so many seconds, else None."""
        number, box = next(self._numbers), queue.SimpleQueue[Any]()
        self._asked[number] = box
        if not (self.tell(ask=what, number=number) and self._reader.is_alive()):
            box.put(None)  # nobody is there to answer

        def answer(patience: float) -> Any:
            try:
                return box.get(timeout=patience)
            except queue.Empty:
                return None
            finally:
                self._asked.pop(number, None)

        return answer

    def end(self, patience: float) -> None:
        """Hear what the other end, which is dead, still had to say, then hang up."""
        self._reader.join(patience)
        self.close()

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads, which closes it

    def _read(self) -> None:
        with self._sock, contextlib.suppress(OSError, ValueError), self._sock.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                if "answer" in message:
                    if (box := self._asked.get(message["number"])) is not None:
                        box.put(message["answer"])
                else:
                    self._hear(message)
        for box in list(self._asked.values()):
            box.put(None)
        self._gone()
