# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""How a cache with a source loads: what waits for the source counts more than what the source has."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from holdfast._compat import ASignal, ascope, asleep, aspawn
from holdfast._coord.naming import text
from holdfast._wire.mutex import MUTEX
from holdfast.cache.behind._async import AsyncWriteBehind
from holdfast.cache.behind.rules import NOTHING
from holdfast.cache.entry import MISSING, AsyncLoader
from holdfast.cache.flight import refresh_after_fork
from holdfast.cache.loading import CURRENT, Load
from holdfast.cache.options import CacheOptions
from holdfast.durations import optional_seconds


class _Batch:
    """Keys that are gathered for one call of the source; `signals` fire when it is over."""

    def __init__(self) -> None:
        self.keys: dict[Any, str] = {}
        self.load: Load | None = None
        self.signals: list[ASignal] = []
        self.loaded: Mapping[Any, Any] = {}
        self.error: BaseException | None = None

    def fire(self) -> None:
        """It is over."""
        for one in self.signals:
            one.fire()


class AsyncFromSource:
    """Loads of one cache from its source."""

    def __init__(self, options: CacheOptions, behind: AsyncWriteBehind | None) -> None:
        self._source = options.source
        self._behind = behind
        self._coalesce = optional_seconds(options.coalesce)
        self._scope = options.load_scope or nullcontext
        self.after_fork()
        refresh_after_fork(self)

    def after_fork(self) -> None:
        """Start afresh: who would have called the source is not in the child of a fork."""
        self._gathering: dict[Any, _Batch] = {}

    def loader(self, key: Any) -> AsyncLoader[Any]:
        """What loads the value of `key`."""

        async def load() -> Any:
            if self._coalesce is not None:
                return await self._together(key, self._coalesce)
            return (await self.load_many([key])).get(key, MISSING)

        return load

    async def load_many(self, keys: list[Any]) -> Mapping[Any, Any]:
        """The values of `keys`, as far as there are any. Raises: what the source raises, Unavailable."""
        if self._behind is None:
            loaded: Mapping[Any, Any] = await self._source.load_many(keys)
            return loaded
        waiting = await self._behind.pending_many([text(key) for key in keys])
        found = {key: waiting[text(key)] for key in keys if waiting[text(key)] is not NOTHING}
        rest = [key for key in keys if key not in found]
        loaded = await self._source.load_many(rest) if rest else {}
        return {**loaded, **found}

    async def _together(self, key: Any, within: float) -> Any:
        """The value of `key`, loaded by one call with all others asked for `within` so many seconds."""
        where = ascope()
        signal, name = ASignal(), text(key)
        with MUTEX:
            batch = self._gathering.get(where)
            is_first = batch is None
            if batch is None:
                batch = self._gathering[where] = _Batch()
            # 1 and True are equal, but two entries: no mapping holds both.
            fits = batch.keys.setdefault(key, name) == name
            if fits:
                batch.signals.append(signal)
        if not fits:
            return (await self.load_many([key])).get(key, MISSING)
        if is_first:
            self._start(batch, where, within)
        await signal.wait(None)  # as long as the source takes, as for a load that is not shared
        mine = CURRENT.get(None)
        if batch.load is not None and mine is not None:
            mine.ttl, mine.tags, mine.etag = batch.load.ttl, batch.load.tags, batch.load.etag
            mine.version = batch.load.version
        if batch.error is not None:
            raise batch.error
        return batch.loaded.get(key, MISSING)

    def _start(self, batch: _Batch, where: Any, within: float) -> None:
        """Have `batch` loaded, `within` so many seconds."""

        async def call() -> None:
            try:
                try:
                    await asleep(within)
                finally:
                    with MUTEX:
                        self._gathering.pop(where, None)
                if len(batch.keys) > 1:  # what is said holds for all of them
                    batch.load = Load(", ".join(batch.keys.values())[:200])
                    CURRENT.set(batch.load)
                with self._scope():
                    batch.loaded = await self.load_many(list(batch.keys))
            except BaseException as error:  # noqa: BLE001 (each of those who wait raises it)
                batch.error = error
            finally:
                batch.fire()

        try:
            aspawn("holdfast load together", call)
        except RuntimeError as error:  # no more threads
            with MUTEX:
                self._gathering.pop(where, None)
            batch.error = error
            batch.fire()
