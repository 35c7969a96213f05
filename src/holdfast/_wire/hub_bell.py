"""What wakes a hub's thread out of poll."""

from __future__ import annotations

import contextlib
import socket


class Bell:
    """Wakes the thread out of poll; ringing twice is as good as once."""

    def __init__(self) -> None:
        self.listener, self._button = socket.socketpair()
        self.listener.setblocking(False)
        self._button.setblocking(False)
        self._rung = False

    def ring(self) -> None:
        """Wake the thread, now or when it next would sleep."""
        if not self._rung:
            self._rung = True
            with contextlib.suppress(OSError):  # the thread has left
                self._button.send(b"\0")

    def hush(self) -> None:
        """Called by the thread before it looks at the books, so that no later ring is lost."""
        with contextlib.suppress(OSError):
            self.listener.recv(4096)
        self._rung = False

    def close(self) -> None:
        """No more ringing."""
        self.listener.close()
        self._button.close()
