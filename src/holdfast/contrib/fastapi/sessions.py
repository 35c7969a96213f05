"""`current_session`: the session of a request as a dependency of FastAPI."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from holdfast.contrib.starlette.sessions import AsyncWebSession


async def current_session(connection: HTTPConnection) -> AsyncWebSession:
    """The session of this request or WebSocket, read; for `Depends`.

        @app.get("/cart")
        async def cart(session: Annotated[WebSession, Depends(current_session)]): ...

    Raises: Unavailable, Refused, which SessionMiddleware answers with 503.
    """
    session: AsyncWebSession = connection.scope["session"]
    return await session.load()
