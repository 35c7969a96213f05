"""One reader's question, and what it has seen so far. Made only when the first look was no hit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.cache.entry import MISSING
from holdfast.cache.rules import Kind, Shape, Verdict


class Lookup:
    """`arrived` is a tick of the flights, `deadline` a time of the monotonic clock; `loader` is None for
    `get`.

    `raw` and `epoch` are what was read last; `other` says that the entry is of another schema, so that ours
    is a variant; `kept` is a softly expired value, served if nothing better can be had. `fresh` asks for a
    load that begins after the question, whatever the entry says.
    """

    __slots__ = (
        "arrived", "deadline", "entry", "epoch", "epoch_key", "fresh", "kept", "lease", "loader", "other",
        "raw", "shape", "tag", "ttl",
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
        self.entry = entry
        self.lease = f"{entry}:f"
        self.epoch_key = epoch_key
        self.shape = shape
        self.loader = loader
        self.arrived = arrived
        self.deadline = 0.0
        self.ttl: float | None = None
        self.raw: bytes | None = None
        self.epoch: bytes | None = None
        self.other = False
        self.fresh = False
        self.kept: Any = MISSING

    def note(self, verdict: Verdict) -> bool:
        """Remember what `verdict` means for later; True if it is a hit for this reader."""
        self.other = verdict.kind is Kind.OTHER
        self.kept = verdict.value if verdict.kind is Kind.EXPIRED else MISSING
        return verdict.kind is Kind.HIT and not self.fresh
