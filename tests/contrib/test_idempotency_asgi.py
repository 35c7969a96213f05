"""`Idempotency-Key` for ASGI: the work is done once, and its answer is replayed."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from holdfast import AsyncHoldfast, ConfigurationError
from holdfast.contrib.fastapi import IdempotencyMiddleware
from holdfast.operations.current import current_operation


class Shop:
    """A service, and what it has done."""

    def __init__(self, hf: AsyncHoldfast, **policy: Any) -> None:
        self.charged: list[Any] = []
        self.go = asyncio.Event()
        self.go.set()
        self.began = asyncio.Event()
        self.status = 201
        self.app = FastAPI()
        self.operations = hf.operations("http", lease="2s", ttl="1m", accept_loss=True, retry=(0, 0))
        self.app.add_middleware(IdempotencyMiddleware, operations=self.operations, **policy)
        self.app.post("/pay")(self.pay)
        self.app.post("/stream")(self.stream)
        self.app.post("/later")(self.later)
        self.app.get("/pay")(self.look)
        self.app.post("/crash")(self.crash)

    async def pay(self, request: Request) -> JSONResponse:
        self.began.set()
        await self.go.wait()
        self.charged.append(await request.json())
        content = {"charge": len(self.charged), "attempt": getattr(current_operation(), "attempt", None)}
        return JSONResponse(content, self.status, {"x-charge": "yes", "set-cookie": "secret=1"})

    async def stream(self) -> StreamingResponse:
        self.charged.append(1)

        async def parts() -> Any:
            for part in (b"a", b"b", b"c"):
                yield part

        return StreamingResponse(parts())

    async def later(self, tasks: BackgroundTasks) -> dict[str, str]:
        self.began.set()
        tasks.add_task(self.go.wait)
        return {"said": "soon"}

    async def look(self) -> int:
        return len(self.charged)

    async def crash(self) -> None:
        self.charged.append(1)
        raise ZeroDivisionError

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://shop")

    async def post(
        self, key: str | None, json: Any = 5, path: str = "/pay", **headers: str
    ) -> httpx.Response:
        told = headers if key is None else {"Idempotency-Key": key, **headers}
        async with self.client() as client:
            return await client.post(path, json=json, headers=told)


@pytest.fixture
def shop(ahf: AsyncHoldfast) -> Shop:
    return Shop(ahf)


async def test_the_second_request_gets_the_answer_of_the_first(shop: Shop):
    first = await shop.post("k1", {"amount": 5})
    second = await shop.post("k1", {"amount": 5})
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json() == {"charge": 1, "attempt": 1}
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["x-charge"] == "yes"
    assert "set-cookie" in first.headers
    assert "set-cookie" not in second.headers  # it may be another session by now
    assert shop.charged == [{"amount": 5}]


async def test_a_quoted_key_is_the_same_key(shop: Shop):
    """The draft wants quotes, and nearly nobody sends them."""
    await shop.post("k1")
    assert (await shop.post('"k1"')).headers["idempotency-replayed"] == "true"


async def test_without_a_key_everything_is_as_before(shop: Shop):
    assert (await shop.post(None)).json()["charge"] == 1
    assert (await shop.post(None)).json()["charge"] == 2


async def test_other_methods_are_left_alone(shop: Shop):
    async with shop.client() as client:
        assert (await client.get("/pay", headers={"Idempotency-Key": "k"})).json() == 0
        await shop.post("x")
        assert (await client.get("/pay", headers={"Idempotency-Key": "k"})).json() == 1


@pytest.mark.parametrize("json", [6, {"amount": 5}])
async def test_another_request_under_the_key_is_refused(shop: Shop, json: Any):
    await shop.post("k1", 5)
    refused = await shop.post("k1", json)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert len(shop.charged) == 1
    assert (await shop.post("k1", 5, path="/pay?twice=1")).status_code == 422


async def test_the_keys_of_two_users_are_two_keys(shop: Shop):
    """Without it whoever guesses a key reads somebody else's answer."""
    await shop.post("k1", authorization="Bearer ann")
    other = await shop.post("k1", authorization="Bearer bob")
    assert "idempotency-replayed" not in other.headers
    assert len(shop.charged) == 2


async def test_a_duplicate_waits_for_the_one_that_is_running(shop: Shop):
    shop.go.clear()
    first = asyncio.create_task(shop.post("k1"))
    await shop.began.wait()
    second = asyncio.create_task(shop.post("k1"))
    await asyncio.sleep(0.1)
    assert not second.done()
    shop.go.set()
    assert (await first).json() == (await second).json()
    assert len(shop.charged) == 1


async def test_a_duplicate_that_may_not_wait_is_told_so(ahf: AsyncHoldfast):
    shop = Shop(ahf, wait=0)
    shop.go.clear()
    first = asyncio.create_task(shop.post("k1"))
    await shop.began.wait()
    refused = await shop.post("k1")
    assert refused.status_code == 409
    assert refused.headers["retry-after"] == "1"
    shop.go.set()
    assert (await first).status_code == 201


@pytest.mark.parametrize("status", [500, 503, 429, 401])
async def test_an_answer_that_says_try_again_is_not_kept(shop: Shop, status: int):
    shop.status = status
    assert (await shop.post("k1")).status_code == status
    shop.status = 201
    again = await shop.post("k1")
    assert again.json() == {"charge": 2, "attempt": 2}
    assert (await shop.post("k1")).json() == again.json()


async def test_a_refusal_of_the_request_is_kept(shop: Shop):
    shop.status = 400
    assert (await shop.post("k1")).status_code == 400
    shop.status = 201
    assert (await shop.post("k1")).status_code == 400


async def test_a_view_that_crashes_is_asked_again(shop: Shop):
    assert (await shop.post("k1", path="/crash")).status_code == 500
    assert (await shop.post("k1", path="/crash")).status_code == 500
    assert len(shop.charged) == 2


async def test_what_is_streamed_is_replayed_whole(shop: Shop):
    assert (await shop.post("k1", path="/stream")).content == b"abc"
    assert (await shop.post("k1", path="/stream")).content == b"abc"
    assert len(shop.charged) == 1


async def test_an_answer_that_is_too_large_is_not_replayed_and_not_done_again(ahf: AsyncHoldfast):
    shop = Shop(ahf, max_response=4)
    assert (await shop.post("k1")).status_code == 201
    refused = await shop.post("k1")
    assert refused.status_code == 409
    assert "too large" in refused.json()["detail"]
    assert len(shop.charged) == 1


async def test_tasks_in_the_background_do_not_hold_up_the_answer(shop: Shop):
    """The duplicate is answered while the background task of the first request still runs."""
    shop.go.clear()
    first = asyncio.create_task(shop.post("k1", path="/later"))
    await shop.began.wait()
    second = await asyncio.wait_for(shop.post("k1", path="/later"), 10)
    assert second.json() == {"said": "soon"}
    shop.go.set()
    await first


@pytest.mark.parametrize("key", ["", " ", "a" * 256, "a b", '"a', "ä"])
async def test_a_key_that_is_none_is_refused(shop: Shop, key: str):
    async with shop.client() as client:
        headers = [(b"idempotency-key", key.encode("latin-1"))]
        refused = await client.post("/pay", json=5, headers=headers)  # type: ignore[arg-type]
    assert refused.status_code == 400
    assert shop.charged == []


async def test_a_key_can_be_required(ahf: AsyncHoldfast):
    shop = Shop(ahf, required=lambda path: path == "/pay")
    refused = await shop.post(None)
    assert refused.status_code == 400
    assert refused.json()["title"] == "Idempotency-Key is missing"
    assert (await shop.post(None, path="/stream")).status_code == 200


async def test_while_the_server_is_away_nothing_is_done_twice(faults: Any, namespace: str):
    """Who sends a key wants it to hold, so the request is refused instead of being done without it."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="200ms") as hf:
        shop = Shop(hf)
        await shop.post("k0")
        faults.refuse()
        faults.cut()
        refused = await shop.post("k1")
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        assert len(shop.charged) == 1
        assert (await shop.post(None)).status_code == 201


@pytest.mark.parametrize(
    "policy",
    [{"methods": "POST"}, {"interrupted": "x"}, {"wait": -1}, {"max_response": 0}, {"max_request": "x"}],
)
async def test_bad_options_are_named(ahf: AsyncHoldfast, policy: Any):
    (name,) = policy
    with pytest.raises(ConfigurationError, match=name):
        IdempotencyMiddleware(lambda *_: None, ahf.operations("http"), **policy)  # type: ignore[arg-type]
