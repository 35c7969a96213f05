"""Sessions for Starlette and FastAPI: requests at the same time, long answers, a server that is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import WebSocket

from holdfast import AsyncHoldfast, ConfigurationError
from holdfast.testing import FaultProxy
from tests.contrib.asgi_sessions_shop import NAME, Here, Shop, id_in


@pytest.fixture
def shop(ahf: AsyncHoldfast) -> Shop:
    return Shop(ahf)


# --- requests at the same time ----------------------------------------------------------------------------


async def _slow(shop: Shop, browser: httpx.AsyncClient, key: str = "slow") -> asyncio.Task[httpx.Response]:
    """A request that has read its session, and will write it when `shop.go` is set."""
    task = asyncio.create_task(browser.get(f"/slow?key={key}"))
    await asyncio.wait_for(shop.began.wait(), 20)
    return task


async def test_a_request_that_ends_after_logout_brings_nothing_back(shop: Shop):
    async with shop.client() as browser:
        await browser.post("/login?name=ann")
        id = id_in(browser)
        task = await _slow(shop, browser)
        await browser.post("/logout")
        shop.go.set()
        answer = await task
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert "set-cookie" not in answer.headers
    assert await shop.sessions.load(id) is None


async def test_a_request_that_only_reads_is_answered_after_logout(shop: Shop):
    async with shop.client() as browser:
        await browser.get("/put?key=a&value=1")
        assert (await browser.get("/read")).status_code == 200


async def test_requests_at_the_same_time_lose_nothing(shop: Shop):
    async with shop.client() as browser:
        await browser.get("/put?key=a&value=1")
        task = await _slow(shop, browser)
        await browser.get("/put?key=b&value=2")
        shop.go.set()
        assert (await task).status_code == 200
        assert (await browser.get("/read")).json() == {"a": "1", "b": "2", "slow": "slow"}


async def test_a_slow_request_does_not_undo_the_cookie_of_a_new_id(shop: Shop):
    async with shop.client() as browser:
        await browser.get("/put?key=a&value=1")
        task = await _slow(shop, browser)
        await browser.post("/regenerate")
        after = id_in(browser)
        shop.go.set()
        answer = await task
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        assert id_in(browser) == after
        assert (await browser.get("/read")).json() == {"a": "1", "slow": "slow"}


async def test_a_slow_request_of_nobody_does_not_undo_a_login(shop: Shop):
    async with shop.client() as browser:
        await browser.get("/put?key=a&value=1")
        task = await _slow(shop, browser)
        await browser.post("/login?name=ann")
        shop.go.set()
        answer = await task
        assert answer.status_code == 409
        assert "set-cookie" not in answer.headers
        assert (await browser.get("/user")).json() == "ann"


async def test_of_many_new_ids_at_once_one_wins(shop: Shop):
    async with shop.client() as browser:
        await browser.get("/put?key=a&value=1")
        before = id_in(browser)
        browsers = [shop.client(before) for _ in range(6)]
        answers = await asyncio.gather(*[one.post("/regenerate") for one in browsers])
        assert {one.status_code for one in answers} == {200}
        assert sum("set-cookie" in one.headers for one in answers) == 1
        for one in browsers:
            assert (await one.get("/read")).json() == {"a": "1"}
            await one.aclose()


# --- answers that are long --------------------------------------------------------------------------------


async def test_a_change_while_the_answer_is_streamed_is_written(shop: Shop):
    async with shop.client() as browser:
        await browser.get("/put?key=a&value=1")
        assert (await browser.get("/late")).content == b"ab"
        await browser.get("/later")
        assert (await browser.get("/read")).json() == {"a": "1", "late": 1, "later": 1}
        assert shop.errors == []


async def test_what_the_application_has_in_hand_stays_part_of_it(shop: Shop):
    async with shop.client() as browser:
        await browser.get("/in_hand")
        assert (await browser.get("/read")).json() == {"cart": ["a", "b"]}


async def test_a_session_that_is_emptied_loses_nothing_of_another_request(shop: Shop):
    async with shop.client() as browser:
        await browser.get("/put?key=a&value=1")
        task = await _slow(shop, browser, "a")
        await browser.post("/drop?key=a")
        shop.go.set()
        assert (await task).status_code == 200
        assert (await browser.get("/read")).json() == {"a": "slow"}


async def test_a_session_that_begins_too_late_is_an_error(shop: Shop):
    async with shop.client() as browser:
        assert (await browser.get("/create_late")).content == b"ab"
    assert len(shop.errors) == 1
    with pytest.raises(ConfigurationError, match="too late"):
        raise shop.errors[0]


# --- WebSockets ---------------------------------------------------------------------------------------------


async def _socket(shop: Shop, view: Any, id: str | None, **more: Any) -> list[Any]:
    """What a WebSocket that `view` serves is sent."""
    shop.app.websocket("/ws")(view)
    cookies = [] if id is None else [(b"cookie", f"a=b; {NAME}={id}".encode())]
    scope = {"type": "websocket", "path": "/ws", "headers": cookies, "query_string": b"", **more}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    with contextlib.suppress(ConfigurationError):
        await shop.app(scope, receive, send)
    return sent


async def _show(websocket: WebSocket, session: Here) -> None:
    await websocket.accept()
    await websocket.send_text(f"{session.user} {dict(session)}")


async def _change(websocket: WebSocket) -> None:
    await websocket.accept()
    websocket.session["a"] = 2
    await websocket.send_text("written")


async def _change_inside(websocket: WebSocket) -> None:
    await websocket.accept()
    websocket.session["cart"].append(1)


@pytest.mark.parametrize("lazy", [False, True])
async def test_a_websocket_reads_its_session(ahf: AsyncHoldfast, lazy: bool):
    shop = Shop(ahf, {"renew_after": "1ms"}, lazy=lazy)
    session = await shop.sessions.create("ann", {"a": 1})
    await asyncio.sleep(0.005)
    _, told = await _socket(shop, _show, session.id)
    assert told["text"] == "ann {'a': 1}"
    assert shop.errors == []  # its id is old, and has to wait for a request
    _, told = await _socket(shop, _show, None)
    assert told["text"] == "None {}"


@pytest.mark.parametrize("change", [_change, _change_inside])
async def test_a_websocket_does_not_change_it(shop: Shop, change: Any):
    session = await shop.sessions.create("ann", {"cart": []})
    assert [one["type"] for one in await _socket(shop, change, session.id)] == ["websocket.accept"]
    assert ["WebSocket" in str(one) for one in shop.errors] == [True]
    again = await shop.sessions.load(session.id)
    assert again is not None
    assert again.data == {"cart": []}


async def test_a_websocket_without_a_server(away: AsyncHoldfast, faults: FaultProxy):
    shop = Shop(away)
    session = await shop.sessions.create("ann")
    gone(faults)
    (told,) = await _socket(shop, _show, session.id)
    assert told == {"type": "websocket.close", "code": 1013}
    first, last = await _socket(shop, _show, session.id, extensions={"websocket.http.response": {}})
    assert (first["type"], first["status"]) == ("websocket.http.response.start", 503)
    assert last["type"] == "websocket.http.response.body"


# --- the server is away -----------------------------------------------------------------------------------


@pytest.fixture
async def away(faults: FaultProxy, namespace: str) -> AsyncIterator[AsyncHoldfast]:
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="300ms") as hf:
        yield hf


def gone(faults: FaultProxy) -> None:
    faults.refuse()
    faults.cut()


async def test_while_the_server_is_away_a_session_is_refused_and_nothing_else(
    away: AsyncHoldfast, faults: FaultProxy
):
    shop = Shop(away)
    async with shop.client() as browser:
        await browser.post("/login?name=ann")
        id = id_in(browser)
        gone(faults)
        assert (await browser.get("/free")).status_code == 200
        for path in ("/read", "/user", "/put?key=a&value=1"):
            answer = await browser.get(path)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert "set-cookie" not in answer.headers
        assert (await browser.post("/logout")).status_code == 503
        faults.accept()
        await until_back(browser)
        assert id_in(browser) == id
        assert shop.errors == []


async def until_back(browser: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while (await browser.get("/user")).status_code != 200:
            await asyncio.sleep(0.05)
    assert (await browser.get("/user")).json() == "ann"


async def test_it_may_be_read_as_nobodys_but_not_be_changed(away: AsyncHoldfast, faults: FaultProxy):
    shop = Shop(away, away="anonymous")
    async with shop.client() as browser:
        await browser.post("/login?name=ann")
        gone(faults)
        answer = await browser.get("/user")
        assert (answer.status_code, answer.json()) == (200, None)
        assert (await browser.get("/put?key=a&value=1")).status_code == 503
        assert (await browser.post("/logout")).status_code == 503
        faults.accept()
        await until_back(browser)


async def test_a_change_that_could_not_be_written_is_told(away: AsyncHoldfast, faults: FaultProxy):
    shop = Shop(away)
    async with shop.client() as browser:
        await browser.post("/login?name=ann")
        task = await _slow(shop, browser)
        gone(faults)
        shop.go.set()
        answer = await task
        assert answer.status_code == 503
        assert answer.headers.get_list("content-length") == [str(len(answer.content))]


# --- lazily -----------------------------------------------------------------------------------------------


async def test_a_lazy_session_costs_nothing_until_it_is_read(ahf: AsyncHoldfast):
    shop = Shop(ahf, lazy=True)
    async with shop.client() as browser:
        await browser.post("/login?name=ann")
        await browser.get("/free")
        assert shop.sessions.stats().loaded == 0
        assert (await browser.get("/user")).json() == "ann"
        assert shop.sessions.stats().loaded == 1
        assert (await browser.get("/read")).status_code == 500  # nobody has read it
        with pytest.raises(ConfigurationError, match="load"):
            raise shop.errors[0]
