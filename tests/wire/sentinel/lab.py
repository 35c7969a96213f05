"""Clients of every flavour and transport behind one face, load that keeps books, and a few looks at a lab."""

import asyncio
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from holdfast import AsyncHoldfast, Holdfast
from holdfast.errors import Unavailable, Unconfirmed
from holdfast.testing.servers import start_lab

KINDS = [(flavour, transport) for flavour in ("sync", "async") for transport in ("native", "redis-py")]
PATIENCE = 20.0  # the deadline of an operation: far more than any failover here takes


def until(what, timeout=PATIENCE, why="it never happened"):
    """Wait until `what()` is true, and return what it said."""
    end = time.monotonic() + timeout
    while not (said := what()):
        assert time.monotonic() < end, why
        time.sleep(0.005)
    return said


def make_lab(**options):
    """A lab whose nodes can be cut off, with sentinels that make up their minds after a second."""
    return start_lab("sentinel", **{"down_after": "1s", "cuttable": True, **options})


class Seen:
    """An observer that keeps what it was told."""

    def __init__(self):
        self.all = []

    def notify(self, signal):
        self.all.append(signal)

    def named(self, name):
        return [one for one in self.all if type(one).__name__ == name]


class Client:
    """One client. Its calls block, also those of an asynchronous one, which has an event loop of its own."""

    def __init__(self, url, flavour="sync", transport="native", **options):
        self.name = f"{flavour}-{transport}"
        self.is_async = flavour == "async"
        self.seen = Seen()
        options = {"transport": transport, "timeout": PATIENCE, "require_server": False, **options}
        if self.is_async:
            self.loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self.loop.run_forever, name=f"loop of {self.name}")
            self._thread.start()
        self.hf: Any = (AsyncHoldfast if self.is_async else Holdfast)(url, **options)
        self.hf.observers.add(self.seen)

    def wait(self, work):
        """The result of a call to the client."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result() if self.is_async else work

    def execute(self, *command, **options):
        return self.wait(self.hf.execute(*command, **options))

    def transact(self, watch, between, commands):
        """A transaction: `between` happens after WATCH, then `commands` are committed."""

        async def run():
            async with self.hf.transaction(*watch) as tx:
                await asyncio.to_thread(between)
                for command in commands:
                    tx.queue(*command)

        if self.is_async:
            self.wait(run())
            return
        with self.hf.transaction(*watch) as tx:
            between()
            for command in commands:
                tx.queue(*command)

    def close(self):
        try:
            self.wait(self.hf.close(drain=0))
        finally:
            self._end_loop()

    def forget(self):
        """Drop it without a word."""
        self.hf = None
        self._end_loop()

    def _end_loop(self):
        if self.is_async:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextmanager
def clients(url, kinds=KINDS, **options):
    """A client of each kind."""
    with ExitStack() as stack:
        yield [stack.enter_context(Client(url, *kind, **options)) for kind in kinds]


class Load:
    """Two workers of a client: one repeats what is safe, the other never repeats; both keep books.

    From the moment that the client is told of a move it writes to keys of a new era: none of these may ever
    be seen at the older primary.
    """

    def __init__(self, client, pause=0.005):
        self.client = client
        self.key = f"load:{client.name}"
        self.errors = []
        self.safe = []  # (begun, ended) of each SADD
        self.acked = {}  # by era, the members that are there
        self.counted = 0
        self.unsure = []
        self._pause = pause
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=one) for one in (self._set, self._count)]

    @property
    def era(self):
        """How often the primary has moved."""
        return len(self.client.seen.named("PrimaryMoved"))

    def set_of(self, era):
        """The key of the members of an era."""
        return f"{self.key}:set:{era}"

    def _set(self):
        for number in itertools.count():
            if self._stop.wait(self._pause):
                return
            begun, era = time.monotonic(), self.era
            try:
                self.client.execute("SADD", self.set_of(era), number, retry="safe")
                self.acked.setdefault(era, set()).add(str(number))
            except Exception as error:
                self.errors.append(error)
            self.safe.append((begun, time.monotonic()))

    def _count(self):
        for number in itertools.count():
            if self._stop.wait(self._pause):
                return
            try:
                self.client.execute("INCR", f"{self.key}:count")
                self.counted += 1
                self.client.execute("RPUSH", f"{self.key}:list", number)
            except Unconfirmed as error:
                self.unsure.append(error)
            except Exception as error:
                self.errors.append(error)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """End the workers; what they wrote stays."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def longest(self):
        """Seconds that the slowest safe operation took."""
        return max(ended - begun for begun, ended in self.safe)

    def works_since(self, moment):
        """Has an operation that began after `moment` succeeded?"""
        return any(begun > moment for begun, _ in self.safe[-5:])

    def check(self, node):
        """No error that may not be, nothing twice, and nothing lost that was acknowledged since a move.

        `node` is the primary, asked directly.
        """
        who = self.client.name
        assert not self.errors, (who, self.errors[:3])
        count = int(node.ask("GET", f"{self.key}:count") or 0)
        assert count <= self.counted + len(self.unsure), (who, count, self.counted, self.unsure)
        members = node.ask("LRANGE", f"{self.key}:list", 0, -1)
        assert len(members) == len(set(members)), f"{who} pushed twice"
        assert self.acked.get(1), f"{who} never moved"
        lost = self.acked[1] - set(node.ask("SMEMBERS", self.set_of(1)))
        assert not lost, f"{who}: acknowledged after the move, and gone: {len(lost)}"


@contextmanager
def load(some):
    """Load from each of `some` clients, running."""
    with ExitStack() as stack:
        yield [stack.enter_context(Load(client)) for client in some]


def together(*calls):
    """The results of `calls`, made at once; an exception is a result."""

    def one(call):
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def timed(call):
    """What `call` returned or raised, and how many seconds that took."""
    begun = time.monotonic()
    try:
        result = call()
    except Exception as error:
        result = error
    return result, time.monotonic() - begun


def moved(lab, old):
    """Seconds until the sentinels have replaced `old`, from now; and the new primary."""
    begun = time.monotonic()
    new = lab.await_failover(old)
    return time.monotonic() - begun, new


def clients_of(node):
    """The connections at `node` that name themselves as ours."""
    try:
        lines = node.ask("CLIENT", "LIST").splitlines()
    except Unavailable:
        return []
    return [line for line in lines if " name=holdfast" in line]
