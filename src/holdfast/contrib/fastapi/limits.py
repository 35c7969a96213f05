"""`limited` for routes of FastAPI: see holdfast.contrib.limits for what it promises."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from typing import Any, Unpack

from fastapi import Response
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import HTTPConnection
from starlette.responses import Response as AnyResponse

from holdfast.contrib.limits._gate_async import enter
from holdfast.contrib.limits.asked import Answered
from holdfast.contrib.limits.policy import LimitPolicy, RuleKeywords, route_rule
from holdfast.contrib.limits.visit import KEPT, Answer, Decided, Refusal, Visit
from holdfast.contrib.starlette.limits import TRY_AGAIN_LATER, AsgiAsked
from holdfast.errors import ConfigurationError, RateLimited


class TooManyRequests(HTTPException):
    """A route's limit said no, and there is no RateLimitMiddleware to answer it. FastAPI answers it as every
    HTTPException, with {"detail": ...}; `app.add_exception_handler(TooManyRequests, answer_limited)` makes it
    problem+json.
    """

    def __init__(self, visit: Visit) -> None:
        assert visit.refusal is not None
        self.refusal: Refusal = visit.refusal
        self.visit = visit
        super().__init__(visit.refusal.status, visit.refusal.detail, dict(visit.headers()))


async def answer_limited(_request: Any, error: Exception) -> AnyResponse:
    """The answer to TooManyRequests: problem+json, or what the policy's `denied` returns."""
    assert isinstance(error, TooManyRequests)
    answer = error.visit.answer()
    if isinstance(answer, Answer):
        response = AnyResponse(answer.body, answer.status, dict(answer.headers))
    elif isinstance(answer, AnyResponse):
        response = answer
    else:
        raise ConfigurationError(f"denied= returned {answer!r}, which is no Answer and no Response")
    for name, value in error.visit.headers():
        response.headers[name] = value
    return response


def limited(
    limiter: Any, *, policy: LimitPolicy | None = None, **rule: Unpack[RuleKeywords]
) -> Callable[..., AsyncIterator[Decided | None]]:
    """A dependency that limits a route: `dependencies=[Depends(limited(limiter, key=by_user))]`.

    `limiter`: of `AsyncHoldfast.limiter`. `policy`: for applications without RateLimitMiddleware; with it,
    that of the middleware holds, and its headers tell of this limit too. Without it, headers reach only
    answers that FastAPI makes, not a Response that a view has made. Other keywords: as LimitRule, but each
    route is counted by itself; with scope="all" all that are limited by this limiter are one.

    A parameter that depends on it is the Decision, or None if the request was not counted.
    Raises: ConfigurationError.
    """
    rules = route_rule(limiter, rule, asynchronous=True)
    chosen = policy or LimitPolicy()

    async def dependency(connection: HTTPConnection, response: Response) -> AsyncIterator[Decided | None]:
        scope = connection.scope
        outer: Visit | None = scope.get(KEPT)
        own: Visit | None = scope.get(f"{KEPT}.fastapi")
        visit = outer or own or Visit(chosen, AsgiAsked(scope, chosen))
        before = len(visit.entries)
        passage = await enter(visit, rules, visit.asked)
        if passage is None:
            raise _refused(visit, scope["type"], answered=outer is not None)
        if outer is None:
            scope[f"{KEPT}.fastapi"] = visit
            for name, value in visit.headers():
                response.headers[name] = value
        status = 500
        try:
            yield visit.entries[-1].decision if len(visit.entries) > before else None
            status = response.status_code or 200
        except HTTPException as error:
            status = error.status_code
            raise
        finally:
            await passage.leave(Answered(status, seen=False))

    return dependency


def _refused(visit: Visit, kind: str, *, answered: bool) -> Exception:
    """What to raise. `answered`: a RateLimitMiddleware will catch it."""
    refusal = visit.refusal
    assert refusal is not None
    if answered:
        seconds = math.inf if refusal.retry_after is None else float(refusal.retry_after)
        return RateLimited(refusal.detail, decision=refusal.decision, retry_after=seconds)
    if kind == "websocket":
        return WebSocketException(TRY_AGAIN_LATER, refusal.detail)
    return TooManyRequests(visit)
