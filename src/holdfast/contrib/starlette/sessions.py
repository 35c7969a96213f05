"""SessionMiddleware for ASGI: see holdfast.contrib.sessions for what it promises.

    app.add_middleware(SessionMiddleware, sessions=ahf.sessions())

    @app.post("/login")
    async def log_in(request: Request):
        ...
        login(request, user="ann")              # another id, at once

    @app.get("/cart")
    async def cart(session: Annotated[WebSession, Depends(current_session)]):       # FastAPI
        return session["cart"]

`request.session` is a dict, and a dict cannot wait for a server. So a session is read before the application
runs, if and only if the request has a cookie: a request without one never costs a question. Where many
requests have a cookie and few need it, say `lazy=True`: nothing is read until `await request.session.load()`,
which `current_session` does by itself.

What the request has changed is written when its answer begins, because the cookie goes with its headers. A
WebSocket may read the session it was opened with, and not change it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, Unpack

from holdfast.contrib.sessions._settling_async import read, settle
from holdfast.contrib.sessions.cookie import (
    CLEAR_SITE_DATA,
    NO_STORE,
    TOO_LATE,
    Answer,
    CookieKeywords,
    CookiePolicy,
    refusal,
)
from holdfast.contrib.sessions.web_session import NOTHING, READ_ONLY, Terms, WebSession, needs_a_dict
from holdfast.errors import ConfigurationError, HoldfastError
from holdfast.sessions._sessions_async import AsyncSessions

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
About = Callable[[Scope], Mapping[str, Any]]

TRY_AGAIN_LATER = 1013


class AsyncWebSession(WebSession):
    """A session that may still have to be read; see WebSession."""

    def __init__(self, sessions: AsyncSessions[Any], offered: str | None, **how: Any) -> None:
        super().__init__(offered, **how)
        self._sessions = sessions

    async def load(self) -> AsyncWebSession:
        """Read it, unless it has been read, and return it. Raises: Unavailable, Refused, if it cannot be."""
        if self.waits:
            await read(self._sessions, self)
        self._there()
        return self


class SessionMiddleware:
    """Gives every request its session, from a server.

    `sessions`: where they are kept. `lazy`: see above. `about(scope)`: what to note of the request that
    begins a session, for `sessions.list(user)`. Other keywords: as CookiePolicy.
    """

    def __init__(
        self,
        app: App,
        sessions: AsyncSessions[Any],
        *,
        lazy: bool = False,
        about: About | None = None,
        **policy: Unpack[CookieKeywords],
    ) -> None:
        """Raises: ConfigurationError."""
        needs_a_dict(sessions.options.type)
        self._app = app
        self._sessions = sessions
        self._lazy = lazy
        self._about = about
        self._policy = CookiePolicy(**policy)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        session = AsyncWebSession(
            self._sessions,
            self._policy.found_in(_cookies(scope)),
            user_key=self._policy.user_key,
            anonymous_when_away=self._policy.away == "anonymous",
            read_only=scope["type"] == "websocket",
        )
        if not self._lazy and session.waits:
            await read(self._sessions, session)
        about = None if self._about is None else partial(self._about, scope)
        exchange = _Exchange(self._sessions, self._policy, session, about, send)
        scope["session"] = session
        try:
            await self._app(scope, receive, exchange.send)
        except HoldfastError as error:
            # One that the session has raised because it could not be read; others are the application's.
            if error is not session.trouble or exchange.begun:
                raise
            await exchange.refuse(error, scope)
        await exchange.late(scope)


class _Exchange:
    """The answer to one request: it is held up until the session is written, and carries its cookie."""

    def __init__(
        self,
        sessions: AsyncSessions[Any],
        policy: CookiePolicy,
        session: AsyncWebSession,
        about: Callable[[], Mapping[str, Any]] | None,
        send: Send,
    ) -> None:
        self.begun = False
        self._replaced = False
        self._streams = False
        self._sessions = sessions
        self._policy = policy
        self._session = session
        self._about = about
        self._send = send

    async def send(self, message: Message) -> None:
        """As the server's."""
        if self._replaced:
            return
        if message["type"] != "http.response.start":
            more = message.get("more_body", False)
            if self._streams and not more and not self._session.plan().needs_cookie:
                # Before the client has it all: its next request shall see what this one has changed.
                await settle(self._sessions, self._session, self._about)
            self._streams = more
            await self._send(message)
            return
        session = self._session
        try:
            settled = await settle(self._sessions, session, self._about)
        except HoldfastError as error:
            self._replaced = True
            await self._answer(error)
            return
        session.answered()
        headers = list(message.get("headers", ()))
        policy = self._policy
        cookie: str | None = None
        if settled.id is not None:
            cookie = policy.given(settled.id, settled.lasting if policy.persistent else None)
        elif settled.forget:
            cookie = policy.taken
            if policy.clear_site_data:
                headers.append((b"clear-site-data", CLEAR_SITE_DATA.encode()))
        if session.touched:
            _vary_on_cookie(headers)
            if cookie is not None or not any(name.lower() == b"cache-control" for name, _ in headers):
                headers = [pair for pair in headers if pair[0].lower() != b"cache-control"]
                headers.append((b"cache-control", NO_STORE.encode()))
        if cookie is not None:
            headers.append((b"set-cookie", cookie.encode("latin-1")))
        self.begun = True
        await self._send({**message, "headers": headers})

    async def refuse(self, error: HoldfastError, scope: Scope) -> None:
        """Answer that the session could not be read."""
        self._replaced = True
        if scope["type"] == "http":
            await self._answer(error)
        elif "websocket.http.response" in (scope.get("extensions") or {}):
            await self._answer(error, "websocket.")
        else:
            await self._send({"type": "websocket.close", "code": TRY_AGAIN_LATER})

    async def late(self, scope: Scope) -> None:
        """Write what was changed after the answer had begun: while it was streamed, or in the background.

        Raises: ConfigurationError for what cannot be kept any more.
        """
        session = self._session
        plan = session.plan()
        if self._replaced or plan == NOTHING:
            return
        if plan.needs_cookie or scope["type"] == "websocket":
            if plan.end:  # whoever has signed out is signed out
                await self._sessions.revoke(session.held)
            raise ConfigurationError(READ_ONLY if scope["type"] == "websocket" else TOO_LATE)
        await settle(self._sessions, session, self._about)

    async def _answer(self, error: HoldfastError, prefix: str = "") -> None:
        answer: Answer | None = refusal(error)
        if answer is None:
            raise error
        self.begun = True
        raw = [(name.encode(), value.encode()) for name, value in answer.headers]
        raw.append((b"content-length", str(len(answer.body)).encode()))
        await self._send({"type": f"{prefix}http.response.start", "status": answer.status, "headers": raw})
        await self._send({"type": f"{prefix}http.response.body", "body": answer.body})


def login(request: Any, user: str, **terms: Unpack[Terms]) -> None:
    """This request's session is `user`'s from now on, under a new id: to be called when they have proved it.

    What nobody had left in the session stays in it, what another user had left goes. `idle`, `absolute`,
    `generation`: as in `WebSession.login`. Plain, so that it serves `def` views too: the new id is made when
    the answer begins. Raises: ConfigurationError.
    """
    request.session.login(user, **terms)


def logout(request: Any) -> None:
    """End this request's session, and delete its cookie. Another that is under way does not bring it back."""
    request.session.logout()


def _cookies(scope: Scope) -> str:
    """The cookies of a request; HTTP/2 may send them in several headers."""
    return "; ".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie")


def _vary_on_cookie(headers: list[tuple[bytes, bytes]]) -> None:
    for at, (name, value) in enumerate(headers):
        if name.lower() == b"vary":
            if not {b"cookie", b"*"} & {one.strip().lower() for one in value.split(b",")}:
                headers[at] = (name, value + b", Cookie")
            return
    headers.append((b"vary", b"Cookie"))
