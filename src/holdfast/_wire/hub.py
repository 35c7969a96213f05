"""The hub: one daemon thread per client and process, for what must go on while nobody is calling.

It wakes waiters by push (`watch`), hands on what is said (`listen`) and delivers commands that must not get
lost (`deliver`), for threads and for tasks of any event loop alike. Written by hand and without a twin: its
own thread does the blocking, and whoever waits does so on a signal whose `fire` is safe from any thread.

Promise
* A watch fires when its subscription is confirmed and at every message from then on. So whoever looks at the
  server after a firing, and then waits again, misses nothing. Where a message could have been missed
  (connection lost, renewed, refused) it fires as well. A dead link is noticed within `2 * interval`. Firing
  for no reason is allowed, so a waiter always looks for itself.
* A listener gets every message from the confirmation on, in the order in which the server sent them, and is
  fired wherever a watch is: there, and only there, something may be missing. All channels of a client share
  one connection, however many listen.
* A holder of tracked keys is told of every change of them, or that nothing is heard (`hub_tracking`).
* A lease is renewed until it is closed, or said to be lost (`hub_keeping`). A client has a hub of its own for
  that, so that nothing of the others' can delay it.
* A delivered command is executed at least once, however often the server restarts meanwhile, unless the
  process ends first, the server refuses for good, or a later command of the same name takes its place.

Not promised
* Order, or exactly once: a command must be idempotent, and as good late as early. One whose reply was lost
  may still be executed after its successor of the same name.
* Anything after the process was killed: the outbox is memory.

How: the thread polls a bell (a socket pair) and its connections (`hub_line`, `hub_tracking`), and reads the
books that callers write (`hub_ledger`). Thread and connections are made with the first need. After a fork the
child takes the books over and starts a thread of its own; it closes its copies of the parent's sockets
without a word to the server. A client that nobody refers to any more loses its thread. An error in the thread
is reported and costs the connections, not the thread.
"""

from __future__ import annotations

import logging
import os
import selectors
import threading
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from holdfast import _signals
from holdfast._compat import monotonic, sleep
from holdfast._wire.hub_bell import Bell
from holdfast._wire.hub_keeper import Keeper
from holdfast._wire.hub_keeping import Keeping, Keepings
from holdfast._wire.hub_ledger import Holder, Kept, Listener, Outbox, Waker, Watch, Watches
from holdfast._wire.hub_line import NEVER, Connection, Courier, Desk, Ear, Here, Line, Router
from holdfast._wire.hub_tracking import Tracker, Tracking, Trackings
from holdfast._wire.mutex import MUTEX
from holdfast._wire.transport import Command
from holdfast.errors import Closed, Unavailable

__all__ = ["CommandDropped", "Connection", "Hub", "HubStumbled", "Watch"]

log = logging.getLogger("holdfast.hub")

GRACE = 0.5  # seconds beyond `drain` that close() waits for a thread stuck in a system call
LONGEST = 3600.0  # seconds of sleep
STUMBLE = 0.05  # seconds of rest after an unexpected error
# No epoll: its kernel object would be shared with the child of a fork.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandDropped(_signals.Signal):
    """The server refuses a kept command for good (a missing right, a wrong type): it is not tried again."""

    level = "error"
    server: str
    command: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HubStumbled(_signals.Signal):
    """A bug, or a callback that raised, in the hub's thread; it starts over with fresh connections."""

    level = "error"
    server: str
    cause: str


class Hub:
    """See the file's docstring.

    `connect(timeout)` gives a fresh connection (it must not refer to the client, or that is never collected);
    `interval` is how many seconds a connection may be silent, and then how long its PONG may take; a channel
    that nobody watches any more is kept for `linger` seconds.
    """

    def __init__(
        self,
        connect: Callable[[float], Connection],
        observer: _signals.Observer,
        *,
        server: str = "server",
        interval: float = 5.0,
        linger: float = 1.0,
        connect_timeout: float = 2.0,
        router: Router | None = None,
        name: str = "holdfast-hub",
    ) -> None:
        self._settings = _Settings(
            connect, observer, server, interval, connect_timeout, router or Here(), name
        )
        self._linger = linger
        self._watches = Watches(linger, self._settings.stumbled)
        self._outbox = Outbox()
        self._trackings = Trackings()
        self._keepings = Keepings()
        self._crew: _Crew | None = None
        self._fired: weakref.finalize[..., Hub] | None = None
        self._closed = False
        with MUTEX:
            _HUBS.add(self)

    def watch(self, channel: str, signal: Waker) -> Watch:
        """Fire `signal` (a Signal or ASignal) as promised above until the watch is closed; a context manager.

        Raises: Closed.
        """
        crew = self._at_work()
        watch = self._watches.add(channel.encode(), signal)
        crew.bell.ring()
        return watch

    def listen(self, channel: str, listener: Listener) -> Watch:
        """Hand every message of `channel` to `listener`, in this hub's thread, until the watch is closed.

        The hub keeps the listener: one that refers to the client keeps it from being collected. Raises:
        Closed.
        """
        crew = self._at_work()
        watch = self._watches.add(channel.encode(), listener, listener.heard)
        crew.bell.ring()
        return watch

    def track(self, prefix: str, holder: Holder, every: float = 0.5, channel: str = "") -> Tracking:
        """Tell `holder` of every change of the keys that start with `prefix`, until the tracking is closed.

        Every `every` seconds it is made sure that all is heard. Prefixes must not overlap. With a `channel`,
        of those keys that are told there. Raises: Closed.
        """
        crew = self._at_work()
        tracking = self._trackings.add(prefix, holder, every, channel)
        crew.bell.ring()
        return tracking

    def deliver(self, name: Hashable, command: Command, done: Callable[[], object]) -> None:
        """Run the idempotent `command` until it is confirmed; then call `done`, in the hub's thread.

        A later command of the same name takes the place of this one, whose `done` is then never called; nor
        is it when the server refuses for good. `done` may run while another thread delivers under the same
        name: what it marks as delivered must be this very command, not the name.

        Raises: Closed; TypeError for an argument that is no str, bytes, int or float.
        """
        self.take_over(Kept(name, command, done))

    def keep(self, keeping: Keeping) -> None:
        """Renew the lease `keeping` until it is closed or lost. Raises: Closed, Unavailable."""
        crew = self._at_work()
        if self._keepings.add(keeping):
            crew.bell.ring()

    def keepings(self) -> list[Keeping]:
        """The leases that are renewed here."""
        return self._keepings.all()

    def take_over(self, kept: Kept) -> None:
        """Deliver what another hub had kept. Raises: Closed."""
        crew = self._at_work()
        self._outbox.put(kept)
        crew.bell.ring()

    def kept(self) -> list[Kept]:
        """The commands not confirmed yet."""
        return self._outbox.all()

    def let_go(self, kept: Kept) -> bool:
        """Leave `kept` to another hub; False if it is not ours any more."""
        return self._outbox.settle(kept)

    def start_over(self, cause: str) -> None:
        """The server is elsewhere now: drop the connections and go there. From any thread."""
        crew = self._crew
        if crew is not None:
            crew.start_over(cause)

    def undelivered(self) -> int:
        """Commands not confirmed yet."""
        return len(self._outbox)

    def close(self, drain: float = 10.0) -> list[Hashable]:
        """Wake every waiter, deliver what can be within `drain` seconds, end; returns the names left over.

        May be repeated, and called from several threads.
        """
        with MUTEX:
            self._closed = True
            crew = self._crew
        self._watches.lost()
        self._trackings.lost()
        self._keepings.abandon("closed")
        if crew is not None:
            crew.leave_by(monotonic() + drain)
            if crew.thread is not threading.current_thread():
                crew.thread.join(drain + GRACE)
        return self._outbox.names()

    def _at_work(self) -> _Crew:
        crew = self._crew
        if crew is not None and crew.thread.is_alive() and not self._closed:
            return crew
        with MUTEX:
            if self._closed:
                raise Closed("this client was closed; make a new one")
            if self._crew is None or not self._crew.thread.is_alive():
                self._hire()
            assert self._crew is not None
            return self._crew

    def _hire(self) -> None:
        crew = _Crew(self._settings, self._watches, self._outbox, self._trackings, self._keepings)
        try:
            crew.thread.start()
        except RuntimeError as error:
            crew.abandon()
            raise Unavailable(f"no thread can be started: {error}") from error
        if self._fired is not None:
            self._fired.detach()
        # The thread does not hold the hub, so a client that was forgotten instead of closed ends its thread.
        self._fired = weakref.finalize(self, crew.leave_by, 0.0)
        self._crew = crew

    def _start_over_in_child(self) -> None:
        crew, self._crew = self._crew, None
        if self._fired is not None:
            self._fired.detach()
        if crew is not None:
            crew.abandon()
        self._watches = Watches(self._linger, self._settings.stumbled)  # who waited is in the parent
        self._outbox.all_again()
        self._trackings.lost()
        self._keepings.abandon("forked")  # they are the parent's
        if (len(self._outbox) or len(self._trackings)) and not self._closed:
            self._at_work()


@dataclass(frozen=True, slots=True)
class _Settings:
    """What the thread is told, and how it tells others."""

    connect: Callable[[float], Connection]
    observer: _signals.Observer
    server: str
    interval: float
    connect_timeout: float
    router: Router
    name: str

    def line(self) -> Line:
        """A connection-to-be."""
        return Line(self.connect, interval=self.interval, connect_timeout=self.connect_timeout)

    def report(self, signal: _signals.Signal) -> None:
        """Tell the observer; it cannot break the thread."""
        try:
            self.observer.notify(signal)
        except Exception:
            log.exception("an observer raised")

    def stumbled(self, error: BaseException) -> None:
        """Tell of an error that has no caller. Logged too: the default observer would keep it to itself."""
        log.error("error in the hub's thread", exc_info=error)
        self.report(HubStumbled(server=self.server, cause=f"{type(error).__name__}: {error}"))

    def settled(self, kept: Kept, refusal: str | None) -> None:
        """A kept command is confirmed, or refused for good."""
        if refusal is None:
            try:
                kept.done()
            except Exception as error:  # noqa: BLE001 (the bug of a callback is not ours)
                self.stumbled(error)
        else:
            command = str(kept.command[0])
            log.error("%s refused %s for good: %s", self.server, command, refusal)
            self.report(CommandDropped(server=self.server, command=command, cause=refusal))


class _Crew:
    """The thread and what only it touches."""

    def __init__(
        self,
        settings: _Settings,
        watches: Watches,
        outbox: Outbox,
        trackings: Trackings,
        keepings: Keepings,
    ) -> None:
        self._settings = settings
        self._watches = watches
        self._outbox = outbox
        self._trackings = trackings
        self._leave_by: float = NEVER
        self._moved = ""
        told = (settings.server, settings.report, settings.router)
        self._ear = Ear(settings.line(), *told, watches, settings.interval)
        self._courier = Courier(settings.line(), *told, outbox, settings.settled)
        self._tracker = Tracker(settings.line(), *told, trackings)
        self._keeper = Keeper(settings.line(), *told, keepings)
        self._keepings = keepings
        self._desks: tuple[Desk, ...] = (self._ear, self._courier, self._tracker, self._keeper)
        self.bell = Bell()
        self.thread = threading.Thread(target=self._run, name=settings.name, daemon=True)

    def leave_by(self, deadline: float) -> None:
        """Go as soon as the outbox is empty, at `deadline` (monotonic) at the latest."""
        self._leave_by = deadline
        self.bell.ring()

    def start_over(self, cause: str) -> None:
        """Make new connections as soon as possible."""
        self._moved = cause
        self.bell.ring()

    def abandon(self) -> None:
        """In the child of a fork: close our copies of the sockets; the parent's stay as they are."""
        for desk in self._desks:
            desk.line.drop()
        self.bell.close()

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            self.abandon()
            self._trackings.lost()
            self._watches.lost()  # whatever the reason: nobody shall sleep through the end
            self._keepings.abandon("closed")
            self._outbox.all_again()

    def _turn(self) -> bool:
        """Work once and wait for more; returns False when it is time to leave."""
        try:
            until = self._work()
            if not self._may_leave():
                self._wait(until)
        except Exception as error:  # noqa: BLE001 (this thread has no caller)
            self._settings.stumbled(error)
            for desk in self._desks:
                desk.lose(error)
            sleep(STUMBLE)  # a bug that repeats must not take the whole processor
        return not self._may_leave()

    def _may_leave(self) -> bool:
        return self._leave_by < NEVER and (not len(self._outbox) or monotonic() >= self._leave_by)

    def _work(self) -> float:
        self.bell.hush()
        leave_by = self._leave_by
        if self._moved:
            cause, self._moved = self._moved, ""
            for desk in self._desks:
                desk.start_over(cause)
        if leave_by < NEVER:
            self._ear.line.drop()
            self._tracker.line.drop()
            self._keeper.line.drop()
            return min(self._courier.work(leave_by), leave_by)
        return min(desk.work(NEVER) for desk in self._desks)

    def _wait(self, until: float) -> None:
        with _Selector() as selector:
            selector.register(self.bell.listener, selectors.EVENT_READ)
            for desk in self._desks:
                if desk.line.connection is not None:
                    selector.register(desk.line.connection, selectors.EVENT_READ)
            # Poll counts in milliseconds of 32 bits; whoever has nothing to do for days looks in between.
            selector.select(None if until == NEVER else max(0.0, min(LONGEST, until - monotonic())))


_HUBS: weakref.WeakSet[Hub] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for hub in list(_HUBS):
        hub._start_over_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        after_in_child=_after_fork_in_child
    )  # runs after the mutex's own: it is imported first
