"""Owners of servers as processes of their own, which tests may end in every way there is."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import redis

PROMISE = 1.0  # seconds after which nothing is left of a server whose last owner is gone

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
    """Wait until `true()`; the answer is whether it came true within `within` seconds."""
    give_up = time.monotonic() + within
    while not true():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.002)
    return True


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
