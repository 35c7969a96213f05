"""RateLimitMiddleware for Django: see holdfast.contrib.limits for what it promises.

    MIDDLEWARE = [..., "holdfast.contrib.django.RateLimitMiddleware"]
    HOLDFAST_LIMITS = {"rules": [LimitRule(hf.limiter("api", Limit(100, "1m")), key=by_user)]}

`rules` is a list, or a function that returns one (called with the first request); without it the middleware
tells of the limits of views (`limited`) in headers, and answers `RateLimited` errors of views. The other keys
are those of LimitPolicy; its `denied` may return an HttpResponse. Put it behind AuthenticationMiddleware if
requests are counted by user.

It works under WSGI and ASGI. Under ASGI give it limiters of AsyncHoldfast; one of Holdfast works too, in a
thread.
"""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, Unpack

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings  # type: ignore[import-untyped]
from django.http import HttpResponse  # type: ignore[import-untyped]
from django.urls import Resolver404, resolve  # type: ignore[import-untyped]

from holdfast.contrib.limits import _gate_async, _gate_sync
from holdfast.contrib.limits.asked import Answered, Asked, needs_user
from holdfast.contrib.limits.policy import (
    LimitPolicy,
    LimitRule,
    RuleKeywords,
    is_asynchronous,
    route_rule,
    rules_of,
)
from holdfast.contrib.limits.visit import Answer, Visit
from holdfast.errors import RateLimited

SETTING = "HOLDFAST_LIMITS"

_VISIT = "holdfast_limits"  # the attribute of a request that carries its Visit

Passage = _gate_async.AsyncPassage | _gate_sync.Passage
View = TypeVar("View", bound=Callable[..., Any])


class RateLimitMiddleware:
    """Limits requests by the rules in the setting HOLDFAST_LIMITS."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        """Raises: ConfigurationError if the setting is wrong."""
        self._get_response = get_response
        self._asynchronous = iscoroutinefunction(get_response)
        if self._asynchronous:
            markcoroutinefunction(self)
        told = dict(getattr(settings, SETTING, None) or {})
        self._given = told.pop("rules", ())
        self._policy = LimitPolicy(**told)
        self._known: tuple[LimitRule, ...] | None = None
        if not callable(self._given):
            self._rules()

    def __call__(self, request: Any) -> Any:
        """One request."""
        if self._asynchronous:
            return self._asynchronously(request)
        visit, outermost = _visit(request, self._policy)
        rules = () if self._policy.exempts(visit.asked) else self._rules()
        passage = _gate_sync.enter(visit, rules, visit.asked)
        if passage is None:
            return _headed(_response(visit), visit, outermost=outermost)
        response = None
        try:
            response = self._get_response(request)
        finally:
            _leave(passage, response)
        return _headed(response, visit, outermost=outermost)

    async def _asynchronously(self, request: Any) -> Any:
        visit, outermost = _visit(request, self._policy)
        rules = () if self._policy.exempts(visit.asked) else self._rules()
        passage = await _aenter(visit, rules)
        if passage is None:
            return _headed(_response(visit), visit, outermost=outermost)
        response = None
        try:
            response = await self._get_response(request)
        finally:
            await _aleave(passage, response)
        return _headed(response, visit, outermost=outermost)

    def process_exception(self, request: Any, error: Exception) -> HttpResponse | None:
        """Answer a view that was told no, by `hold` or by a decorated function."""
        visit: Visit | None = getattr(request, _VISIT, None)
        if not isinstance(error, RateLimited) or visit is None:
            return None
        visit.overtaken(error, time.time(), random.random())
        return _response(visit)

    def _rules(self) -> tuple[LimitRule, ...]:
        if self._known is None:
            given = self._given() if callable(self._given) else self._given
            self._known = rules_of(given, asynchronous=None if self._asynchronous else False)
        return self._known


def limited(
    limiter: Any, *, policy: LimitPolicy | None = None, **rule: Unpack[RuleKeywords]
) -> Callable[[View], View]:
    """Limit one view, beside what the middleware limits; `def` and `async def` alike.

    `limiter`: of `Holdfast.limiter`, for `async def` of `AsyncHoldfast.limiter`. `policy`: where there is no
    middleware; with it, that of the middleware holds. Other keywords: as LimitRule, but each route is counted
    by itself; with scope="all" all that are limited by this limiter are one.

    Raises: ConfigurationError.
    """
    chosen = policy or LimitPolicy()

    def decorate(view: View) -> View:
        asynchronous = iscoroutinefunction(view)
        rules = route_rule(limiter, rule, asynchronous=asynchronous)

        @functools.wraps(view)
        def inner(request: Any, *args: Any, **kwargs: Any) -> Any:
            visit, outermost = _visit(request, chosen)
            passage = _gate_sync.enter(visit, rules, visit.asked)
            if passage is None:
                return _headed(_response(visit), visit, outermost=outermost)
            response = None
            try:
                response = view(request, *args, **kwargs)
            finally:
                _leave(passage, response)
            return _headed(response, visit, outermost=outermost)

        @functools.wraps(view)
        async def ainner(request: Any, *args: Any, **kwargs: Any) -> Any:
            visit, outermost = _visit(request, chosen)
            passage = await _aenter(visit, rules)
            if passage is None:
                return _headed(_response(visit), visit, outermost=outermost)
            response = None
            try:
                response = await view(request, *args, **kwargs)
            finally:
                await _aleave(passage, response)
            return _headed(response, visit, outermost=outermost)

        return ainner if asynchronous else inner  # type: ignore[return-value]

    return decorate


class DjangoAsked(Asked):
    """A request of Django."""

    __slots__ = ("_known_user",)

    def __init__(self, request: Any, policy: LimitPolicy) -> None:
        super().__init__(request.method or "GET", request.path, request, policy.clients)
        self._known_user: Any = None

    async def find_user(self) -> None:
        """Look up who is authenticated, without blocking others meanwhile."""
        if hasattr(self.native, "auser"):
            self._known_user = await self.native.auser()

    def header(self, name: str) -> str | None:
        """As Asked.header."""
        value: str | None = self.native.headers.get(name)
        return value or None

    @property
    def peer(self) -> str | None:
        """As Asked.peer."""
        return self.native.META.get("REMOTE_ADDR") or None

    @property
    def user(self) -> str | None:
        """As Asked.user."""
        user = self._known_user or getattr(self.native, "user", None)
        return str(user.pk) if user is not None and user.is_authenticated else None

    def find_route(self) -> str | None:
        """As Asked.find_route."""
        match = getattr(self.native, "resolver_match", None)
        if match is None:
            try:
                match = resolve(self.native.path_info, getattr(self.native, "urlconf", None))
            except Resolver404:
                return None
        return f"/{match.route}"


def _visit(request: Any, policy: LimitPolicy) -> tuple[Visit, bool]:
    """What is known of a request, and whether that begins here."""
    visit: Visit | None = getattr(request, _VISIT, None)
    if visit is not None:
        return visit, False
    visit = Visit(policy, DjangoAsked(request, policy))
    setattr(request, _VISIT, visit)
    return visit, True


async def _aenter(visit: Visit, rules: Sequence[LimitRule]) -> Passage | None:
    if any(needs_user(rule.key) for rule in rules):
        await visit.asked.find_user()  # type: ignore[attr-defined]
    if not rules or is_asynchronous(rules[0]):
        return await _gate_async.enter(visit, rules, visit.asked)
    return await sync_to_async(_gate_sync.enter, thread_sensitive=False)(visit, rules, visit.asked)


def _answered(response: Any) -> Answered:
    if response is None:
        return Answered(500)
    if response.streaming:
        return Answered(response.status_code, seen=False)
    return Answered(response.status_code, len(response.content))


def _leave(passage: _gate_sync.Passage, response: Any) -> None:
    """Settle what a request did cost, when it has been answered."""
    if not passage.is_open:
        return
    if response is not None and response.streaming:
        response._resource_closers.append(lambda: passage.leave(_answered(response)))
    else:
        passage.leave(_answered(response))


async def _aleave(passage: Passage, response: Any) -> None:
    """As `_leave`. What is streamed is closed in a thread, and settled in this one."""
    if not passage.is_open:
        return
    if response is not None and response.streaming:
        loop = asyncio.get_running_loop()

        def close() -> None:
            asyncio.run_coroutine_threadsafe(_asettle(passage, response), loop)

        response._resource_closers.append(close)
    else:
        await _asettle(passage, response)


async def _asettle(passage: Passage, response: Any) -> None:
    if isinstance(passage, _gate_async.AsyncPassage):
        await passage.leave(_answered(response))
    else:
        await sync_to_async(passage.leave, thread_sensitive=False)(_answered(response))


def _response(visit: Visit) -> HttpResponse:
    answer = visit.answer()
    if not isinstance(answer, Answer):
        return answer
    response = HttpResponse(answer.body, status=answer.status)
    for name, value in answer.headers:
        response[name] = value
    return response


def _headed(response: Any, visit: Visit, *, outermost: bool) -> Any:
    if outermost:
        for name, value in visit.headers():
            response[name] = value
    return response
