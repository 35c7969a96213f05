"""Applications that real servers serve; which one, and its limits, is told by the environment."""

from __future__ import annotations

import os
from typing import Any

from holdfast import AsyncHoldfast, Holdfast
from holdfast.contrib.limits import LimitRule, everyone
from holdfast.limits.options import Limit

QUOTA = 20
SHARED = Limit(3 * QUOTA, "1d", name="shared")
EACH = Limit(QUOTA, "1d", name="each")
TRUSTED = ["127.0.0.1"]

PLACE: dict[str, Any] = {"namespace": os.environ.get("WEB_NAMESPACE", "web"), "timeout": "10s"}
SURE: dict[str, Any] = {"on_error": "deny", "deadline": "20s"}
BRIEF: dict[str, Any] = {"on_error": os.environ.get("WEB_ON_ERROR", "deny"), "deadline": "200ms"}
ITEMS = ["/items/*"]


def told(hf: Any) -> dict[str, Any]:
    """Rules and policy: two limits of items, one of each client and one of all together; and one of a route
    that is asked while Redis is away.
    """
    return {
        "rules": [
            LimitRule(hf.limiter("each", EACH, **SURE), scope="route", routes=ITEMS),
            LimitRule(hf.limiter("shared", SHARED, **SURE), key=everyone, routes=ITEMS),
            LimitRule(hf.limiter("brief", Limit(10**6, "1d"), **BRIEF), routes=["/brief"]),
        ],
        "exempt": ["/pid"],
        "trusted": TRUSTED,
        "headers": "both",
        "show_degraded": True,
    }


def answer() -> str:
    """What views say."""
    return str(os.getpid())


def fastapi() -> Any:
    """FastAPI."""
    from fastapi import FastAPI

    from holdfast.contrib.fastapi import RateLimitMiddleware

    app = FastAPI()
    app.add_middleware(RateLimitMiddleware, **told(AsyncHoldfast(os.environ["WEB_URL"], **PLACE)))
    for path in ("/pid", "/brief", "/items/{number}"):
        app.get(path)(answer)
    return app


def flask() -> Any:
    """Flask."""
    from flask import Flask

    from holdfast.contrib.flask import RateLimits

    app = Flask("web")
    RateLimits(app, **told(Holdfast(os.environ["WEB_URL"], **PLACE)))
    for path in ("/pid", "/brief", "/items/<int:number>"):
        app.add_url_rule(path, path, lambda number=0: answer())
    return app


def wsgi() -> Any:
    """A bare function."""
    from holdfast.contrib.wsgi import RateLimitMiddleware

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [answer().encode()]

    def route(environ: dict[str, Any]) -> str:
        return "/items/*" if environ["PATH_INFO"].startswith("/items/") else environ["PATH_INFO"]

    return RateLimitMiddleware(app, route=route, **told(Holdfast(os.environ["WEB_URL"], **PLACE)))


def django(*, asynchronous: bool) -> Any:
    """Django."""
    from django.conf import settings  # type: ignore[import-untyped]
    from django.http import HttpResponse  # type: ignore[import-untyped]
    from django.urls import path  # type: ignore[import-untyped]

    def view(request: Any, number: int = 0) -> Any:
        return HttpResponse(answer())

    class Urls:
        urlpatterns = [path("pid", view), path("brief", view), path("items/<int:number>", view)]

    client: Any = AsyncHoldfast if asynchronous else Holdfast
    settings.configure(
        ROOT_URLCONF=Urls,
        MIDDLEWARE=["holdfast.contrib.django.RateLimitMiddleware"],
        HOLDFAST_LIMITS=told(client(os.environ["WEB_URL"], **PLACE)),
        ALLOWED_HOSTS=["*"],
    )
    import django as package  # type: ignore[import-untyped]

    package.setup()
    if asynchronous:
        from django.core.handlers.asgi import ASGIHandler  # type: ignore[import-untyped]

        return ASGIHandler()
    from django.core.handlers.wsgi import WSGIHandler  # type: ignore[import-untyped]

    return WSGIHandler()


BY_NAME = {
    "fastapi": fastapi,
    "flask": flask,
    "wsgi": wsgi,
    "django": lambda: django(asynchronous=False),
    "django-asgi": lambda: django(asynchronous=True),
}
if "WEB_FRAMEWORK" in os.environ:
    app = BY_NAME[os.environ["WEB_FRAMEWORK"]]()
