"""Sessions through real servers, uvicorn and gunicorn, with two processes and many clients at once."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast import Holdfast
from holdfast.embedded import Server

pytestmark = pytest.mark.timeout(240)

ROOT = Path(__file__).parents[2]
FORGED = "A" * 22


class Site:
    """A service in two processes."""

    def __init__(self, kind: str, port: int) -> None:
        self.kind = kind
        limits = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=60, limits=limits, trust_env=False
        )
        self.client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def get(self, path: str, id: str | None = None) -> httpx.Response:
        """One request, on a connection of its own: any process may get it."""
        headers = {} if id is None else {"cookie": f"session={id}"}
        return self.client.get(path, headers=headers)

    def login(self, name: str, id: str | None = None) -> str:
        return given(self.get(f"/login?name={name}", id))


def given(answer: httpx.Response) -> str:
    """The id that an answer sets."""
    return answer.headers["set-cookie"].partition("session=")[2].partition(";")[0]


@pytest.fixture(scope="module", params=["starlette", "flask", "django"])
def process(request: pytest.FixtureRequest, servers: Any) -> Iterator[tuple[Site, Server]]:
    """A site, for all tests of this file: it takes a while to start."""
    server = servers("valkey")
    with socket.create_server(("127.0.0.1", 0), backlog=100) as door:
        command = [sys.executable, "-m", "tests.contrib.sessions_sites", request.param]
        child = subprocess.Popen(
            [*command, str(door.fileno()), server.url, f"site-{request.param}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            pass_fds=[door.fileno()],
            start_new_session=True,
        )
        site = Site(request.param, door.getsockname()[1])
        try:
            assert site.get("/read").json() == {"data": {}, "user": None}
            yield site, server
        finally:
            assert child.stdin is not None
            site.client.close()
            child.stdin.close()
            child.wait(30)


@pytest.fixture
def site(process: tuple[Site, Server]) -> Iterator[tuple[Site, Holdfast]]:
    site, server = process
    with Holdfast(server.url, namespace=f"site-{site.kind}") as hf:
        for key in ("began", "go"):
            hf.execute("DEL", hf.key(key))
        yield site, hf


def test_parallel_requests_of_one_session_lose_nothing(site: tuple[Site, Holdfast]):
    here, _ = site
    id = given(here.get("/put?key=first"))
    keys = [f"k{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda key: here.get(f"/put?key={key}", id), keys))
    assert {one.status_code for one in answers} == {200}
    assert set(here.get("/read", id).json()["data"]) == {"first", *keys}


def test_both_processes_know_it(site: tuple[Site, Holdfast]):
    here, _ = site
    id = given(here.get("/put?key=first"))
    pids: set[int] = set()
    until = time.monotonic() + 30
    while len(pids) < 2:
        assert time.monotonic() < until
        with ThreadPoolExecutor(8) as pool:
            pids |= {one.json()["pid"] for one in pool.map(lambda _: here.get("/put?key=k", id), range(8))}


def test_logout_during_a_slow_request(site: tuple[Site, Holdfast]):
    here, hf = site
    id = here.login("ann")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(here.get, "/slow", id)
        until = time.monotonic() + 30
        while not hf.execute("EXISTS", hf.key("began")):
            assert time.monotonic() < until
            time.sleep(0.02)
        answer = here.get("/logout", id)
        assert "Max-Age=0" in answer.headers["set-cookie"]
        hf.execute("SET", hf.key("go"), "1")
        assert slow.result().status_code == (400 if here.kind == "django" else 409)
        assert "set-cookie" not in slow.result().headers
    assert here.get("/read", id).json() == {"data": {}, "user": None}
    assert hf.sessions().load(id) is None


def test_logins_at_the_same_time(site: tuple[Site, Holdfast]):
    """Of one session of nobody: every answer that hands out an id hands out one of the right user."""
    here, hf = site
    before = given(here.get("/put?key=first"))
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: here.get("/login?name=ann", before), range(6)))
    ids = [given(one) for one in answers if "set-cookie" in one.headers]
    assert ids
    for id in ids:
        found = here.get("/read", id).json()
        assert found["user"] == "ann"
    assert here.get("/read", before).json() == {"data": {}, "user": None}
    assert before not in ids


def test_revoke_all_ends_them_in_every_process(site: tuple[Site, Holdfast]):
    here, hf = site
    ids = [here.login("bob") for _ in range(6)]
    assert {here.get("/read", id).json()["user"] for id in ids} == {"bob"}
    hf.sessions().revoke_all("bob")
    assert {here.get("/read", id).json()["user"] for id in ids} == {None}


def test_a_forged_id_is_not_taken_over(site: tuple[Site, Holdfast]):
    here, hf = site
    assert given(here.get("/put?key=a", FORGED)) != FORGED
    assert here.login("ann", FORGED) != FORGED
    assert here.get("/read", FORGED).json() == {"data": {}, "user": None}
