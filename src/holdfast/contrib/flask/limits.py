"""RateLimits for Flask: see holdfast.contrib.limits for what it promises."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar, Unpack

from flask import Flask, Response, current_app, make_response, request

from holdfast.contrib.limits._gate_sync import Passage, enter
from holdfast.contrib.limits.asked import Answered
from holdfast.contrib.limits.policy import (
    LimitPolicy,
    LimitPolicyKeywords,
    LimitRule,
    RuleKeywords,
    route_rule,
    rules_of,
)
from holdfast.contrib.limits.visit import KEPT, Answer, Visit
from holdfast.contrib.wsgi.limits import WsgiAsked
from holdfast.errors import ConfigurationError, RateLimited

EXTENSION = "holdfast-limits"

_OWN = f"{KEPT}.flask"  # where a request carries what this extension has let in

View = TypeVar("View", bound=Callable[..., Any])


class RateLimits:
    """Limits the requests of an application: `RateLimits(app, [LimitRule(hf.limiter(...))])`.

    `rules`: what is counted by what; all of them must let a request through, or none is charged. Without any
    it tells of the limits of views (`limited`), and answers `RateLimited` errors of views. `user`: who is
    authenticated, by an id, for `by_user`; without it: REMOTE_USER. Other keywords: as LimitPolicy; its
    `denied` may return whatever a view may.

    It asks before the request's view, in the order in which functions were given to `before_request`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        rules: Any = (),
        *,
        user: Callable[[], object] | None = None,
        **policy: Unpack[LimitPolicyKeywords],
    ) -> None:
        """Raises: ConfigurationError."""
        self.policy = LimitPolicy(**policy)
        self._rules = rules_of(rules, asynchronous=False)
        if user is not None and not callable(user):
            raise ConfigurationError(f"user={user!r} must be a function without arguments")
        self._user = user
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Limit the requests of `app`. Raises: ConfigurationError if another one does already."""
        if EXTENSION in app.extensions:
            raise ConfigurationError(f"{app!r} has a RateLimits already")
        app.extensions[EXTENSION] = self
        app.before_request(self._before)
        app.after_request(self._after)
        app.teardown_request(self._teardown)
        app.register_error_handler(RateLimited, self._overtaken)

    def asked(self) -> FlaskAsked:
        """The request that is answered."""
        return FlaskAsked(request.environ, self.policy, self._user)

    def _before(self) -> Any:
        environ = request.environ
        own = _Own(self, environ.get(KEPT))
        environ[_OWN], environ[KEPT] = own, own.visit
        rules = () if self.policy.exempts(own.visit.asked) else self._rules
        return None if own.enter(rules) else own.answer()

    def _after(self, response: Response) -> Response:
        own: _Own | None = request.environ.get(_OWN)
        if own is not None:
            if own.outermost:
                response.headers.extend(own.visit.headers())
            own.leave_with(response)
        return response

    def _teardown(self, _error: BaseException | None) -> None:
        own: _Own | None = request.environ.get(_OWN)
        if own is not None:
            own.leave(Answered(500))  # nothing, if there is a response to wait for

    def _overtaken(self, error: RateLimited) -> Any:
        own: _Own | None = request.environ.get(_OWN)
        if own is None:
            raise error
        own.visit.overtaken(error, time.time(), random.random())
        return own.answer()


def limited(limiter: Any, **rule: Unpack[RuleKeywords]) -> Callable[[View], View]:
    """Limit one view, beside what RateLimits limits: put it below `@app.route`.

    `limiter`: of `hf.limiter`. Other keywords: as LimitRule, but each route is counted by itself; with
    scope="all" all that are limited by this limiter are one.

    Raises: ConfigurationError, also with the first request of an application without RateLimits.
    """
    rules = route_rule(limiter, rule, asynchronous=False)

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def inner(*args: Any, **kwargs: Any) -> Any:
            own: _Own | None = request.environ.get(_OWN)
            if own is None:
                raise ConfigurationError(
                    "limited views need RateLimits(app), with or without rules, for their headers"
                )
            return current_app.ensure_sync(view)(*args, **kwargs) if own.enter(rules) else own.answer()

        return inner  # type: ignore[return-value]

    return decorate


class _Own:
    """What this extension knows of a request."""

    def __init__(self, limits: RateLimits, outer: Visit | None) -> None:
        self.outermost = outer is None
        self._asked = limits.asked()
        self.visit = outer or Visit(limits.policy, self._asked)
        self._passages: list[Passage] = []

    def enter(self, rules: tuple[LimitRule, ...]) -> bool:
        """Ask the limiters of `rules` to let it in."""
        passage = enter(self.visit, rules, self._asked)
        if passage is not None and passage.is_open:
            self._passages.append(passage)
        return passage is not None

    def answer(self) -> Any:
        """To a request that was refused; headers of limits follow when it is sent."""
        answer = self.visit.answer()
        if not isinstance(answer, Answer):
            return make_response(answer)
        return Response(answer.body, status=answer.status, headers=answer.headers)

    def leave_with(self, response: Response) -> None:
        """Settle what it did cost as soon as `response` was sent."""
        passages, self._passages = self._passages, []
        if passages:
            # Asked for its length, Flask would read a stream to its end.
            known = response.calculate_content_length() if response.is_sequence else response.content_length
            answered = Answered(response.status_code, known or 0, seen=known is not None)
            response.call_on_close(functools.partial(_leave, passages, answered))

    def leave(self, answered: Answered) -> None:
        """Settle what it did cost."""
        passages, self._passages = self._passages, []
        _leave(passages, answered)


def _leave(passages: list[Passage], answered: Answered) -> None:
    for passage in passages:
        passage.leave(answered)


class FlaskAsked(WsgiAsked):
    """A request of Flask; `native` is its environ."""

    __slots__ = ("_user",)

    def __init__(
        self, environ: dict[str, Any], policy: LimitPolicy, user: Callable[[], object] | None
    ) -> None:
        super().__init__(environ, policy)
        self._user = user

    @property
    def user(self) -> str | None:
        """As Asked.user."""
        if self._user is None:
            return super().user
        found = self._user()
        return None if found is None else str(found)

    def find_route(self) -> str | None:
        """As Asked.find_route."""
        rule = request.url_rule
        return None if rule is None else rule.rule
