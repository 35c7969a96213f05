"""Rate limits over HTTP, for every framework.

    address.py   the client's address, behind proxies that are trusted            pure
    asked.py     a request, and by what it can be counted: key and cost functions  pure
    policy.py    LimitRule: which requests a limiter counts; LimitPolicy: how it is told  pure
    fields.py    structured fields of HTTP                                         pure
    headers.py   RateLimit-Policy, RateLimit, X-RateLimit-*, Retry-After           pure
    visit.py     one request: what limits said to it, and the answer if it is refused  pure
    _gate_async.py   ask the limiters, and settle after the answer

The middleware itself is in holdfast.contrib.starlette (ASGI: FastAPI, Litestar and others too), .wsgi, .flask
and .django; `limited` for one route in .fastapi, .flask and .django.

Promised:

* A request that is refused is charged to none of the limiters that the middleware asks for it, as far as the
  server of the limits can be reached.
* A request is never answered with an error because that server is away: `on_error` of the limiter decides.
* Nobody chooses by what it is counted, unless the key function lets it: see asked.py and address.py.
* Answers are not touched but for headers, neither streams nor bodies.

Not promised:

* That requests without a route are told apart by their path: for scope="route" they are all one, since there
  is no end of them. Litestar asks its middleware about none of them.
* That a request is charged nowhere whose client has gone in the very moment in which a limiter was asked.
"""

from holdfast.contrib.limits.asked import (
    Answered,
    Asked,
    by_address,
    by_header,
    by_path,
    by_route,
    by_user,
    combined,
    content_bytes,
    content_sent,
    everyone,
)
from holdfast.contrib.limits.policy import LimitPolicy, LimitRule
from holdfast.contrib.limits.visit import Answer, Refusal

__all__ = [
    "LimitRule", "LimitPolicy", "Asked", "Answered", "Answer", "Refusal",
    "by_address", "by_user", "by_route", "by_path", "by_header", "everyone", "combined",
    "content_bytes", "content_sent",
]  # fmt: skip
