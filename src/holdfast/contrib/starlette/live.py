"""Topics in a browser: server-sent events and WebSockets, for Starlette and FastAPI.

    @app.get("/prices")
    async def prices(request: Request):
        return sse(request, topic)                  # new EventSource("/prices")

    @app.websocket("/prices/ws")
    async def live(websocket: WebSocket):
        await forward(websocket, topic)

Promised, for a topic with a history:

* A client that was away goes on where it was. An EventSource says by itself (`Last-Event-ID`) what it has
  got; a WebSocket client sends the last position it has seen. Where something is missing it is told: `gap`.
* A client that reads too slowly delays nobody. It is closed when one send takes longer than `send_timeout`;
  when it comes back, it goes on where it was.
* The subscription ends at once when the client is gone, and the stream when the Holdfast client is closed.
* A position comes from the network: any nonsense is a gap, never an error.

Not promised: that a message which was sent has been read; a position is known to the client once it has it.

A server that stops waits for its open responses, and a stream never ends by itself: run uvicorn with
`--timeout-graceful-shutdown`, or close the Holdfast client first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketState

from holdfast._values.models import dump
from holdfast.durations import Duration, optional_seconds, seconds
from holdfast.errors import Closed, ConfigurationError, Unavailable
from holdfast.topics._subscription_async import AsyncSubscription
from holdfast.topics._topic_async import AsyncTopic
from holdfast.topics.options import Gap, OnFull, SlowSubscriber, TopicMessage
from holdfast.topics.rules import Position, parse

Item = TopicMessage[Any] | Gap

NOWHERE = Position("0", 0, 0).text
"""A position of no history: who comes with it is told that something is missing."""

AWAY = 1.0  # seconds between two attempts to subscribe while the server is away
LAST_WORDS = 1.0  # seconds that saying goodbye may take
TRY_AGAIN_LATER = 1013
SERVICE_RESTART = 1012


def as_json(value: Any) -> str:
    """`value` as JSON in one line; models, dataclasses and datetimes too."""
    return msgspec.json.encode(value, enc_hook=dump).decode()


def sse(
    request: Request,
    topic: AsyncTopic[Any],
    *,
    after: str | None = None,
    encode: Callable[[Any], str] = as_json,
    event: str | None = None,
    queue: int = 1000,
    on_full: OnFull | None = None,
    heartbeat: Duration = "15s",
    send_timeout: Duration = "10s",
    reconnect: Duration | None = None,
) -> EventStream:
    """The messages of `topic` as server-sent events: a response, to be returned by a view.

    A message is an event with `encode(value)` as its data and its position as its id; `event` names its type.
    A Gap is an event of the type `gap`, with `{"reason": ..., "missed": ...}`. It begins after
    `Last-Event-ID`, or the query parameter `after`, or `after`, or now. Every `heartbeat` without a message a
    comment is sent, so that proxies keep the connection. `reconnect`: after how long the browser shall come
    back. `queue`, `on_full`: as of `subscribe`.

    Raises: ConfigurationError.
    """
    told = request.headers.get("last-event-id") or request.query_params.get("after")
    subscription = topic.subscribe(_place(topic, told, after), queue=queue, on_full=on_full)
    return EventStream(
        subscription,
        encode=encode,
        event=event,
        heartbeat=seconds(heartbeat, "heartbeat"),
        send_timeout=seconds(send_timeout, "send_timeout"),
        reconnect=optional_seconds(reconnect, "reconnect"),
    )


class EventStream(Response):
    """A response that goes on for as long as the client stays; made by `sse`."""

    media_type = "text/event-stream"

    def __init__(
        self,
        subscription: AsyncSubscription[Any],
        *,
        encode: Callable[[Any], str],
        event: str | None,
        heartbeat: float,
        send_timeout: float,
        reconnect: float | None,
    ) -> None:
        if event is not None and ("\n" in event or "\r" in event):
            raise ConfigurationError(f"event={event!r} must be one line")
        self.status_code = 200
        self.background = None
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no"})
        self._subscription = subscription
        self._encode = encode
        self._event = event
        self._heartbeat = heartbeat
        self._patience = send_timeout
        self._reconnect = reconnect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 (ASGI's)
        """As an ASGI application."""
        with self._subscription_closed():
            begun = await _begun(self._subscription)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await _until_gone(_disconnected(receive), self._pump(send, begun))
        with contextlib.suppress(OSError):  # gone, or the server says so
            async with asyncio.timeout(LAST_WORDS):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    @contextlib.contextmanager
    def _subscription_closed(self) -> Any:
        try:
            yield
        except (Closed, SlowSubscriber, TimeoutError, OSError):
            return  # the browser comes back, with the position it has got
        finally:
            self._subscription.close()

    async def _pump(self, send: Send, begun: bool) -> None:
        """Send what comes, until it is over. Raises: SlowSubscriber, TimeoutError, OSError."""

        async def say(text: str) -> None:
            async with asyncio.timeout(self._patience):
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        if self._reconnect is not None:
            await say(f"retry: {round(self._reconnect * 1000)}\n\n")
        while not begun:
            await say(": the server is away\n\n")
            await asyncio.sleep(AWAY)
            begun = await _begun(self._subscription)
        # Without data it is no event, but the browser remembers the id from the first moment on.
        await say(f"id: {place}\n\n" if (place := self._subscription.position) else ":\n\n")
        while True:
            item = await self._subscription.get(self._heartbeat)
            await say(":\n\n" if item is None else self._shown(item))

    def _shown(self, item: Item) -> str:
        """`item` as an event."""
        if isinstance(item, Gap):
            name: str | None = "gap"
            data = as_json({"reason": item.reason, "missed": item.missed})
        else:
            name, data = self._event, self._encode(item.value)
        lines = [f"data: {line}" for line in data.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
        if name is not None:
            lines.insert(0, f"event: {name}")
        if item.position:
            lines.insert(0, f"id: {item.position}")
        return "\n".join(lines) + "\n\n"


def as_frame(item: Item) -> str:
    """A message as `{"position": ..., "value": ...}`, a gap as `{"position": ..., "gap": {...}}`."""
    if isinstance(item, Gap):
        gap = {"reason": item.reason, "missed": item.missed}
        return as_json({"position": item.position, "gap": gap})
    return as_json({"position": item.position, "value": item.value})


async def forward(
    websocket: WebSocket,
    topic: AsyncTopic[Any],
    *,
    after: str | None = None,
    hello: Duration | None = None,
    encode: Callable[[Item], str] = as_frame,
    queue: int = 1000,
    on_full: OnFull | None = None,
    send_timeout: Duration = "10s",
    slow_code: int = TRY_AGAIN_LATER,
) -> None:
    """Send the messages of `topic` to a WebSocket until the client is gone; accepts it, if nobody has.

    Each is a text frame, `encode(item)`, after a first one, `{"position": ...}`, which says where it begins:
    after the query parameter `after`; or, with `hello`, after what the client's first message says within
    that time, `{"after": ...}`; or after `after`; or now. What else the client sends is ignored. A client
    that takes no frame for `send_timeout`, or for which on_full="close" applies, is closed with `slow_code`;
    when the Holdfast client is closed, with 1012.

    Raises: ConfigurationError; NoPermission, Unavailable before it is accepted.
    """
    patience = seconds(send_timeout, "send_timeout")
    if websocket.client_state is WebSocketState.CONNECTING and hello is not None:
        await websocket.accept()
    told = websocket.query_params.get("after")
    if told is None and hello is not None:
        told = await _first_word(websocket, seconds(hello, "hello"))
    async with topic.subscribe(_place(topic, told, after), queue=queue, on_full=on_full) as messages:
        if websocket.client_state is WebSocketState.CONNECTING:
            await websocket.accept()

        async def say(text: str) -> None:
            async with asyncio.timeout(patience):
                await websocket.send_text(text)

        async def pump() -> None:
            await say(as_json({"position": messages.position}))
            while (item := await messages.get(None)) is not None:
                await say(encode(item))

        code = 0
        try:
            await _until_gone(_disconnected(websocket.receive), pump())
        except (SlowSubscriber, TimeoutError):
            code = slow_code
        except Closed:
            code = SERVICE_RESTART
        except (OSError, RuntimeError):
            if websocket.client_state is not WebSocketState.DISCONNECTED:
                raise
    if code:
        with contextlib.suppress(TimeoutError, OSError, RuntimeError):
            async with asyncio.timeout(LAST_WORDS):
                await websocket.close(code)


async def _first_word(websocket: WebSocket, patience: float) -> str | None:
    """Where the client says that it was, if it does."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            message = await websocket.receive()
        word = message.get("text") or message.get("bytes") or ""
        try:
            told = msgspec.json.decode(word)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if isinstance(told, Mapping) and isinstance(told.get("after"), str):
            return str(told["after"])
    return None


def _place(topic: AsyncTopic[Any], told: str | None, after: str | None) -> str | None:
    """Where to begin, if the client has `told` something. A topic without a history begins now."""
    if topic.options.is_plain:
        return None
    if not told:
        return after
    try:
        return parse(told).text
    except ConfigurationError:
        return NOWHERE


async def _begun(subscription: AsyncSubscription[Any]) -> bool:
    """Begin; False if the server is away."""
    try:
        await subscription.__aenter__()
    except Closed:
        raise
    except Unavailable:
        return False
    return True


async def _disconnected(receive: Callable[[], Awaitable[Any]]) -> None:
    """Wait until the client is gone; what else it says is dropped."""
    while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
        pass


async def _until_gone(gone: Any, work: Any) -> None:
    """Do `work` until `gone` is over. Raises: what `work` raises."""
    tasks = [asyncio.ensure_future(one) for one in (gone, work)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[1].done():
            tasks[1].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
