"""RateLimitMiddleware for ASGI: see holdfast.contrib.limits for what it promises."""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Unpack, cast

from holdfast.contrib.limits._gate_async import AsyncPassage, enter
from holdfast.contrib.limits.asked import Answered, Asked
from holdfast.contrib.limits.headers import Header
from holdfast.contrib.limits.policy import LimitPolicy, LimitPolicyKeywords, rules_of
from holdfast.contrib.limits.visit import KEPT, Answer, Visit
from holdfast.contrib.starlette.routes import Spot, template
from holdfast.errors import ConfigurationError, RateLimited

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BROKEN = 500  # what applications answer to an exception

TRY_AGAIN_LATER = 1013  # the code with which a WebSocket is closed


class RateLimitMiddleware:
    """Limits requests: `app.add_middleware(RateLimitMiddleware, rules=[LimitRule(hf.limiter(...))])`.

    `rules`: what is counted by what; all of them must let a request through, or none is charged. Without any
    it tells of the limits of routes (`limited`) in headers, and answers `RateLimited` errors of views.
    `websockets`: limit their handshakes too. `route`: the template of a request's route from its scope, where
    the framework is none of those whose routes are found (Starlette, FastAPI, Litestar). Other keywords: as
    LimitPolicy; its `denied` may return an ASGI application, such as a response of Starlette.

    A mounted application turns what its views raise into answers of its own. `limited` works there all the
    same; for `RateLimited` errors of its views, by `hold` for example, give it this middleware too.
    """

    def __init__(
        self,
        app: App,
        rules: Any = (),
        *,
        websockets: bool = False,
        route: Callable[[Scope], str | None] | None = None,
        **policy: Unpack[LimitPolicyKeywords],
    ) -> None:
        """Raises: ConfigurationError."""
        self._app = app
        self._policy = LimitPolicy(**policy)
        self._rules = rules_of(rules, asynchronous=True)
        if route is not None and not callable(route):
            raise ConfigurationError(f"route={route!r} must be a function of the scope")
        self._route = route
        self._kinds = ("http", "websocket") if websockets else ("http",)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] not in self._kinds:
            await self._app(scope, receive, send)
            return
        asked = AsgiAsked(scope, self._policy, self._route, self._app)
        rules = () if self._policy.exempts(asked) else self._rules
        outer = scope.get(KEPT)
        visit = Visit(self._policy, asked) if outer is None else outer
        passage = await enter(visit, rules, asked)
        reply = _Reply(visit, send, outermost=outer is None)
        if passage is None:
            await refuse(visit, scope, receive, reply.send)
            return
        scope[KEPT] = visit
        await self._pass(scope, receive, reply, passage)

    async def _pass(self, scope: Scope, receive: Receive, reply: _Reply, passage: AsyncPassage) -> None:
        visit = reply.visit
        try:
            await self._app(scope, receive, reply.pass_on)
            if reply.withheld:
                await refuse(visit, scope, receive, reply.send)
        except RateLimited as error:
            if reply.started:
                raise
            if visit.refusal is None:  # by `hold` or by a decorated function, not by a route's limit
                visit.overtaken(error, time.time(), random.random())
            await refuse(visit, scope, receive, reply.send)
        finally:
            await passage.leave(Answered(reply.status, reply.sent))


class AsgiAsked(Asked):
    """A request, from its scope."""

    __slots__ = ("_of_scope", "_spot")

    def __init__(
        self,
        scope: Scope,
        policy: LimitPolicy,
        route: Callable[[Scope], str | None] | None = None,
        app: Any = None,
    ) -> None:
        super().__init__(scope.get("method", "GET"), scope["path"], scope, policy.clients)
        self._of_scope = route
        self._spot = Spot.of(scope, app)

    def header(self, name: str) -> str | None:
        """As Asked.header."""
        raw = name.lower().encode("latin-1")
        found = [value for told, value in self.native["headers"] if told.lower() == raw]
        return b",".join(found).decode("latin-1") if found else None

    @property
    def peer(self) -> str | None:
        """As Asked.peer."""
        client = self.native.get("client")
        return client[0] if client else None

    @property
    def user(self) -> str | None:
        """The user of Starlette's AuthenticationMiddleware, or one of its shape."""
        user = self.native.get("user")
        if user is None or not getattr(user, "is_authenticated", False):
            return None
        try:
            return str(user.identity)
        except (AttributeError, NotImplementedError):
            name = getattr(user, "display_name", None)
            return None if name is None else str(name)

    def find_route(self) -> str | None:
        """As Asked.find_route."""
        if self._of_scope is not None:
            return self._of_scope(self.native)
        known = self.native.get("path_template")  # Litestar has found it already
        return template(self._spot) if known is None else str(known)


class _Reply:
    """What a view answers: passed on as it comes, with headers of limits on its start."""

    def __init__(self, visit: Visit, send: Send, *, outermost: bool) -> None:
        self.visit = visit
        self.outermost = outermost
        self.started = False
        self.withheld = False
        self.status = 500
        self.sent = 0
        self._send = send

    async def pass_on(self, message: Message) -> None:
        """As `send`, but for the error that a mounted application makes of a refusal of a route's limit."""
        failed = message["type"] == "http.response.start" and message["status"] == BROKEN
        if failed and self.outermost and self.visit.refusal is not None and not self.started:
            self.withheld = True
        if not self.withheld:
            await self.send(message)

    async def send(self, message: Message) -> None:
        """As the server's."""
        kind = message["type"]
        if kind == "http.response.body":
            self.sent += len(message.get("body", b""))
        elif kind in {"http.response.start", "websocket.accept", "websocket.http.response.start"}:
            self.started = True
            self.status = message.get("status", 101)
            if self.outermost:
                message = {**message, "headers": [*message.get("headers", ()), *raw(self.visit.headers())]}
        elif kind == "websocket.close":
            self.started = True
        await self._send(message)


def raw(headers: Iterable[Header]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def refuse(visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that was refused. `send` adds the headers of limits."""
    answer = visit.answer()
    if inspect.isawaitable(answer):
        answer = await answer
    if scope["type"] == "websocket":
        await _refuse_websocket(visit, answer, scope, receive, send)
    elif isinstance(answer, Answer):
        head = [*raw(answer.headers), (b"content-length", str(len(answer.body)).encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": head})
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})
    elif callable(answer):
        await cast("App", answer)(scope, receive, send)
    else:
        raise ConfigurationError(f"denied= returned {answer!r}, which is no Answer and no ASGI application")


async def _refuse_websocket(visit: Visit, answer: Any, scope: Scope, receive: Receive, send: Send) -> None:
    if not isinstance(answer, Answer):
        assert visit.refusal is not None
        answer = visit.refusal.answer()
    await receive()  # the client's wish to connect
    if "websocket.http.response" in (scope.get("extensions") or {}):
        head = [*raw(answer.headers), (b"content-length", str(len(answer.body)).encode())]
        start = {"type": "websocket.http.response.start", "status": answer.status, "headers": head}
        await send(start)
        await send({"type": "websocket.http.response.body", "body": answer.body})
    else:
        await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "Too many requests"})
