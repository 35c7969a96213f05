"""One reader's question, and what it has seen so far. Made only when the first look was no hit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from holdfast._values.envelope import Envelope
from holdfast.cache.entry import MISSING
from holdfast.cache.rules import Kind, Verdict
from holdfast.cache.shape import Shape


class Lookup:
    """`arrived` is a tick of the flights, `deadline` a time of the monotonic clock; `loader` is None for
    `get`.

    `raw` and `epoch` are what was read last, `left` how many ms of its life were left, `seen` the versions of
    the tags that were read with it; `other` says that the entry is of another schema, so that ours is a
    variant; `name` is the key of what was judged. `kept` is a value that is served if nothing better can be
    had; `is_stale` says that it may be served without further ado. `previous` is the entry that a loader may
    compare with. `fresh` asks for a load that begins after the question, whatever the entry says.
    `is_polite`: only if nobody else is at it.

    `tags` are those of what will be loaded, as far as they are known before; `tagger` finds more in the
    value. `versions` and `guards` are what they were before the load.
    """

    __slots__ = (
        "arrived", "deadline", "entry", "epoch", "epoch_key", "fresh", "guards", "is_polite", "is_stale",
        "kept", "lease", "left", "loader", "name", "other", "previous", "raw", "seen", "shape", "tag",
        "tagger", "tags", "ttl", "versions",
    )  # fmt: skip

    def __init__(
        self,
        tag: str,
        entry: str,
        epoch_key: str,
        shape: Shape,
        loader: Callable[[], Any] | None,
        arrived: int,
    ) -> None:
        self.tag = tag
        self.entry = self.name = entry
        self.lease = f"{entry}:f"
        self.epoch_key = epoch_key
        self.shape = shape
        self.loader = loader
        self.arrived = arrived
        self.deadline = 0.0
        self.ttl: float | None = None
        self.raw: bytes | None = None
        self.epoch: bytes | None = None
        self.left: int | None = None
        self.seen: dict[str, bytes | None] = {}
        self.other = False
        self.fresh = False
        self.is_polite = False
        self.is_stale = False
        self.kept: Any = MISSING
        self.previous: Verdict | None = None
        self.tags: tuple[str, ...] = ()
        self.tagger: Callable[[Any], Iterable[str]] | None = None
        self.versions: dict[str, bytes] = {}
        self.guards: tuple[bytes, ...] | None = None

    def note(self, verdict: Verdict) -> bool:
        """Remember what `verdict` means for later; True if it is a hit for this reader."""
        kind = verdict.kind
        self.other = kind is Kind.OTHER
        self.is_stale = kind is Kind.STALE
        self.kept = verdict.value if kind in {Kind.EXPIRED, Kind.STALE} else MISSING
        self.previous = verdict if verdict.value is not MISSING else None
        if self.is_polite and kind is Kind.HIT:
            self.kept = verdict.value
        return kind is Kind.HIT and not self.fresh

    @property
    def can_serve(self) -> bool:
        """Does the reader get something though nothing is loaded? Absence may be stale as well."""
        return not self.fresh and (self.is_polite or self.kept is not MISSING)

    @property
    def entry_before(self) -> Envelope | None:
        """The entry that the load replaces, if it could be read."""
        return None if self.previous is None else self.previous.entry
