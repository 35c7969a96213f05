"""Middleware for Starlette, FastAPI and every other ASGI framework.

IdempotencyMiddleware     requests with an `Idempotency-Key` are done once, and their answer is replayed
"""

from holdfast.contrib.idempotency import IdempotencyPolicy
from holdfast.contrib.starlette.idempotency import IdempotencyMiddleware

__all__ = ["IdempotencyMiddleware", "IdempotencyPolicy"]
