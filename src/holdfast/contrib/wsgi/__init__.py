"""Middleware for every WSGI framework: RateLimitMiddleware. It needs nothing more."""

from holdfast.contrib.wsgi.limits import RateLimitMiddleware

__all__ = ["RateLimitMiddleware"]
