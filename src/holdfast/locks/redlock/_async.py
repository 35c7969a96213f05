# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncRedlock: what only one may hold at a time, by the word of a majority of independent servers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Unpack

from holdfast._compat import ASemaphore, asleep, monotonic
from holdfast._coord._wait_async import LONGEST
from holdfast._coord.backoff import rest
from holdfast._coord.owner import owner
from holdfast._coord.queue import Queues
from holdfast.durations import Duration, optional_seconds, seconds
from holdfast.errors import Closed, NoQuorum
from holdfast.locks import holder
from holdfast.locks._place_async import AsyncPlace
from holdfast.locks.holder import Holder
from holdfast.locks.options import AS_CHOSEN, check_name, chosen
from holdfast.locks.redlock import clients, rules
from holdfast.locks.redlock._attempt_async import AsyncAttempt
from holdfast.locks.redlock._lease_async import AsyncRedlockLease
from holdfast.locks.redlock._node_async import AsyncNode
from holdfast.locks.redlock.fan import AsyncFan
from holdfast.locks.redlock.options import RedlockKeywords, RedlockNode, RedlockOptions
from holdfast.locks.redlock.rules import Answer, Said, Verdict


class AsyncRedlock:
    """What only one may hold at a time, by the word of a majority of independent servers.

        redlock = AsyncRedlock(["redis://a", "redis://b", "redis://c"], "order:1024", ttl="10s")
        async with redlock as lease:
            ...                       # cancelled if the lease is lost
            await save(fence=lease.fence)
        await redlock.close()

    It may be shared by all tasks; what is held is the `lease`. What is promised, and what is not, stands in
    `holdfast.locks.redlock.rules`. Where one server, or one with replicas, is enough, `hf.lock()` is cheaper,
    wakes who waits, and has guards.
    """

    def __init__(
        self,
        nodes: Sequence[Any],
        name: str,
        *,
        ttl: Duration = "10s",
        namespace: str | None = None,
        **options: Unpack[RedlockKeywords],
    ) -> None:
        """Parse the arguments; nothing is sent.

        `nodes`: three or more, each a URL, an AsyncHoldfast, or a redis-py client for asyncio; independent of
        each other, not replicas. What is not an AsyncHoldfast gets one here, which `close()` closes.
        `name`: the lock's. `ttl`: how long a holder that says nothing has it. `namespace`: what the keys
        start with; None: that of the clients. `wait`: how long an acquire waits (None: for ever).
        `longest_lease`: the longest ttl that anybody uses with this name. `node_timeout`: what one node has
        for an answer. `renew`, `max_hold`, `label`, `on_lost`, `on_danger`: as of a lock. Each is told in
        RedlockOptions.

        Raises: ConfigurationError that names the option and its value.
        """
        self.name = check_name(name, "Redlock")
        self.what = f"redlock {name!r}"
        self.options = chosen(RedlockOptions, self.what, {"ttl": ttl, **options})
        self._clients, self._made = clients.gathered(nodes, namespace, "AsyncHoldfast")
        self._names = rules.Names(clients.keys_of(self._clients, namespace), name)
        self._nodes = [
            AsyncNode(one._wire, self.options, has_disk=clients.has_disk(one)) for one in self._clients
        ]
        self._fan = AsyncFan(len(self._nodes))
        self._queues = Queues(lambda: ASemaphore(1))
        self._place = AsyncPlace(self._nodes[0].wire)
        self._closed = False

    @property
    def key(self) -> str:
        """The lock's key, the same on every node."""
        return self._names.key

    # --- having it -----------------------------------------------------------------------------------------

    async def acquire(self, wait: Duration | None = AS_CHOSEN) -> AsyncRedlockLease:
        """The lease, once a quorum of nodes has granted it; waits for `wait` at most (None: for ever).

        Raises: LockTimeout (`.holder` says who has it), NoQuorum (too few nodes gave an answer that counts),
        TooSlow (a quorum said yes too late), LockError if this very task holds it in a `with`, Closed,
        ConfigurationError if two nodes are one server.
        """
        self._place.refuse_nesting(self.key, self.what, self.name)
        patience = self.options.wait_s if wait is AS_CHOSEN else optional_seconds(wait, "wait", zero=True)
        give_up = float("inf") if patience is None else monotonic() + patience
        queue = self._queues.join(self.key)
        try:
            if not await queue.turn.acquire(min(LONGEST, max(0.0, give_up - monotonic()))):
                raise (queue.busy or self._nobody()).error(self.what, self.name, "within the wait")
            try:
                return await self._obtain(queue, give_up)
            finally:
                queue.turn.release()
        finally:
            self._queues.leave(self.key, queue)

    async def _obtain(self, queue: Any, give_up: float) -> AsyncRedlockLease:
        """The lease, for the first of those who share this object."""
        failures = 0
        while True:
            found = await self._try()
            if not isinstance(found, Verdict):
                return found
            queue.busy = found
            failures += 1
            pause = rest(failures, random.random())
            if monotonic() + pause >= give_up:
                raise found.error(self.what, self.name, "within the wait")
            await asleep(pause)

    async def try_acquire(self) -> AsyncRedlockLease | None:
        """The lease if nobody has it, else None; does not wait. Raises: as `acquire`, but for LockTimeout."""
        found = await self._try()
        if not isinstance(found, Verdict):
            return found
        if found.is_contended and not found.too_late:
            return None
        raise found.error(self.what, self.name, "at once")

    async def _try(self) -> AsyncRedlockLease | Verdict:
        """The lease, or why there is none."""
        if self._closed:
            raise Closed(f"{self.what} was closed; make a new one")
        attempt = AsyncAttempt(self._nodes, self._fan, self._names, self.options, owner(self.options.label))
        try:
            verdict = await attempt.make()
            if verdict is not None:
                return verdict
            lease = AsyncRedlockLease(self, attempt, self._names, self._nodes)
            lease._keep()
        except BaseException:  # cancelled, interrupted: nobody will use what it has, or is still to get
            attempt.undo()
            raise
        return lease

    def _nobody(self) -> Verdict:
        """What is known of the nodes while none of them has answered."""
        answers = [Answer(said=Said.SLOW, why="others of this process wait before us")] * len(self._nodes)
        return Verdict(answers, [node.name for node in self._nodes], self.options.longest_s)

    async def __aenter__(self) -> AsyncRedlockLease:
        lease = await self.acquire()
        self._place.enter(self.key, lease)
        return await lease.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lease = self._place.leave(self.key, self)
        await lease.__aexit__(kind, error, trace)

    # --- seeing it -----------------------------------------------------------------------------------------

    async def inspect(self) -> tuple[RedlockNode, ...]:
        """How each node stands, in the order in which they were given; who is away is waited for as long as
        `node_timeout`.
        """
        found = await self._fan.ask([partial(node.look, self._names) for node in self._nodes], _never)
        return tuple(map(self._seen, self._nodes, found))

    def _seen(self, node: AsyncNode, found: Any) -> RedlockNode:
        if isinstance(found, Answer):
            return RedlockNode(server=node.name, error=found.why)
        value, left, uptime, run_id = found
        who = None
        if value is not None:
            told = holder.read(value)
            told["fence"] = told.get("fence") or None  # claimed, and not confirmed (yet)
            who = Holder(name=self.name, **told, ttl=None if left < 0 else left / 1000)
        return RedlockNode(
            server=node.name,
            holder=who,
            uptime=None if uptime < 0 else float(uptime),
            counts=node.counts(uptime, run_id.decode()),
        )

    async def force_release(self) -> bool:
        """Take it away from whoever has it, on every node that answers; False if nobody has it on any. Its
        holder is told that it is lost.

        Raises: NoQuorum if too few answered: it may be held on the others.
        """
        found = await self._fan.ask([partial(node.take_away, self._names) for node in self._nodes], _never)
        answers = [answer or rules.NO_ANSWER for answer in found]
        heard = sum(1 for one in answers if one.said in rules.TOLD)
        if heard < rules.quorum(len(answers)):
            verdict = Verdict(answers, [node.name for node in self._nodes], self.options.longest_s)
            raise NoQuorum(f"{self.what} may still be held; asked to free it: {verdict.described()}")
        return rules.count(answers) > 0

    # --- its end -------------------------------------------------------------------------------------------

    async def close(self, drain: Duration = "10s") -> None:
        """Close the clients that were made for it, and deliver what is still to be given back, for at most
        `drain`; clients of your own stay open. Idempotent.
        """
        patience = seconds(drain, "drain", zero=True)
        begun = monotonic()
        self._closed = True
        self._fan.close()
        while self._made:
            await self._made[-1].close(max(0.0, begun + patience - monotonic()))
            self._made.pop()  # only now: whoever was cancelled in the middle may close again

    def __repr__(self) -> str:
        servers = ", ".join(node.name for node in self._nodes)
        return f"{type(self).__name__}({self.name!r} on {servers})"


def _never(_: object) -> None:
    """Wait for everybody."""
    return
