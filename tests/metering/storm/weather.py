"""What a storm does to processes and servers, beyond what storms over streams do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

from holdfast.embedded.cluster_lab import slot_of
from holdfast.errors import HoldfastError
from holdfast.testing import FaultProxy
from holdfast.testing.histories_messages import Forgot
from tests.metering.storm.diary import pages
from tests.metering.storm.plan import KINDS, SECONDS
from tests.streams.storm import weather
from tests.streams.storm.weather import ROOT, ask

PATIENCE = 45.0  # seconds that a slow machine may need for what is asked of it
UNWRITTEN = 2.0  # seconds for which a server with a slow disk may put off to write


class Worker(weather.Worker):
    """A process that uses every room."""

    def _hire(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.metering.storm.worker", json.dumps(self._told)]
        path = os.pathsep.join(one for one in (os.environ.get("PYTHONPATH"), str(ROOT)) if one)
        with self._errors.open("a") as errors:
            return subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stderr=errors, text=True
            )


class Weather(weather.Weather):
    """`frozen`: the times in which the server stood still. `forgot`: what it lost."""

    def __init__(self, plan: Any, place: Any, folder: Any, namespace: str) -> None:
        super().__init__(plan, place, folder, namespace)
        self.plan: Any = plan
        self.frozen: list[tuple[float, float]] = []

    def hire(self) -> None:
        for number in range(self.plan.workers):
            proxy = None
            if self.plan.topology == "single":
                proxy = FaultProxy(self.place)
                self.proxies.append(proxy)
            told = asdict(self.plan) | {
                "name": f"w{number}",
                "flavour": ("sync", "async")[(number + self.plan.seed) % 2],
                "url": proxy.url if proxy else self.place.url,
                "namespace": self.namespace,
                "folder": str(self.folder / "diary"),
            }
            self.workers.append(Worker(told, proxy))

    def rage(self) -> None:
        super().rage()
        give_up = time.monotonic() + PATIENCE
        for what in self.plan.musts:
            while not self.counts[what] and time.monotonic() < give_up:
                self.counts[what] += getattr(self, f"_{what}")()
                time.sleep(0.1)
        self.clear()

    def await_words(self, words: tuple[str, ...]) -> None:
        """Wait until each was written down by somebody, at most for so long: a slow machine needs it."""
        give_up = time.monotonic() + PATIENCE
        while not all(pages(self.folder / "diary")[word] for word in words) and time.monotonic() < give_up:
            time.sleep(0.1)

    def strike(self) -> None:
        kinds = KINDS[self.plan.kind]
        rare = [one for one in kinds if one in SECONDS]
        if rare and time.monotonic() >= self._next_rare:
            what = self.dice.choice(rare)
            self._next_rare = time.monotonic() + SECONDS[what] * self.dice.uniform(0.7, 1.3)
        else:
            what = self.dice.choice([one for one in kinds if one not in SECONDS])
        if getattr(self, f"_{what}")():
            self.counts[what] += 1

    def _freeze(self) -> bool:
        """The server stands still, and its clock does not."""
        self.place.freeze()
        begin = time.time()
        time.sleep(self.dice.choice((0.05, 0.4, 1.3)))
        self.frozen.append((begin, time.time()))
        self.place.resume()
        return True

    def _restart(self) -> bool:
        """It is killed, and comes back with what it had written down: the last of it may be missing."""
        begin = time.time()
        done = super()._restart()
        self.forgot.append(Forgot(begin, time.time(), since=begin - UNWRITTEN, messages=True))
        return done

    def _empty(self) -> bool:
        """The server comes back without anything."""
        begin = time.time()
        self.place.restart(empty=True)
        self.forgot.append(Forgot(begin, time.time(), messages=True))
        return True

    def _reshard(self) -> bool:
        """A slot in use moves, slowly."""
        try:
            node = self.dice.choice(self.place.primaries)
            keys = sorted(ask(node, "KEYS", f"{self.namespace}:*"))
            if not keys:
                return False
            slot = slot_of(self.dice.choice(keys))
            to = self.dice.choice([one for one in self.place.primaries if one is not node])
            self.place.begin_move(slot, to)
            while self.place.move_keys(slot, to, self.dice.choice((1, 2, 5))):
                time.sleep(self.dice.choice((0.0, 0.02)))
            self.place.finish_move(slot, to)
        except HoldfastError as error:
            self.counts[f"no reshard: {type(error).__name__}"] += 1
        return True
