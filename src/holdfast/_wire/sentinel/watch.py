"""Listens to every sentinel, so that a change is known the moment it is decided.

A thread for each sentinel, because one that is frozen must not delay what another one has to say. It
subscribes to the sentinel's events and asks it every `INTERVAL` seconds where the primary is, which also
shows whether the sentinel is there at all, and makes up for what was said while there was no connection.
Where subscribing is not permitted, the asking is what remains.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

import hiredis

from holdfast._wire import reply
from holdfast._wire.connection import Connection, connect, pack
from holdfast._wire.mutex import MUTEX
from holdfast._wire.sentinel import rules
from holdfast._wire.sentinel.rules import Address, Event
from holdfast._wire.transport import Reply, WireFailure
from holdfast._wire.url import Target, sentinel_of
from holdfast.errors import HoldfastError

log = logging.getLogger("holdfast.sentinel")

INTERVAL = 2.0  # seconds between two questions; an answer may take as long
MOST = 7  # sentinels listened to: more of them add threads, not knowledge
_PAUSES = (0.1, 5.0)  # seconds, least and most, before another attempt to reach a sentinel


class Listener(Protocol):
    """Whoever wants to know."""

    def heard(self, sentinel: str, event: Event) -> None:
        """`sentinel` published `event`."""

    def told(self, address: Address) -> None:
        """A sentinel says that the primary is at `address`."""


class Watch:
    """The listening to all sentinels of one primary. `listener()` gives None once nobody wants to know."""

    def __init__(
        self, target: Target, listener: Callable[[], Listener | None], connect_timeout: float
    ) -> None:
        self._target = target
        self._listener = listener
        self._connect_timeout = connect_timeout
        self._questions = b"".join(
            [pack(("SUBSCRIBE", *rules.CHANNELS)), pack(("PSUBSCRIBE", *rules.PATTERNS))]
        )
        self._ask = pack(rules.questions(target.service)[0])
        self.after_fork()

    def after_fork(self) -> None:
        """In the child of a fork: the threads are in the parent, and so are their sockets."""
        for connection in getattr(self, "_open", ()):
            connection.close()
        self._open: set[Connection] = set()  # also those that are being made
        self._connections: dict[Address, Connection] = {}
        self._stopped = threading.Event()
        self._followed: set[Address] = set()

    @property
    def heard(self) -> int:
        """How many sentinels there is a connection to."""
        return len(self._connections)

    def follow(self, sentinels: Iterable[Address]) -> None:
        """Listen to these too."""
        for address in sentinels:
            with MUTEX:
                if address in self._followed or len(self._followed) >= MOST or self._stopped.is_set():
                    continue
                self._followed.add(address)
            run = threading.Thread(target=self._run, args=(address,), name="holdfast-sentinel", daemon=True)
            try:
                run.start()
            except RuntimeError:  # no more threads: the next survey tries again
                self._followed.discard(address)

    def stop(self) -> None:
        """Listen no more."""
        self._stopped.set()
        for connection in list(self._open):
            connection.doom("the client is closed")

    def _begun(self, connection: Connection) -> None:
        self._open.add(connection)
        if self._stopped.is_set():  # before it could be told
            connection.doom("the client is closed")

    def _run(self, address: Address) -> None:
        failures = 0
        while not self._stopped.is_set():
            if self._once(address):
                failures = 0
            else:
                failures += 1
            if self._listener() is None:
                return
            least, most = _PAUSES
            self._stopped.wait(random.uniform(0.5, 1.0) * min(most, least * 2.0 ** min(failures, 10)))

    def _once(self, address: Address) -> bool:
        """Listen for as long as it works; was there anything to be heard?"""
        made: list[Connection] = []

        def begun(connection: Connection) -> None:
            made.append(connection)
            self._begun(connection)

        try:
            connection = connect(sentinel_of(self._target, *address), self._connect_timeout, begun)
            self._connections[address] = connection
            self._listen(connection, f"{address[0]}:{address[1]}")
        except (WireFailure, HoldfastError):
            pass
        except Exception:  # this thread has no caller, and nobody would start another one
            log.exception("error while listening to the sentinel at %s:%s", *address)
        finally:
            listened = self._connections.pop(address, None) is not None
            for connection in made:
                self._open.discard(connection)
                connection.close()
        return listened

    def _listen(self, connection: Connection, name: str) -> None:
        """Pass on what is said until the connection is lost. Raises: WireFailure."""
        connection.send(self._questions + self._ask, INTERVAL)
        owed = True
        while not self._stopped.is_set():
            try:
                said = connection.read(INTERVAL)
            except TimeoutError:
                if owed:
                    raise WireFailure("the sentinel does not answer", sent=True) from None
                connection.send(self._ask, INTERVAL)
                owed = True
                continue
            owed = False  # whatever it says, it is there
            if not self._pass_on(name, said):
                return

    def _pass_on(self, name: str, said: Reply) -> bool:
        """Tell the listener of `said`; False if there is none any more.

        The reference to the listener ends here: kept while waiting, it would keep a forgotten client.
        """
        listener = self._listener()
        if listener is None:
            return False
        if isinstance(said, hiredis.PushNotification):
            self._published(listener, name, said)
        elif (address := rules.address(said)) is not None:
            # An error: asking is not permitted, and listening must do, or the other way round. Null: it does
            # not know the primary (any more).
            listener.told(address)
        return True

    def _published(self, listener: Listener, name: str, said: list[object]) -> None:
        kind, *words = (reply.text(part) for part in said)
        if kind not in {"message", "pmessage"}:
            return
        channel, message = words[-2:]
        event = rules.event(channel, message)
        if event is not None and event.service == self._target.service:
            listener.heard(name, event)
