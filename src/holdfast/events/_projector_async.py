# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncProjector: runs one version of a projection in the background, over all partitions.

In each partition it asks for its turn, reads the next events, hands them to the handler, and commits what
that has written. Whether it was alone does not matter: the position that is compared in the commit decides.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from holdfast._compat import ASignal, monotonic
from holdfast._coord.background import AsyncBackground
from holdfast._coord.flavour import AsyncFlavour
from holdfast._coord.owner import token
from holdfast._wire.hub_ledger import Waker
from holdfast._wire.mutex import MUTEX
from holdfast.durations import seconds
from holdfast.errors import (
    Closed,
    ConfigurationError,
    HoldfastError,
    NoPermission,
    Refused,
    Unavailable,
)
from holdfast.events import rules
from holdfast.events._desk_async import AsyncDesk, Turn
from holdfast.events.effects import Batch, ProjectionEffects
from holdfast.events.flavour import AsyncHandler
from holdfast.events.layout import Partition, written
from holdfast.events.options import PositionTrimmed, ProjectionFailed, ProjectionOptions
from holdfast.events.record import Ref

log = logging.getLogger("holdfast.events")


class _Post:
    """One partition, as its runner knows it."""

    def __init__(self, part: Partition) -> None:
        self.part = part
        self.failures = 0
        self.failed_at = 0  # position
        self.not_before = 0.0  # monotonic
        self.one_by_one = 0  # position up to which events are committed alone
        self.replaced = False


class AsyncProjector:
    """See the file's docstring."""

    def __init__(self, desk: AsyncDesk, name: str, handler: AsyncHandler, options: ProjectionOptions) -> None:
        self.failure: Exception | None = None
        self._desk = desk
        self._name = name
        self._handler = handler
        self._options = options
        self._lease = seconds(options.lease)
        self._holder = token()
        self._escaped = written(name, "projection")
        self._own = f"{self._escaped}:{options.version}"
        self._who = (self._escaped, options.version, self._holder, max(1, round(self._lease * 1000)))
        self._posts = [_Post(part) for part in desk.layout.parts]
        self._waiting: list[Waker] = []
        self._closing = self._over = False
        self._wake = ASignal()
        self._background = AsyncBackground(f"holdfast-projection-{name}", self._run)

    @property
    def alive(self) -> bool:
        """Is it at work? Not in the child of a fork."""
        return not self._over and self._background.alive

    async def close(self, drain: float) -> None:
        """Handle nothing more, and wait for the handler at most `drain` seconds. May be repeated.

        Then a handler that is a task is cancelled; its event is handled anew by whoever runs it after the
        lease has ended.
        """
        self._closing = True
        self._wake.fire()
        if not await self._until_over(monotonic() + drain):
            self._background.cancel()
            await self._until_over(monotonic() + rules.LAST_WORDS)

    async def _until_over(self, give_up: float) -> bool:
        signal = ASignal()
        with MUTEX:
            self._waiting.append(signal)
        if self.alive:
            await signal.wait(max(0.0, give_up - monotonic()))
        return not self.alive

    # --- in the background ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while not self._closing and self.failure is None:
                try:
                    await self._desk.check()
                    await self._watch()
                except Closed:
                    return
                except (ConfigurationError, NoPermission, PositionTrimmed, ProjectionFailed) as error:
                    self._failed_for_good(error)
                except Refused as error:  # it is full, or has no primary: that passes
                    log.warning("projection %r waits", self._name, exc_info=error)
                    await self._wake.wait(rules.STUMBLE)
                except Unavailable:
                    await self._wake.wait(rules.AWAY)
                except Exception as error:  # noqa: BLE001 (nobody else would notice)
                    self._failed_for_good(error)
            await self._release()
        finally:
            self._over = True
            with MUTEX:
                waiting, self._waiting = self._waiting, []
            for signal in waiting:
                signal.fire()

    def _failed_for_good(self, error: Exception) -> None:
        log.error("projection %r ended", self._name, exc_info=error)
        self.failure = error

    async def _release(self) -> None:
        why = "" if self.failure is None else rules.described(self.failure)
        with contextlib.suppress(HoldfastError):
            for post in self._posts:
                await self._desk.release(post.part, self._own, self._holder, why)

    async def _watch(self) -> None:
        with ExitStack() as stack:
            for post in self._posts:
                stack.enter_context(self._desk.wire.hub.watch(post.part.log, self._wake))
            while not self._closing:
                self._wake.clear()  # before looking: what is told from now on fires again
                rest = rules.SAFETY_POLL
                for post in self._posts:
                    rest = min(rest, await self._advance(post))
                if rest > 0 and not self._closing:
                    await self._wake.wait(rest)

    async def _advance(self, post: _Post) -> float:
        """Handle some events; seconds until there may be more to do."""
        left = post.not_before - monotonic()
        if left > 0 or self._closing:
            return max(0.0, left)
        turn = await self._turn(post)
        if not isinstance(turn, Turn):
            code, told = turn
            if code == rules.REFUSED:
                self._replaced(post, told)
            return rules.SAFETY_POLL if code == rules.REFUSED else told / 1000
        post.replaced = False
        if turn.at == turn.last:
            return self._lease / 3
        limit = 1 if turn.at < post.one_by_one else self._options.batch
        page = await self._desk.page(post.part, turn.at, limit, turn.goal)
        return await self._handle(post, turn, page.refs) if page.refs else self._lease / 3

    async def _turn(self, post: _Post) -> Turn | tuple[int, int]:
        return await self._desk.turn(post.part, *self._who, self._options.batch)

    async def _handle(self, post: _Post, turn: Turn, refs: Sequence[Ref]) -> float:
        """Hand events to the handler and commit what it wrote; an error ends the batch before its event."""
        prefix = f"{post.part.models(self._escaped)}{self._options.version}:"
        reached, good, renewed = turn.at, list[ProjectionEffects](), monotonic()
        failed: tuple[Ref, Exception] | None = None
        batch = Batch()
        for ref in refs:
            if self._closing or batch.size > rules.MOST_WRITES:
                break
            fx = ProjectionEffects(prefix, replaying=turn.goal >= 0 or ref.position <= turn.live)
            try:
                await AsyncFlavour.outcome(self._handler(fx, self._desk.event(post.part, ref)))
            except Exception as error:  # noqa: BLE001 (the user's code)
                failed = (ref, error)
                break
            try:
                batch.add(fx)
            except ConfigurationError as error:
                failed = None if good else (ref, error)  # it may fit alone
                batch = Batch.of(good)  # which has taken a part of it
                break
            good.append(fx)
            reached = ref.position
            if monotonic() - renewed > self._lease / 3:
                renewed = monotonic()
                await self._turn(post)  # stay the one that runs it; the commit sees whether we are
        if good:
            answer, key, why = await self._commit(post, turn.at, reached, batch)
            if answer == rules.REFUSED and len(good) > 1:
                post.one_by_one = reached  # which of the events wrote what cannot be written?
                return 0.0
            if answer == rules.REFUSED:
                reached = turn.at
                failed = (refs[0], ConfigurationError(f"{key!r} cannot be written: {why}"))
            elif answer != rules.DONE:
                return 0.0
        return 0.0 if failed is None else await self._failed(post, prefix, reached, *failed)

    async def _commit(self, post: _Post, start: int, end: int, batch: Batch) -> tuple[int, str, str]:
        return await self._desk.commit(post.part, self._who, (start, end), batch.commands())

    async def _failed(self, post: _Post, prefix: str, reached: int, ref: Ref, error: Exception) -> float:
        if isinstance(error, PositionTrimmed):
            raise error
        options, why = self._options, rules.described(error)
        post.failures = post.failures + 1 if post.failed_at == ref.position else 1
        post.failed_at = ref.position
        told: dict[str, Any] = {"projection": self._name, "partition": post.part.number, "error": why}
        if options.max_attempts is None or post.failures < options.max_attempts:
            rest = options.rest(post.failures)
            post.not_before = monotonic() + rest
            log.warning("projection %r failed at %d", self._name, ref.position, exc_info=error)
            self._desk.notify(
                rules.ProjectionStumbled(**told, position=ref.position, attempt=post.failures, rest=rest)
            )
            return rest
        if options.on_error == "park":
            parked = ProjectionEffects(prefix, replaying=True)
            parked.hset(prefix + rules.PARKED, ref.position, why)
            answer, _, _ = await self._commit(post, reached, ref.position, Batch.of([parked]))
            if answer == rules.DONE:
                log.error(
                    "projection %r goes on without the event at %d", self._name, ref.position, exc_info=error
                )
                self._desk.notify(rules.EventParked(**told, position=ref.position))
            return 0.0
        self._desk.notify(rules.ProjectionStopped(**told, position=ref.position - 1))
        raise ProjectionFailed(
            f"projection {self._name!r} cannot handle the event at position {ref.position} of "
            f"{self._desk.called(post.part)} (version {ref.version} of stream {ref.stream!r}): {why}",
            partition=post.part.number,
            position=ref.position,
        ) from error

    def _replaced(self, post: _Post, by: int) -> None:
        if not post.replaced:
            post.replaced = True
            told: dict[str, Any] = {"projection": self._name, "version": self._options.version}
            self._desk.notify(rules.ProjectionReplaced(**told, partition=post.part.number, by=by))
