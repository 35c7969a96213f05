"""A service with sessions, for tests of their ASGI middleware, and a browser for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
from fastapi import BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from holdfast import AsyncHoldfast
from holdfast.contrib.fastapi import SessionMiddleware, current_session, login, logout
from holdfast.contrib.sessions.web_session import WebSession
from holdfast.sessions._sessions_async import AsyncSessions

NAME = "__Host-session"
Here = Annotated[WebSession, Depends(current_session)]


class Shop:
    """A service with sessions, and a browser for it."""

    def __init__(self, hf: AsyncHoldfast, options: dict[str, Any] | None = None, **policy: Any) -> None:
        self.sessions: AsyncSessions[Any] = hf.sessions("sessions", **{"touch": "10s", **(options or {})})
        self.go = asyncio.Event()
        self.began = asyncio.Event()
        self.headers: dict[str, str] = {}
        self.errors: list[BaseException] = []
        app = FastAPI()
        app.add_middleware(SessionMiddleware, sessions=self.sessions, **policy)
        app.add_middleware(Noted, errors=self.errors)
        for view in "free read put nest late create_late in_hand later slow user threaded".split():
            app.get(f"/{view}")(getattr(self, view))
        for view in "login logout regenerate drop clear".split():
            app.post(f"/{view}")(getattr(self, view))
        self.app = app

    def client(self, id: str | None = None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="https://shop.example")
        if id is not None:
            client.cookies.set(NAME, id, domain="shop.example")
        return client

    # --- views ---

    async def free(self) -> str:
        return "hello"

    async def read(self, request: Request) -> JSONResponse:
        return JSONResponse(dict(request.session), headers=self.headers)

    async def user(self, session: Here) -> Any:
        return session.user

    def threaded(self, request: Request) -> Any:
        request.session["n"] = request.session.get("n", 0) + 1
        return request.session["n"]

    async def put(self, request: Request, key: str, value: str) -> JSONResponse:
        request.session[key] = value
        return JSONResponse(dict(request.session), headers=self.headers)

    async def nest(self, request: Request, item: int) -> Any:
        request.session.setdefault("cart", {"items": []})["items"].append(item)
        return request.session["cart"]

    async def slow(self, request: Request, key: str) -> str:
        request.session[key] = "slow"
        self.began.set()
        await self.go.wait()
        return "done"

    async def late(self, request: Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            request.session["late"] = 1
            yield b"b"

        return StreamingResponse(parts())

    async def in_hand(self, request: Request) -> StreamingResponse:
        cart = request.session["cart"] = ["a"]

        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            cart.append("b")

        return StreamingResponse(parts())

    async def create_late(self, request: Request) -> StreamingResponse:
        return await self.late(request)

    async def later(self, request: Request, tasks: BackgroundTasks) -> str:
        tasks.add_task(self._noted, request.session)
        return "soon"

    async def _noted(self, session: Any) -> None:
        session["later"] = 1

    async def login(self, request: Request, name: str, stay: str | None = None) -> Any:
        if stay is None:
            login(request, name)
        else:
            login(request, name, idle=stay, absolute=stay)
        return dict(request.session)

    async def logout(self, request: Request) -> str:
        logout(request)
        return "bye"

    async def regenerate(self, session: Here) -> str:
        session.regenerate()
        return "new"

    async def clear(self, request: Request) -> str:
        request.session.clear()
        return "cleared"

    async def drop(self, request: Request, key: str) -> str:
        del request.session[key]
        return "dropped"


class Noted:
    """Notes what the application raises."""

    def __init__(self, app: Any, errors: list[BaseException]) -> None:
        self._app, self._errors = app, errors

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._app(scope, receive, send)
        except BaseException as error:
            self._errors.append(error)
            raise


def id_in(client: httpx.AsyncClient) -> str:
    return client.cookies[NAME]
