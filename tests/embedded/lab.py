"""Owners of servers as processes of their own, which tests may end in every way there is."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from holdfast.errors import Unavailable
from holdfast.testing.servers import wanted

PROMISE = 10.0  # seconds after which nothing is left of a server whose last owner is gone; usually 0.1

PRELUDE = """
import ctypes, json, os, signal, sys, threading, time
from holdfast import embedded

def tell(server):
    about = {"server": server.pid, "guardian": server.guardian}
    say(json.dumps(about | {"url": server.url, "socket": server.socket_path}))

def say(text):
    os.write(1, f"{text}\\n".encode())  # one write, so that lines of several processes do not mix

def wait():
    sys.stdin.read()
"""


@contextmanager
def owner(code, *, tell=True, **environment):
    """A process that runs `code`, and what it told of its server; killed at the end if it still lives."""
    process: Any = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | environment,
    )
    try:
        process.about = json.loads(process.stdout.readline()) if tell else None
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(true, within=10.0):
    """Wait until `true()`; the answer is whether it came true within `within` seconds.

    No answer is not true yet: sentinels close every connection to a node whose part they change.
    """
    give_up = time.monotonic() + within
    while time.monotonic() < give_up:
        with suppress(Unavailable):
            if true():
                return True
        time.sleep(0.002)
    return False


def gone(about, within=PROMISE):
    """Nothing is left of the server that `about` describes: neither processes nor files."""
    return until(
        lambda: (
            not alive(about["server"])
            and not alive(about["guardian"])
            and not Path(about["socket"]).parent.exists()
        ),
        within,
    )


def client(server):
    """A plain client of `server` (a Server, or its URL)."""
    return redis.Redis.from_url(getattr(server, "url", server), decode_responses=True)


def put(server, key, value):
    with client(server) as one:
        one.set(key, value)


def get(server, key):
    with client(server) as one:
        return one.get(key)


def direct(node, *, timeout=5.0, **more):
    """A plain client of a node of a lab, by the way its clients take; no retries."""
    url = urlsplit(node.url)
    files = dict(parse_qsl(url.query))
    if files:
        names = {"tls_ca": "ssl_ca_certs", "tls_cert": "ssl_certfile", "tls_key": "ssl_keyfile"}
        more |= {"ssl": True, **{names[name]: value for name, value in files.items()}}
    return redis.Redis(
        host=url.hostname,
        port=url.port,
        password=node.password or None,
        socket_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        **more,
    )


def answers(node, timeout=0.3):
    """Does `node` answer its clients?"""
    try:
        with direct(node, timeout=timeout) as one:
            return one.ping()
    except redis.RedisError:
        return False


def on_every_kind(test):
    """`test(kind)` on every kind of server there is, at the same time: labs mostly wait."""

    def run():
        kinds = wanted()
        with ThreadPoolExecutor(len(kinds)) as pool:
            errors = [
                _named(kind, one.exception()) for kind, one in [(k, pool.submit(test, k)) for k in kinds]
            ]
        if errors := [error for error in errors if error]:
            raise errors[0] if len(errors) == 1 else BaseExceptionGroup("on several kinds", errors)

    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    return run


def _named(kind, error):
    if error is not None:
        error.add_note(f"on {kind}")
    return error
