"""What the demo and its worker processes tell each other, and how: msgpack over a socket pair.

    demo -> worker    Setup once; then for each phase: Phase, Go; the end of the connection ends the worker
    worker -> demo    Ready after Phase; Tick now and then; at the end of the phase ReaderLog or WriterLog;
                      Failed when it cannot go on

Columns of numbers travel as bytes of an `array`, so that a million reads cost the demo little. Times are
seconds of the system's monotonic clock.
"""

from __future__ import annotations

import socket
from array import array
from multiprocessing.connection import Connection
from typing import Literal

from msgspec import Struct, msgpack

WayName = Literal["database", "textbook", "holdfast"]


class Setup(Struct, tag=True, frozen=True):
    """Who the worker is. `codes`: of the airports; `requests`: which of them are asked for, as numbers ("I").

    A reader answers the requests `first`, `first + stride`, ... with one lane per thread.
    `updates`: offset into the phase and airport, for the writer.
    """

    role: Literal["reader", "writer"]
    dsn: str
    codes: list[str]
    requests: bytes = b""
    threads: int = 1
    first: int = 0
    stride: int = 1
    updates: list[tuple[float, int]] = []


class Phase(Struct, tag=True, frozen=True):
    """Prepare for a phase: how pages are served, through which server, under which names."""

    way: WayName
    url: str
    namespace: str


class Go(Struct, tag=True, frozen=True):
    """Begin and end at these times."""

    start: float
    stop: float


class Ready(Struct, tag=True, frozen=True):
    """Prepared."""


class Tick(Struct, tag=True, frozen=True):
    """What a reader did since its last tick; `latencies` is a sample, in seconds."""

    reads: int
    loads: int
    errors: int
    latencies: list[float]


class Load(Struct, frozen=True, array_like=True):
    """One load of a page from the database."""

    code: str
    began: float
    ended: float


class Update(Struct, frozen=True, array_like=True):
    """One committed version. `visible`: when its invalidation was confirmed; None: it never was."""

    key: int
    version: int
    committed: float
    visible: float | None


class ReaderLog(Struct, tag=True, frozen=True):
    """Everything a reader served: columns of airports ("I"), versions ("I"), beginnings and ends ("d").

    `connections`: to the database, at most at once. `refused`: fills that were not stored, since an
    invalidation came between. `max_loads`: that the cache would allow at once; 0: it does not say.
    """

    keys: bytes
    versions: bytes
    began: bytes
    ended: bytes
    loads: list[Load]
    error_count: int
    errors: list[str]
    connections: int
    refused: int = 0
    max_loads: int = 0


class WriterLog(Struct, tag=True, frozen=True):
    """Every version the writer committed, in order; `kept`: invalidations that had to be delivered later."""

    updates: list[Update]
    error_count: int
    errors: list[str]
    kept: int = 0


class Failed(Struct, tag=True, frozen=True):
    """The worker cannot go on."""

    text: str


ToWorker = Setup | Phase | Go
ToDemo = Ready | Tick | ReaderLog | WriterLog | Failed

_to_worker: msgpack.Decoder[ToWorker] = msgpack.Decoder(ToWorker)
_to_demo: msgpack.Decoder[ToDemo] = msgpack.Decoder(ToDemo)
_encode = msgpack.Encoder().encode


class Line:
    """One end of the connection between the demo and a worker. `recv` and `ask` raise EOFError at its end."""

    def __init__(self, fd: int) -> None:
        self.connection = Connection(fd)

    @staticmethod
    def pair() -> tuple[Line, socket.socket]:
        """Our end, and the socket to hand to a worker."""
        ours, theirs = socket.socketpair()
        return Line(ours.detach()), theirs

    def send(self, message: ToWorker | ToDemo) -> None:
        """Send `message`; raises OSError if the other side is gone."""
        self.connection.send_bytes(_encode(message))

    def hear(self) -> ToDemo:
        """The next message of the worker."""
        return _to_demo.decode(self._bytes())

    def order(self) -> ToWorker:
        """The next message of the demo."""
        return _to_worker.decode(self._bytes())

    def waiting(self, timeout: float) -> bool:
        """Does something come, a message or the end, within `timeout` seconds?"""
        return self.connection.poll(timeout)

    def close(self) -> None:
        """Close this end."""
        self.connection.close()

    def _bytes(self) -> bytes:
        try:
            return self.connection.recv_bytes()
        except OSError as error:
            raise EOFError(str(error)) from error


def numbers(data: bytes) -> array[int]:
    """A column of numbers, from its bytes."""
    return array("I", data)


def moments(data: bytes) -> array[float]:
    """A column of times, from its bytes."""
    return array("d", data)
