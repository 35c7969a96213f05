"""Processes that handle messages and die, for the probes: every library's own worker around one handler.

    python -m benchmarks.streams.crew LIBRARY URL NAME IDLE LONGEST

IDLE: seconds after which somebody else may have what a worker had, where a library has such a setting;
LONGEST: seconds that a handler takes at most. A message says what its handler does: `ok:x`, `slow:SECONDS:x`,
`die:x` (kill -9), `fail:x` (raise). Each call of the handler writes a line when it begins, and when it ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, ClassVar

import redis
import redis.asyncio

from benchmarks import harness
from benchmarks.streams.peers import peer
from benchmarks.streams.stations import GROUP, entries

TRIES, PAUSE = 3, 0.3  # attempts at a message that fails, and seconds between them


def _say(word: str, text: str) -> None:
    os.write(1, f"{word} {time.monotonic():.4f} {text}\n".encode())


def begin(text: str) -> float:
    """What every handler does first; seconds that it is to take. Raises: ValueError, as told."""
    _say("begin", text)
    verb, _, rest = text.partition(":")
    if verb == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if verb == "fail":
        raise ValueError(text)
    return float(rest.partition(":")[0]) if verb == "slow" else 0.0


def handle(text: str) -> None:
    """The handler, for threads."""
    time.sleep(begin(text))
    _say("end", text)


async def handle_task(text: str) -> None:
    """The handler, for tasks."""
    await asyncio.sleep(begin(text))
    _say("end", text)


class Crew:
    """A library: how it publishes, and how its worker runs. `ids`: its messages can have one; `again`:
    seconds after a worker's death until others have what it had, at the latest.
    """

    library: ClassVar[str]
    module: ClassVar[str]
    tasks: ClassVar[bool] = True
    ids: ClassVar[bool] = False

    def __init__(self, url: str, name: str, idle: float, longest: float) -> None:
        self.url, self.name, self.idle, self.longest = url, name, idle, longest
        where = harness.address(url)
        self.plain = f"redis://{where['host']}:{where['port']}"

    @property
    def again(self) -> float:
        return 2 * self.idle + 2

    async def publish(self, text: str, id: str | None = None) -> None:
        """One message."""
        raise NotImplementedError

    def work(self) -> None:
        """Handle messages until a signal says otherwise."""
        raise NotImplementedError

    async def dead(self) -> int | None:
        """Messages that were given up and can be handled again; None: it keeps none."""
        return None


# --- Holdfast -----------------------------------------------------------------------------------------------


class HoldfastThreads(Crew):
    """Holdfast."""

    library, module, tasks, ids = "Holdfast", "holdfast", False, True

    def _stream(self, hf: Any) -> Any:
        from holdfast import Retention

        return hf.stream(self.name, type=str, retention=Retention.work_queue())

    def _subscribe(self, hf: Any, handler: Callable[..., Any]) -> None:
        from holdfast import Backoff

        self._stream(hf).subscriber(
            group=GROUP, lease=self.idle, max_deliveries=TRIES, retry=Backoff(PAUSE)
        )(handler)  # fmt: skip

    async def publish(self, text: str, id: str | None = None) -> None:
        def send() -> None:
            from holdfast import Holdfast

            with Holdfast(self.url) as hf:
                self._stream(hf).publish(text, id=id)

        await asyncio.to_thread(send)

    def work(self) -> None:
        from holdfast import Holdfast

        def one(text: str, _: Any) -> None:
            handle(text)

        with Holdfast(self.url) as hf:
            self._subscribe(hf, one)
            hf.run()

    async def dead(self) -> int | None:
        from holdfast import AsyncHoldfast

        async with AsyncHoldfast(self.url) as hf:
            found: int = await self._stream(hf).dead_letters(GROUP).count()
            return found


class HoldfastTasks(HoldfastThreads):
    """AsyncHoldfast."""

    tasks = True

    async def publish(self, text: str, id: str | None = None) -> None:
        from holdfast import AsyncHoldfast

        async with AsyncHoldfast(self.url) as hf:
            await self._stream(hf).publish(text, id=id)

    def work(self) -> None:
        from holdfast import AsyncHoldfast

        async def one(text: str, _: Any) -> None:
            await handle_task(text)

        async def main() -> None:
            async with AsyncHoldfast(self.url) as hf:
                self._subscribe(hf, one)
                await hf.run()

        asyncio.run(main())


# --- by hand ------------------------------------------------------------------------------------------------


class ByHand(Crew):
    """The loop of many an article: XAUTOCLAIM, XREADGROUP, XACK, and a name that nobody else has."""

    library, module, tasks = "redis-py by hand", "redis", False

    async def publish(self, text: str, id: str | None = None) -> None:  # noqa: ARG002
        async with redis.asyncio.Redis(**harness.address(self.url)) as client:
            await client.xadd(self.name, {"data": text})

    def work(self) -> None:
        client, me = redis.Redis(**harness.address(self.url)), str(uuid.uuid4())
        with suppress(redis.ResponseError):
            client.xgroup_create(self.name, GROUP, "0", mkstream=True)
        while True:
            left = client.xautoclaim(self.name, GROUP, me, int(1000 * self.idle), count=10)[1]
            fresh = entries(client.xreadgroup(GROUP, me, {self.name: ">"}, count=10, block=300))
            for entry, fields in [*left, *fresh]:
                with suppress(ValueError):  # and logs it
                    handle(fields[b"data"].decode())
                    client.xack(self.name, GROUP, entry)


# --- others -------------------------------------------------------------------------------------------------


class FastStream(Crew):
    """FastStream: a subscriber, and a second one that takes over what others left. What fails stays pending,
    so the second one is its retry.
    """

    library, module = "FastStream", "faststream"

    async def publish(self, text: str, id: str | None = None) -> None:  # noqa: ARG002
        async with peer("faststream.redis").RedisBroker(self.plain, logger=None) as broker:
            await broker.publish(text, stream=self.name)

    def work(self) -> None:
        faststream, on_redis = peer("faststream"), peer("faststream.redis")
        with suppress(redis.ResponseError), redis.Redis(**harness.address(self.url)) as client:
            client.xgroup_create(self.name, GROUP, "0", mkstream=True)
        broker, me = on_redis.RedisBroker(self.plain, logger=None, graceful_timeout=5), str(uuid.uuid4())
        fresh = on_redis.StreamSub(self.name, group=GROUP, consumer=me)
        left = on_redis.StreamSub(
            self.name, group=GROUP, consumer=f"{me}-left", min_idle_time=int(1000 * self.idle)
        )
        for one in (fresh, left):
            broker.subscriber(stream=one, ack_policy=faststream.AckPolicy.NACK_ON_ERROR)(handle_task)
        asyncio.run(faststream.FastStream(broker, logger=None).run())


class Taskiq(Crew):
    """taskiq-redis with the broker that acknowledges, and its middleware for retries."""

    library, module = "taskiq-redis", "taskiq_redis"

    def broker(self) -> Any:
        retries = peer("taskiq.middlewares.smart_retry_middleware")
        made = peer("taskiq_redis").RedisStreamBroker(
            self.plain, queue_name=self.name, idle_timeout=int(1000 * self.idle)
        )
        made = made.with_middlewares(
            retries.SmartRetryMiddleware(
                default_retry_count=TRIES, default_delay=PAUSE, default_retry_label=True
            )
        )
        made.register_task(handle_task, task_name="handle")
        return made

    async def publish(self, text: str, id: str | None = None) -> None:  # noqa: ARG002
        broker = self.broker()
        await broker.startup()
        await broker.find_task("handle").kiq(text)
        await broker.shutdown()

    def work(self) -> None:
        arguments = peer("taskiq.cli.worker.args").WorkerArgs(
            broker="benchmarks.streams.crew:broker", modules=[], workers=1, configure_logging=False
        )
        peer("taskiq.cli.worker.run").run_worker(arguments)


class Arq(Crew):
    """arq: a worker that waits for what it runs, and a handler that asks for its retry."""

    library, module, ids = "arq", "arq", True

    @property
    def again(self) -> float:
        return self.longest + 10 + 3  # its timeout, ten seconds, and itself

    async def publish(self, text: str, id: str | None = None) -> None:
        connections = peer("arq.connections")
        pool = await connections.create_pool(connections.RedisSettings(**harness.address(self.url)))
        await pool.enqueue_job("handle", text, _queue_name=self.name, _job_id=id)
        await pool.aclose()

    def work(self) -> None:
        arq, settings = peer("arq.worker"), peer("arq.connections").RedisSettings

        async def job(_: Any, text: str) -> None:
            try:
                await handle_task(text)
            except ValueError as error:
                raise arq.Retry(defer=PAUSE) from error

        asyncio.set_event_loop(asyncio.new_event_loop())
        job_ = arq.func(job, name="handle")
        arq.Worker([job_], queue_name=self.name, max_tries=TRIES, job_completion_wait=5,
               redis_settings=settings(**harness.address(self.url)), job_timeout=self.longest,
               poll_delay=0.1).run()  # fmt: skip


class Streaq(Crew):
    """streaq: a worker with a grace period, and a handler that asks for its retry."""

    library, module, ids = "streaq", "streaq", True

    def _worker(self) -> tuple[Any, Any]:
        worker = peer("streaq").Worker(
            self.plain, queue_name=self.name, idle_timeout=self.idle, grace_period=5
        )

        async def job(text: str) -> None:
            try:
                await handle_task(text)
            except ValueError as error:
                raise peer("streaq.types").StreaqRetry(delay=1) from error  # whole seconds only

        return worker, worker.task(name="handle", max_tries=TRIES, silent=True)(job)

    async def publish(self, text: str, id: str | None = None) -> None:
        worker, task = self._worker()
        async with worker:
            sent = task.enqueue(text)
            if id:
                sent.id = id
            await sent

    def work(self) -> None:
        self._worker()[0].run_sync()


OURS: tuple[type[Crew], ...] = (HoldfastThreads, HoldfastTasks)
EVERYBODY: tuple[type[Crew], ...] = (*OURS, ByHand, FastStream, Taskiq, Arq, Streaq)


def there() -> list[type[Crew]]:
    """All that are installed."""
    return [one for one in EVERYBODY if find_spec(one.module)]


def _made(words: list[str]) -> Crew:
    kind, url, name, idle, longest = words
    return next(one for one in EVERYBODY if one.__name__ == kind)(url, name, float(idle), float(longest))


def __getattr__(name: str) -> Any:
    if name != "broker":  # which taskiq's command line looks for by its name
        raise AttributeError(name)
    return Taskiq.broker(_made(sys.argv[1:]))  # type: ignore[arg-type]


if __name__ == "__main__":
    _made(sys.argv[1:]).work()
