"""Real web servers with several workers, one Redis, many clients at once: exactly the quota is let in."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.testing.proxy import FaultProxy
from tests.contrib.limits.structured import read
from tests.contrib.limits.web_apps import QUOTA

STAGE = Path(__file__).with_name("web_stage.py")
PATIENCE = 120.0
CLIENTS = ["198.51.100.1", "198.51.100.2", "2001:db8:1:2::", "2001:db8:1:3::"]
JUNK = [
    "",
    "6.6.6.6, ",
    "6.6.6.6, 7.7.7.7,",
    "unknown, ",
    '", ',
    "127.0.0.1,",
    "2001:db8::1, x,",
    ", , ",
    "[::1,",
]


class Web:
    """A web server, and those who call it."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = process

    async def until_up(self, client: httpx.AsyncClient) -> set[str]:
        """Wait until two workers answer; their process ids."""
        seen: set[str] = set()
        async with asyncio.timeout(PATIENCE):
            while len(seen) < 2:
                assert self.process.poll() is None, "the web server has ended"
                with suppress(httpx.TransportError):
                    answers = await asyncio.gather(*(client.get(f"{self.url}/pid") for _ in range(8)))
                    seen |= {answer.text.strip('"') for answer in answers if answer.status_code == 200}
                await asyncio.sleep(0.05)
        return seen


@contextmanager
def serving(server: str, framework: str, url: str, namespace: str, **more: str) -> Iterator[Web]:
    """A running web server, surely ended with all its workers."""
    told = {"WEB_URL": url, "WEB_NAMESPACE": namespace, **more}
    process = subprocess.Popen(
        [sys.executable, str(STAGE), server, framework],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **told}, process_group=0,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield Web(int(process.stdout.readline()), process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(PATIENCE)
        until(lambda: not alive(process.pid))
        process.stdout.close()


def alive(group: int) -> bool:
    """Is there a process in this group?"""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def until(true: Callable[[], object]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)


KINDS = [
    pytest.param("uvicorn", "fastapi", "deny", id="uvicorn-fastapi"),
    pytest.param("gunicorn-uvicorn", "fastapi", "allow", id="gunicorn-uvicorn-fastapi"),
    pytest.param("gunicorn", "flask", "deny", id="gunicorn-flask"),
    pytest.param("gunicorn", "wsgi", "allow", id="gunicorn-wsgi", marks=pytest.mark.soak),
    pytest.param("gunicorn", "django", "allow", id="gunicorn-django"),
    pytest.param("uvicorn", "django-asgi", "deny", id="uvicorn-django"),
]


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("web", "framework", "policy"), KINDS)
async def test_exactly_the_quota_is_let_in(
    web: str, framework: str, policy: str, faults: FaultProxy, namespace: str
):
    """Of four clients, each with its own quota, and all together with one that is used up by three of them.

    Whatever a client writes into X-Forwarded-For before the proxy adds its address, it stays that client. And
    while Redis is away, the policy decides.
    """
    answers: list[tuple[str, httpx.Response]] = []

    async def ask(number: int) -> None:
        whose = CLIENTS[number % 4]
        sent = random.choice(JUNK) + (whose if "." in whose else f"{whose}{random.randrange(1, 2**16):x}")
        answer = await client.get(f"{site.url}/items/{number}", headers={"X-Forwarded-For": sent})
        answers.append((whose, answer))

    with serving(web, framework, faults.url, namespace, WEB_ON_ERROR=policy) as site:
        async with httpx.AsyncClient(timeout=PATIENCE, limits=httpx.Limits(max_connections=12)) as client:
            await site.until_up(client)
            await asyncio.gather(*(ask(number) for number in range(6 * QUOTA)))
            late = await client.get(f"{site.url}/items/1", headers={"X-Forwarded-For": "9.9.9.9"})
            await while_redis_is_away(client, f"{site.url}/brief", policy, faults)
    check(answers, late)


async def while_redis_is_away(client: httpx.AsyncClient, url: str, policy: str, faults: FaultProxy) -> None:
    """Nobody gets a 500."""
    faults.refuse()
    faults.cut()
    for answer in await asyncio.gather(*(client.get(url) for _ in range(QUOTA))):
        assert answer.headers["x-ratelimit-degraded"] == "1"
        assert answer.status_code == (200 if policy == "allow" else 503)
        if policy == "deny":
            assert answer.json()["type"].endswith("#temporary-reduced-capacity")
            assert int(answer.headers["retry-after"]) >= 1
    faults.heal()
    async with asyncio.timeout(PATIENCE):
        while "x-ratelimit-degraded" in (await client.get(url)).headers:
            await asyncio.sleep(0.1)


def check(answers: list[tuple[str, httpx.Response]], late: httpx.Response) -> None:
    """Exactly the quota was let in, and what all of them were told fits together."""
    good = [(whose, answer) for whose, answer in answers if answer.status_code == 200]
    bad = [answer for _, answer in answers if answer.status_code == 429]
    assert len(good) == 3 * QUOTA
    assert len(good) + len(bad) == len(answers)
    assert max(Counter(whose for whose, _ in good).values()) <= QUOTA
    left = sorted(states(answer)["shared"]["r"] for _, answer in good)
    assert left == list(range(3 * QUOTA))  # every number once: the workers count together
    for whose in CLIENTS:
        own = sorted((states(answer)["each"]["r"] for one, answer in good if one == whose), reverse=True)
        assert own == list(range(QUOTA - 1, QUOTA - 1 - len(own), -1))
    for answer in (*bad, late):
        violated = answer.json()["violated-policies"]
        assert answer.headers["content-type"] == "application/problem+json"
        assert violated
        assert all(states(answer)[name]["r"] == 0 for name in violated)
        windows = [one["t"] for one in states(answer).values() if "t" in one]
        assert int(answer.headers["retry-after"]) >= max([1, *windows])
        assert answer.headers["x-ratelimit-remaining"] == "0"
    assert late.status_code == 429  # "shared" is used up, also for who comes for the first time


def states(answer: httpx.Response) -> dict[str, dict[str, Any]]:
    """RateLimit, by policy."""
    return dict(read(answer.headers["ratelimit"]))
