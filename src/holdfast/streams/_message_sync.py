# Generated from _message_async.py by tools/unasync.py. Do not edit.
"""Message: one delivery of an entry to a handler."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Generic, TypeVar

from holdfast._compat import monotonic
from holdfast._coord.section import Section
from holdfast.errors import LockLost
from holdfast.streams import record, rules
from holdfast.streams._berth_sync import Berth
from holdfast.streams._effects_sync import Effects

T = TypeVar("T")

WHY = {
    rules.FENCED: "another worker has it, or had it",
    rules.GONE: "it was deleted, or its group was lost",
}


class Message(Generic[T]):
    """A message, as a handler gets it beside the value.

    `value`; `id` of its entry, the same over all deliveries; `deliveries`: which one this is, from 1;
    `stream`, `group`, `partition`.
    """

    __slots__ = (
        "_section", "cause", "deliveries", "fields", "id", "is_acked", "is_late", "is_over", "lane",
        "part", "rests_until", "value",
    )  # fmt: skip

    def __init__(self, berth: Berth, id: str, deliveries: int, flat: Any) -> None:
        self.part = berth
        self.id = id
        self.deliveries = deliveries
        self.fields = flat
        self.lane: Hashable = None
        self.rests_until = 0.0
        self.value: T = None  # type: ignore[assignment]
        self._section: Section | None = None
        self.cause: str | None = None
        self.is_over = self.is_acked = self.is_late = False

    # --- what it is -----------------------------------------------------------------------------------------

    @property
    def stream(self) -> str:
        """The name of its stream."""
        return self.part.desk.name

    @property
    def group(self) -> str:
        """The group it is delivered to."""
        return self.part.group

    @property
    def partition(self) -> int:
        """The number of its partition, from 0."""
        return self.part.partition.number

    @property
    def age(self) -> float:
        """Seconds since it was published, by the server's clock."""
        return max(0.0, monotonic() + self.part.clock - record.milliseconds(self.id) / 1000)

    @property
    def partition_key(self) -> str | None:
        """The key of its value, if the stream has a key function or it was published with one."""
        return record.text(record.named(self.fields).get(b"key"))

    @property
    def dedup_id(self) -> str | None:
        """The `id` with which it was published, if there was one."""
        return record.text(record.named(self.fields).get(b"id"))

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers."""
        return record.headers_of(record.named(self.fields).get(b"headers"))

    def key(self, name: str) -> str:
        """A key called `name` in the slot of this message's partition, for `effects`."""
        return self.part.partition.user(name)

    # --- whether it is still ours ---------------------------------------------------------------------------

    @property
    def lost(self) -> Any:
        """An event (of asyncio) that is set when another worker may have it."""
        if self._section is None:
            self._section = Section()
        if self.cause is not None:
            self._section.lost.set()
        return self._section.lost

    def ensure(self) -> None:
        """Make sure that it is ours, by what is known here: no question to the server. Raises: LockLost."""
        if self.cause is not None:
            raise self.lost_error(self.cause)

    def lost_error(self, cause: str) -> LockLost:
        """What tells that another worker has it."""
        name = f"{self.stream}/{self.group}/{self.id}"
        return LockLost(f"message {name} was lost: {cause}", name=name, cause=cause)

    def effects(self) -> Effects:
        """Redis writes that happen together with the acknowledgement, or not at all:

            with message.effects() as fx:
                fx.incrby(message.key("total"), order.amount)
                fx.publish(invoices, Invoice(order.id))

        At its end all is done in one script, if the message is still ours; nothing, if the body raises. After
        that the message is done, whatever the handler does. Plain call. Leaving raises: LockLost if another
        worker has the message, ConfigurationError for what cannot be written, Unavailable (the message comes
        again unless it has happened), NotDurable, OutOfMemory, Refused.
        """
        return Effects(self)

    # --- for whoever handles it -----------------------------------------------------------------------------

    def enter(self, section: Section) -> None:
        """Its handler begins, with what others use before and after it."""
        self._section = section
        if self.cause is not None:
            section.tell()

    def leave(self) -> None:
        """Its handler has ended, and nobody has asked about it."""
        self._section = None

    def expire(self) -> None:
        """Its handler has had all the time it may have; from the reader."""
        self.is_late = True
        if self._section is not None:
            self._section.tell()

    def lose(self, cause: str) -> None:
        """Another worker may have it; from any thread."""
        if self.is_over:
            return
        self.cause = cause
        self.is_over = True
        section = self._section
        if section is not None:
            section.tell()

    def __repr__(self) -> str:
        return f"<message {self.id} of {self.stream}/{self.group}, delivery {self.deliveries}>"
