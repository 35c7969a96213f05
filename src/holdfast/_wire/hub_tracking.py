"""Server-assisted tracking: the server tells which keys have changed. Hub thread only, but for `Trackings`.

A connection of its own asks the server (CLIENT TRACKING ON BCAST) to be told of every change of the keys with
a prefix. Whoever holds copies of them learns three things: which to drop (`invalidated`), that nothing is
heard for now, so that no copy may be used (`lost`), and that everything is heard from now on (`found`).
Where the server forbids that, whoever changes a key can say so on a channel, after the change: then the
connection subscribes to it, and every message is a key that has changed. `as_of` holds for what was said.

Between the last two, `as_of` says up to when everything was certainly heard: the time at which the last PING
left that was answered, since the server sends in order. A link that is half open, a frozen server or a
starved thread thus show by an `as_of` that stands still, without anybody having to notice.
"""

from __future__ import annotations

from typing import Any, Self

from holdfast import _signals
from holdfast._compat import monotonic
from holdfast._wire.connection import pack
from holdfast._wire.hub_ledger import Holder, State
from holdfast._wire.hub_line import NEVER, PING, Desk, Line, Report, Router, heals
from holdfast._wire.mutex import MUTEX
from holdfast._wire.transport import Reply, ReplyError, WireFailure


class Tracking:
    """The tracking of one prefix for one holder; a context manager."""

    __slots__ = ("_as_of", "_book", "channel", "every", "holder", "prefix", "state")

    def __init__(
        self, book: Trackings, prefix: bytes, holder: Holder, every: float, channel: bytes = b""
    ) -> None:
        self._book = book
        self.prefix = prefix
        self.channel = channel
        self.holder = holder
        self.every = every
        self.state = State.NEW
        self._as_of = float("-inf")

    @property
    def as_of(self) -> float:
        """Monotonic time up to which every change was certainly heard."""
        return self._as_of

    def heard(self, at: float) -> None:
        """Everything was heard up to the time `at`."""
        self._as_of = max(self._as_of, at)

    def forget(self) -> bool:
        """Nothing is heard any more; True if it was before."""
        told, self.state, self._as_of = self.state is State.ON, State.NEW, float("-inf")
        return told

    @property
    def is_refused(self) -> bool:
        """Does the server forbid tracking? Then changes have to be made known in another way."""
        return self.state is State.REFUSED

    def close(self) -> None:
        """Track no more; may be repeated."""
        self._book.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Trackings:
    """Who holds copies of what. Written by callers of any thread, read by the hub's."""

    def __init__(self) -> None:
        self._all: dict[Tracking, None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, prefix: str, holder: Holder, every: float, channel: str = "") -> Tracking:
        """Track the keys that start with `prefix`, or those that are told on `channel`."""
        tracking = Tracking(self, prefix.encode(), holder, every, channel.encode())
        with MUTEX:
            self._all[tracking] = None
        return tracking

    def remove(self, tracking: Tracking) -> None:
        """Forget `tracking`."""
        with MUTEX:
            self._all.pop(tracking, None)

    def all(self) -> list[Tracking]:
        """Every one, at this moment."""
        with MUTEX:
            return list(self._all)

    def new(self) -> list[Tracking]:
        """Those that the server has not been asked for."""
        return [one for one in self.all() if one.state is State.NEW]

    def lost(self) -> None:
        """There is no connection: nobody may use what he holds, and all has to be asked for again."""
        for one in self.all():
            if one.forget():
                one.holder.lost()


class _Asked:
    """Stands in the queue of debts for a question about these trackings."""

    def __init__(self, trackings: list[Tracking]) -> None:
        self.at = monotonic()
        self.trackings = trackings


class Tracker(Desk):
    """Keeps what is tracked asked for, passes on every change, and proves that it hears."""

    def __init__(self, line: Line, server: str, report: Report, router: Router, book: Trackings) -> None:
        super().__init__(line, server, report, router)
        self._book = book
        self._next_ping = 0.0
        self._told: set[bytes] = set()  # prefixes that the server knows of, on this connection
        self._refusal_told = False

    def _wanted(self) -> bool:
        return any(not one.is_refused for one in self._book.all())

    def _speak(self) -> float:
        now = monotonic()
        questions: list[tuple[Any, bytes]] = []
        new = self._book.new()
        if new:
            for one in new:
                one.state = State.ASKED
            # The server takes a prefix once; one that somebody tracked before only has to be made sure of.
            tracked = [one for one in new if not one.channel]
            prefixes = dict.fromkeys(one.prefix for one in tracked if one.prefix not in self._told)
            self._told.update(prefixes)
            asked = [part for prefix in prefixes for part in ("PREFIX", prefix)]
            if tracked:
                tracking = pack(("CLIENT", "TRACKING", "ON", "BCAST", *asked)) if asked else PING
                questions.append((_Asked(tracked), tracking))
            questions += [(_Asked([one]), pack(("SUBSCRIBE", one.channel))) for one in new if one.channel]
        if now >= self._next_ping and not self.line.owes:
            self._next_ping = now + min((one.every for one in self._book.all() or new), default=1.0)
            questions.append((_Asked([]), PING))
        if questions:
            self.line.send(questions)
        return NEVER if self.line.owes else self._next_ping

    def _hear(self, reply: Reply) -> None:
        kind = reply[0] if isinstance(reply, list) and reply else b""
        if kind == b"invalidate":
            self._pass_on(reply[1])
            return
        if kind == b"message":
            self._pass_on_message(reply[1], reply[2])
            return
        asked = self.line.settle(_Asked)
        if isinstance(reply, ReplyError):
            self._refused(asked, str(reply))
            return
        for one in asked.trackings:
            one.state = State.ON
            one.heard(asked.at)
            one.holder.found()
        for one in self._book.all():
            if one.state is State.ON:
                one.heard(asked.at)

    def _pass_on_message(self, channel: bytes, key: bytes) -> None:
        for one in self._book.all():
            if one.channel == channel and one.state is State.ON:
                one.holder.invalidated([key])

    def _pass_on(self, keys: list[bytes] | None) -> None:
        for one in self._book.all():
            if one.channel:
                continue
            mine = None if keys is None else [key for key in keys if key.startswith(one.prefix)]
            if mine is None or mine:
                one.holder.invalidated(mine)

    def _refused(self, asked: _Asked, message: str) -> None:
        if not asked.trackings or heals(message, "CLIENT TRACKING", self._server):
            raise WireFailure(message, sent=True)
        if not self._refusal_told:
            self._refusal_told = True
            consequence = f"nothing is held locally, since the server does not tell what changes ({message})"
            self._report(_signals.ServerWarning(server=self._server, setting="ACL", consequence=consequence))
        for one in asked.trackings:
            one.state = State.REFUSED

    def _idle(self) -> float:
        self.line.drop()  # at once, so that the server need not tell what nobody wants to know
        self._told.clear()
        return NEVER

    def _lost(self) -> None:
        self._next_ping = 0.0
        self._told.clear()
        self._book.lost()
