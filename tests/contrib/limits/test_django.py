"""RateLimitMiddleware and `limited` of Django, under WSGI and ASGI, with limiters of this process."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from django.core.handlers.asgi import ASGIHandler  # type: ignore[import-untyped]
from django.core.handlers.wsgi import WSGIHandler  # type: ignore[import-untyped]
from django.http import HttpResponse  # type: ignore[import-untyped]
from django.test import RequestFactory, override_settings  # type: ignore[import-untyped]

from holdfast import ConfigurationError
from holdfast.contrib.django import RateLimitMiddleware, limited
from holdfast.contrib.limits import Answer, LimitPolicy, LimitRule, by_user, combined, content_sent, everyone
from tests.contrib.limits import django_site
from tests.contrib.limits.pretend import AsyncLimiter, AsyncSlots, Limiter, SyncSlots
from tests.contrib.limits.structured import read

SITE = "tests.contrib.limits.django_site"


class Site:
    """A site with these rules, called by threads or by asyncio."""

    def __init__(self, flavour: str, rules: Any = (), **policy: Any) -> None:
        self.asynchronous = flavour == "async"
        self._settings = {
            "MIDDLEWARE": [f"{SITE}.Login", "holdfast.contrib.django.RateLimitMiddleware"],
            "ROOT_URLCONF": SITE,
            "HOLDFAST_LIMITS": {"rules": rules, **policy},
        }

    def get(self, path: str, *, peer: str = "192.0.2.1", **headers: str) -> httpx.Response:
        with override_settings(**self._settings):
            if not self.asynchronous:
                app: Any = WSGIHandler()
                with httpx.Client(transport=httpx.WSGITransport(app, False, remote_addr=peer)) as client:
                    return client.get(f"http://testserver{path}", headers=headers)
            return asyncio.run(self._aget(ASGIHandler(), path, peer, headers))

    async def _aget(self, app: Any, path: str, peer: str, headers: dict[str, str]) -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport) as client:
            answer = await client.get(f"http://testserver{path}", headers=headers)
            await asyncio.sleep(0)
            async with asyncio.timeout(50):
                while len(asyncio.all_tasks()) > 1:  # what is streamed is settled in a task of its own
                    await asyncio.sleep(0.001)
        return answer


@pytest.fixture(params=["sync", "async"])
def flavour(request: pytest.FixtureRequest, world: SimpleNamespace) -> str:
    django_site.RAN.clear()
    return str(request.param)


@pytest.fixture(params=["sync", "async", "thread"])
def kinds(request: pytest.FixtureRequest, world: SimpleNamespace) -> Any:
    """How it is called, and which limiters it has: those of threads work under ASGI too."""
    django_site.RAN.clear()
    name = str(request.param)
    sync = (Limiter, SyncSlots)
    return {
        "sync": ("sync", *sync),
        "async": ("async", AsyncLimiter, AsyncSlots),
        "thread": ("async", *sync),
    }[name]


def test_the_quota_passes_and_the_rest_is_told_to_wait(kinds: Any):
    flavour, limiter, _ = kinds
    site = Site(flavour, LimitRule(limiter(2), scope="route"))
    answers = [site.get(f"/items/{number}/") for number in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert read(answers[0].headers["RateLimit"]) == [("1h", {"r": 1, "t": 1200})]
    assert django_site.RAN == ["/items/0/", "/items/1/"]
    bad = answers[2]
    assert (bad.headers["Content-Type"], bad.headers["Retry-After"]) == ("application/problem+json", "60")
    assert bad.json()["violated-policies"] == ["1h"]


def test_routes_are_counted_by_their_template(flavour: str):
    limiter = (Limiter if flavour == "sync" else AsyncLimiter)(100)
    site = Site(flavour, LimitRule(limiter, scope="route", key=everyone))
    for path in ("/items/1/", "/items/2/", "/deep/old/1/", "/none/1", "/none/2"):
        site.get(path)
    assert list(limiter.used) == [
        "/items/<int:number>/ all", "/deep/old/(?P<number>[0-9]+)/$ all", "- all",
    ]  # fmt: skip


def test_users(kinds: Any):
    flavour, kind, _ = kinds
    limiter = kind(100)
    site = Site(flavour, LimitRule(limiter, key=combined(by_user)))
    site.get("/items/1/", **{"X-User": "ann"})
    site.get("/items/1/")
    assert list(limiter.used) == ["8,user:ann", "12,ip:192.0.2.1"]


def test_clients_behind_proxies(flavour: str):
    limiter = (Limiter if flavour == "sync" else AsyncLimiter)(100)
    site = Site(flavour, limiter, trusted=["10.0.0.0/8"])
    site.get("/items/1/", peer="10.0.0.1", **{"X-Forwarded-For": "6.6.6.6, 1.2.3.4"})
    site.get("/items/1/", peer="192.0.2.1", **{"X-Forwarded-For": "1.2.3.4"})
    assert list(limiter.used) == ["ip:1.2.3.4", "ip:192.0.2.1"]


def test_views_that_are_told_no_or_break(kinds: Any):
    flavour, limiter, slots = kinds
    held = slots(1)
    site = Site(flavour, lambda: [LimitRule(limiter(9)), LimitRule(held)])
    bad = site.get("/told-no/")
    assert (bad.status_code, bad.headers["Retry-After"]) == (429, "8")
    assert bad.json()["violated-policies"] == ["1h"]
    assert [name for name, _ in read(bad.headers["RateLimit"])] == ["api:1h", "slots", "1h"]
    broken = site.get("/broken/")
    assert (broken.status_code, "RateLimit" in broken.headers) == (500, True)
    assert (held.held, held.most) == (0, 1)


def test_costs_and_slots_are_settled_when_it_was_answered(kinds: Any):
    flavour, kind, slots = kinds
    limiter, held = kind(100), slots(1)
    site = Site(flavour, [LimitRule(limiter, cost=50, settle=content_sent), LimitRule(held)])
    assert site.get("/items/7/").content == b"item 7"
    assert (limiter.settled, held.held, held.most) == ([6], 0, 1)
    django_site.RAN.clear()
    django_site.WATCH[:] = [lambda: held.held]
    assert site.get("/stream/" if flavour == "sync" else "/astream/").content == b"abc"
    django_site.WATCH.clear()
    assert django_site.RAN == ["1", "1"]  # held until the last part was sent
    assert (limiter.settled, held.held) == ([6], 0), "a stream costs what was estimated"
    held.held = 1
    assert site.get("/items/7/").status_code == 429
    assert limiter.used == {"ip:192.0.2.1": 6 + 50}


def test_an_answer_of_ones_own(flavour: str):
    limiter = (Limiter if flavour == "sync" else AsyncLimiter)(0)
    for denied in (
        lambda asked, refusal: HttpResponse("calm", status=420),
        lambda asked, refusal: Answer(420, [("X-Own", "1")], b"calm"),
    ):
        answer = Site(flavour, limiter, denied=denied).get("/items/1/")
        assert (answer.status_code, answer.content, answer.headers["Retry-After"]) == (420, b"calm", "60")


def test_exemptions(flavour: str):
    limiter = (Limiter if flavour == "sync" else AsyncLimiter)(0)
    site = Site(flavour, limiter, exempt=["/items/*"])
    assert [site.get(path).status_code for path in ("/items/1/", "/stream/", "/none")] == [200, 429, 429]


# --- one view ---


def through(middleware: bool, view: Any, count: int, rules: Any = ()) -> list[Any]:
    """Answers of a view to requests, perhaps behind the middleware."""
    asynchronous = asyncio.iscoroutinefunction(view)
    with override_settings(HOLDFAST_LIMITS={"rules": rules, "headers": "both"}, ROOT_URLCONF=SITE):
        handler = RateLimitMiddleware(view) if middleware else view
        factory = RequestFactory()

        async def main() -> list[Any]:
            return [await handler(factory.get(f"/items/{number}/")) for number in range(count)]

        if asynchronous:
            return asyncio.run(main())
        return [handler(factory.get(f"/items/{number}/")) for number in range(count)]


@pytest.mark.parametrize("middleware", [False, True])
def test_one_view_is_limited(flavour: str, middleware: bool):
    kind: Any = Limiter if flavour == "sync" else AsyncLimiter
    limiter, outer = kind(2, name="own"), kind(100, name="outer")
    view = limited(limiter, policy=LimitPolicy(headers="draft"))(
        django_site.item if flavour == "sync" else django_site.aitem
    )
    answers = through(middleware, view, 3, rules=outer if middleware else ())
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert limiter.used == {"/items/<int:number>/ ip:127.0.0.1": 2}
    bad = answers[2]
    names = [name for name, _ in read(bad["RateLimit"])]
    assert names == (["outer:1h", "own:1h"] if middleware else ["1h"])
    assert ("X-RateLimit-Limit" in bad) is middleware  # the middleware's policy holds
    assert bad["Retry-After"] == "60"
    assert "RateLimit" in answers[0]


def test_slots_and_costs_of_one_view(flavour: str):
    kind: Any = (Limiter, SyncSlots) if flavour == "sync" else (AsyncLimiter, AsyncSlots)
    limiter, slots = kind[0](100), kind[1](1)
    view = limited(limiter, cost=50, settle=content_sent)(
        limited(slots)(django_site.item if flavour == "sync" else django_site.aitem)
    )
    (answer,) = through(False, view, 1)
    assert (answer.status_code, limiter.settled, slots.held, slots.most) == (200, [6], 0, 1)


def test_flavours_may_not_be_mixed(world: SimpleNamespace):
    with pytest.raises(ConfigurationError, match="Holdfast"):
        limited(AsyncLimiter())(django_site.item)
    with pytest.raises(ConfigurationError, match="AsyncHoldfast"):
        limited(Limiter())(django_site.aitem)
    with override_settings(HOLDFAST_LIMITS={"rules": [AsyncLimiter()]}):
        with pytest.raises(ConfigurationError, match="Holdfast"):
            RateLimitMiddleware(django_site.item)
        RateLimitMiddleware(django_site.aitem)
    with (
        override_settings(HOLDFAST_LIMITS={"rules": [AsyncLimiter(), Limiter()]}),
        pytest.raises(ConfigurationError),
    ):
        RateLimitMiddleware(django_site.aitem)
    with (
        override_settings(HOLDFAST_LIMITS={"headers": "x"}),
        pytest.raises(ConfigurationError, match="headers"),
    ):
        RateLimitMiddleware(django_site.item)
    with override_settings():
        RateLimitMiddleware(django_site.item)  # without rules: for the headers of views
