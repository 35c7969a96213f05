"""What the probes play on: servers, networks that fail, a clock that jumps, a process that is frozen."""

from __future__ import annotations

import asyncio
import itertools
import mmap
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import redis

from benchmarks import harness
from holdfast import embedded
from holdfast.testing import FaultProxy

_names = itertools.count(time.time_ns())
_beside = ThreadPoolExecutor(64)
T = TypeVar("T")


async def beside(work: Callable[..., T], *about: Any) -> T:
    """`work`, which blocks, without stopping the loop; asyncio's own pool is small, and others use it."""
    return await asyncio.get_running_loop().run_in_executor(_beside, work, *about)


@asynccontextmanager
async def elsewhere(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """`manager`, entered and left without stopping the loop."""
    value = await beside(manager.__enter__)
    try:
        yield value
    finally:
        await beside(manager.__exit__, None, None, None)


class Verdict(NamedTuple):
    """How a probe went: `ok` is None where there is nothing to try; `text`: what went wrong, in a few words;
    `detail`: figures.
    """

    ok: bool | None
    text: str = "ok"
    detail: str = ""


NOTHING = Verdict(None, "-")


@dataclass(frozen=True)
class Stage:
    """A server, a client of it that nothing happens to, how thorough to be, and what probes share."""

    url: str
    aside: redis.Redis
    rounds: int = 3
    cancels: int = 200
    memory: dict[Any, Any] = field(default_factory=dict)

    @staticmethod
    def name(what: str) -> str:
        """A lock that nobody has used."""
        return f"probe-{what}-{next(_names)}"


@contextmanager
def stage(rounds: int = 3, cancels: int = 200) -> Iterator[Stage]:
    """A stage with a server of its own."""
    with (
        embedded.start(port=True, password="") as server,
        redis.Redis(**harness.address(server.url)) as aside,
    ):
        yield Stage(server.url, aside, rounds, cancels)


# --- a clock that jumps -------------------------------------------------------------------------------------

_SHIM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *ahead;

__attribute__((constructor)) static void begin(void) {
  int file = open(getenv("CLOCK_AHEAD"), O_RDONLY);
  if (file >= 0) ahead = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
}
static int64_t jump(void) { return ahead && ahead != MAP_FAILED ? *ahead : 0; }
int clock_gettime(clockid_t id, struct timespec *now) {
  int done = syscall(SYS_clock_gettime, id, now);
  if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) now->tv_sec += jump();
  return done;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *now) {
  struct timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  if (now) *now = precise.tv_sec;
  return precise.tv_sec;
}
"""


def can_jump() -> bool:
    """Is there what it takes to give a server a clock of its own: Linux and a C compiler?"""
    return sys.platform == "linux" and shutil.which("cc") is not None


class Clock:
    """A server whose wall clock can be set ahead of the machine's."""

    def __init__(self, server: embedded.Server, offset: mmap.mmap) -> None:
        self.url = server.url
        self._offset = offset

    def ahead(self, seconds: int) -> None:
        """So far, from now on."""
        self._offset[:8] = struct.pack("q", seconds)


@contextmanager
def jumping() -> Iterator[Clock]:
    """A server with such a clock; see `can_jump`."""
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        source, shim, offset, wrapper = (
            Path(home, name) for name in ("clock.c", "clock.so", "ahead", "valkey-server")
        )
        source.write_text(_SHIM, encoding="utf-8")
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", shim, source], check=True)
        offset.write_bytes(bytes(8))
        exports = f"export LD_PRELOAD='{shim}' CLOCK_AHEAD='{offset}'"
        wrapper.write_text(f"#!/bin/sh\n{exports}\nexec '{embedded.find()}' \"$@\"\n", encoding="utf-8")
        wrapper.chmod(0o755)
        file = stack.enter_context(offset.open("r+b"))
        memory = stack.enter_context(mmap.mmap(file.fileno(), 8))
        server = stack.enter_context(embedded.start(port=True, password="", binary=wrapper))
        yield Clock(server, memory)


# --- a replica that takes over ------------------------------------------------------------------------------


class Endpoint(FaultProxy):
    """An address behind which one server can be replaced by another, as managed services do it."""

    def move(self, url: str) -> None:
        """From now on, `url` is behind it; connections that stand are reset."""
        self._upstream = urlsplit(url)
        self.cut()
        time.sleep(0.05)
        self.cut()  # those that were on their way to the old one


class Pair:
    """A primary and its replica, and the address at which clients find whichever is in charge."""

    def __init__(self, primary: embedded.Server, replica: embedded.Server, link: FaultProxy,
                 endpoint: Endpoint) -> None:  # fmt: skip
        self._primary, self._replica, self._link, self._endpoint = primary, replica, link, endpoint
        self._clients = [redis.Redis(**harness.address(one.url)) for one in (primary, replica)]
        self.url = endpoint.url

    def whole(self) -> None:
        """The replica follows the primary, and has all it has."""
        self._link.heal()
        self._clients[1].replicaof("127.0.0.1", self._link.port)
        give_up = time.monotonic() + 20
        while self._clients[1].info("replication").get("master_link_status") != "up":
            assert time.monotonic() < give_up
            time.sleep(0.01)
        assert self._clients[0].wait(1, 5000) == 1
        self._endpoint.move(self._primary.url)

    def lag(self) -> None:
        """What is written from now on does not reach the replica."""
        self._link.blackhole()

    def fail_over(self) -> None:
        """The replica, as it is, takes the place of the primary."""
        self._clients[1].replicaof("NO", "ONE")
        self._endpoint.move(self._replica.url)

    def close(self) -> None:
        """Let go of the servers."""
        for one in self._clients:
            one.close()


@contextmanager
def pair() -> Iterator[Pair]:
    """Two servers of their own."""
    config = {"repl-diskless-sync-delay": "0"}
    with ExitStack() as stack:
        primary, replica = (
            stack.enter_context(embedded.start(port=True, password="", config=config)) for _ in range(2)
        )
        link = stack.enter_context(FaultProxy(primary))
        made = Pair(primary, replica, link, stack.enter_context(Endpoint(primary)))
        stack.callback(made.close)
        yield made


# --- a process that is frozen -------------------------------------------------------------------------------


class Frozen:
    """Another process that holds a lock."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    async def line(self) -> str:
        """What it says next."""
        assert self._process.stdout is not None
        return (await beside(self._process.stdout.readline)).strip()

    def freeze(self) -> None:
        """Stop it in its tracks."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def another_process(*words: str) -> Iterator[Frozen]:
    """Runs benchmarks.locks.frozen with `words`."""
    home = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.locks.frozen", *words],
        stdout=subprocess.PIPE, cwd=home, text=True,
    ) as process:  # fmt: skip
        try:
            yield Frozen(process)
        finally:
            process.kill()
