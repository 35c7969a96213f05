# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncCrew: takes the partitions of one cache that nobody has, keeps their leases, and has a writer for
each.

Whoever comes first takes all; the others wait for a push or for the end of a lease. What has a lease alone
here: a writer only looks how long it is still ours, so that one that hangs in the source keeps its lease, and
one in a stopped process loses it.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from holdfast._compat import ASignal, monotonic
from holdfast._wire.hub_ledger import Waker
from holdfast._wire.mutex import MUTEX
from holdfast.cache.behind import rules
from holdfast.cache.behind._desk_async import AsyncDesk
from holdfast.cache.behind._writer_async import AsyncWriter
from holdfast.cache.behind.flavour import AsyncBackground
from holdfast.cache.behind.hold import Closing, Hold
from holdfast.cache.behind.journal import Partition
from holdfast.errors import Closed, ConfigurationError, HoldfastError

STUMBLE = 0.5  # seconds of rest after an error
CLOSING_POLL = 0.05
GRACE = 0.4  # seconds beyond the deadline for writers to come back from the source


class _Post:
    """A partition, and who is at it. `busy`: ms for which somebody else has it."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.holder = os.urandom(16).hex()
        self.hold: Hold | None = None
        self.writer: AsyncWriter | None = None
        self.background: AsyncBackground | None = None
        self.busy = 0
        self.silent = False
        self.left = False  # while closing: nothing more is to be done here

    @property
    def manned(self) -> bool:
        """Is a writer at it, perhaps one that hangs in the source without a lease?"""
        return self.writer is not None and not self.writer.over


class AsyncCrew:
    """See the file's docstring. Made in the place where it works."""

    def __init__(self, desk: AsyncDesk) -> None:
        self._desk = desk
        self._posts = [_Post(partition) for partition in desk.layout.partitions]
        self._closing = Closing()
        self._wake = ASignal()
        self._over = False
        self._waiting: list[Waker] = []
        self._background = AsyncBackground(f"holdfast-behind-{desk.name}", self._run)

    @property
    def alive(self) -> bool:
        """Is it at work? Not in the child of a fork, nor after the end of its event loop."""
        return not self._over and self._background.alive

    def close_by(self, deadline: float) -> None:
        """Apply what can be applied until `deadline` (monotonic), give leases back, end. From any thread."""
        self._closing.by = deadline
        self._wake.fire()
        for post in self._posts:
            if post.writer is not None:
                post.writer.wake.fire()

    def when_over(self, signal: Waker) -> None:
        """Fire `signal` when it has ended."""
        with MUTEX:
            if not self._over:
                self._waiting.append(signal)
                return
        signal.fire()

    def cancel(self) -> None:
        """End in the middle of it; leases end by themselves."""
        for post in self._posts:
            if post.background is not None:
                post.background.cancel()
        self._background.cancel()

    async def _run(self) -> None:
        try:
            while self._closing.left(monotonic()) != 0:
                try:
                    await self._work()
                    return
                except Closed:
                    return
                except ConfigurationError as error:
                    self._stumbled(error)  # other partitions than ours: whoever calls is told as well
                    return
                except HoldfastError:
                    await self._wake.wait(STUMBLE)
                except Exception as error:  # noqa: BLE001 (nobody else would notice)
                    self._stumbled(error)
                    await self._wake.wait(STUMBLE)
        finally:
            with MUTEX:
                self._over = True
                waiting, self._waiting = self._waiting, []
            for signal in waiting:
                signal.fire()

    def _stumbled(self, error: Exception) -> None:
        self._desk.notify(rules.WriterStumbled(cache=self._desk.name, cause=rules.described(error)))

    async def _work(self) -> None:
        await self._desk.agree()
        with ExitStack() as stack:
            for post in self._posts:
                stack.enter_context(self._desk.wire.hub.watch(post.partition.lease, self._wake))
            while not self._is_done():
                self._wake.clear()
                # Those that were silent come last: a node that is away must not cost the others their leases.
                for post in sorted(self._posts, key=lambda post: post.silent):
                    await self._see_to(post)
                await self._wake.wait(self._pause())
            for post in self._posts:
                await self._give_back(post)

    def _is_done(self) -> bool:
        by = self._closing.by
        if by is None:
            return False
        manned = any(post.manned for post in self._posts)
        return monotonic() > by + GRACE or not (manned or any(not post.left for post in self._posts))

    def _pause(self) -> float:
        """Seconds until leases are to be renewed, or somebody else's may have ended."""
        left = self._closing.left(monotonic())
        renewal = self._desk.pace.lease / rules.RENEWALS
        if left is not None:
            return min(CLOSING_POLL, renewal)
        return min([renewal, *(post.busy / 1000 + 0.01 for post in self._posts if post.busy)])

    async def _see_to(self, post: _Post) -> None:
        """Renew the lease of `post`, or take it if it is free."""
        if post.manned and post.hold is not None and post.hold.lost:
            return  # until it has come back from the source, nobody of this process may write beside it
        if self._closing.by is not None and not post.manned:
            # Only what was never asked for: whoever closes right after a put gets its partitions only now.
            post.left = post.left or post.writer is not None or self._closing.left(monotonic()) == 0
            if post.left:
                return
        patience = min(self._desk.wire.timeout, self._desk.pace.lease / 6)
        turn = post.writer.turn if post.writer is not None else None
        if turn is not None and not await turn.acquire(patience):
            return
        try:
            await self._claim(post, patience)
            post.silent = False
        except Closed:
            raise
        except HoldfastError:
            post.silent = True
            post.left = self._closing.by is not None
        finally:
            if turn is not None:
                turn.release()

    async def _claim(self, post: _Post, patience: float) -> None:
        lease = self._desk.pace.lease
        keys = (post.partition.lease, post.partition.state)
        asked = monotonic()
        answer = await self._desk.wire.run(rules.CLAIM, keys, (post.holder, int(lease * 1000), 0), patience)
        fence, post.busy = answer
        self._note(post, fence, asked + lease)

    def _note(self, post: _Post, fence: int, until: float) -> None:
        """What the server said of `post`: a fence if it is ours."""
        if post.manned and post.hold is not None:
            if fence == post.hold.fence:
                post.hold.renew(fence, until)
            else:
                post.hold.lost = True
                assert post.writer is not None
                post.writer.wake.fire()
        elif not fence:
            post.left = self._closing.by is not None
        else:
            post.hold = Hold(post.partition, post.holder, fence, until)
            if self._closing.by is not None and post.writer is not None:
                post.left = True  # its writer has ended while we asked
                return
            post.writer = AsyncWriter(self._desk, post.hold, self._closing, self._wake.fire)
            name = f"holdfast-behind-{self._desk.name}-{post.partition.number}"
            post.background = AsyncBackground(name, post.writer.run)

    async def _give_back(self, post: _Post) -> None:
        """Let others have the partition at once, unless a call of the source is in the air."""
        if post.hold is None or post.manned:
            return
        try:
            await self._desk.wire.run(rules.RELEASE, (post.partition.lease,), (post.hold.text,))
        except HoldfastError:
            return
