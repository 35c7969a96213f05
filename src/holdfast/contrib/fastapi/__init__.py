"""Middleware for FastAPI: that of Starlette.

app.add_middleware(IdempotencyMiddleware, operations=hf.operations("http", ttl="24h"))
"""

from holdfast.contrib.starlette import IdempotencyMiddleware, IdempotencyPolicy

__all__ = ["IdempotencyMiddleware", "IdempotencyPolicy"]
