"""`limited` of FastAPI: one route, with and without the middleware."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse

from holdfast import ConfigurationError
from holdfast.contrib.fastapi import RateLimitMiddleware, TooManyRequests, answer_limited, limited
from holdfast.contrib.limits import Answer, LimitPolicy, content_sent, everyone
from holdfast.limits.decision import Decision
from tests.contrib.limits.pretend import AsyncLimiter, AsyncSlots, Limiter, handshake
from tests.contrib.limits.structured import read


class Site:
    """An application of FastAPI."""

    def __init__(
        self, *, middleware: Any = None, handler: bool = False, policy: LimitPolicy | None = None
    ) -> None:
        self.own, self.shared, self.slots = (
            AsyncLimiter(2, name="own"),
            AsyncLimiter(100, name="shared"),
            AsyncSlots(1),
        )
        self.ran: list[Any] = []
        self.app = app = FastAPI()
        if middleware is not None:
            app.add_middleware(RateLimitMiddleware, **middleware)
        if handler:
            app.add_exception_handler(TooManyRequests, answer_limited)
        own = limited(self.own, policy=policy)
        settled = limited(self.shared, cost=50, settle=lambda asked, answered: answered.status)
        app.get("/own/{name}", dependencies=[Depends(own)])(self.view)
        app.get("/direct", dependencies=[Depends(own)])(self.direct)
        app.get("/decision")(self.decision_of(limited(self.shared, scope="all", key=everyone)))
        app.get("/costly", dependencies=[Depends(settled), Depends(limited(self.slots))])(self.costly)
        app.get("/teapot", dependencies=[Depends(settled)])(self.teapot)
        app.websocket("/talk", dependencies=[Depends(own)])(self.talk)
        router = APIRouter(prefix="/v1")
        router.get("/things/{id}", dependencies=[Depends(own)])(self.view)
        app.include_router(router, prefix="/api")
        inner = FastAPI()
        inner.get("/things/{id}", dependencies=[Depends(own)])(self.view)
        app.mount("/inner", inner)

    async def view(self, name: str = "") -> str:
        self.ran.append(name)
        return name

    async def direct(self) -> PlainTextResponse:
        return PlainTextResponse("direct")

    def decision_of(self, dependency: Any) -> Any:
        async def view(decision: Decision = Depends(dependency)) -> int:
            return decision.remaining

        return view

    async def costly(self) -> JSONResponse:
        self.ran.append(self.slots.held)
        return JSONResponse({}, 201)

    async def teapot(self) -> None:
        raise HTTPException(418)

    async def talk(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hi")
        await websocket.close()

    async def get(self, path: str) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=("192.0.2.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            return await client.get(path)


async def test_one_route_is_limited_by_itself():
    site = Site()
    answers = [await site.get(f"/own/{name}") for name in "abc"]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert read(answers[0].headers["ratelimit"]) == [("1h", {"r": 1, "t": 1200})]
    bad = answers[2]
    assert bad.headers["retry-after"] == "60"
    assert read(bad.headers["ratelimit"]) == [("1h", {"r": 0, "t": 60})]
    assert "Try again" in bad.json()["detail"]
    assert site.ran == ["a", "b"]
    assert [(await site.get("/direct")).status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("middleware", [None, {}])
async def test_routes_of_routers_and_of_mounted_applications_are_routes_of_their_own(middleware: Any):
    site = Site(middleware=middleware)
    for path in ("/api/v1/things/1", "/api/v1/things/2", "/inner/things/1", "/own/x"):
        assert (await site.get(path)).status_code == 200
    inner = "/*/things/{id}" if middleware is None else "/inner/things/{id}"
    assert set(site.own.used) == {
        "/api/v1/things/{id} ip:192.0.2.1", f"{inner} ip:192.0.2.1", "/own/{name} ip:192.0.2.1",
    }  # fmt: skip


async def test_a_route_of_a_mounted_application_is_refused_as_any_other():
    """It would turn the exception into a 500 before the middleware sees it."""
    site = Site(middleware={})
    answers = [await site.get("/inner/things/1") for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert answers[2].json()["violated-policies"] == ["1h"]
    assert answers[2].headers.get_list("retry-after") == ["60"]


async def test_a_refusal_is_a_problem_with_the_handler():
    def denied(asked: Any, refusal: Any) -> Any:
        return Answer(420, [("x-own", "1")], b"calm") if asked.path == "/own/own" else None

    site = Site(handler=True, policy=LimitPolicy(headers="both", denied=denied))
    site.own.used = {"/own/{name} ip:192.0.2.1": 2}
    bad, own = await site.get("/own/a"), await site.get("/own/own")
    assert (bad.status_code, bad.headers["content-type"]) == (429, "application/problem+json")
    assert bad.json()["violated-policies"] == ["1h"]
    assert (bad.headers["x-ratelimit-reset"], bad.headers["retry-after"]) == ("60", "60")
    assert (own.status_code, own.text, own.headers["x-own"], own.headers["retry-after"]) == (
        420,
        "calm",
        "1",
        "60",
    )


async def test_the_middleware_tells_of_routes_too():
    outer = AsyncLimiter(100, name="outer")
    site = Site(middleware={"rules": outer, "headers": "both"})
    good = await site.get("/direct")  # a Response of the view's own: only a middleware can add headers
    assert [name for name, _ in read(good.headers["ratelimit"])] == ["outer:1h", "own:1h"]
    await site.get("/direct")
    bad = await site.get("/direct")
    assert (bad.status_code, bad.headers["content-type"]) == (429, "application/problem+json")
    assert bad.json()["violated-policies"] == ["own:1h"]
    assert len(bad.headers.get_list("ratelimit")) == len(bad.headers.get_list("retry-after")) == 1
    assert bad.headers["x-ratelimit-limit"] == "2"


async def test_a_body_that_is_not_seen_costs_what_was_estimated():
    site = Site()
    wanted = limited(site.shared, cost=50, settle=content_sent, scope="all", key=everyone)
    site.app.get("/large", dependencies=[Depends(wanted)])(site.direct)
    assert (await site.get("/large")).status_code == 200
    assert site.shared.used == {"all": 50}


async def test_a_view_can_see_the_decision():
    site = Site()
    assert [(await site.get("/decision")).json() for _ in range(2)] == [99, 98]


async def test_costs_and_slots_of_routes():
    site = Site()
    assert (await site.get("/costly")).status_code == 201
    assert (site.ran, site.slots.held) == ([1], 0)
    assert (await site.get("/teapot")).status_code == 418
    assert site.shared.settled == [200, 418]
    site.slots.held = 1
    assert (await site.get("/costly")).status_code == 429
    assert site.slots.held == 1


@pytest.mark.parametrize("middleware", [None, {"websockets": True}])
@pytest.mark.parametrize("extended", [True, False])
async def test_handshakes_of_limited_websockets(middleware: Any, extended: bool):
    site = Site(middleware=middleware)
    for _ in range(2):
        answer = await handshake(site.app, "/talk", extended=extended)
        assert [one["type"] for one in answer] == ["websocket.accept", "websocket.send", "websocket.close"]
    answer = await handshake(site.app, "/talk", extended=extended)
    assert answer[0]["type"] != "websocket.accept"
    assert answer[0].get("status") == 429 or answer[0].get("code") == 1013
    assert answer[0].get("status") == 429 or not (middleware and extended)


@pytest.mark.parametrize("limiter", [Limiter(), "api"])
def test_bad_options_are_named(limiter: Any):
    with pytest.raises(ConfigurationError, match="limiter"):
        limited(limiter)


async def test_what_is_not_counted_has_no_decision():
    app = FastAPI()
    dependency = limited(AsyncLimiter(), key=lambda asked: None)

    @app.get("/")
    async def view(decision: Decision | None = Depends(dependency)) -> bool:  # noqa: FAST002 (a name that only this function knows)
        return decision is None

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://site") as client:
        answer = await client.get("/")
    assert answer.json() is True
    assert "ratelimit" not in answer.headers
