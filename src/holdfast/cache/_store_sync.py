# Generated from _store_async.py by tools/unasync.py. Do not edit.
"""What a cache changes on the server: each a few lines, which build, ask, interpret.

That the server is away, full or read-only is an answer here (None or False), never an exception, except where
"Raises" says so. What this process changes it drops from its own near cache first, so that nobody reads it
there meanwhile, and once more afterwards, since somebody may have read it from the server in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from holdfast import _signals as signals
from holdfast._compat import monotonic
from holdfast._values import chunks
from holdfast._values.envelope import CHUNKED, STAMP
from holdfast._wire._sync import Wire
from holdfast._wire._batch_sync import run_many
from holdfast._wire.keys import escape_name
from holdfast._wire.transport import Arg
from holdfast.cache import rules
from holdfast.cache._read_sync import Reader
from holdfast.cache.answers import BUSY, GRANTED, OUTDATED, STORED, THROTTLED, Begun, Grant, why_not_stored
from holdfast.cache.entry import MISSING
from holdfast.cache.lookup import Lookup
from holdfast.cache.options import CacheOptions
from holdfast.cache.rules import Draft
from holdfast.cache.shape import Shape
from holdfast.durations import seconds
from holdfast.errors import Closed, HoldfastError, Refused, Unavailable
from holdfast.sizes import size


class Store(Reader):
    """See the file's docstring."""

    def __init__(self, wire: Wire, name: str, options: CacheOptions, *, off: bool) -> None:
        super().__init__(wire, name, options, off=off)
        self.lease_ms = int(seconds(options.lease) * 1000)
        self.throttle_ms = max(1, int(seconds(options.throttle) * 1000)) if self.stale else 0
        self.chunk_above = size(options.chunk_above)
        self.unguarded = 0  # loads without a tag that was not announced

    @contextmanager
    def changing(self, tags: Iterable[str]) -> Iterator[None]:
        """Around a change of the entries with `tags`."""
        near = self.near
        if near is None:
            yield
            return
        for tag in tags:
            near.forget(tag)
        try:
            yield
        finally:
            for tag in tags:
                near.forget(tag)

    # --- filling --------------------------------------------------------------------------------------------

    def ask(self, look: Lookup, token: str) -> Grant | None:
        """Ask for the right to fill; None if there is nobody to ask, or no room: load, but store nothing."""
        if not self.usable(look.entry):
            return None
        try:
            if look.epoch is None:
                look.epoch = self.make_epoch(look.epoch_key)
            if look.epoch == rules.OFF:
                return None
            keys, args = self.lease_call(look, token)
            grant = Grant(*self.wire.run(rules.LEASE, keys, args, self.patience()))
            if grant.state == GRANTED:
                self.look_at_tags([look])
        except Unavailable as error:
            self.failed(error)
            self._deliver_abandon(
                look.lease, token
            )  # it may have been granted: nobody shall wait for its end
            return None
        except Refused as error:
            reason = rules.why_refused(error)
            if reason is None:
                raise
            self.refused(look.tag, reason)
            self.abandon_later(look.lease, token)  # granted, where it is the tags that were refused
            return None
        self.answered()
        if grant.state not in {BUSY, THROTTLED}:
            self.learn(grant.number)
        return grant

    def lease_call(self, look: Lookup, token: str) -> tuple[tuple[str, str], tuple[Arg, ...]]:
        """Keys and arguments of lease.lua."""
        bare = int(not look.can_serve)
        return (look.entry, look.lease), (token, self.lease_ms, rules.seen(look.raw), self.until(), bare)

    def look_at_tags(self, looks: Sequence[Lookup]) -> None:
        """Note the versions of the tags, before the load: what changes from now on shall be noticed."""
        guards = None
        if self.unguarded < rules.GUARDED_LOADS or any(look.tagger for look in looks):
            try:
                guards = self.tags.guards(self.timeout)
            except Closed:
                raise
            except (Unavailable, Refused):  # a node that this entry may not need: the load goes on without
                self.unguarded = rules.GUARDED_LOADS
        names = dict.fromkeys(name for look in looks for name in look.tags)
        before = {name for look in looks if look.entry_before for name, _ in look.entry_before.tags}
        names.update(dict.fromkeys(before))
        versions = self.tags.ensure(list(names), self.timeout) if names else {}
        for look in looks:
            if look.entry_before and not rules.is_current(look.entry_before.tags, versions):
                look.previous, look.kept = None, MISSING  # a tag has changed since: as good as removed
            look.versions = {name: versions[name] for name in look.tags}
            look.guards = guards

    def tag_versions(self, look: Lookup, found: Sequence[str]) -> tuple[tuple[str, bytes], ...] | None:
        """The tags of what was loaded and their versions; `found` are those that the load told. None: too
        late.
        """
        late = [name for name in found if name not in look.versions]
        if not late:
            self.unguarded += look.tagger is None
            return tuple(look.versions.items())
        self.unguarded = 0
        if look.guards is None:
            return None
        claimed = self.tags.claim(late, look.guards, self.timeout)
        return None if claimed is None else (*look.versions.items(), *claimed.items())

    def fill(self, look: Lookup, token: str, draft: Draft, value: Any) -> None:
        """Store what was loaded under `token`; whether it can be stored is no concern of the reader."""
        variant = look.raw if look.other else None
        expected = b"" if variant is None else variant[STAMP]
        target = look.entry if variant is None else look.entry + look.shape.variant
        slow = draft.took > self.lease_ms / 1000
        if slow:
            lease = self.lease_ms / 1000
            slow_load = signals.SlowLoad(cache=self.name, key=look.tag, took=draft.took, lease=lease)
            self.wire.observer.notify(slow_load)
        flags, body = rules.payload(value, look.shape, target)
        with self.changing((look.tag,)):
            reason = self.commit(look.entry, target, token, draft, flags, body, look.shape, expected)
        if reason is None:
            self.counts.fills += 1
        else:
            self.refused(look.tag, "lease_ended" if slow and reason == "invalidated" else reason)

    def commit(
        self,
        entry: str,
        target: str,
        token: Arg,
        draft: Draft,
        flags: int,
        body: bytes,
        shape: Shape,
        expected: bytes = b"",
    ) -> str | None:
        """Store `body` if the lease holds `token`; why not, or None if it is stored."""
        if self.is_held_back(entry, draft):
            self.abandon(f"{entry}:f", token)
            return "invalidated"
        try:
            data = self.packed(target, draft, flags, body, shape)
            keys = (entry, f"{entry}:f", target, f"{entry}:v")
            args = (token, data, draft.lives, expected)
            stored = self.wire.run(rules.FILL, keys, args, self.patience())
            self.tell((entry,))
        except Closed:
            return "closed"
        except Unavailable as error:
            self.failed(error)
            return "unavailable"
        except Refused as error:
            self.abandon(f"{entry}:f", token)
            return rules.why_refused(error) or error.code.lower() or "refused"
        return None if stored == STORED else why_not_stored(stored)

    def is_held_back(self, entry: str, draft: Draft) -> bool:
        """Has the server still to hear of an invalidation of `entry`, or of one of its tags?"""
        return self.is_dirty(entry) or any(self.is_dirty(self.tags.key(name)) for name, _ in draft.tags)

    def packed(self, target: str, draft: Draft, flags: int, body: bytes, shape: Shape) -> bytes:
        """The envelope; of a big value a manifest, whose chunks are stored before it.

        Chunks without a manifest are never read, so it is the manifest that counts. Each is a command of its
        own: neither the server nor the connection is busy with a big value for long. Raises: Unavailable,
        Refused.
        """
        if len(body) > self.chunk_above:
            body, pieces = chunks.split(body, draft.stamp, self.chunk_above)
            flags |= CHUNKED
            for index, piece in enumerate(pieces):
                command = ("SET", chunks.key(target, index), piece, "PX", draft.lives)
                self.wire.execute(*command, timeout=self.timeout, retry="safe")
        return rules.envelope(draft, flags, body, shape)

    def refused(self, tag: str, reason: str) -> None:
        """Count a value that was not stored."""
        self.counts.refused[reason] += 1
        self.wire.observer.notify(signals.FillRefused(cache=self.name, key=tag, reason=reason))

    def abandon(self, lease: str, token: Arg, throttle: int = 0) -> None:
        """Give the lease back unused, if that can be done now; otherwise it ends by itself."""
        if "away" in self.unusual:
            return
        try:
            self.wire.run(rules.ABANDON, (lease,), (token, throttle), self.timeout)
        except HoldfastError:
            return

    def abandon_later(self, lease: str, token: str) -> None:
        """As `abandon`, without waiting: for a caller that is being cancelled."""
        if (
            "away" in self.unusual
        ):  # then it was most likely never asked for; an outage must not fill the outbox
            return
        self._deliver_abandon(lease, token)

    def _deliver_abandon(self, lease: str, token: str) -> None:
        try:
            command = ("EVAL", rules.ABANDON.text, 1, lease, token, 0)
            self.wire.hub.deliver(("lease", token), command, _nothing)
        except Closed:
            return

    # --- storing what is known ------------------------------------------------------------------------------

    def set(self, tag: str, entry: str, draft: Draft, value: Any, shape: Shape) -> int:
        """Store `value`; what set.lua answers. Raises: Unavailable, Refused, CodecError."""
        flags, body = rules.payload(value, shape, entry)
        with self.changing((tag,)):
            begun = monotonic()
            data = self.packed(
                entry, draft, flags, body, shape
            )  # pieces may take longer than a timeout
            until = draft.loaded_at + int((monotonic() - begun + self.timeout) * 1000)
            args = (data, draft.lives, until)
            stored: int = self.wire.run(
                rules.SET, (entry, f"{entry}:f", f"{entry}:v"), args, self.timeout
            )
            self.tell((entry,))
        if stored == OUTDATED:
            self.refused(tag, "outdated")
        return stored

    # --- removing -------------------------------------------------------------------------------------------

    def unlink(self, tags: Sequence[str]) -> bool:
        """Remove entries and leases; False if unconfirmed, and therefore kept. Raises: Closed, Refused."""
        entries = [self.entry(tag) for tag in tags]
        commands = [("UNLINK", entry, f"{entry}:f") for entry in entries]
        confirmed = False
        with self.changing(tags):
            try:
                confirmed = self._remove(commands)
            finally:
                if not confirmed:  # also when the caller is being cancelled: it meant what it said
                    self.keep(entries, tags)
        return confirmed

    def invalidate(self, tags: Sequence[str], version: int | None, hold: float | None) -> bool:
        """Remove what is older than `version`, and keep such out for `hold` seconds; else as `unlink`."""
        kept_out = rules.VERSIONED_HOLD if hold is None else hold
        args = (rules.version_bytes(version), int(kept_out * 1000), int(hold is not None))
        calls = []
        for tag in tags:
            entry = self.entry(tag)
            calls.append(((entry, f"{entry}:f", f"{entry}:v"), args))
        confirmed = False
        with self.changing(tags):
            try:
                if self.worth_asking():
                    run_many(self.wire, rules.INVALIDATE, calls, self.patience())
                    self.tell([keys[0] for keys, _ in calls])
                    confirmed = True
                    self.answered()
            except Unavailable as error:
                self.failed(error)
            except Refused as error:
                if rules.why_refused(error) is None:
                    raise
            finally:
                if not confirmed:
                    for tag, (keys, _) in zip(tags, calls, strict=True):
                        self.keep_command(keys[0], tag, ("EVAL", rules.INVALIDATE.text, 3, *keys, *args))
        return confirmed

    def invalidate_tags(self, names: Sequence[str]) -> bool:
        """Remove the versions of the tags `names`; False if unconfirmed, and therefore kept."""
        commands = self.tags.removal(names)
        confirmed = False
        self._forget_tags(names)
        try:
            confirmed = self._remove(commands)
        finally:
            if not confirmed:
                for command in commands:
                    for key, name in zip(command[2:], self._named(command, names), strict=True):
                        self.keep_command(key, name, ("UNLINK", command[1], key))
            self._forget_tags(names)
        return confirmed

    def _named(self, command: Sequence[str], names: Sequence[str]) -> list[str]:
        by_key = {self.tags.key(name): name for name in names}
        return [by_key[key] for key in command[2:]]

    def _forget_tags(self, names: Sequence[str]) -> None:
        if self.near is not None:
            for name in names:
                self.near.forget_tag(escape_name(name))

    def _remove(self, commands: Sequence[tuple[str, ...]]) -> bool:
        """Run the idempotent `commands`; False if that is unconfirmed. Raises: Closed, Refused."""
        if not self.worth_asking():
            return False
        try:
            self.wire.execute_many(commands, timeout=self.patience(), retry="safe")
            self.tell([key for command in commands for key in command[1:]])
        except Unavailable as error:
            self.failed(error)
            return False
        except Refused as error:
            if rules.why_refused(error) is None:
                raise
            return False
        self.answered()
        return True

    def begin(self, tag: str, epoch_key: str, put: str, version: int | None) -> Begun | None:
        """Remove the entry and refuse fills, as the source is about to change; None if unconfirmed."""
        entry = self.entry(tag)
        if not self.usable(entry):
            return None
        try:
            epoch, now = self.epoch_and_time(epoch_key)
            keys = (entry, f"{entry}:f", f"{entry}:v")
            until = now + int(1000 * self.timeout)
            args = (put, self.lease_ms, until, rules.version_bytes(version))
            with self.changing((tag,)):
                mark = self.wire.run(rules.BEGIN, keys, args, self.timeout)
                self.tell((entry,))
            return Begun(mark, epoch, now)
        except Unavailable as error:
            self.failed(error)
        except Refused as error:
            if rules.why_refused(error) is None:
                raise
        return None

    def finish(self, tag: str, put: str) -> bool:
        """Remove the entry, fills under way and the mark of `put`; False if that is not confirmed."""
        entry = self.entry(tag)
        try:
            with self.changing((tag,)):
                self.wire.run(rules.FINISH, (entry, f"{entry}:f"), (put,), self.patience())
                self.tell((entry,))
        except Unavailable as error:
            self.failed(error)
            return False
        except Refused:
            return False
        return True

    def expire(self, tag: str) -> bool:
        """Flag the entry as to be loaded again; False if that is not confirmed: then its removal is kept."""
        entry = self.entry(tag)
        confirmed = False
        with self.changing((tag,)):
            try:
                if self.usable(entry) or "off" in self.unusual:
                    self.wire.run(rules.EXPIRE, (entry, f"{entry}:f"), (), self.patience())
                    self.tell((entry,))
                    confirmed = True
                    self.answered()
            except Unavailable as error:
                self.failed(error)
            except Refused as error:
                if rules.why_refused(error) is None:
                    raise
            finally:
                if not confirmed:
                    self.keep([entry], [tag])
        return confirmed


def _nothing() -> None:
    """Nobody needs to know."""
