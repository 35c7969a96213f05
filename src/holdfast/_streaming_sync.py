# Generated from _streaming_async.py by tools/unasync.py. Do not edit.
"""The methods of a client that make streams, logs of events and topics, and run what handles them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from holdfast._running_sync import Runnable, Running, Until
from holdfast.durations import Duration
from holdfast.errors import Closed, ConfigurationError
from holdfast.events._log_sync import EventLog
from holdfast.events.options import EventsKeywords, EventsOptions
from holdfast.streams._stream_sync import Stream
from holdfast.streams.options import StreamKeywords, StreamOptions
from holdfast.topics._topic_sync import Topic
from holdfast.topics.options import TopicKeywords, TopicOptions

if TYPE_CHECKING:
    from holdfast._wire._sync import Wire

T = TypeVar("T")


class Streaming:
    """What a client offers to those who do now what others shall handle later."""

    _wire: Wire
    _running: Running
    _streams: dict[str, Stream[Any]]
    _logs: dict[str, EventLog[Any]]
    _topics: dict[str, Topic[Any]]
    _others: list[Runnable]

    @overload
    def stream(self, name: str, *, type: type[T], **options: Unpack[StreamKeywords]) -> Stream[T]: ...

    @overload
    def stream(
        self, name: str, *, type: Any = ..., **options: Unpack[StreamKeywords]
    ) -> Stream[Any]: ...

    def stream(self, name: str, *, type: Any = Any, **options: Unpack[StreamKeywords]) -> Stream[Any]:
        """The stream `name`; the same object for the same name. Without any option: as it was made.

        `type`: what values are (default: plain msgpack types). `partitions`, `key`: how it is spread, and
        what keeps its order. `retention`: how long entries are kept. `dedup`: how long the id of a publish is
        remembered. `version`, `upcast`, `codec`: how values are written. `durability`, `accept_loss`. Each is
        told in StreamOptions.

        Raises: ConfigurationError, also when the name is in use with other options.
        """
        known = self._streams.get(name)
        if known is not None and type is Any and not options:
            return known
        try:
            chosen = StreamOptions(type=type, **options)
        except TypeError as error:
            what = str(error).partition("() ")[2] or error
            raise ConfigurationError(f"stream {name!r}: {what}") from None
        if known is None:
            known = self._streams.setdefault(name, Stream(self._wire, name, chosen))
        differing = known.options.difference(chosen)
        if differing:
            raise ConfigurationError(f"stream {name!r} exists already with other options: {differing}")
        return known

    @overload
    def events(self, name: str, *, type: type[T], **options: Unpack[EventsKeywords]) -> EventLog[T]: ...

    @overload
    def events(
        self, name: str, *, type: Any = ..., **options: Unpack[EventsKeywords]
    ) -> EventLog[Any]: ...

    def events(self, name: str, *, type: Any = Any, **options: Unpack[EventsKeywords]) -> EventLog[Any]:
        """The log of events `name`; the same object for the same name. Without any option: as it was made.

        `type`: what events are: a type, a union of classes, or a mapping from the name under which a type is
        stored to the type (default: plain msgpack types). `version`, `upcast`: schema versions of these, and
        how older ones become today's. `partitions`: over how many slots of a Cluster its streams are spread.
        `state`, `state_version`, `state_upcast`, `snapshot_every`: snapshots. `durability`, `accept_loss`:
        each is told in EventsOptions.

        Raises: ConfigurationError, also when the name is in use with other options.
        """
        known = self._logs.get(name)
        if known is not None and type is Any and not options:
            return known
        try:
            chosen = EventsOptions(type=type, **options)
        except TypeError as error:
            what = str(error).partition("() ")[2] or error
            raise ConfigurationError(f"events {name!r}: {what}") from None
        if known is None:
            known = self._logs.setdefault(name, EventLog(self._wire, name, chosen))
        differing = known.options.difference(chosen)
        if differing:
            raise ConfigurationError(f"events {name!r} exist already with other options: {differing}")
        return known

    @overload
    def topic(self, name: str, *, type: type[T], **options: Unpack[TopicKeywords]) -> Topic[T]: ...

    @overload
    def topic(self, name: str, *, type: Any = ..., **options: Unpack[TopicKeywords]) -> Topic[Any]: ...

    def topic(self, name: str, *, type: Any = Any, **options: Unpack[TopicKeywords]) -> Topic[Any]:
        """The topic `name`: publish and subscribe, with a memory; the same object for the same name.

        Without any option: as it was made.

        `history`: how many messages the server keeps for subscribers that were away; 0: none, a plain topic.
        `max_age`, `keep`: how long messages, and the topic itself, are kept. `type`, `codec`: what values
        are, and how they are written. `dedup`: how long the id of a message is remembered. `durability`,
        `accept_loss`. Each is told in TopicOptions.

        Raises: ConfigurationError, also when the name is in use with other options.
        """
        known = self._topics.get(name)
        if known is not None and type is Any and not options:
            return known
        try:
            chosen = TopicOptions(type=type, **options)
        except TypeError as error:
            what = str(error).partition("() ")[2] or error
            raise ConfigurationError(f"topic {name!r}: {what}") from None
        if known is None:
            known = self._topics.setdefault(name, Topic(self._wire, name, chosen))
        differing = known.options.difference(chosen)
        if differing:
            raise ConfigurationError(f"topic {name!r} exists already with other options: {differing}")
        return known

    def streams(self) -> Iterator[Stream[Any]]:
        """Every stream made so far."""
        return iter(list(self._streams.values()))

    def run(
        self, groups: Sequence[str] | None = None, until: Until = "stopped", *, drain: Duration = "10s"
    ) -> None:
        """Run the subscribers of this client until `stop()`, or SIGTERM or SIGINT in the main thread; then
        let what is in work end, for `drain` at most.

        `groups`: only these (None: all). `until`: "idle" returns once nothing is unread, in work or waiting
        for a retry: for tests and batch jobs.
        Raises: ConfigurationError, if there is nothing to run, or this client runs already; UnsafeServer,
        Closed.
        """
        if self._wire.is_closed:
            raise Closed("this client was closed; make a new one")
        self._running.run(self._runnables(groups), until, drain)

    def runs(self, runnable: Runnable) -> None:
        """Have `run()` run this as well: the relay of an outbox, or something of your own with the methods of
        Runnable. With `groups`, only if its group is among them.
        """
        self._others.append(runnable)

    def stop(self) -> None:
        """End `run()`; plain call, from any thread, also from a handler. Does not wait."""
        self._running.stop()

    def _runnables(self, groups: Sequence[str] | None) -> list[Runnable]:
        """What `run` runs. Raises: ConfigurationError for a group that nobody has."""
        if isinstance(groups, str):
            raise ConfigurationError(f"groups={groups!r} must be a list, as [{groups!r}]")
        every: list[Runnable] = [one for stream in self.streams() for one in stream.runnables()]
        every += self._others
        every += [one for log in list(self._logs.values()) for one in log.runnables()]
        if groups is None:
            return every
        known = {one.group for one in every}
        for group in groups:
            if group not in known:
                raise ConfigurationError(
                    f"no subscriber has the group {group!r}; there are {sorted(map(str, known)) or 'none'}"
                )
        return [one for one in every if one.group in groups]
