"""What a storm does to processes, networks and servers: a seeded schedule of strikes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from holdfast.embedded import ClusterLab, SentinelLab, Server, admin
from holdfast.embedded.cluster_lab import slot_of
from holdfast.errors import HoldfastError
from holdfast.testing import FaultProxy
from holdfast.testing.histories_messages import Forgot
from tests.streams.storm.plan import COURSES, KINDS, RARE, Plan

ROOT = Path(__file__).parents[3]
STUCK = 20.0  # seconds after which a process that was asked to end is stuck


class Worker:
    """A process of the storm; whoever is killed is replaced."""

    def __init__(self, told: dict[str, Any], proxy: FaultProxy | None) -> None:
        self._told = told
        self.name: str = told["name"]
        self.flavour: str = told["flavour"]
        self.proxy = proxy
        self.is_frozen = False
        self.again_at: float | None = None  # when it is to be replaced
        self.asked_at: float | None = None  # when it was asked to end
        self._errors = Path(told["folder"], f"errors {self.name}")
        self.process = self._hire()

    @property
    def said(self) -> str:
        """The end of what it complained of."""
        return self._errors.read_text()[-2000:]

    def _hire(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.streams.storm.worker", json.dumps(self._told)]
        path = os.pathsep.join(one for one in (os.environ.get("PYTHONPATH"), str(ROOT)) if one)
        with self._errors.open("a") as errors:  # a pipe that nobody reads would stop it
            return subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stderr=errors, text=True
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.is_frozen = False

    def replace(self) -> None:
        self.again_at = self.asked_at = None
        self.process = self._hire()

    def ask_to_end(self) -> None:
        if self.asked_at is None:
            self.process.terminate()
        self.asked_at = time.monotonic()

    def end(self, patience: float = STUCK) -> str:
        """Wait for its end: what was wrong with that, if anything."""
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"{self.name} ({self.flavour}) did not end within {patience:g} s"
        if self.process.returncode != 0:
            return f"{self.name} ({self.flavour}) ended with {self.process.returncode}: {self.said}"
        return ""


class Weather:
    """Strikes where and when the dice say."""

    def __init__(self, plan: Plan, place: Any, folder: Path, namespace: str) -> None:
        self.plan, self.place, self.folder, self.namespace = plan, place, folder, namespace
        self.dice = random.Random(plan.seed)
        self.counts: Counter[str] = Counter()
        self.forgot: list[Forgot] = []
        self.crashed: list[str] = []
        self.undo: list[tuple[float, Callable[[], None]]] = []
        self.workers: list[Worker] = []
        self.proxies: list[FaultProxy] = []
        self._next_rare = time.monotonic() + 1.0
        (folder / "diary").mkdir()
        self.tell_flushed(0)

    # --- who takes part -------------------------------------------------------------------------------------

    def hire(self) -> None:
        for number in range(self.plan.producers + self.plan.workers):
            producer = number < self.plan.producers
            flavour = "producer" if producer else ("sync", "async")[(number + self.plan.seed) % 2]
            proxy = None
            if self.plan.topology == "single":
                proxy = FaultProxy(self.place)
                self.proxies.append(proxy)
            told = asdict(self.plan) | {
                "name": f"{'p' if producer else 'w'}{number}",
                "flavour": flavour,
                "url": proxy.url if proxy else self.place.url,
                "namespace": self.namespace,
                "folder": str(self.folder / "diary"),
            }
            self.workers.append(Worker(told, proxy))

    def tell_flushed(self, count: int) -> None:
        new = self.folder / "flushed.new"
        new.write_text(str(count))
        new.rename(self.folder / "diary" / "flushed")

    @property
    def alive(self) -> list[Worker]:
        return [
            one for one in self.workers if one.again_at is None and one.asked_at is None and not one.is_frozen
        ]

    # --- time goes by ---------------------------------------------------------------------------------------

    def rage(self) -> None:
        self.await_ready()
        end = time.monotonic() + self.plan.lasting
        strike = time.monotonic() + 0.3
        while time.monotonic() < end:
            self.tick()
            if time.monotonic() >= strike:
                strike = time.monotonic() + self.plan.calm * self.dice.uniform(0.5, 1.5)
                self.strike()
            time.sleep(0.01)
        self.clear()

    def _page(self, worker: Worker) -> Path:
        """Of its diary; it is there once it has begun."""
        return self.folder / "diary" / f"{worker.name}-{worker.process.pid}"

    def await_ready(self) -> None:
        """Wait until every process has begun. Raises: AssertionError."""
        give_up = time.monotonic() + 60.0
        while not all(self._page(one).exists() for one in self.workers):
            assert time.monotonic() < give_up, [one.said for one in self.workers]
            time.sleep(0.02)

    def tick(self, *, all: bool = False) -> None:
        """Undo what has lasted long enough, replace who was killed, notice who has ended by himself."""
        now = time.monotonic()
        for due, undo in [one for one in self.undo if all or one[0] <= now]:
            self.undo.remove((due, undo))
            undo()
        for worker in self.workers:
            if worker.again_at is not None:
                if all or worker.again_at <= now:
                    worker.replace()
            elif (code := worker.process.poll()) is not None:
                if worker.asked_at is None or code:
                    told = f"{worker.name} ({worker.flavour}) ended by itself with {code}"
                    self.crashed.append(f"{told}: {worker.said}")
                worker.replace()
            elif worker.asked_at is not None and now > worker.asked_at + STUCK:
                self.crashed.append(f"{worker.name} ({worker.flavour}) does not end")
                worker.kill()
                worker.replace()

    def clear(self) -> None:
        """The storm is over."""
        self.tick(all=True)
        for proxy in self.proxies:
            heal(proxy)
        while any(one.asked_at is not None for one in self.workers):
            self.tick()
            time.sleep(0.02)

    def later(self, seconds: float, undo: Callable[[], None]) -> None:
        self.undo.append((time.monotonic() + seconds, undo))

    def strike(self) -> None:
        kinds = KINDS[self.plan.kind]
        rare = [one for one in kinds if one in RARE]
        if rare and time.monotonic() >= self._next_rare:
            what = self.dice.choice(rare)
            self._next_rare = time.monotonic() + RARE[what] * self.dice.uniform(0.7, 1.3)
        else:
            what = self.dice.choice([one for one in kinds if one not in RARE])
        if getattr(self, f"_{what}")():
            self.counts[what] += 1

    # --- strikes; True if it struck -------------------------------------------------------------------------

    def _kill(self) -> bool:
        alive = self.alive
        workers = [one for one in alive if one.flavour != "producer"]
        if len(workers) < 2:
            return False
        worker = self.dice.choice(alive if self.dice.random() < 0.3 else workers)
        worker.kill()
        worker.again_at = time.monotonic() + self.dice.choice((0.0, 0.2, 1.0))
        return True

    def _term(self) -> bool:
        """It ends as it should, and another one comes: a deployment."""
        workers = [one for one in self.alive if one.flavour != "producer" and self._page(one).exists()]
        if len(workers) < 2:
            return False
        self.dice.choice(workers).ask_to_end()
        return True

    def _stop(self) -> bool:
        alive = self.alive
        workers = [one for one in alive if one.flavour != "producer"]
        if len(workers) < 2:
            return False
        worker = self.dice.choice(alive if self.dice.random() < 0.2 else workers)
        worker.process.send_signal(signal.SIGSTOP)
        worker.is_frozen = True

        def thaw() -> None:
            if worker.is_frozen:
                worker.is_frozen = False
                worker.process.send_signal(signal.SIGCONT)

        self.later(self.plan.lease * self.dice.choice((0.1, 0.5, 1.2, 2.5)), thaw)
        return True

    def _drop(self) -> bool:
        self.dice.choice(self.proxies).drop_replies(self.dice.choice((1, 1, 2, 5)))
        return True

    def _cut(self) -> bool:
        self.dice.choice(self.proxies).cut()
        return True

    def _for_a_while(self, begin: Callable[[FaultProxy], Any], longest: float) -> bool:
        proxy = self.dice.choice(self.proxies)
        begin(proxy)
        self.later(self.dice.uniform(0.05, longest), lambda: heal(proxy))
        return True

    def _delay(self) -> bool:
        lag = self.dice.uniform(0.001, 0.1)
        return self._for_a_while(lambda proxy: proxy.delay(lag), 0.6)

    def _blackhole(self) -> bool:
        return self._for_a_while(FaultProxy.blackhole, 2.0 * self.plan.lease)

    def _swallow(self) -> bool:
        return self._for_a_while(FaultProxy.swallow_replies, 1.2 * self.plan.lease)

    def _refuse(self) -> bool:
        def begin(proxy: FaultProxy) -> None:
            proxy.refuse()
            proxy.cut()

        return self._for_a_while(begin, 1.5 * self.plan.lease)

    def _restart(self) -> bool:
        server: Server = self.place
        server.kill()
        time.sleep(self.dice.uniform(0.0, 0.5))
        server.restart()
        return True

    def _groups(self) -> bool:
        """A group is lost, with all that is kept of it but its dead letters."""
        course = self.dice.choice(COURSES)
        group = self.dice.choice(course.groups)
        begin = time.time()
        lose_group(self.place, self.namespace, course.name, group)
        self.forgot.append(Forgot(begin, time.time(), group=f"{course.name}/{group}", acks=True))
        return True

    def _flush(self) -> bool:
        begin = time.time()
        ask(self.place, "FLUSHALL")
        self.forgot.append(Forgot(begin, time.time(), messages=True))
        self.counts["flushed"] += 1
        self.tell_flushed(self.counts["flushed"])
        return True

    def _failover(self) -> bool:
        if not self.place.healthy:  # a replica that has not caught up would lose more than the last moment
            return False
        begin = time.time()
        try:
            if isinstance(self.place, SentinelLab):
                self._of_sentinel(self.place)
            else:
                self._of_cluster(self.place)
        except HoldfastError as error:
            self.counts[f"no failover: {type(error).__name__}"] += 1
        # On one server effects and acknowledgements are lost together; in a Cluster results lie elsewhere.
        apart = self.plan.topology == "cluster"
        self.forgot.append(Forgot(begin, time.time(), since=begin - 0.5, messages=True, acks=apart))
        return True

    def _of_sentinel(self, lab: SentinelLab) -> None:
        old = lab.primary
        if self.dice.random() < 0.5:  # what it is told from now on is lost
            for node in lab.replicas:
                node.cut_off()
            time.sleep(self.dice.uniform(0.0, 0.3))
            old.cut_off()
            for node in lab.replicas:
                node.heal()
        else:
            old.kill()
        lab.await_failover(old)
        old.restart() if not old.running else old.heal()

    def _of_cluster(self, lab: ClusterLab) -> None:
        old = self.dice.choice(lab.primaries)
        replica = lab.replica_of(old)
        if self.dice.random() < 0.5:
            lab.failover(replica)
            lab.await_failover(old)
        else:
            old.kill()
            lab.await_failover(old)
            old.restart()

    def _reshard(self) -> bool:
        """A slot in use moves, slowly."""
        lab: ClusterLab = self.place
        course = self.dice.choice(COURSES)
        part = self.dice.randrange(course.options.get("partitions", 1))
        slot = slot_of(f"{{{course.name}:{part}}}")
        try:
            to = self.dice.choice([node for node in lab.primaries if node is not lab.primary_of(slot)])
            lab.begin_move(slot, to)
            while lab.move_keys(slot, to, self.dice.choice((1, 2, 5))):
                time.sleep(self.dice.choice((0.0, 0.02)))
                if self.dice.random() < 0.3:
                    break
            lab.finish_move(slot, to)
        except HoldfastError as error:
            self.counts[f"no reshard: {type(error).__name__}"] += 1
        return True


def heal(proxy: FaultProxy) -> None:
    """End its faults. A connection that has missed replies must not go on: others would be taken for them."""
    if proxy.mute:
        proxy.refuse()
        proxy.cut()
    proxy.heal()


def ask(server: Any, *words: str | int) -> Any:
    """A question to the server, not through a proxy."""
    if isinstance(server, Server):
        return admin.ask(server.socket_path, server.password, *words, wait=5.0)
    return server.ask(*words, wait=5.0)


def lose_group(server: Any, namespace: str, stream: str, group: str) -> None:
    script = """
for _, name in ipairs(redis.call('KEYS', ARGV[1])) do
  redis.pcall('XGROUP', 'DESTROY', name, ARGV[2])
  for _, part in ipairs({'m', 'r', 'e', 'turns', 'saved'}) do
    redis.call('DEL', name .. ':g:' .. ARGV[2] .. ':' .. part)
  end
end
"""
    ask(server, "EVAL", script, 0, f"{namespace}:1:stream:{{{stream}:[0-9]}}", group)
