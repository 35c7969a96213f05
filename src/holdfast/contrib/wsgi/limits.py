"""RateLimitMiddleware for WSGI: see holdfast.contrib.limits for what it promises."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, Unpack

from holdfast.contrib.limits._gate_sync import Passage, enter
from holdfast.contrib.limits.asked import Answered, Asked
from holdfast.contrib.limits.policy import LimitPolicy, LimitPolicyKeywords, rules_of
from holdfast.contrib.limits.visit import KEPT, Answer, Visit
from holdfast.errors import ConfigurationError, RateLimited

Environ = dict[str, Any]
Start = Callable[..., Any]
App = Callable[[Environ, Start], Iterable[bytes]]


class RateLimitMiddleware:
    """Limits requests: `app = RateLimitMiddleware(app, [LimitRule(hf.limiter(...))])`.

    `rules`: what is counted by what; all of them must let a request through, or none is charged. `route`: the
    template of a request's route from its environ; without it scope="route" takes all paths for one. Other
    keywords: as LimitPolicy; its `denied` may return a WSGI application.

    Headers are read as the server has put them into the environ, where `X-Forwarded-For` and
    `X_Forwarded_For` are one: let the proxy or the server drop names with an underscore, as gunicorn does.
    """

    def __init__(
        self,
        app: App,
        rules: Any = (),
        *,
        route: Callable[[Environ], str | None] | None = None,
        **policy: Unpack[LimitPolicyKeywords],
    ) -> None:
        """Raises: ConfigurationError."""
        self._app = app
        self._policy = LimitPolicy(**policy)
        self._rules = rules_of(rules, asynchronous=False)
        if route is not None and not callable(route):
            raise ConfigurationError(f"route={route!r} must be a function of the environ")
        self._route = route

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        """One request."""
        asked = WsgiAsked(environ, self._policy, self._route)
        rules = () if self._policy.exempts(asked) else self._rules
        outer = environ.get(KEPT)
        visit = Visit(self._policy, asked) if outer is None else outer
        passage = enter(visit, rules, asked)
        reply = _Reply(visit, start_response, outermost=outer is None)
        if passage is None:
            return _refuse(visit, environ, reply.start)
        environ[KEPT] = visit
        try:
            parts = self._app(environ, reply.start)
        except BaseException as error:
            passage.leave(Answered(500))
            if not isinstance(error, RateLimited) or reply.started or outer is not None:
                raise
            visit.overtaken(error, time.time(), random.random())
            return _refuse(visit, environ, reply.start)
        return _Body(parts, passage, reply) if passage.is_open else parts


class WsgiAsked(Asked):
    """A request, from its environ."""

    __slots__ = ("_of_environ",)

    def __init__(
        self, environ: Environ, policy: LimitPolicy, route: Callable[[Environ], str | None] | None = None
    ) -> None:
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        super().__init__(environ["REQUEST_METHOD"], path, environ, policy.clients)
        self._of_environ = route

    def header(self, name: str) -> str | None:
        """As Asked.header."""
        told = name.upper().replace("-", "_")
        plain = told in {"CONTENT_LENGTH", "CONTENT_TYPE"}
        value: str | None = self.native.get(told if plain else f"HTTP_{told}")
        return value or None

    @property
    def peer(self) -> str | None:
        """As Asked.peer."""
        return self.native.get("REMOTE_ADDR") or None

    @property
    def user(self) -> str | None:
        """Whom the server, or a middleware before this one, has authenticated."""
        return self.native.get("REMOTE_USER") or None

    def find_route(self) -> str | None:
        """As Asked.find_route."""
        return self._of_environ(self.native) if self._of_environ else None


class _Reply:
    """How a view begins to answer: with headers of limits."""

    def __init__(self, visit: Visit, start: Start, *, outermost: bool) -> None:
        self.started = False
        self.status = 500
        self._visit = visit
        self._start = start
        self._outermost = outermost

    def start(self, status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        """As the server's `start_response`."""
        self.started = True
        self.status = int(status[:3])
        told = self._visit.headers() if self._outermost else []
        return self._start(status, [*headers, *told], *exc_info)


class _Body:
    """What a view answers, passed on; settled when the server closes it."""

    def __init__(self, parts: Iterable[bytes], passage: Passage, reply: _Reply) -> None:
        self._parts = parts
        self._passage = passage
        self._reply = reply
        self._sent = 0

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            self._sent += len(part)
            yield part

    def close(self) -> None:
        """Settle what it did cost."""
        try:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()
        finally:
            self._passage.leave(Answered(self._reply.status, self._sent))


def _refuse(visit: Visit, environ: Environ, start: Start) -> Iterable[bytes]:
    answer = visit.answer()
    if isinstance(answer, Answer):
        length = ("Content-Length", str(len(answer.body)))
        start(f"{answer.status} {_phrase(answer.status)}", [*answer.headers, length])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else answer.body]
    if callable(answer):
        return answer(environ, start)  # type: ignore[no-any-return]
    raise ConfigurationError(f"denied= returned {answer!r}, which is no Answer and no WSGI application")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"
