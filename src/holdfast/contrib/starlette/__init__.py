"""Middleware for Starlette, FastAPI and every other ASGI framework, and topics in a browser.

IdempotencyMiddleware     requests with an `Idempotency-Key` are done once, and their answer is replayed
RateLimitMiddleware       how many requests are let in, by address, by user, by route
SessionMiddleware         `request.session`, kept by the server; login, logout
sse, forward              a topic as server-sent events, or through a WebSocket; these need Starlette itself
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.contrib._extra import need
from holdfast.contrib.idempotency import IdempotencyPolicy
from holdfast.contrib.starlette.idempotency import IdempotencyMiddleware
from holdfast.contrib.starlette.limits import RateLimitMiddleware
from holdfast.contrib.starlette.sessions import SessionMiddleware, login, logout

if TYPE_CHECKING:
    from holdfast.contrib.starlette.live import forward as forward
    from holdfast.contrib.starlette.live import sse as sse

__all__ = [
    "forward", "IdempotencyMiddleware", "IdempotencyPolicy", "RateLimitMiddleware", "sse",
    "SessionMiddleware", "login", "logout",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in ("forward", "sse"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    need("starlette")
    from holdfast.contrib.starlette import live

    return getattr(live, name)
