"""A storm over several processes, which are killed and stopped as well."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from holdfast._compat import boottime
from holdfast.embedded import Server
from holdfast.testing import FaultProxy
from tests.locks.storm.record import Judgement, judge, read
from tests.locks.storm.weather import FAULTS, Plan, Weather
from tests.locks.storm.world import Look

ROOT = Path(__file__).parents[3]
KINDS = ("kill", "stop", "processes", "everything")
STUCK = 30.0  # seconds after which a process that does not end is stuck


class Worker:
    """A process of the storm, seen from outside."""

    def __init__(self, told: dict[str, Any], folder: Path) -> None:
        self.name: str = told["name"]
        self.killed: float | None = None
        self._file = folder / self.name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.locks.storm.worker", json.dumps(told | {"file": str(self._file)})],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", self._process.communicate()

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def signal(self, number: int) -> None:
        if number == signal.SIGKILL:
            self.killed = boottime()
        os.kill(self._process.pid, number)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def end(self) -> list[Any]:
        """What it wrote down, once it has ended. Raises: AssertionError if it failed."""
        try:
            said = self._process.communicate(timeout=STUCK)
        finally:
            self._process.kill()
        assert self.killed is not None or self._process.returncode == 0, said
        holds = read(self._file.read_text()) if self._file.exists() else []
        for hold in holds:
            hold.killed = self.killed
        return holds


class Turmoil(Weather):
    """The weather, and what happens to processes."""

    def __init__(
        self,
        plan: Plan,
        server: Server,
        proxies: list[FaultProxy],
        ask: Callable[..., Any],
        workers: list[Worker],
    ) -> None:
        super().__init__(plan, server, proxies, ask)
        self._workers = workers

    def _choose(self) -> str:
        processes = ("kill", "stop", "stop", "stop")
        match self._plan.kind:
            case "processes":
                return self._dice.choice((*FAULTS, *processes))
            case "everything":
                return self._dice.choice((*FAULTS, *processes, "flush", "restart"))
        return super()._choose()

    def _kill(self, proxy: FaultProxy) -> None:
        alive = [worker for worker in self._workers if worker.running]
        if len(alive) > 1 and self._dice.random() < 0.4:
            self._dice.choice(alive).signal(signal.SIGKILL)

    def _stop(self, proxy: FaultProxy) -> None:
        alive = [one for one in self._workers if one.running and one.killed is None]
        if not alive:
            return
        worker = self._dice.choice(alive)
        proxy = self._proxies[self._workers.index(worker)]
        late = self._dice.random() < 0.5
        if late:  # it wakes to old answers
            proxy.delay(self._dice.uniform(0.05, 0.3))
            self._rest(0.1, 0.4)
        worker.signal(signal.SIGSTOP)
        self._rest(0.01, 1.0)
        worker.signal(signal.SIGCONT)
        if late:
            self._rest(0.0, 0.3)
            proxy.heal()


def storm(plan: Plan, flavour: str, server: Server, bug: str = "") -> tuple[Judgement, Look]:
    """What a storm of this plan shows, and what it leaves. `bug`: planted into its processes."""
    look = Look(server, f"storm{secrets.token_hex(4)}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        proxies = [stack.enter_context(FaultProxy(server)) for _ in range(plan.clients)]
        told = asdict(plan) | {"namespace": look.namespace, "flavour": flavour, "bug": bug}
        workers = [
            Worker(told | {"url": proxy.url, "name": f"p{number}-"}, folder)
            for number, proxy in enumerate(proxies)
        ]
        for worker in workers:
            stack.callback(worker._process.kill)
            worker.ready()
        with Turmoil(plan, server, proxies, look.ask, workers) as weather:
            for worker in workers:
                worker.go()
            weather.last(plan.lasting)
        holds = [hold for worker in workers for hold in worker.end()]
        look.now()
    if any(worker.killed for worker in workers):
        look.held.clear()  # theirs end by themselves
    return judge(plan.what, holds, weather.wipes, ttl=plan.ttl), look
