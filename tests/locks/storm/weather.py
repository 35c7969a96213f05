"""What can happen to the network and the server while many use a lock: one thread that does it, by dice."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from holdfast._compat import boottime
from holdfast.embedded import Server
from holdfast.testing import FaultProxy
from tests.locks.storm.record import Wipe

FAULTS = (
    "lost",
    "cut",
    "delay",
    "late",
    "blackhole",
    "stick",
    "mute",
    "refuse",
    "freeze",
    "scripts",
    "clients",
)
HARMLESS = ("calm", "mixed", *FAULTS)
WIPING = ("flush", "restart", "wild")
KINDS = (*HARMLESS, *WIPING)
WHATS = ("lock", "fair", "rwlock", "semaphore")


@dataclass(frozen=True)
class Plan:
    """A storm that can be had again, as far as dice decide it. The same seed: the same plan."""

    seed: int
    kind: str
    what: str = "lock"
    ttl: float = 0.4  # seconds
    clients: int = 3
    each: int = 2  # tasks of a client
    keys: int = 1
    lasting: float = 0.4  # seconds
    least: int = 0  # acquires
    timeout: float = 0.25
    replicas: int = 0
    long: float = 0.05  # part of the holds that are long,
    staying: float = 0.0  # for about so many seconds (by default, some ttls)
    patience: float = 0.0  # seconds; half of the storm if not given

    @property
    def wait(self) -> float:
        """Seconds that an acquire may take."""
        return self.patience or self.lasting / 2

    @classmethod
    def drawn(cls, seed: int, kind: str = "", what: str = "") -> Self:
        """The plan of a seed, with the kind and what is locked given or drawn too."""
        dice = random.Random(seed)
        drawn = (dice.choice(KINDS), dice.choice(WHATS))
        kind, what = kind or drawn[0], what or drawn[1]
        late = kind in {"late", "stop"}  # shows what it is for where an answer may take a good part of a ttl
        return cls(
            seed=seed,
            kind=kind,
            what=what,
            ttl=dice.choice((0.4, 0.6) if late else (0.4, 0.6, 30.0)),
            clients=dice.randint(2, 4),
            each=dice.randint(1, 3),
            keys=dice.choice((1, 1, 2)),
            lasting=dice.uniform(0.3, 0.9) + late,
            timeout=1.0 if late else dice.choice((0.15, 0.3, 1.0)),
            long=0.15 if kind in {"flush", "wild", "late", "stop"} else 0.05,
        )


class Weather:
    """Does its worst from `begin` to `end`; then everything works again."""

    def __init__(
        self, plan: Plan, server: Server, proxies: list[FaultProxy], ask: Callable[..., Any]
    ) -> None:
        self._plan, self._server, self._proxies, self._ask = plan, server, proxies, ask
        self._dice = random.Random(plan.seed + 1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="weather")
        self.wipes: list[Wipe] = []
        self.done: Counter[str] = Counter()
        self._stuck: list[_Stuck] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(self._dice.uniform(0.005, 0.12)):
            kind = self._choose()
            self.done[kind] += 1
            getattr(self, f"_{kind}")(self._dice.choice(self._proxies))
        for proxy in self._proxies:
            proxy.heal()
        for stuck in self._stuck:
            stuck.let_go()

    def last(self, seconds: float) -> None:
        """Let it go on for so long."""
        self._over.wait(seconds)

    def _choose(self) -> str:
        if self._plan.kind == "mixed":
            return self._dice.choice(FAULTS)
        if self._plan.kind == "wild":
            return self._dice.choice((*FAULTS, "flush", "flush", "restart"))
        return self._plan.kind

    def _rest(self, least: float, most: float) -> None:
        time.sleep(self._dice.uniform(least, most))

    def _calm(self, proxy: FaultProxy) -> None: ...

    def _lost(self, proxy: FaultProxy) -> None:
        proxy.drop_replies(self._dice.randint(1, 3), match=self._dice.choice((b"", b"EVALSHA", b"EVALSHA")))

    def _cut(self, proxy: FaultProxy) -> None:
        proxy.cut()

    def _delay(self, proxy: FaultProxy) -> None:
        proxy.delay(self._dice.choice((0.0, 0.001, 0.01, 0.05)))

    def _late(self, proxy: FaultProxy) -> None:
        # What was heard late is believed for too long by who counts from there, if nothing is heard after it.
        proxy.delay(self._dice.uniform(0.15, 0.35))
        self._rest(0.2, 0.4)
        if self._dice.random() < 0.5:
            self._server.freeze()
            self._rest(0.2, 0.5)
            self._server.resume()
        else:
            proxy.blackhole()
            self._rest(0.2, 0.6)
        proxy.heal()

    def _blackhole(self, proxy: FaultProxy) -> None:
        proxy.blackhole()
        self._rest(0.02, 0.6)
        proxy.heal()

    def _stick(self, proxy: FaultProxy) -> None:
        self._stuck.append(_Stuck(proxy))
        if self._dice.random() < 0.7:
            self._rest(0.05, 0.5)
            self._stuck.pop(self._dice.randrange(len(self._stuck))).let_go()

    def _mute(self, proxy: FaultProxy) -> None:
        proxy.swallow_replies()
        self._rest(0.01, 0.3)
        proxy.heal()
        proxy.cut()  # what was swallowed would otherwise be missed for ever

    def _refuse(self, proxy: FaultProxy) -> None:
        proxy.refuse()
        proxy.cut()
        self._rest(0.01, 0.3)
        proxy.heal()

    def _freeze(self, proxy: FaultProxy) -> None:
        self._server.freeze()
        self._rest(0.01, 0.5)
        self._server.resume()

    def _scripts(self, proxy: FaultProxy) -> None:
        self._ask("SCRIPT", "FLUSH")

    def _clients(self, proxy: FaultProxy) -> None:
        self._ask("CLIENT", "KILL", "TYPE", self._dice.choice(("normal", "pubsub")), "SKIPME", "yes")

    def _flush(self, proxy: FaultProxy) -> None:
        begin = boottime()
        self._ask("FLUSHALL")
        self.wipes.append(Wipe(begin, boottime()))

    def _restart(self, proxy: FaultProxy) -> None:
        begin = boottime()
        self._server.kill()
        self._server.restart(empty=True)
        self.wipes.append(Wipe(begin, boottime()))


class _Stuck:
    """The connections that stand now, as those of a way on which packets are lost: nothing passes, in both
    directions, until `let_go`; then all that was sent arrives. New connections take another way.
    """

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._open = threading.Event()
        self._links = list(proxy._links)
        for link in self._links:
            link._proxy = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._proxy, name)

    def let_go(self) -> None:
        self._open.set()
        for link in self._links:
            link._proxy = self._proxy
