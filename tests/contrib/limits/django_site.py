"""A site of Django whose views are limited; its limiters are set by the tests."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpResponse, StreamingHttpResponse  # type: ignore[import-untyped]
from django.urls import include, path, re_path  # type: ignore[import-untyped]

from holdfast.errors import RateLimited
from tests.contrib.limits.pretend import Limiter, decided

RAN: list[str] = []
WATCH: list[Callable[[], object]] = []


class Login:
    """Who sends X-User is authenticated."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        name = request.headers.get("X-User")
        user = SimpleNamespace(pk=name, is_authenticated=name is not None)
        if not iscoroutinefunction(self.get_response):
            request.user = user
            return self.get_response(request)

        async def auser() -> Any:
            return user

        request.auser = auser
        return self.get_response(request)


def item(request: Any, number: int = 0) -> HttpResponse:
    RAN.append(request.path)
    return HttpResponse(f"item {number}")


def told_no(request: Any) -> HttpResponse:
    raise RateLimited("no", decision=decided(Limiter().limit, violated=["1h"], wait=7.5), retry_after=7.5)


def broken(request: Any) -> HttpResponse:
    raise ZeroDivisionError


def seen(part: bytes) -> bytes:
    """Note what is held while it is sent."""
    RAN.extend(str(watch()) for watch in WATCH)
    return part


def stream(request: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(seen(part) for part in (b"a", b"bc"))


async def astream(request: Any) -> StreamingHttpResponse:
    async def parts() -> Any:
        for part in (b"a", b"bc"):
            yield seen(part)

    return StreamingHttpResponse(parts())


async def aitem(request: Any, number: int = 0) -> HttpResponse:
    RAN.append(request.path)
    return HttpResponse(f"item {number}")


urlpatterns = [
    path("items/<int:number>/", item),
    path("aitems/<int:number>/", aitem),
    path("deep/", include([re_path(r"^old/(?P<number>[0-9]+)/$", item)])),
    path("told-no/", told_no),
    path("broken/", broken),
    path("stream/", stream),
    path("astream/", astream),
]
