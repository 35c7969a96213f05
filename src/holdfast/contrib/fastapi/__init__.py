"""Middleware and helpers for FastAPI: those of Starlette.

app.add_middleware(IdempotencyMiddleware, operations=hf.operations("http", ttl="24h"))
"""

from holdfast.contrib.starlette import IdempotencyMiddleware, IdempotencyPolicy, forward, sse

__all__ = ["forward", "IdempotencyMiddleware", "IdempotencyPolicy", "sse"]
