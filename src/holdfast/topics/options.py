"""What can be chosen about topics, and what their methods hand out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVar, get_args

from holdfast._values.codecs import Format
from holdfast._wire.durability import Durability
from holdfast.durations import Duration, optional_seconds, seconds
from holdfast.errors import ConfigurationError, Overloaded

T = TypeVar("T")

OnFull = Literal["catch_up", "drop_oldest", "drop_newest", "close"]
Reason = Literal["trimmed", "reset", "slow", "disconnected", "unreadable"]

MOST = 1_000_000  # messages in a history, or in a queue


class TopicKeywords(TypedDict, total=False):
    """What `hf.topic(...)` takes besides the name and `type`; see TopicOptions."""

    history: int
    max_age: Duration | None
    keep: Duration | None
    dedup: Duration
    codec: Format
    durability: Durability | None
    accept_loss: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TopicOptions:
    """The settings of a topic. Durations may be given as people write them; they are kept as seconds.

    type            what values are; by default plain msgpack types.
    history         how many messages the server keeps for those who are away; 0: none, a plain topic.
    max_age         how long it keeps them; None: until newer ones take their place.
    keep            how long a topic is kept after its last message, with its numbers; then it begins anew.
                    None: for ever.
    dedup           how long the `id` of a message is remembered.
    codec           "msgpack", "json" (for readers in other languages), or "raw": bytes or str as they are.
    durability      when a message counts as published; None: a failover may lose the last ones.
    accept_loss     be content with a server that evicts: then a history may end at any time.
    """

    type: Any = Any
    history: int = 1000
    max_age: Duration | None = None
    keep: Duration | None = "30d"
    dedup: Duration = "10m"
    codec: Format = "msgpack"
    durability: Durability | None = None
    accept_loss: bool = False

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, naming the setting and its value."""
        put = object.__setattr__
        whole_number("history", self.history, least=0)
        for name in ("max_age", "keep"):
            put(self, name, optional_seconds(getattr(self, name), name))
        put(self, "dedup", seconds(self.dedup, "dedup"))
        for name in ("max_age", "keep", "dedup"):
            value = getattr(self, name)
            if value is not None and value < 0.001:
                raise ConfigurationError(f"{name}={value!r} must be at least a millisecond")
        if self.max_age is not None and self.keep is not None and seconds(self.keep) < seconds(self.max_age):
            raise ConfigurationError(
                f"keep={self.keep!r} must be at least max_age={self.max_age!r}: it takes the messages with it"
            )
        if not self.history and (self.max_age is not None or self.durability is not None):
            raise ConfigurationError(
                "history=0 is a plain topic, of which nothing is kept: leave max_age and durability out"
            )

    @property
    def is_plain(self) -> bool:
        """Is nothing kept?"""
        return not self.history

    def difference(self, other: TopicOptions) -> str:
        """What `other` wants otherwise, in words; "" if both describe the same topic."""
        return ", ".join(
            f"{one.name}={getattr(self, one.name)!r}, not {getattr(other, one.name)!r}"
            for one in fields(self)
            if getattr(self, one.name) != getattr(other, one.name)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """How one subscriber listens.

    queue       how many messages wait for it in this process at most.
    on_full     what happens when one more comes. "catch_up": it is read from the history later, so nothing is
                lost as long as that reaches; the default where there is a history. "drop_oldest": the oldest
                one makes room, so the subscriber is never far behind; the default of a plain topic.
                "drop_newest": it is dropped. "close": the subscription ends with SlowSubscriber.
    """

    queue: int
    on_full: OnFull

    @staticmethod
    def chosen(queue: int, on_full: OnFull | None, *, plain: bool) -> Listening:
        """The choice, or the default. Raises: ConfigurationError, naming the setting and its value."""
        whole_number("queue", queue, least=1)
        how: OnFull = on_full if on_full is not None else "drop_oldest" if plain else "catch_up"
        if how not in get_args(OnFull):
            names = ", ".join(f'"{one}"' for one in get_args(OnFull))
            raise ConfigurationError(f"on_full={on_full!r} must be one of {names}")
        if plain and how == "catch_up":
            raise ConfigurationError(
                'on_full="catch_up" needs a history, and this topic has none (history=0)'
            )
        return Listening(queue=queue, on_full=how)


def whole_number(name: str, value: Any, *, least: int) -> None:
    """Raises: ConfigurationError unless `value` is one, from `least` to MOST."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
        raise ConfigurationError(f"{name}={value!r} must be a whole number from {least} to {MOST}")


@dataclass(frozen=True, slots=True)
class TopicMessage(Generic[T]):
    """What somebody has published.

    `offset`: its number, 1, 2, 3, ... since the history `epoch` began. `position`: the place behind it; store
    it, or send it to a browser, and `subscribe(after=position)` goes on from there. In a plain topic they are
    0, "" and "".
    """

    value: T
    offset: int = 0
    epoch: str = ""
    position: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages are missing here: whoever builds on them has to load his state anew.

    `reason`: "trimmed" (the history does not reach back), "reset" (it is another one: flushed, deleted, lost
    in a failover), "slow" (they did not fit into the subscriber's queue), "disconnected" (of a plain topic),
    "unreadable" (one that is no value of the topic's type). `missed`: how many, or None if nobody knows.
    `position`: the place behind the gap, "" in a plain topic.
    """

    reason: Reason
    missed: int | None = None
    position: str = ""


class TopicPublished(NamedTuple):
    """Where a message is: as in TopicMessage. `duplicate`: its `id` was known, this is the first one's place.

    In a plain topic all of it is empty.
    """

    offset: int = 0
    epoch: str = ""
    position: str = ""
    duplicate: bool = False


class SlowSubscriber(Overloaded):
    """With on_full="close": the subscriber was slower than the publishers for longer than its queue lasts.

    `position`: of what it got last; whoever subscribes again from there goes on.
    """

    def __init__(self, message: str = "", *, position: str = "") -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicStats:
    """Counts since the object was made, of this process.

    `published`: messages of this process, of which `duplicates` had been published before. `delivered`: to
    its subscribers, of which `recovered` came from the history and not by a push. `gaps`: that subscribers
    were told. `dropped`: messages that did not fit into a queue, and were not read later either; `deferred`:
    those that were left to the history. `unreadable`: what was no value of the topic's type, or no message at
    all. `subscribers` is a gauge.
    """

    published: int = 0
    duplicates: int = 0
    delivered: int = 0
    recovered: int = 0
    gaps: int = 0
    dropped: int = 0
    deferred: int = 0
    unreadable: int = 0
    subscribers: int = 0


class Counters:
    """Plain integers to add to; see TopicStats. Threads may lose a count, never more."""

    __slots__ = tuple(TopicStats.__dataclass_fields__)

    published: int
    duplicates: int
    delivered: int
    recovered: int
    gaps: int
    dropped: int
    deferred: int
    unreadable: int
    subscribers: int

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    def snapshot(self) -> TopicStats:
        """The counts at this moment."""
        return TopicStats(**{name: getattr(self, name) for name in self.__slots__})
