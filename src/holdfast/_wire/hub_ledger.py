"""What the hub owes to others: wake-ups (`Watches`) and commands that must arrive (`Outbox`). No I/O.

Callers of any thread write here, the hub's thread reads; the process's mutex guards it, so that a fork copies
whole books, never half-written ones.
"""

from __future__ import annotations

import enum
import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, Self

from holdfast._compat import monotonic
from holdfast._wire.connection import pack
from holdfast._wire.mutex import MUTEX
from holdfast._wire.transport import Command

if TYPE_CHECKING:
    from holdfast._wire.hub_keeping import Keeping


class Waker(Protocol):
    """A Signal or an ASignal: `fire` is safe from any thread."""

    def fire(self) -> object:
        """Wake whoever waits."""


class Listener(Waker, Protocol):
    """Whoever takes what is said on a channel. Called in a hub's thread; must be quick.

    `fire`: something may have been said that was not heard: the subscription begins, or ends, here.
    """

    def heard(self, payload: bytes) -> object:
        """This was said."""


class AnyWatch(Protocol):
    """A subscription of one waiter, whatever kind of hub keeps it; a context manager."""

    @property
    def pushing(self) -> bool:
        """Can a wake-up be expected?"""

    @property
    def state(self) -> State:
        """How far the subscription is."""

    def close(self) -> None:
        """Stop watching; may be repeated."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class Holder(Protocol):
    """Whoever holds copies of keys. Called in a hub's thread; must be quick and must not raise."""

    def invalidated(self, keys: list[bytes] | None) -> None:
        """These keys have changed; None: all of them."""

    def lost(self) -> None:
        """Nothing is heard any more: whatever is held may be old."""

    def found(self) -> None:
        """Everything is heard, from now on."""


class AnyTracking(Protocol):
    """The tracking of one prefix for one holder, whatever kind of hub keeps it; a context manager."""

    @property
    def as_of(self) -> float:
        """Monotonic time up to which every change was certainly heard."""

    @property
    def is_refused(self) -> bool:
        """Does the server forbid tracking?"""

    def close(self) -> None:
        """Track no more; may be repeated."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class AnyHub(Protocol):
    """A hub, of one server or of a Cluster."""

    def track(self, prefix: str, holder: Holder, every: float = 0.5, channel: str = "") -> AnyTracking:
        """Tell `holder` of every change of the keys that start with `prefix`. Raises: Closed."""

    def watch(self, channel: str, signal: Waker) -> AnyWatch:
        """Fire `signal` at every message of `channel` until the watch is closed. Raises: Closed."""

    def listen(self, channel: str, listener: Listener) -> AnyWatch:
        """Hand every message of `channel` to `listener` until the watch is closed. Raises: Closed."""

    def deliver(self, name: Hashable, command: Command, done: Callable[[], object]) -> None:
        """Run the idempotent `command` until it is confirmed; then call `done`. Raises: Closed."""

    def keep(self, keeping: Keeping) -> None:
        """Renew a lease until it is closed or lost. Raises: Closed, Unavailable."""

    def undelivered(self) -> int:
        """Commands not confirmed yet."""

    def close(self, drain: float = 10.0) -> list[Hashable]:
        """Wake every waiter, deliver what can be within `drain` seconds, end; returns the names left over."""


def fire(wakers: Iterable[Waker], stumbled: Callable[[BaseException], None]) -> None:
    """Fire each of `wakers`; one that fails does not keep the others asleep."""
    for waker in wakers:
        try:
            waker.fire()
        except Exception as error:  # noqa: BLE001 (others are waiting too)
            stumbled(error)


class State(enum.Enum):
    """How far the subscription of a channel is."""

    NEW = "not asked for yet"
    ASKED = "asked for, not confirmed"
    ON = "confirmed: every message arrives"
    REFUSED = "the server said no"


class Channel:
    """A channel that somebody watches, or watched a moment ago."""

    __slots__ = ("idle_since", "name", "state", "watches")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.state = State.NEW
        self.watches: dict[Watch, None] = {}
        self.idle_since = 0.0


class Watch:
    """A subscription of one waiter; a context manager. After `close` its signal is left alone (soon).

    `heard` takes the messages; without it, a message fires the signal.
    """

    __slots__ = ("_book", "_channel", "heard", "signal")

    def __init__(
        self, book: Watches, channel: Channel, signal: Waker, heard: Callable[[bytes], object] | None = None
    ) -> None:
        self._book = book
        self._channel = channel
        self.signal = signal
        self.heard = heard

    @property
    def pushing(self) -> bool:
        """Can a wake-up be expected? False if the server refuses pub/sub or there is no connection for it."""
        return self._channel.state is not State.REFUSED and not self._book.down

    @property
    def state(self) -> State:
        """How far the subscription is."""
        return self._channel.state

    def close(self) -> None:
        """Stop watching; may be repeated."""
        self._book.remove(self, self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Watches:
    """Who waits for which channel. One without waiters stays for `linger` seconds: they come in waves."""

    def __init__(self, linger: float, stumbled: Callable[[BaseException], None]) -> None:
        self._linger = linger
        self._stumbled = stumbled
        self._channels: dict[bytes, Channel] = {}
        self._new: list[Channel] = []
        self._idle: dict[Channel, None] = {}  # longest idle first
        self.down = False  # the connection was lost, or could not be made, and none stands yet

    def __len__(self) -> int:
        return len(self._channels)

    def add(self, name: bytes, signal: Waker, heard: Callable[[bytes], object] | None = None) -> Watch:
        """Watch channel `name`; fires at once if it is confirmed already (a message may just have passed)."""
        with MUTEX:
            channel = self._channels.get(name)
            if channel is None:
                channel = self._channels[name] = Channel(name)
                self._new.append(channel)
            self._idle.pop(channel, None)
            watch = Watch(self, channel, signal, heard)
            channel.watches[watch] = None
            settled = self.down or channel.state in (State.ON, State.REFUSED)
        if settled:
            signal.fire()
        return watch

    def remove(self, watch: Watch, channel: Channel) -> None:
        """Forget `watch`."""
        with MUTEX:
            known = channel.watches.pop(watch, False) is None
            if known and not channel.watches and self._channels.get(channel.name) is channel:
                channel.idle_since = monotonic()
                self._idle[channel] = None

    def take_new(self) -> list[Channel]:
        """The channels to subscribe to now."""
        with MUTEX:
            new = [one for one in self._new if self._channels.get(one.name) is one]
            self._new = []
            for channel in new:
                channel.state = State.ASKED
            return new

    def take_idle(self, now: float) -> list[bytes]:
        """The channels to leave now."""
        due: list[bytes] = []
        with MUTEX:
            while self.next_idle() <= now:
                channel = next(iter(self._idle))
                del self._idle[channel], self._channels[channel.name]
                due.append(channel.name)
        return due

    def next_idle(self) -> float:
        """When `take_idle` has something to say."""
        with MUTEX:
            first = next(iter(self._idle), None)
            return first.idle_since + self._linger if first else float("inf")

    def settle(self, channel: Channel, state: State) -> None:
        """The server answered for `channel`."""
        with MUTEX:
            channel.state = state
            wakers = self._wakers((channel,))
        fire(wakers, self._stumbled)

    def message(self, name: bytes, payload: bytes) -> None:
        """`payload` was published on channel `name`."""
        with MUTEX:
            channel = self._channels.get(name)
            watches = [*channel.watches] if channel else []
        for watch in watches:
            try:
                if watch.heard is None:
                    watch.signal.fire()
                else:
                    watch.heard(payload)
            except Exception as error:  # noqa: BLE001 (others are listening too)
                self._stumbled(error)

    def displaced(self, name: bytes) -> None:
        """Channel `name` is not heard here any more: wake who watches it, and ask for it again."""
        with MUTEX:
            channel = self._channels.get(name)
            if channel is None or self.left(channel):
                return
            channel.state = State.NEW
            self._new.append(channel)
            wakers = self._wakers((channel,))
        fire(wakers, self._stumbled)

    def left(self, channel: Channel) -> bool:
        """Forget `channel`, which is not heard, if nobody watches it."""
        with MUTEX:
            if not channel.watches and self._channels.get(channel.name) is channel:
                del self._channels[channel.name]
                self._idle.pop(channel, None)
            return not channel.watches

    def lost(self) -> None:
        """There is no connection: wake everybody once, ask again for every channel that is still watched."""
        with MUTEX:
            told, self.down = self.down, True
            for channel in [*self._idle]:
                del self._channels[channel.name]
            self._idle.clear()
            self._new = [*self._channels.values()]
            for channel in self._new:
                channel.state = State.NEW
            wakers = [] if told else self._wakers(self._new)
        fire(wakers, self._stumbled)

    def found(self) -> None:
        """There is a connection (again); the channels are confirmed one by one."""
        self.down = False

    def _wakers(self, channels: Iterable[Channel]) -> list[Waker]:
        return [watch.signal for channel in channels for watch in [*channel.watches]]


_NUMBERS = itertools.count()


class Kept:
    """A command that is sent until the server has confirmed it."""

    __slots__ = ("asking", "command", "done", "name", "number", "packed")

    def __init__(self, name: Hashable, command: Command, done: Callable[[], Any]) -> None:
        self.name = name
        self.command = command
        self.packed = pack(command)  # here, so that a wrong argument raises at its caller
        self.done = done
        self.number = next(_NUMBERS)  # which of one name is the later one, also when an outbox takes it over
        self.asking = False  # the node that gets it is taking over the slot, and wants to hear ASKING first


class Outbox:
    """Commands on their way, one for each name; a later one takes the place of an earlier one."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Kept] = {}
        self._waiting: deque[Kept] = deque()

    def __len__(self) -> int:
        return len(self._kept)

    def names(self) -> list[Hashable]:
        """What is not confirmed yet."""
        with MUTEX:
            return [*self._kept]

    def all(self) -> list[Kept]:
        """The commands not confirmed yet."""
        with MUTEX:
            return [*self._kept.values()]

    def put(self, kept: Kept) -> None:
        """Keep until confirmed, unless there is a later one already."""
        with MUTEX:
            known = self._kept.get(kept.name)
            if known is not None and known.number > kept.number:
                return
            self._kept[kept.name] = kept
            self._waiting.append(kept)

    def take(self, limit: int) -> list[Kept]:
        """At most `limit` commands to send now."""
        taken: list[Kept] = []
        with MUTEX:
            while self._waiting and len(taken) < limit:
                kept = self._waiting.popleft()
                if self._kept.get(kept.name) is kept:
                    taken.append(kept)
        return taken

    def again(self, kept: Kept) -> None:
        """Send once more, behind the others, unless a later one took its place."""
        with MUTEX:
            self._waiting.append(kept)

    def all_again(self) -> None:
        """Send everything once more: the connection is lost, or we are the child of a fork."""
        with MUTEX:
            self._waiting = deque(self._kept.values())

    def settle(self, kept: Kept) -> bool:
        """`kept` needs no more sending; False if a later one took its place meanwhile."""
        with MUTEX:
            if self._kept.get(kept.name) is not kept:
                return False
            del self._kept[kept.name]
            return True
