# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What a cache stores that nobody has loaded: `set`, and `put` and `remove` for a cache with a source."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zlib import crc32

from holdfast._compat import monotonic
from holdfast._wire._batch_async import run_many
from holdfast.cache import rules
from holdfast.cache._store_async import AsyncStore
from holdfast.cache.answers import OUTDATED, STORED, Begun
from holdfast.cache.behind._async import AsyncWriteBehind
from holdfast.cache.entry import MISSING
from holdfast.cache.rules import Draft
from holdfast.cache.shape import Shape
from holdfast.errors import Refused, Unavailable


class AsyncPuts:
    """Writes of one cache. `tag` is always `keys.text(key)`."""

    def __init__(self, store: AsyncStore, shape: Shape, source: Any, behind: AsyncWriteBehind | None) -> None:
        self._store = store
        self._shape = shape
        self._source = source
        self._behind = behind

    # --- set ------------------------------------------------------------------------------------------------

    async def set(
        self, tag: str, value: Any, ttl: float | None, tags: Sequence[str], version: int | None
    ) -> bool:
        """Store `value`; False if it is outdated, or unconfirmed: then the removal of the older is kept."""
        store, shape = self._store, self._shape
        entry, epoch_key = store.lookup(tag)
        rules.payload(value, shape, entry)  # an error of the caller's comes before anything is removed
        settled = stored = False
        try:
            if await store.usable(entry):
                epoch, now = await store.epoch_and_time(epoch_key)
                draft = store.draft(value, ttl, epoch, now)
                if draft is None:
                    settled = stored = await store.unlink([tag])
                else:
                    versions = await store.tags.ensure(tags, store.timeout) if tags else {}
                    draft = draft._replace(version=version, tags=tuple(versions.items()))
                    answer = await store.set(tag, entry, draft, value, shape)
                    settled, stored = answer in (STORED, OUTDATED), answer == STORED
        except Unavailable as error:
            store.failed(error)
        except Refused as error:
            reason = rules.why_refused(error)
            if reason is None:
                raise
            store.refused(tag, reason)
        finally:
            if not settled:
                store.keep([entry], [tag])
        return stored

    async def set_many(self, values: Mapping[str, Any], ttl: float | None, tags: Sequence[str]) -> bool:
        """As `set`, for several, in a handful of round trips however many there are."""
        store, shape = self._store, self._shape
        entries = {tag: store.entry(tag) for tag in values}
        written = {tag: rules.payload(value, shape, entries[tag]) for tag, value in values.items()}
        confirmed = False
        try:
            usable = [await store.usable(entry) for entry in entries.values()]
            if all(usable):
                confirmed = await self._set_many(values, entries, written, ttl, tags)
        except Unavailable as error:
            store.failed(error)
        except Refused as error:
            reason = rules.why_refused(error)
            if reason is None:
                raise
            for tag in values:
                store.refused(tag, reason)
        finally:
            if not confirmed:
                store.keep(list(entries.values()), list(entries))
        return confirmed

    async def _set_many(
        self,
        values: Mapping[str, Any],
        entries: Mapping[str, str],
        written: Mapping[str, tuple[int, bytes]],
        ttl: float | None,
        tags: Sequence[str],
    ) -> bool:
        store = self._store
        epoch_of = {tag: store.epochs[rules.shard(crc32(tag.encode()))] for tag in values}
        epochs = {}
        for key in dict.fromkeys(epoch_of.values()):
            epochs[key] = (*await store.epoch_and_time(key), monotonic())
        versions = await store.tags.ensure(tags, store.timeout) if tags else {}
        calls: list[tuple[tuple[str, ...], tuple[Any, ...]]] = []
        gone: list[str] = []
        for tag, value in values.items():
            epoch, now, at = epochs[epoch_of[tag]]
            draft = store.draft(value, ttl, epoch, now)
            if draft is None:
                gone.append(tag)
                continue
            draft = draft._replace(tags=tuple(versions.items()))
            entry = entries[tag]
            data = await store.packed(entry, draft, *written[tag], self._shape)
            calls.append(((entry, f"{entry}:f", f"{entry}:v"), (data, draft.lives, now - int(at * 1000))))
        # Not before: pieces, and sixteen epochs, may take longer than a timeout.
        end = int((monotonic() + store.timeout) * 1000)
        calls = [(keys, (data, lives, ahead + end)) for keys, (data, lives, ahead) in calls]
        with store.changing(values):
            answers = await run_many(store.wire, rules.SET, calls, store.timeout) if calls else []
            await store.tell([keys[0] for keys, _ in calls])
        return all(answers) and (not gone or await store.unlink(gone))

    # --- put and remove, written through --------------------------------------------------------------------

    async def put(self, key: Any, tag: str, value: Any, version: int | None) -> None:
        """Write `value` to the source, or to its journal."""
        if self._behind is not None:
            await self._write_behind(self._behind, key, tag, value, version)
            return
        rules.payload(value, self._shape, self._store.entry(tag))
        await self._write(tag, lambda: self._source.save_many({key: value}), value, version)

    async def remove(self, key: Any, tag: str) -> None:
        """Delete `key` from the source, or have its journal say so."""
        if self._behind is not None:
            await self._write_behind(self._behind, key, tag, MISSING, None)
            return
        await self._write(tag, lambda: self._source.delete_many([key]), MISSING, None)

    async def _write(self, tag: str, write: Callable[[], Any], value: Any, version: int | None) -> None:
        """Write to the source; meanwhile the entry is gone and no fill can bring it back."""
        store = self._store
        entry, epoch_key = store.lookup(tag)
        put = os.urandom(16).hex()
        settled = False
        try:
            begun = await store.begin(tag, epoch_key, put, version)
            try:
                await write()
                if begun is not None and value is not MISSING:
                    settled = await self._store_put(tag, entry, begun, value, version)
            finally:
                if begun is not None and not settled:
                    settled = await store.finish(tag, put)
        finally:
            if not settled:
                store.keep([entry], [tag])

    async def _store_put(self, tag: str, entry: str, begun: Begun, value: Any, version: int | None) -> bool:
        """Store what the source has now; False if another put overlapped, or an invalidation came between."""
        store = self._store
        draft = store.draft(value, None, begun.epoch, begun.now)
        if not begun.mark or draft is None:
            return False
        draft = draft._replace(version=version)
        flags, body = rules.payload(value, self._shape, entry)
        with store.changing((tag,)):
            reason = await store.commit(entry, entry, begun.mark, draft, flags, body, self._shape)
        if reason is not None:
            store.refused(tag, reason)
        return reason is None

    # --- put and remove, written behind ---------------------------------------------------------------------

    async def _write_behind(
        self, behind: AsyncWriteBehind, key: Any, tag: str, value: Any, version: int | None
    ) -> None:
        """Journal it, and show it to readers, in one step."""
        store = self._store
        entry, epoch_key = store.lookup(tag)
        flags, body = rules.payload(value, self._shape, entry)
        # An epoch that has changed since makes a miss, and then the journal is asked.
        epoch, now = await store.recent_epoch_and_time(epoch_key)
        draft = store.draft(value, None, epoch, now)
        lives = 0 if draft is None else draft.ttl
        draft = draft or Draft(os.urandom(8), epoch, now, 1)
        data = rules.envelope(draft._replace(version=version, grace=0), flags, body, self._shape)
        with store.changing((tag,)):
            journal = behind.remove if value is MISSING else behind.put
            await journal(key, tag, data, lives)
            await store.tell((entry,))
