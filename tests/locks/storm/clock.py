"""Storms in which the server's clock jumps: by a library that is preloaded into it, if there is a C compiler.

    python -m tests.locks.storm.clock --seeds 0:20

A jump forward ends leases early, as the room's rules say; a jump back makes them last longer. Everything else
must hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from holdfast._compat import boottime
from holdfast.embedded import Server
from holdfast.testing import FaultProxy, start
from tests.locks.storm import test_storm_async, test_storm_sync
from tests.locks.storm.record import Wipe
from tests.locks.storm.run import Table, told
from tests.locks.storm.weather import WHATS, Plan, Weather

SHIM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile long long *ahead;
__attribute__((constructor)) static void begin(void) {
    int fd = getenv("CLOCK_AHEAD") ? open(getenv("CLOCK_AHEAD"), O_RDONLY) : -1;
    void *at = fd < 0 ? MAP_FAILED : mmap(0, sizeof *ahead, PROT_READ, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) ahead = at;
}
int clock_gettime(clockid_t which, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, which, now);
    if (which == CLOCK_REALTIME && ahead) now->tv_sec += *ahead;
    return failed;
}
int gettimeofday(struct timeval *restrict told, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    told->tv_sec = now.tv_sec;
    told->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *told) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (told) *told = now.tv_sec;
    return now.tv_sec;
}
"""
COMPILER = shutil.which("cc") or shutil.which("gcc")


class Clock:
    """How far a server's clock is ahead, in whole seconds."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, seconds: int) -> None:
        with self._file.open("r+b" if self._file.exists() else "wb", buffering=0) as file:
            file.write(struct.pack("q", seconds))


@contextmanager
def server_with_clock() -> Iterator[tuple[Server, Clock]]:
    """A server and its clock. Raises: RuntimeError without a C compiler."""
    if COMPILER is None:
        raise RuntimeError("no C compiler")
    with tempfile.TemporaryDirectory() as folder:
        shim, source = Path(folder, "clock.so"), Path(folder, "clock.c")
        source.write_text(SHIM)
        subprocess.run([COMPILER, "-O1", "-shared", "-fPIC", "-o", shim, source], check=True)
        clock = Clock(Path(folder, "ahead"))
        with patch.dict(os.environ, LD_PRELOAD=str(shim), CLOCK_AHEAD=str(clock._file)):
            server = start("valkey")
        with server:
            yield server, clock


class Jumps(Weather):
    """Jumps, and other faults between them."""

    clock: Clock
    ahead = 0

    def _choose(self) -> str:
        return self._dice.choice(("jump", "jump", "delay", "cut", "freeze"))

    def _jump(self, proxy: FaultProxy) -> None:
        begin, before = boottime(), self.ahead
        Jumps.ahead = self._dice.choice((0, 1, 60, -60, 3600))
        self.clock.set(self.ahead)
        time.sleep(0.05)  # servers look at the clock once in a while
        if self.ahead > before:
            self.wipes.append(Wipe(begin, boottime(), sure=False))


def main(words: list[str] | None = None) -> int:
    """The command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--seeds", default="0:10", help="first:end")
    parser.add_argument("--what", choices=WHATS, action="append")
    asked = parser.parse_args(words)
    table, faults = Table(), 0
    with server_with_clock() as (server, clock):
        Jumps.clock = clock
        for seed in range(*map(int, asked.seeds.split(":"))):
            dice = random.Random(seed + 2)
            plan = Plan.drawn(seed, "clock", dice.choice(asked.what or WHATS))
            module = dice.choice((test_storm_async, test_storm_sync))
            with patch.object(module, "Weather", Jumps):
                if module is test_storm_async:
                    seen, left = asyncio.run(test_storm_async.storm(plan, server))
                else:
                    seen, left = test_storm_sync.storm(plan, server)
            row = told(plan, module.__name__[-5:], seen, left)
            table.add(row)
            if seen.faults:
                faults += 1
                print(json.dumps(row))
                print("\n".join(seen.faults), flush=True)
    print(table)
    return 1 if faults else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
