"""One connection of one event loop, shared by its tasks: requests leave together, replies come back in order.

What it promises stands in mux.py, which opens these.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from time import monotonic
from typing import Protocol, cast

import hiredis

from holdfast._wire.connection import WireTrouble
from holdfast._wire.tls import says_why, why
from holdfast._wire.transport import Reply, ReplyError, WireFailure
from holdfast._wire.url import Target

MAX_IN_FLIGHT = 10_000
MAX_BYTES = 16 << 20
BULK = 64 << 10

_MORE = object()  # hiredis' default for "incomplete" is False, which RESP3 also uses as a reply
_Push = hiredis.PushNotification
_Future = asyncio.Future[Reply]
# A failure is handed over as a value: an exception that nobody fetches, because its caller was cancelled in
# that very tick, would be reported as "never retrieved".
_Owed = tuple[_Future, float, int, int, object]  # future, deadline, replies owed, bytes sent, key


class Owner(Protocol):
    """Who opened a connection and is told what becomes of it."""

    loop: asyncio.AbstractEventLoop

    def note_size(self, key: object, reply: Reply) -> None:
        """The reply to a command about `key` came with much data."""

    def quiet(self) -> None:
        """Something is owed, and nothing came for a while."""

    def retired(self, connection: Connection) -> None:
        """The connection takes no more commands."""

    def gone(self, connection: Connection, cause: str, unanswered: int, purpose: str) -> None:
        """The connection is lost."""


class Connection(asyncio.Protocol):
    """One connection of one event loop: replies are matched to requests first in, first out."""

    def __init__(
        self, lanes: Owner, purpose: str, silence: float, suspicious_after: float = float("inf")
    ) -> None:
        self._loop = lanes.loop
        self._lanes = lanes
        self._purpose = purpose
        self._silence = silence
        self._reader = hiredis.Reader(protocolError=WireTrouble, replyError=ReplyError, notEnoughData=_MORE)
        self._transport: asyncio.Transport | None = None
        self._owed: deque[_Owed] = deque()
        self._owed_bytes = 0
        self._partial: list[Reply] = []  # replies so far to the request at the head
        self._unparsed = 0  # bytes since the last complete reply
        self._buffer: list[bytes] = []
        self._flushing = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._heard = monotonic()
        self._room: deque[asyncio.Future[None]] = deque()
        self._paused = False
        self._suspicious_after = self._suspicion = suspicious_after  # seconds of silence worth a second look
        self._is_patient = silence == float("inf")  # for blocking commands, which may be silent on purpose
        self.target: Target | None = None
        self.is_retired = False  # new commands go elsewhere; only what is owed is still waited for
        self.is_open = False

    # --- what callers do -----------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Must a new command wait? Also behind those who wait already, or their turn might never come."""
        return self._is_capped or bool(self._room) or self.is_retired

    @property
    def _is_capped(self) -> bool:
        return self._paused or len(self._owed) >= MAX_IN_FLIGHT or self._owed_bytes >= MAX_BYTES

    @property
    def is_idle(self) -> bool:
        """Is nothing owed?"""
        return not self._owed

    async def wait_for_room(self, deadline: float) -> None:
        """Wait until new commands may be sent. Raises: WireFailure when the deadline passes first."""
        queue = self._room.append
        while self.is_open:
            turn = self._loop.create_future()
            queue(turn)
            try:
                async with asyncio.timeout(max(0.0, deadline - monotonic())):
                    await turn
            except BaseException as error:
                if turn.done() and not turn.cancelled():
                    self._make_room()  # woken in the instant of giving up: pass the turn on
                if not isinstance(error, TimeoutError):
                    raise
                owed = f"{len(self._owed)} commands, {self._owed_bytes} bytes"
                text = f"the connection is full ({owed} unanswered)"
                raise WireFailure(text, sent=False) from None
            if not self._is_capped:
                return
            queue = self._room.appendleft  # somebody was quicker: keep the place

    def submit(self, packed: bytes, deadline: float, count: int, key: object) -> _Future:
        """Queue `packed`, which is owed `count` replies; it leaves at the end of this tick."""
        future: _Future = self._loop.create_future()
        if not self._owed:
            self._heard = monotonic()
        size = len(packed)
        self._owed.append((future, deadline, count, size, key))
        self._owed_bytes += size
        self._buffer.append(packed)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        if deadline < self._timer_at:
            self._arm(min(deadline, monotonic() + self._suspicion))
        return future

    async def ask(self, packed: bytes, deadline: float, count: int) -> Reply:
        """The reply (or the list of `count` replies) to `packed`. Raises: WireFailure."""
        reply = await self.submit(packed, deadline, count, None)
        if type(reply) is WireFailure:
            raise reply
        return reply

    def give_up(self, cause: str) -> None:
        """Drop the connection now and fail whoever is still owed a reply, because of `cause`."""
        self._lost(cause)

    def abort(self) -> None:
        """Drop the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # --- what the event loop calls -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket stands; the handshake follows."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Hand each complete reply to whoever is owed it."""
        reader, owed = self._reader, self._owed
        self._heard = monotonic()
        self._unparsed += len(data)
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _MORE:
                if type(reply) is _Push:
                    continue  # nothing was subscribed here; a server may still tell (client eviction)
                future, _, count, size, key = owed[0]
                if count > 1:
                    self._partial.append(reply)
                    if len(self._partial) < count:
                        continue
                    reply, self._partial = self._partial, []
                owed.popleft()
                self._owed_bytes -= size
                if self._unparsed > BULK:
                    self._lanes.note_size(key, reply)
                if not future.done():
                    future.set_result(reply)
        except (WireTrouble, IndexError) as error:
            # A reply to nothing, or bytes that are no reply: the stream cannot be trusted any more.
            self._lost(f"the stream went out of step ({error})", hung_up=True)
            return
        if not reader.has_data():
            self._unparsed = 0
        if self.is_retired and not owed:
            self._lost("it was silent for too long and has been replaced")
            return
        if self._room and not self._is_capped:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever is still owed a reply."""
        cause = why(exc) if isinstance(exc, ssl.SSLError) else str(exc or "closed by the server")
        self._lost(cause, hung_up=not says_why(exc))

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """The socket takes more again."""
        self._paused = False
        if self._buffer:
            self._flush()
        self._make_room()

    # --- inside --------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        if self._paused:
            return  # resume_writing calls again
        self._flushing = False
        if self._buffer and self._transport is not None and self.is_open:
            data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
            self._buffer.clear()
            self._transport.write(data)

    def _make_room(self) -> None:
        # Wake no more than now fit, in order; whoever finds no room after all queues again.
        free = MAX_IN_FLIGHT - len(self._owed)
        while self._room and free > 0:
            turn = self._room.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._loop.call_later(max(0.0, when - monotonic()), self._tick)

    def _tick(self) -> None:
        """Fail whoever waited too long; give the connection up if it went silent."""
        self._timer, self._timer_at = None, float("inf")
        if not self._owed:
            return
        now = monotonic()
        # Whoever is next to be answered may have asked for long work, and then says so by a long deadline.
        quiet_until = max(self._heard + self._silence, self._owed[0][1])
        if now >= quiet_until:
            self._lost(f"no word from the server for {now - self._heard:.3g} s")
            return
        following = min(quiet_until, self._look_again(now))
        for future, deadline, *_ in self._owed:
            if future.done():
                continue
            if deadline <= now:
                future.set_result(WireFailure("no reply within the deadline", sent=True))
                self._retire(now)
            elif deadline < following:
                following = deadline
        if following != float("inf"):
            self._arm(following)

    def _retire(self, now: float) -> None:
        """Take no more commands if the server may be another one by now: on a link that is silent they would
        only be lost, while a new connection would wait for the right one.
        """
        if not self.is_retired and now - self._heard >= self._suspicious_after:
            self.is_retired = True
            self._lanes.retired(self)

    def _look_again(self, now: float) -> float:
        """When to wonder next whether the server is still the right one; wonders now if it is time."""
        quiet = now - self._heard
        if quiet < self._suspicious_after:
            self._suspicion = self._suspicious_after
        elif quiet >= self._suspicion:
            # Where silence may be on purpose, the looks become rarer.
            self._suspicion = quiet + (min(quiet, 8.0) if self._is_patient else self._suspicious_after)
            self._lanes.quiet()
        return self._heard + self._suspicion

    def _lost(self, cause: str, *, hung_up: bool = False) -> None:
        if not self.is_open:
            return
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
        unsent = len(self._buffer)
        owed = list(self._owed)
        self._owed.clear()
        self._buffer.clear()
        for place, (future, *_) in enumerate(owed):
            if not future.done():
                sent = place < len(owed) - unsent
                future.set_result(WireFailure(f"connection lost: {cause}", sent=sent, hung_up=hung_up))
        while self._room:
            turn = self._room.popleft()
            if not turn.done():
                turn.set_result(None)
        self.abort()
        self._lanes.gone(self, cause, len(owed), self._purpose)
