# Generated from _source_async.py by tools/unasync.py. Do not edit.
"""How a cache with a source loads: what waits for the source counts more than what the source has."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from holdfast._compat import Signal, scope, sleep, spawn
from holdfast._coord.naming import text
from holdfast._wire.mutex import MUTEX
from holdfast.cache.behind._sync import WriteBehind
from holdfast.cache.behind.rules import NOTHING
from holdfast.cache.entry import MISSING, Loader
from holdfast.cache.flight import refresh_after_fork
from holdfast.cache.loading import CURRENT, Load
from holdfast.cache.options import CacheOptions
from holdfast.durations import optional_seconds


class _Batch:
    """Keys that are gathered for one call of the source; `signals` fire when it is over."""

    def __init__(self) -> None:
        self.keys: dict[Any, str] = {}
        self.load: Load | None = None
        self.signals: list[Signal] = []
        self.loaded: Mapping[Any, Any] = {}
        self.error: BaseException | None = None

    def fire(self) -> None:
        """It is over."""
        for one in self.signals:
            one.fire()


class FromSource:
    """Loads of one cache from its source."""

    def __init__(self, options: CacheOptions, behind: WriteBehind | None) -> None:
        self._source = options.source
        self._behind = behind
        self._coalesce = optional_seconds(options.coalesce)
        self._scope = options.load_scope or nullcontext
        self.after_fork()
        refresh_after_fork(self)

    def after_fork(self) -> None:
        """Start afresh: who would have called the source is not in the child of a fork."""
        self._gathering: dict[Any, _Batch] = {}

    def loader(self, key: Any) -> Loader[Any]:
        """What loads the value of `key`."""

        def load() -> Any:
            if self._coalesce is not None:
                return self._together(key, self._coalesce)
            return (self.load_many([key])).get(key, MISSING)

        return load

    def load_many(self, keys: list[Any]) -> Mapping[Any, Any]:
        """The values of `keys`, as far as there are any. Raises: what the source raises, Unavailable."""
        if self._behind is None:
            loaded: Mapping[Any, Any] = self._source.load_many(keys)
            return loaded
        waiting = self._behind.pending_many([text(key) for key in keys])
        found = {key: waiting[text(key)] for key in keys if waiting[text(key)] is not NOTHING}
        rest = [key for key in keys if key not in found]
        loaded = self._source.load_many(rest) if rest else {}
        return {**loaded, **found}

    def _together(self, key: Any, within: float) -> Any:
        """The value of `key`, loaded by one call with all others asked for `within` so many seconds."""
        where = scope()
        signal, name = Signal(), text(key)
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
            return (self.load_many([key])).get(key, MISSING)
        if is_first:
            self._start(batch, where, within)
        signal.wait(None)  # as long as the source takes, as for a load that is not shared
        mine = CURRENT.get(None)
        if batch.load is not None and mine is not None:
            mine.ttl, mine.tags, mine.etag = batch.load.ttl, batch.load.tags, batch.load.etag
            mine.version = batch.load.version
        if batch.error is not None:
            raise batch.error
        return batch.loaded.get(key, MISSING)

    def _start(self, batch: _Batch, where: Any, within: float) -> None:
        """Have `batch` loaded, `within` so many seconds."""

        def call() -> None:
            try:
                try:
                    sleep(within)
                finally:
                    with MUTEX:
                        self._gathering.pop(where, None)
                if len(batch.keys) > 1:  # what is said holds for all of them
                    batch.load = Load(", ".join(batch.keys.values())[:200])
                    CURRENT.set(batch.load)
                with self._scope():
                    batch.loaded = self.load_many(list(batch.keys))
            except BaseException as error:  # noqa: BLE001 (each of those who wait raises it)
                batch.error = error
            finally:
                batch.fire()

        try:
            spawn("holdfast load together", call)
        except RuntimeError as error:  # no more threads
            with MUTEX:
                self._gathering.pop(where, None)
            batch.error = error
            batch.fire()
