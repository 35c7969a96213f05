"""RateLimitMiddleware of ASGI, with limiters of this process: what is asked, what is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.websockets import WebSocket

from holdfast import ConfigurationError
from holdfast.contrib.limits import (
    Answer,
    Answered,
    Asked,
    LimitRule,
    by_header,
    by_route,
    by_user,
    content_sent,
    everyone,
)
from holdfast.contrib.starlette import RateLimitMiddleware
from holdfast.contrib.starlette.limits import AsgiAsked
from holdfast.errors import RateLimited
from tests.contrib.limits.pretend import AsyncLimiter, AsyncSlots, Limiter, decided, handshake
from tests.contrib.limits.structured import read


async def item(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.path_params.get("id", "here"))


async def parts(request: Request) -> StreamingResponse:
    async def stream() -> AsyncIterator[bytes]:
        for part in (b"a", b"bc", b"def"):
            yield part

    return StreamingResponse(stream(), headers={"x-own": "yes"})


async def told_no(request: Request) -> PlainTextResponse:
    limit = AsyncLimiter(name="inner", quota=1).limit
    raise RateLimited("no", decision=decided(limit, violated=["1h"], wait=7.5), retry_after=7.5)


async def broken(request: Request) -> PlainTextResponse:
    raise ZeroDivisionError


async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hi")
    await websocket.close()


ME = "ip:192.0.2.1"
ROUTES = [
    Route("/", item),
    Route("/items/{id}", item, methods=["GET", "POST"]),
    Route("/stream", parts),
    Route("/told-no", told_no),
    Route("/broken", broken),
    WebSocketRoute("/talk", talk),
    Mount("/mounted/{tenant}", Router([Route("/things/{id}", item)])),
    Mount("/static", PlainTextResponse("file")),
]


class Site:
    """An application behind the middleware."""

    def __init__(self, rules: Any = (), **options: Any) -> None:
        self.app = Starlette(routes=ROUTES)
        self.app.add_middleware(RateLimitMiddleware, rules=rules, **options)

    async def __call__(
        self, path: str = "/", method: str = "GET", peer: str = "192.0.2.1", **more: Any
    ) -> httpx.Response:
        headers = {name.replace("_", "-"): value for name, value in more.pop("headers", {}).items()}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(peer, 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            return await client.request(method, path, headers=headers, **more)


async def test_the_quota_passes_and_the_rest_is_told_to_wait():
    site = Site(AsyncLimiter(3))
    for left in (2, 1, 0):
        answer = await site()
        assert (answer.status_code, answer.text) == (200, "here")
        assert read(answer.headers["ratelimit"]) == [("1h", {"r": left, "t": 1200})]
        assert read(answer.headers["ratelimit-policy"]) == [("1h", {"q": 3, "w": 3600})]
        assert "retry-after" not in answer.headers
    answer = await site()
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "60"
    assert read(answer.headers["ratelimit"]) == [("1h", {"r": 0, "t": 60})]
    assert answer.json()["violated-policies"] == ["1h"]
    assert (await site(peer="192.0.2.2")).status_code == 200


async def test_all_rules_must_let_it_in_or_none_is_charged():
    wide, narrow = AsyncLimiter(10, name="wide"), AsyncLimiter(1, name="narrow")
    site = Site([LimitRule(wide, key=everyone), LimitRule(narrow)])
    assert [(await site()).status_code for _ in range(3)] == [200, 429, 429]
    assert wide.used == {"all": 1}
    assert (await site()).json()["violated-policies"] == ["narrow:1h"]


async def test_routes_are_counted_by_their_template():
    limiter = AsyncLimiter(100)
    site = Site(LimitRule(limiter, scope="route"))
    for path in (
        "/items/1",
        "/items/2",
        "/mounted/a/things/1",
        "/mounted/b/things/2",
        "/",
        "/none/1",
        "/none/2",
        "/static/a.css",
        "/mounted/a/none",
    ):
        await site(path)
    await site("/items/3", "DELETE")
    assert [subject.rpartition(" ")[0] for subject, _, _ in limiter.asked] == [
        *["/items/{id}"] * 2, *["/mounted/{tenant}/things/{id}"] * 2, "/", "-", "-", "/static/*",
        "/mounted/{tenant}/*", "/items/{id}",
    ]  # fmt: skip


async def test_a_route_may_be_named_by_a_function():
    limiter = AsyncLimiter(100)
    site = Site(LimitRule(limiter, key=by_route), route=lambda scope: scope["path"].split("/")[1])
    await site("/items/1")
    assert limiter.asked == [("route:items", 1, None)]


async def test_routes_of_an_application_that_is_wrapped():
    limiter = AsyncLimiter(100)
    app = RateLimitMiddleware(Starlette(routes=ROUTES), LimitRule(limiter, key=by_route))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://site") as client:
        await client.get("/items/1")
    assert limiter.asked == [("route:/items/{id}", 1, None)]


async def test_costs_plans_and_what_is_not_counted():
    limiter = AsyncLimiter(100)
    site = Site(
        [
            LimitRule(limiter, cost=lambda asked: 0 if asked.path == "/" else 7, plan=lambda asked: "pro"),
            LimitRule(limiter, key=lambda asked: None),
            LimitRule(limiter, methods=["POST"], routes=["/items/*"], cost=2),
        ]
    )
    answer = await site("/")
    assert "ratelimit" not in answer.headers
    await site("/stream")
    await site("/items/5", "POST")
    assert [(cost, plan) for _, cost, plan in limiter.asked] == [(7, "pro"), (7, "pro"), (2, None)]


async def test_exemptions():
    limiter = AsyncLimiter(100)
    site = Site(limiter, exempt=["/items/*"], exempt_methods=["OPTIONS"])
    await site("/items/1")
    await site("/", "OPTIONS")
    assert limiter.asked == []
    await site("/")
    assert len(limiter.asked) == 1


async def test_by_whom():
    class Backend(AuthenticationBackend):
        async def authenticate(self, conn: Any) -> Any:
            name = conn.headers.get("x-user")
            return None if name is None else (AuthCredentials(), SimpleUser(name))

    limiter = AsyncLimiter(100)
    site = Site([LimitRule(limiter, key=by_user), LimitRule(limiter, key=by_header("X-Key"))])
    site.app.add_middleware(AuthenticationMiddleware, backend=Backend())
    await site(headers={"X-User": "ann", "X-Key": "k"})
    await site()
    subjects = [subject for subject, _, _ in limiter.asked]
    assert subjects[0] == "user:ann"
    assert subjects[1].startswith("x-key:")
    assert limiter.asked[2:] == [
        ("ip:192.0.2.1", 2, None)
    ]  # two rules that count by the same are one question


async def test_clients_behind_proxies():
    limiter = AsyncLimiter(100)
    site = Site(limiter, trusted=["10.0.0.0/8"], ipv6_prefix=56)
    await site(peer="10.0.0.1", headers={"X-Forwarded-For": "6.6.6.6, 2001:db8:0:12::1"})
    await site(peer="10.0.0.1", headers={"X-Forwarded-For": "2001:db8:0:13::1"})
    await site(peer="192.0.2.1", headers={"X-Forwarded-For": "6.6.6.6"})
    assert list(limiter.used) == ["ip:2001:db8::/56", "ip:192.0.2.1"]


def test_several_lines_of_a_header_are_one_list():
    from holdfast.contrib.limits import LimitPolicy

    lines = [(b"x-forwarded-for", b"6.6.6.6"), (b"X-Forwarded-For", b"1.2.3.4")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": lines, "client": ("10.0.0.1", 1)}
    asked = AsgiAsked(scope, LimitPolicy(trusted=["10.0.0.1"]))
    assert str(asked.address) == "1.2.3.4"
    assert AsgiAsked({**scope, "client": None}, LimitPolicy(trusted=["unix"])).client == "1.2.3.4"
    assert AsgiAsked({**scope, "client": None}, LimitPolicy()).client == "-"


async def test_streams_are_passed_on_as_they_come():
    seen: list[dict[str, Any]] = []
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await go.wait()
        await send({"type": "http.response.zerocopysend", "file": 5})
        await send({"type": "http.response.body", "body": b"b", "more_body": False})

    async def send(message: Any) -> None:
        seen.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": ("1.2.3.4", 1)}
    task = asyncio.create_task(RateLimitMiddleware(app, AsyncLimiter())(scope, receive, send))
    while len(seen) < 2:
        await asyncio.sleep(0)
    assert seen[0]["headers"][0] == (b"x-own", b"1")
    assert seen[1] == {"type": "http.response.body", "body": b"a", "more_body": True}
    go.set()
    await task
    assert [one["type"].rpartition(".")[2] for one in seen] == ["start", "body", "zerocopysend", "body"]


async def receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def test_lifespan_and_websockets_pass():
    limiter = AsyncLimiter(0)
    calls: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope["type"])

    middleware = RateLimitMiddleware(app, limiter)
    for kind in ("lifespan", "websocket"):
        await middleware({"type": kind}, receive, receive)  # type: ignore[arg-type]
    assert calls == ["lifespan", "websocket"]
    assert limiter.asked == []


@pytest.mark.parametrize("extended", [True, False])
async def test_handshakes_of_websockets_can_be_limited(extended: bool):
    limiter = AsyncLimiter(1)
    site = Site(LimitRule(limiter, scope="route"), websockets=True)
    answers = [await handshake(site.app, "/talk", extended=extended) for _ in range(2)]
    assert answers[0][0]["type"] == "websocket.accept"
    assert b"ratelimit" in dict(answers[0][0]["headers"])
    assert limiter.asked == [("/talk ip:1.2.3.4", 1, None)] * 2
    if extended:
        start, body = answers[1]
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
        assert dict(start["headers"])[b"retry-after"] == b"60"
        assert b"quota-exceeded" in body["body"]
    else:
        assert [(one["type"], one["code"]) for one in answers[1]] == [("websocket.close", 1013)]


async def test_a_view_that_is_told_no_is_answered():
    answer = await Site()("/told-no")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "8")
    assert answer.json()["violated-policies"] == ["1h"]


@pytest.mark.parametrize("kind", ["answer", "response", "coroutine", "none"])
async def test_an_answer_of_ones_own(kind: str):
    def denied(asked: Asked, refusal: Any) -> Any:
        assert (asked.path, refusal.status, refusal.retry_after) == ("/", 429, 60)
        assert asked.native["type"] == "http"
        if kind == "answer":
            return Answer(420, [("x-own", "1")], b"calm")
        if kind == "response":
            return JSONResponse({"calm": True}, 420, {"x-own": "1"})
        return None

    async def later(asked: Asked, refusal: Any) -> Any:
        return PlainTextResponse("calm", 420, {"x-own": "1"})

    site = Site(AsyncLimiter(0), denied=later if kind == "coroutine" else denied)
    answer = await site()
    assert "ratelimit" in answer.headers
    assert answer.headers["retry-after"] == "60"
    if kind == "none":
        assert answer.json()["status"] == answer.status_code == 429
    else:
        assert (answer.status_code, answer.headers["x-own"]) == (420, "1")
        assert "calm" in answer.text


async def test_nonsense_for_an_answer_is_named():
    site = Site(AsyncLimiter(0), denied=lambda asked, refusal: 5)
    transport = httpx.ASGITransport(site.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
        with pytest.raises(ConfigurationError, match="denied=.*5"):
            await client.get("/")


async def test_a_head_request_that_is_refused_has_no_body():
    answer = await Site(AsyncLimiter(0))(method="HEAD")
    assert (answer.status_code, answer.content) == (429, b"")
    assert int(answer.headers["content-length"]) > 100


async def test_a_server_is_given_no_body_for_a_head_request():
    """As the server sees it: a client such as httpx would throw a body away."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    for method in ("HEAD", "GET"):
        scope: dict[str, Any] = {"type": "http", "method": method, "path": "/", "headers": []}
        await RateLimitMiddleware(Starlette(), AsyncLimiter(0))(scope, receive, send)
    (head, none), (start, body) = sent[:2], sent[2:]
    assert head == start
    assert (none["body"], len(body["body"])) == (b"", int(dict(start["headers"])[b"content-length"]))


async def test_a_sum_of_costs_is_never_more_than_a_limiter_takes():
    """Or a client that announces much would be answered with an error."""
    limiter = AsyncLimiter(3)
    rules = [LimitRule(limiter, key=everyone, cost=2**50) for _ in range(2)]
    assert (await Site(rules)()).status_code == 429
    assert limiter.asked == [("all", 2**50, None)]


async def test_a_mounted_application_with_a_middleware_of_its_own_can_be_told_no():
    inner, outer = (Starlette(routes=ROUTES, middleware=[Middleware(RateLimitMiddleware)]) for _ in range(2))
    outer.router.routes.insert(0, Mount("/in", inner))
    transport = httpx.ASGITransport(outer, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
        answer = await client.get("/in/told-no")
    assert (answer.status_code, answer.headers.get_list("retry-after")) == (429, ["8"])


async def test_headers_also_on_what_goes_wrong():
    answer = await Site(AsyncLimiter(3))("/none")
    assert answer.status_code == 404
    assert "ratelimit" in answer.headers


# --- costs that are known later, and slots ---


@pytest.mark.parametrize("path", ["/stream", "/broken"])
async def test_what_it_did_cost_is_settled_after_the_answer(path: str):
    limiter = AsyncLimiter(100)
    statuses: list[int] = []

    def settle(asked: Asked, answered: Answered) -> int | None:
        statuses.append(answered.status)
        return content_sent(asked, answered)

    answer = await Site(LimitRule(limiter, cost=50, settle=settle, unit="content-bytes"))(path)
    assert limiter.asked == [("ip:192.0.2.1", 50, None)]
    if path == "/stream":
        assert read(answer.headers["ratelimit-policy"])[0][1]["qu"] == "content-bytes"
        assert (limiter.settled, limiter.used, statuses) == ([6], {"ip:192.0.2.1": 6}, [200])
    else:
        assert (limiter.settled, statuses) == (
            [1],
            [500],
        )  # the text of the error is written outside of this middleware


async def test_none_leaves_the_estimate():
    limiter = AsyncLimiter(100)
    await Site(LimitRule(limiter, cost=50, settle=lambda asked, answered: None))()
    assert limiter.used == {"ip:192.0.2.1": 50}


async def test_an_estimate_that_is_refused_or_overtaken_is_charged_nowhere():
    plain, guessed, slots = AsyncLimiter(100, name="plain"), AsyncLimiter(100, name="guessed"), AsyncSlots(1)
    rules = [LimitRule(slots), LimitRule(guessed, cost=60, settle=content_sent), LimitRule(plain)]
    site = Site(rules)
    slots.held = 1
    answer = await site()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert (plain.used, guessed.used) == ({"ip:192.0.2.1": 0}, {"ip:192.0.2.1": 0})
    slots.held = 0
    guessed.used = {"ip:192.0.2.1": 50}
    assert (await site()).json()["violated-policies"] == ["guessed:1h"]
    assert (plain.used, slots.held) == ({"ip:192.0.2.1": 0}, 0)


async def test_slots_are_held_until_it_is_answered():
    slots = AsyncSlots(2)
    go, inside = asyncio.Event(), 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal inside
        inside += 1
        await go.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(RateLimitMiddleware(app, LimitRule(slots)))
    async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
        tasks = [asyncio.create_task(client.get("/")) for _ in range(2)]
        while inside < 2:
            await asyncio.sleep(0)
        bad = await client.get("/")
        assert (bad.status_code, bad.headers["retry-after"]) == (429, "1")
        assert bad.json()["violated-policies"] == ["slots"]
        assert read(bad.headers["ratelimit"]) == [("slots", {"r": 0})]
        assert read(bad.headers["ratelimit-policy"]) == [("slots", {"q": 2, "qu": "concurrent-requests"})]
        go.set()
        assert [(await task).status_code for task in tasks] == [204, 204]
        assert (slots.held, slots.most) == (0, 2)
        assert (await client.get("/")).status_code == 204


async def test_a_client_that_goes_in_the_middle_gives_its_slot_back():
    slots, guessed = AsyncSlots(1), AsyncLimiter(100)
    began = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        began.set()
        await asyncio.sleep(60)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": ("1.2.3.4", 1)}
    rules = [LimitRule(slots), LimitRule(guessed, cost=9, settle=lambda asked, answered: 1)]
    task = asyncio.create_task(RateLimitMiddleware(app, rules)(scope, receive, receive))  # type: ignore[arg-type]
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (slots.held, guessed.settled) == (0, [1])


async def test_slots_are_given_back_however_often_it_is_cancelled():
    """Task groups cancel what is inside of them at each `await`, not once."""
    began, go, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Slow(AsyncSlots):
        async def release(self) -> None:
            began.set()
            await go.wait()
            await super().release()
            done.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    slots = Slow(1)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": ("1.2.3.4", 1)}
    task = asyncio.create_task(RateLimitMiddleware(app, LimitRule(slots))(scope, receive, receive))  # type: ignore[arg-type]
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await done.wait()
    assert slots.held == 0


async def test_what_was_not_charged_on_the_server_is_not_given_back_there():
    away, narrow = AsyncLimiter(9, name="away"), AsyncLimiter(0, name="narrow")
    away.used[ME] = 5
    away.away = decided(away.limit, degraded=True)
    assert (await Site([LimitRule(away), LimitRule(narrow)])()).status_code == 429
    assert away.used == {ME: 5}


async def test_a_client_that_goes_while_limiters_are_asked_is_charged_nowhere():
    first = AsyncLimiter(100, name="first")
    asked = asyncio.Event()

    class Slow(AsyncLimiter):
        async def check(self, *args: Any, **more: Any) -> Any:
            asked.set()
            await asyncio.sleep(60)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": ("1.2.3.4", 1)}
    middleware = RateLimitMiddleware(receive, [LimitRule(first), LimitRule(Slow(name="slow"))])  # type: ignore[arg-type]
    task = asyncio.create_task(middleware(scope, receive, receive))  # type: ignore[arg-type]
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert first.used == {"ip:1.2.3.4": 0}


# --- layers ---


async def test_a_middleware_inside_of_another_adds_to_its_headers():
    outer, inner = AsyncLimiter(10, name="outer"), AsyncLimiter(1, name="inner")
    app = RateLimitMiddleware(RateLimitMiddleware(Starlette(routes=ROUTES), inner), outer)
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
        good, bad = await client.get("/"), await client.get("/")
    assert [name for name, _ in read(good.headers["ratelimit"])] == ["outer:1h", "inner:1h"]
    assert (bad.status_code, bad.json()["violated-policies"]) == (429, ["inner:1h"])
    assert len(bad.headers.get_list("ratelimit")) == 1
    assert len(bad.headers.get_list("retry-after")) == 1


@pytest.mark.parametrize(
    "options",
    [{"rules": "api"}, {"rules": [None]}, {"rules": [Limiter()]}, {"route": "x"}, {"headers": "x"}],
)
def test_bad_options_are_named(options: Any):
    with pytest.raises(ConfigurationError):
        RateLimitMiddleware(receive, **options)  # type: ignore[arg-type]
