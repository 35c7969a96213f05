"""Middleware with limiters of a real server: what is charged, given back, settled, and told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from werkzeug.test import Client

from holdfast import AsyncHoldfast, Holdfast
from holdfast.contrib.limits import LimitRule, content_sent, everyone
from holdfast.contrib.wsgi import RateLimitMiddleware
from holdfast.limits.options import Limit
from holdfast.testing.proxy import FaultProxy
from tests.contrib.limits.structured import read
from tests.contrib.limits.test_asgi import Site
from tests.contrib.limits.test_wsgi import application

SURE: dict[str, Any] = {"deadline": "20s", "on_error": "deny"}
ME = "ip:192.0.2.1"


async def test_all_rules_are_asked_at_once_and_a_refusal_is_charged_nowhere(ahf: AsyncHoldfast):
    wide = ahf.limiter("wide", [Limit(10, "1d"), Limit(100, "30d")], **SURE)
    narrow = ahf.limiter("narrow", Limit(2, "1d"), **SURE)
    site = Site([LimitRule(wide, key=everyone), LimitRule(narrow)], headers="both")
    answers = [await site() for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429, 429]
    assert (await wide.peek("all")).remaining == 8
    good, bad = answers[1], answers[2]
    assert [(name, one["r"]) for name, one in read(good.headers["ratelimit"])] == [
        ("wide:1d", 8), ("30d", 98), ("narrow:1d", 0),
    ]  # fmt: skip
    assert bad.json()["violated-policies"] == ["narrow:1d"]
    wait = dict(read(bad.headers["ratelimit"]))["narrow:1d"]["t"]
    assert int(bad.headers["retry-after"]) == int(bad.headers["x-ratelimit-reset"]) == wait <= 12 * 3600
    assert (await site(peer="192.0.2.9")).status_code == 200


@pytest.mark.parametrize("algorithm", ["gcra", "sliding", "fixed", "log"])
async def test_every_algorithm_has_headers_that_agree(ahf: AsyncHoldfast, algorithm: Any):
    site = Site(ahf.limiter("api", Limit(2, "30d", algorithm=algorithm), **SURE), headers="both")
    answers = [await site() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [dict(read(answer.headers["ratelimit"]))["30d"]["r"] for answer in answers] == [1, 0, 0]
    for answer in answers:
        assert 0 < dict(read(answer.headers["ratelimit"]))["30d"]["t"] <= 60 * 86400
        assert dict(read(answer.headers["ratelimit-policy"]))["30d"] == {"q": 2, "w": 30 * 86400}
    assert int(answers[2].headers["retry-after"]) >= dict(read(answers[2].headers["ratelimit"]))["30d"]["t"]


async def test_costs_are_settled_in_both_directions(ahf: AsyncHoldfast):
    limiter = ahf.limiter("bytes", Limit(100, "30d"), **SURE)
    site = Site(LimitRule(limiter, cost=50, settle=content_sent, unit="content-bytes"))
    assert (await site("/stream")).content == b"abcdef"
    assert (await limiter.peek(ME)).remaining == 94
    more = Site(LimitRule(limiter, cost=50, settle=lambda asked, answered: 120))
    assert (await more()).status_code == 200
    assert (await limiter.peek(ME)).remaining == 0  # in debt: it was more than there was
    refused = await site("/stream")
    assert (refused.status_code, refused.headers["ratelimit-policy"]) == (
        429,
        '"30d";q=100;qu="content-bytes";w=2592000',
    )


async def test_an_estimate_is_given_back_if_another_rule_refuses(ahf: AsyncHoldfast):
    guessed = ahf.limiter("guessed", Limit(100, "30d"), **SURE)
    plain = ahf.limiter("plain", Limit(100, "30d"), **SURE)
    slots = ahf.concurrency_limiter("slots", 1, on_error="deny", deadline="20s")
    other = ahf.limiter("other", Limit(100, "30d"), **SURE)
    settled = LimitRule(guessed, cost=60, settle=content_sent)
    site = Site([LimitRule(slots, key=everyone), settled, LimitRule(plain), LimitRule(other)])
    async with slots.hold("all"):
        bad = await site()
    assert (bad.status_code, bad.headers["retry-after"]) == (429, "1")
    assert bad.json()["violated-policies"] == ["slots"]
    assert [(await one.peek(ME)).remaining for one in (guessed, plain, other)] == [100] * 3
    good = await site()
    assert (good.status_code, (await slots.peek("all")).in_use) == (200, 0)
    assert dict(read(good.headers["ratelimit"]))["slots"]["r"] == 0
    assert ((await guessed.peek(ME)).remaining, (await plain.peek(ME)).remaining) == (96, 99)  # "here"


async def test_shadow_limits_count_and_are_not_seen(ahf: AsyncHoldfast):
    shadow = ahf.limiter("shadow", Limit(1, "1d"), shadow=True, **SURE)
    mixed = ahf.limiter("mixed", [Limit(9, "1d"), Limit(1, "1h", shadow=True)], **SURE)
    site = Site([LimitRule(shadow, key=everyone), LimitRule(mixed)], headers="both")
    answers = [await site() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert [name for name, _ in read(answers[2].headers["ratelimit"])] == ["1d"]
    assert (await shadow.check("all")).shadowed == ("1d",)


async def test_plans(ahf: AsyncHoldfast):
    limiter = ahf.limiter("api", Limit(1, "1d"), plans={"pro": Limit(3, "1d")}, **SURE)
    other = ahf.limiter("other", Limit(9, "1d"), **SURE)
    plan = LimitRule(limiter, plan=lambda asked: "pro" if asked.header("x-pro") else None)
    site = Site([plan, LimitRule(other)])
    assert [(await site()).status_code for _ in range(2)] == [200, 429]
    limiter_of_pro = [(await site(headers={"X_Pro": "1"}, peer="192.0.2.5")).status_code for _ in range(4)]
    assert limiter_of_pro == [200, 200, 200, 429]
    assert (await other.peek("ip:192.0.2.5")).remaining == 6


async def test_a_view_that_waits_in_vain_is_a_429(ahf: AsyncHoldfast):
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    limiter = ahf.limiter("inner", Limit(1, "1h"), **SURE)

    async def view(request: Any) -> PlainTextResponse:
        async with limiter.hold("all", wait=0):
            return PlainTextResponse("in")

    site = Site()
    site.app.router.routes.append(Route("/held", view))
    assert [(await site("/held")).status_code for _ in range(2)] == [200, 429]
    bad = await site("/held")
    assert bad.json()["violated-policies"] == ["1h"]
    assert 0 < int(bad.headers["retry-after"]) <= 3600


async def test_a_crowd_gets_exactly_the_slots(ahf: AsyncHoldfast):
    slots = ahf.concurrency_limiter("slots", 3, deadline="20s", on_error="deny")
    go, inside = asyncio.Event(), 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal inside
        inside += 1
        await go.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    import httpx

    from holdfast.contrib.starlette import RateLimitMiddleware as Asgi

    transport = httpx.ASGITransport(Asgi(app, LimitRule(slots, key=everyone)))
    async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
        tasks = [asyncio.create_task(client.get("/")) for _ in range(10)]
        async with asyncio.timeout(50):
            while inside < 3 or sum(task.done() for task in tasks) < 7:
                await asyncio.sleep(0.01)
        go.set()
        statuses = sorted([(await task).status_code for task in tasks])
    assert statuses == [204] * 3 + [429] * 7
    assert (await slots.peek("all")).in_use == 0


@pytest.mark.parametrize("policy", ["allow", "deny", "local"])
async def test_while_the_server_is_away(faults: FaultProxy, namespace: str, policy: Any):
    """Nothing is a 500, also with several rules, estimates and slots; nothing waits long."""
    options: dict[str, Any] = {"on_error": policy, "deadline": "300ms"}
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="2s") as hf:
        rules = [
            LimitRule(hf.limiter("one", Limit(2, "30d"), **options)),
            LimitRule(hf.limiter("two", Limit(100, "30d"), **options), key=everyone),
            LimitRule(hf.limiter("three", Limit(100, "30d"), **options), cost=2, settle=content_sent),
            LimitRule(hf.concurrency_limiter("four", 5, **options)),
        ]
        site = Site(rules, show_degraded=True)
        faults.refuse()
        faults.cut()
        async with asyncio.timeout(50):
            answers = [await site() for _ in range(4)]
    statuses = [answer.status_code for answer in answers]
    assert statuses == {"allow": [200] * 4, "deny": [503] * 4, "local": [200, 200, 429, 429]}[policy]
    assert {answer.headers["x-ratelimit-degraded"] for answer in answers} == {"1"}
    if policy == "deny":
        assert answers[0].json()["type"].endswith("#temporary-reduced-capacity")
        assert int(answers[0].headers["retry-after"]) >= 1
    if policy == "local":
        assert answers[3].json()["violated-policies"] == ["one:30d"]


def test_threads_do_the_same(hf: Holdfast):
    wide = hf.limiter("wide", Limit(10, "30d"), **SURE)
    narrow = hf.limiter("narrow", Limit(2, "30d"), **SURE)
    guessed = hf.limiter("guessed", Limit(100, "30d"), **SURE)
    slots = hf.concurrency_limiter("slots", 1, deadline="20s", on_error="deny")
    rules = [
        LimitRule(wide, key=everyone),
        LimitRule(narrow),
        LimitRule(guessed, cost=40, settle=content_sent),
        LimitRule(slots),
    ]
    client = Client(RateLimitMiddleware(application, rules))
    statuses = []
    for _ in range(4):
        answer = client.get("/", environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
        statuses.append((answer.status_code, len(answer.data) == 6))
        answer.close()
    assert statuses == [(200, True), (200, True), (429, False), (429, False)]
    assert wide.peek("all").remaining == 8
    assert guessed.peek(ME).remaining == 100 - 2 * 6
    assert slots.peek(ME).in_use == 0
