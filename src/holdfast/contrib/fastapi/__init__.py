"""Middleware and helpers for FastAPI: those of Starlette, and limits for single routes.

app.add_middleware(IdempotencyMiddleware, operations=hf.operations("http", ttl="24h"))
app.add_middleware(RateLimitMiddleware, rules=[LimitRule(hf.limiter("api", Limit(100, "1m")))])
app.add_middleware(SessionMiddleware, sessions=ahf.sessions())
@app.get("/search", dependencies=[Depends(limited(hf.limiter("search", Limit(5, "1s")), key=by_user))])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.contrib._extra import need
from holdfast.contrib.starlette import (
    IdempotencyMiddleware,
    IdempotencyPolicy,
    RateLimitMiddleware,
    SessionMiddleware,
    forward,
    login,
    logout,
    sse,
)

if TYPE_CHECKING:
    from holdfast.contrib.fastapi.limits import TooManyRequests as TooManyRequests
    from holdfast.contrib.fastapi.limits import answer_limited as answer_limited
    from holdfast.contrib.fastapi.limits import limited as limited
    from holdfast.contrib.fastapi.sessions import current_session as current_session

__all__ = [
    "forward", "IdempotencyMiddleware", "IdempotencyPolicy", "sse",
    "RateLimitMiddleware", "limited", "TooManyRequests", "answer_limited",
    "SessionMiddleware", "current_session", "login", "logout",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in ("limited", "TooManyRequests", "answer_limited", "current_session"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    need("fastapi")
    if name == "current_session":
        from holdfast.contrib.fastapi.sessions import current_session

        return current_session
    from holdfast.contrib.fastapi import limits

    return getattr(limits, name)
