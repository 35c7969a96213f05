"""The same service three times, each in two processes of a real server: Starlette, Flask, Django.

python -m tests.contrib.sessions_sites starlette|flask|django FD URL NAMESPACE

FD: a socket that listens. It ends, with all that belongs to it, when its standard input does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

WORKERS = 2
MOST = 20.0  # seconds that a slow view waits


def _place() -> dict[str, Any]:
    return {"url": os.environ["SITE_URL"], "namespace": os.environ["SITE_NAMESPACE"]}


def starlette() -> Any:
    """The ASGI application."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from holdfast import AsyncHoldfast
    from holdfast.contrib.starlette import SessionMiddleware, login, logout

    hf = AsyncHoldfast(**_place())

    async def put(request: Any) -> Any:
        request.session[request.query_params["key"]] = 1
        return JSONResponse({"pid": os.getpid()})

    async def read(request: Any) -> Any:
        return JSONResponse({"data": dict(request.session), "user": request.session.user})

    async def slow(request: Any) -> Any:
        request.session["slow"] = 1
        await hf.execute("SET", hf.key("began"), "1")
        async with asyncio.timeout(MOST):
            while not await hf.execute("EXISTS", hf.key("go")):
                await asyncio.sleep(0.02)
        return JSONResponse({})

    async def log_in(request: Any) -> Any:
        login(request, request.query_params["name"])
        return JSONResponse({})

    async def log_out(request: Any) -> Any:
        logout(request)
        return JSONResponse({})

    views = {"put": put, "read": read, "slow": slow, "login": log_in, "logout": log_out}
    app = Starlette(routes=[Route(f"/{name}", view) for name, view in views.items()])
    app.add_middleware(SessionMiddleware, sessions=hf.sessions(), secure=False)
    return app


def _wait(hf: Any) -> None:
    hf.execute("SET", hf.key("began"), "1")
    for _ in range(int(MOST / 0.02)):
        if hf.execute("EXISTS", hf.key("go")):
            return
        threading.Event().wait(0.02)
    raise TimeoutError


def flask() -> Any:
    """The WSGI application."""
    from flask import Flask, request, session

    from holdfast import Holdfast
    from holdfast.contrib.flask import SessionInterface, login, logout

    hf = Holdfast(**_place())
    app = Flask(__name__)
    app.session_interface = SessionInterface(hf.sessions, secure=False)

    @app.get("/put")
    def put() -> Any:
        session[request.args["key"]] = 1
        return {"pid": os.getpid()}

    @app.get("/read")
    def read() -> Any:
        return {"data": dict(session), "user": session.user}  # type: ignore[attr-defined]

    @app.get("/slow")
    def slow() -> Any:
        session["slow"] = 1
        _wait(hf)
        return {}

    @app.get("/login")
    def log_in() -> Any:
        login(request.args["name"])
        return {}

    @app.get("/logout")
    def log_out() -> Any:
        logout()
        return {}

    return app


def django() -> Any:
    """The WSGI application; a user is whoever says so."""
    import django  # type: ignore[import-untyped]
    from django.conf import settings  # type: ignore[import-untyped]
    from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]
    from django.http import JsonResponse  # type: ignore[import-untyped]
    from django.urls import path  # type: ignore[import-untyped]

    from holdfast import Holdfast

    hf = Holdfast(**_place())
    settings.configure(
        SECRET_KEY="for tests",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        SESSION_ENGINE="holdfast.contrib.django.sessions",
        SESSION_COOKIE_NAME="session",
        HOLDFAST_SESSIONS={"sessions": hf.sessions},
        MIDDLEWARE=["holdfast.contrib.django.sessions.SessionMiddleware"],
    )
    django.setup()

    def put(request: Any) -> Any:
        request.session[request.GET["key"]] = 1
        return JsonResponse({"pid": os.getpid()})

    def read(request: Any) -> Any:
        data = dict(request.session.items())
        return JsonResponse({"user": data.pop("_auth_user_id", None), "data": data})

    def slow(request: Any) -> Any:
        request.session["slow"] = 1
        _wait(hf)
        return JsonResponse({})

    def log_in(request: Any) -> Any:
        request.session.cycle_key()  # as django.contrib.auth.login does
        request.session["_auth_user_id"] = request.GET["name"]
        return JsonResponse({})

    def log_out(request: Any) -> Any:
        request.session.flush()
        return JsonResponse({})

    views = {"put": put, "read": read, "slow": slow, "login": log_in, "logout": log_out}
    globals()["urlpatterns"] = [path(name, view) for name, view in views.items()]
    return get_wsgi_application()


def _serve(kind: str, door: int) -> None:
    if kind == "starlette":
        import uvicorn
        from uvicorn.supervisors import Multiprocess

        config = uvicorn.Config(
            f"{__spec__.name}:starlette", factory=True, workers=WORKERS, log_level="warning", lifespan="off"
        )
        sock = socket.socket(fileno=door)
        Multiprocess(config, sockets=[sock]).run()
        return
    from gunicorn.app.wsgiapp import run  # type: ignore[import-untyped]

    options = ["-k", "gthread", "--threads", "8", "-w", str(WORKERS), "--log-level", "warning"]
    sys.argv = ["gunicorn", *options, "-b", f"fd://{door}", f"{__spec__.name}:{kind}()"]
    run()


def main() -> None:
    """Start the server, and end it when nobody holds our standard input any more."""
    kind, door, url, namespace, *inside = sys.argv[1:]
    if inside:
        _serve(kind, int(door))
        return
    where = {**os.environ, "SITE_URL": url, "SITE_NAMESPACE": namespace}
    command = [sys.executable, "-m", __spec__.name, *sys.argv[1:], "inside"]
    child = subprocess.Popen(command, env=where, pass_fds=[int(door)], stdin=subprocess.DEVNULL)

    def watch() -> None:
        child.wait()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    sys.stdin.read()
    child.terminate()
    try:
        child.wait(10)
    finally:
        os.killpg(0, signal.SIGKILL)  # we lead a group of our own


if __name__ == "__main__":
    main()
