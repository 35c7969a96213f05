# Generated from _desk_async.py by tools/unasync.py. Do not edit.
"""Desk: what the methods and the writers of one write-behind cache have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast._coord._safety_sync import require_keeping
from holdfast._signals import Signal
from holdfast._wire._sync import Wire
from holdfast.cache.behind import rules
from holdfast.cache.behind.hold import Pace
from holdfast.cache.behind.journal import Layout
from holdfast.cache.behind.options import Behind


class Desk:
    """See the file's docstring.

    `read` makes the value of an envelope (and of its entry's key, if it takes two arguments), or raises
    CodecError.
    """

    def __init__(
        self, wire: Wire, name: str, options: Behind, source: Any, read: Callable[..., Any]
    ) -> None:
        self.wire = wire
        self.name = name
        self.options = options
        self.source = source
        self.read = rules.reader(read)
        self.pace = Pace(options)
        self.layout = Layout(wire.keys, name, options.partitions)
        self.evidence = rules.Evidence()
        self.save_takes = rules.keywords(source.save_many)
        self.delete_takes = rules.keywords(source.delete_many)
        self._agreed = False
        self._kept = False

    def notify(self, signal: Signal) -> None:
        """Tell whoever wants to know."""
        self.wire.observer.notify(signal)

    def agree(self) -> None:
        """Make sure, once, that everybody counts the same partitions.

        Raises: ConfigurationError if not; Unavailable, Refused.
        """
        if not self._agreed:
            wanted = self.options.partitions
            found = self.wire.execute("SET", self.layout.count, wanted, "NX", "GET", retry="safe")
            rules.check_count(self.name, wanted, found)
            self._agreed = True

    def check(self) -> None:
        """As `agree`, and that no server of this cache throws away what it alone has.

        Raises: as `agree`; UnsafeServer.
        """
        if self._kept:
            return
        self.agree()
        keys = [partition.state for partition in self.layout.partitions]
        what = f"write-behind of cache {self.name!r}"
        accept_loss = self.options.accept_loss
        require_keeping(self.wire, keys, what, rules.no_aof(self.name), accept_loss=accept_loss)
        self._kept = True
