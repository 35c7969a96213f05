"""Topics in a browser, through a real server: server-sent events and WebSockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from holdfast import AsyncHoldfast, ConfigurationError
from holdfast.contrib.fastapi import forward, sse
from holdfast.topics._topic_async import AsyncTopic
from holdfast.topics.options import TopicOptions

BIG = "x" * 500_000


async def until(true: Callable[[], object]) -> None:
    """Wait until `true()`."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


class Site:
    """A service that shows a topic, and where it listens."""

    def __init__(self, ahf: AsyncHoldfast, **options: Any) -> None:
        self.topic: AsyncTopic[Any] = AsyncTopic(ahf._wire, "prices", TopicOptions(**options))
        self.ways: dict[str, Any] = {}
        self.app = FastAPI()
        self.app.get("/prices")(self._prices)
        self.app.websocket("/live")(self._live)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]

    async def _prices(self, request: Request) -> Any:
        return sse(request, self.topic, **self.ways)

    async def _live(self, websocket: WebSocket) -> None:
        await forward(websocket, self.topic, **self.ways)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Site]:
        config = uvicorn.Config(
            self.app, log_level="error", lifespan="off", timeout_graceful_shutdown=1, ws_ping_interval=None
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([self._door]))
        await until(lambda: server.started)
        try:
            yield self
        finally:
            server.should_exit = True
            await task
            self._door.close()

    @property
    def subscribers(self) -> int:
        return self.topic.stats().subscribers

    async def publish(self, *values: Any) -> list[str]:
        return [(await self.topic.publish(value)).position for value in values]

    @asynccontextmanager
    async def source(self, query: str = "", **headers: str) -> AsyncIterator[Source]:
        """An EventSource that has seen its first line."""
        url = f"http://127.0.0.1:{self.port}/prices{query}"
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx.AsyncClient(timeout=20) as client, client.stream("GET", url, headers=told) as reply:
            assert reply.status_code == 200
            assert reply.headers["content-type"].startswith("text/event-stream")
            yield Source(reply)

    def socket(self, query: str = "") -> connect:
        return connect(f"ws://127.0.0.1:{self.port}/live{query}", proxy=None, compression=None)


class Source:
    """What a browser makes of an event stream."""

    def __init__(self, reply: httpx.Response) -> None:
        self._lines = reply.aiter_lines()
        self.last_id = ""
        self.comments = 0

    async def event(self) -> tuple[str, Any]:
        """The next event that has data: its type, and the data."""
        kind, data = "message", list[str]()
        async with asyncio.timeout(20):
            async for line in self._lines:
                field, _, value = line.partition(":")
                if not line:
                    if data:
                        return kind, json.loads("\n".join(data))
                    kind = "message"
                elif not field:
                    self.comments += 1
                elif field == "id":
                    self.last_id = value.strip()
                elif field == "event":
                    kind = value.strip()
                elif field == "data":
                    data.append(value.removeprefix(" "))
        raise EOFError("the stream has ended")

    async def events(self, count: int) -> list[tuple[str, Any]]:
        return [await self.event() for _ in range(count)]


async def frames(socket: ClientConnection, count: int) -> list[Any]:
    """The next frames."""
    async with asyncio.timeout(20):
        return [json.loads(await socket.recv()) for _ in range(count)]


# --- server-sent events -------------------------------------------------------------------------------------


async def test_a_browser_that_comes_back_goes_on_where_it_was(ahf: AsyncHoldfast):
    """found: forgetting Last-Event-ID; an id that is not the position."""
    async with Site(ahf).serving() as site:
        async with site.source() as browser:
            await until(lambda: site.subscribers)
            await site.publish({"a": 1}, {"b": "line\nline"})
            assert await browser.events(2) == [("message", {"a": 1}), ("message", {"b": "line\nline"})]
        await until(lambda: not site.subscribers)
        await site.publish("while away")
        async with site.source(last_event_id=browser.last_id) as browser:
            assert await browser.events(1) == [("message", "while away")]
        await site.publish("again")
        async with site.source(f"?after={browser.last_id}") as browser:
            assert await browser.events(1) == [("message", "again")]


async def test_a_browser_that_has_seen_nothing_yet_knows_where_it_began(ahf: AsyncHoldfast):
    """found: an id only with the first message."""
    async with Site(ahf).serving() as site:
        await site.publish("before")
        async with site.source() as browser:
            await until(lambda: site.subscribers)
            async with asyncio.timeout(20):
                async for line in browser._lines:
                    if line.startswith("id:"):
                        browser.last_id = line[3:].strip()
                        break
        await site.publish("meanwhile")
        async with site.source(last_event_id=browser.last_id) as again:
            assert await again.events(1) == [("message", "meanwhile")]


@pytest.mark.parametrize("told", ["nonsense", "0.0.0", "-", "a.1.1\x01", "9" * 500, "ab.1.99999999999"])
async def test_a_position_that_is_nonsense_is_a_gap(ahf: AsyncHoldfast, told: str):
    """found: an error 500 for whatever a client sends."""
    async with Site(ahf).serving() as site:
        await site.publish("a")
        async with site.source(last_event_id=told) as browser:
            assert await browser.events(2) == [
                ("gap", {"reason": "reset", "missed": None}), ("message", "a")
            ]  # fmt: skip


async def test_what_the_history_lacks_is_told(ahf: AsyncHoldfast):
    async with Site(ahf, history=2).serving() as site:
        positions = await site.publish(*range(6))
        async with site.source(last_event_id=positions[0]) as browser:
            assert await browser.events(3) == [
                ("gap", {"reason": "trimmed", "missed": 3}), ("message", 4), ("message", 5)
            ]  # fmt: skip


async def test_heartbeats_and_names_of_events(ahf: AsyncHoldfast):
    site = Site(ahf)
    site.ways = {"heartbeat": "20ms", "event": "price", "reconnect": "3s"}
    site.ways["encode"] = lambda value: json.dumps(value, indent=1)  # has lines
    async with site.serving(), site.source() as browser:
        await until(lambda: site.subscribers)
        await asyncio.sleep(0.1)
        await site.publish({"a": 7})
        assert await browser.events(1) == [("price", {"a": 7})]
        assert browser.comments > 1


async def test_a_browser_that_is_gone_is_no_subscriber_any_more(ahf: AsyncHoldfast):
    """found: noticing it with the next message, or the next heartbeat."""
    async with Site(ahf).serving() as site:
        async with site.source():
            await until(lambda: site.subscribers == 1)
        await until(lambda: site.subscribers == 0)


async def test_a_browser_that_does_not_read_is_closed(ahf: AsyncHoldfast):
    """found: waiting for ever, with a queue full of messages."""
    site = Site(ahf)
    site.ways = {"send_timeout": "200ms"}
    async with site.serving():
        _, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1000)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /prices HTTP/1.1\r\nHost: here\r\n\r\n")
        await until(lambda: site.subscribers == 1)
        async with site.source() as other:
            for _ in range(40):
                await site.publish(BIG)
                assert (await other.event())[1] == BIG, "nobody else is held up"
            await until(lambda: site.subscribers == 1)
        writer.close()


async def test_the_end_of_the_client_ends_the_stream(place: Any, namespace: str):
    async with AsyncHoldfast(place.url, namespace=namespace) as ahf:
        async with Site(ahf).serving() as site, site.source() as browser:
            await until(lambda: site.subscribers)
            await site.topic._aclose()
            with pytest.raises(EOFError):
                await browser.event()


async def test_a_server_that_is_away_is_waited_for(own_server: Any):
    """found: an error, after which an EventSource never comes back."""
    async with AsyncHoldfast(own_server.url, timeout="200ms") as ahf, Site(ahf).serving() as site:
        own_server.kill()
        async with site.source() as browser:
            own_server.restart(empty=True)
            await until(lambda: site.subscribers)
            await site.publish("a")
            assert await browser.events(1) == [("message", "a")]


async def test_nonsense_is_refused(ahf: AsyncHoldfast):
    site = Site(ahf)
    request = Request({"type": "http", "headers": [], "query_string": b""})
    for ways in ({"event": "a\nb"}, {"heartbeat": 0}, {"send_timeout": -1}, {"queue": 0}):
        with pytest.raises(ConfigurationError, match=next(iter(ways))):
            sse(request, site.topic, **ways)  # type: ignore[arg-type]
    site._door.close()


# --- WebSockets ---------------------------------------------------------------------------------------------


async def test_a_websocket_goes_on_where_it_was(ahf: AsyncHoldfast):
    async with Site(ahf).serving() as site:
        await site.publish("before")
        async with site.socket() as browser:
            (first,) = await frames(browser, 1)
            assert first == {"position": await site.topic.position()}
            positions = await site.publish(1, {"b": 2})
            assert await frames(browser, 2) == [
                {"position": positions[0], "value": 1},
                {"position": positions[1], "value": {"b": 2}},
            ]
        await until(lambda: not site.subscribers)
        async with site.socket(f"?after={positions[0]}") as browser:
            assert (await frames(browser, 2))[1]["value"] == {"b": 2}
        async with site.socket("?after=nonsense") as browser:
            _, gap, *_ = await frames(browser, 3)
            assert gap["gap"] == {"reason": "reset", "missed": None}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ('{{"after": "{}"}}', ["b"]),
        ('{{"after": 7}}', []),
        ("nonsense", []),
        (None, []),
    ],
)
async def test_a_websocket_may_say_first_where_it_was(ahf: AsyncHoldfast, word: Any, expected: Any):
    site = Site(ahf)
    site.ways = {"hello": "200ms"}
    async with site.serving(), site.socket() as browser:
        positions = await site.publish("a", "b")
        if word is not None:
            await browser.send(word.format(positions[0]))
        await until(lambda: site.subscribers)
        await site.publish("c")
        found = [one["value"] for one in await frames(browser, len(expected) + 2) if "value" in one]
        assert found == [*expected, "c"]


async def test_a_websocket_that_is_gone_is_no_subscriber_any_more(ahf: AsyncHoldfast):
    async with Site(ahf).serving() as site:
        async with site.socket() as browser:
            await until(lambda: site.subscribers == 1)
            await browser.send("what it says is ignored")
        await until(lambda: site.subscribers == 0)
        browser = await site.socket()
        await until(lambda: site.subscribers == 1)
        browser.transport.abort()
        await until(lambda: site.subscribers == 0)


async def test_a_websocket_that_does_not_read_is_closed_with_a_code(ahf: AsyncHoldfast):
    """found: waiting for ever."""
    site = Site(ahf)
    site.ways = {"send_timeout": "200ms", "slow_code": 4000}
    async with site.serving():
        browser = await site.socket()
        await frames(browser, 1)
        browser.transport.pause_reading()
        for _ in range(60):
            await site.publish(BIG)
        await until(lambda: site.subscribers == 0)
        browser.transport.resume_reading()
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await frames(browser, 1)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4000


async def test_a_queue_that_is_full_closes_where_that_was_asked_for(ahf: AsyncHoldfast):
    site = Site(ahf)
    site.ways = {"on_full": "close", "queue": 1}
    async with site.serving(), site.socket() as browser:
        await frames(browser, 1)
        await until(lambda: site.topic._desk.wire.hub is not None)
        for subscription in list(site.topic._subscriptions):
            subscription._inbox._slow = True  # type: ignore[union-attr]
            subscription._inbox.fire()  # type: ignore[union-attr]
        with pytest.raises(ConnectionClosed) as closed:
            await frames(browser, 1)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013


async def test_the_end_of_the_client_closes_its_websockets(ahf: AsyncHoldfast):
    async with Site(ahf).serving() as site, site.socket() as browser:
        await frames(browser, 1)
        await site.topic._aclose()
        with pytest.raises(ConnectionClosed) as closed:
            await frames(browser, 1)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012


async def test_a_plain_topic_has_no_positions(ahf: AsyncHoldfast):
    async with Site(ahf, history=0).serving() as site:
        async with site.socket("?after=a.1.1") as browser, site.source("?after=a.1.1") as source:
            assert await frames(browser, 1) == [{"position": ""}]
            await until(lambda: site.subscribers == 2)
            await site.topic.publish(1)
            assert await frames(browser, 1) == [{"position": "", "value": 1}]
            assert await source.events(1) == [("message", 1)]
            assert source.last_id == ""


def test_without_starlette_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    from holdfast.contrib import starlette

    monkeypatch.setattr("holdfast.contrib._extra.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"holdfast\[starlette\]"):
        _ = starlette.sse
    with pytest.raises(AttributeError, match="nonsense"):
        _ = starlette.nonsense  # type: ignore[attr-defined]
