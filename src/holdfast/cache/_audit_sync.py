# Generated from _audit_async.py by tools/unasync.py. Do not edit.
"""How hits are compared with the source. What counts as stale stands in auditing.py.

A process that has `audit=0.01` does it with one of a hundred of its hits, in the background; `holdfast cache
audit` does it with a sample of what is stored. Nothing is stored, no lease is taken, and the loads are not
counted as loads.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Any

from holdfast import _signals as signals
from holdfast._compat import sleep, spawn, monotonic
from holdfast._wire.mutex import MUTEX
from holdfast.cache import auditing
from holdfast.cache._fly_sync import _LOADING
from holdfast.cache._store_sync import Store
from holdfast.cache.auditing import Finding, Outcome, Sight
from holdfast.cache.entry import Function, Loader, ManyLoader
from holdfast.cache.flavour import Flavour
from holdfast.cache.flight import refresh_after_fork
from holdfast.cache.loading import CURRENT, Load
from holdfast.cache.lookup import Lookup
from holdfast.cache.rules import Kind, Verdict
from holdfast.cache.shape import Shape
from holdfast.durations import seconds

AT_ONCE = 4  # audits in the background, of one cache and process
DELAY = 1.0  # seconds between the two looks
TOGETHER = 64  # entries asked for in one write

NearHit = Callable[[str, Shape], Verdict | None]
Fetch = Function[..., Any]


class Auditor:
    """Compares hits of one cache with its source.

    `near_hit`: the copy in the near cache that would be served. `delay`: seconds that an invalidation may be
    on its way. `dice`: from 0 up to, but not including, 1.
    """

    def __init__(
        self,
        store: Store,
        near_hit: NearHit,
        *,
        delay: float = DELAY,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._near_hit = near_hit
        self._delay = delay
        self._dice = dice
        self._fraction = store.options.audit
        self.after_fork()
        refresh_after_fork(self)

    def after_fork(self) -> None:
        """Start afresh: those who were at it are not here any more."""
        self._under_way = 0

    # --- one of many hits, in the background ----------------------------------------------------------------

    def around(self, fetch: Fetch) -> Fetch:
        """`fetch`, with some of its hits audited: what has not called its loader was one, or as good as one.

        So a cache without audit= keeps its `fetch` as it is, and pays nothing.
        """

        def audited(tag: str, shape: Shape, loader: Any = None, *rest: Any) -> Any:
            if loader is None or self._dice() >= self._fraction:  # before: most pay for nothing else
                return fetch(tag, shape, loader, *rest)
            is_called = False

            @wraps(loader)
            def noted() -> Any:
                nonlocal is_called
                is_called = True
                return loader()

            value = fetch(tag, shape, noted, *rest)
            if not is_called:
                self._begin(tag, shape, loader)
            return value

        return audited

    def maybe(self, tag: str, shape: Shape, loader: Loader[Any] | None) -> None:
        """Compare the hit under `tag` with what `loader` brings, if the dice say so; returns at once.

        Dropped while AT_ONCE others are under way, so that an audit adds a bounded load to the source. A
        loader or a server that fails tells nothing, and is not counted.
        """
        if loader is not None and self._dice() < self._fraction:
            self._begin(tag, shape, loader)

    def _begin(self, tag: str, shape: Shape, loader: Loader[Any]) -> None:
        with MUTEX:
            if self._under_way >= AT_ONCE:
                return
            self._under_way += 1

        def work() -> None:
            try:
                self._one(tag, shape, loader)
            except Exception:  # noqa: BLE001, S110 (the loader's, or the server is away: nothing was found out)
                pass
            finally:
                with MUTEX:
                    self._under_way -= 1

        spawn(f"holdfast audit {tag}", work)

    def _one(self, tag: str, shape: Shape, loader: Loader[Any]) -> None:
        # Not nested in whatever load has had this hit: it goes on when that has long ended.
        _LOADING.set(())

        def load(tags: list[Any]) -> dict[str, Any]:
            return {one: self.load(one, loader) for one in tags}

        (found,) = self.audit([tag], shape, load)
        counts, store = self._store.counts, self._store
        counts.audited += found.outcome in {Outcome.EQUAL, Outcome.STALE, Outcome.GONE}
        if found.outcome is Outcome.STALE:
            counts.stale_reads += 1
            store.wire.observer.notify(signals.StaleRead(cache=store.name, key=tag, age=found.age))

    # --- the audit itself -----------------------------------------------------------------------------------

    def audit(self, tags: Sequence[str], shape: Shape, load: ManyLoader) -> list[Finding]:
        """What is served under `tags`, compared with what `load(tags)` brings: a mapping by tag, with MISSING
        where the source has nothing, and no item where it could not tell.

        Raises: Unavailable, Refused, and what `load` raises.
        """
        began = monotonic()
        codec = shape.codec
        first = self._see(tags, shape)
        loaded = load(list(first)) if first else {}
        found = {tag: auditing.compared(tag, sight, loaded, codec) for tag, sight in first.items()}
        doubtful = [tag for tag, one in found.items() if one.outcome is Outcome.STALE]
        if doubtful:
            sleep(self._pause([first[tag] for tag in doubtful]))
            again = self._see(doubtful, shape)
            standing = [tag for tag in doubtful if auditing.stands(first[tag], again.get(tag))]
            loaded = load(standing) if standing else {}
            found |= {tag: found[tag]._replace(outcome=Outcome.GONE) for tag in doubtful}
            for tag in standing:
                known_for = max(again[tag].age, monotonic() - began)
                sight = again[tag]._replace(age=known_for)
                found[tag] = auditing.compared(tag, sight, loaded, codec)
        return [found.get(tag) or Finding(tag, Outcome.ABSENT) for tag in tags]

    def load(self, tag: str, loader: Loader[Any]) -> Any:
        """What `loader` brings when it is called as a cache calls it. Raises: what it raises."""
        scope = self._store.options.load_scope
        current = CURRENT.set(Load(tag))
        try:
            with nullcontext() if scope is None else scope():
                return Flavour.outcome(loader(), loader)
        finally:
            CURRENT.reset(current)

    def _pause(self, doubtful: Sequence[Sight]) -> float:
        """Seconds until the second look: a copy may be as much behind as was agreed."""
        l1 = self._store.options.l1
        if l1 is None or not any(sight.is_near for sight in doubtful):
            return self._delay
        return max(self._delay, seconds(l1.max_staleness, zero=True))

    # --- looking --------------------------------------------------------------------------------------------

    def _see(self, tags: Sequence[str], shape: Shape) -> dict[str, Sight]:
        """What a reader of `tags` would get now, where that is a hit. Raises: Unavailable, Refused."""
        seen: dict[str, Sight] = {}
        for at in range(0, len(tags), TOGETHER):
            seen |= self._see_some(tags[at : at + TOGETHER], shape)
        return seen

    def _see_some(self, tags: Sequence[str], shape: Shape) -> dict[str, Sight]:
        store = self._store
        looks: list[Lookup] = []
        for tag in tags:
            entry, epoch_key = store.lookup(tag)
            if store.usable(entry):
                looks.append(Lookup(tag, entry, epoch_key, shape, None, 0))
        if not looks:
            return {}
        commands: list[tuple[str, ...]] = []
        for look in looks:
            commands += [("GET", look.entry), ("GET", look.epoch_key), ("PTTL", look.entry)]
        replies = store.wire.execute_many([*commands, ("TIME",)], timeout=store.timeout, retry="safe")
        *told, (whole, micros) = replies
        now = int(whole) * 1000 + int(micros) // 1000
        seen: dict[str, Sight] = {}
        for at, look in enumerate(looks):
            look.raw, look.epoch, look.left = told[3 * at : 3 * at + 3]
            sight = self._sight(look, store._judge(look), now)
            if sight is not None:
                seen[look.tag] = sight
        return seen

    def _sight(self, look: Lookup, verdict: Verdict, now: int) -> Sight | None:
        """A copy in the near cache, if it would be served, otherwise what the server has; None: no hit."""
        entry = verdict.entry
        stored: Sight | None = None
        if verdict.kind is Kind.HIT and entry is not None:
            age = max(0, now - entry.loaded_at) / 1000
            stored = Sight(verdict.value, frozenset((entry.stamp,)), age)
        near = self._store.near
        copy = None if near is None else near.nodes.get(look.tag)
        served = None if copy is None else self._near_hit(look.tag, look.shape)
        if served is None:
            return stored
        marks = frozenset((copy,))
        if stored is not None and auditing.is_same(look.shape.codec, stored.value, served.value):
            return Sight(served.value, marks | stored.marks, stored.age, is_near=True)
        return Sight(served.value, marks, 0.0, is_near=True)
