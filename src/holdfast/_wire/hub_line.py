"""The hub's two connections: `Ear` listens to channels, `Courier` delivers what must arrive. Hub thread only.

Both stand on a `Line`: a connection that is made anew for ever, and the answers it still owes. A socket can
look healthy while nobody is at the other end (a frozen server, a pulled cable), so a line that owes an answer
for longer than `interval` counts as lost, and a silent one is asked for a PONG; the kernel's opinion is never
waited for. Answers come in the order of the questions, messages in between, so the oldest debt tells what an
answer is about.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from holdfast import _signals
from holdfast._compat import monotonic
from holdfast._wire import verdict
from holdfast._wire.connection import pack
from holdfast._wire.hub_ledger import Channel, Kept, Outbox, State, Watches
from holdfast._wire.transport import Reply, ReplyError, WireFailure
from holdfast.errors import OutOfMemory, ReadOnly, Unavailable

if TYPE_CHECKING:
    from holdfast._wire.hub_keeping import Keeping

T = TypeVar("T")

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
IDLE = 30.0  # seconds after which a connection without work is closed, before a firewall forgets it
BATCH = 128  # commands under way at once: enough to use the connection, too few to block on a full socket
NEVER = float("inf")
PING = pack(("PING",))
ASKING = pack(("ASKING",))

Report = Callable[[_signals.Signal], None]
Settled = Callable[[Kept, str | None], None]  # a command, and why the server never takes it (None: it did)


class Router(Protocol):
    """Who knows where things are, if that can change: told of every sign that they are not here any more."""

    def doubt(self) -> None:
        """The connection was lost, or the server refuses what the right one would not."""

    def misplaced(self, message: str) -> None:
        """The server said with `message` (MOVED) that a channel is not here."""

    def reroute(self, kept: Kept, message: str) -> bool:
        """The server said with `message` (MOVED, ASK) that the keys of `kept` are not here: True if somebody
        else takes care of it now.
        """

    def rehouse(self, keeping: Keeping, message: str) -> None:
        """The server said with `message` (MOVED, ASK) that the keys of a lease are not here."""


class Doubtful(Protocol):
    """An endpoint, as far as the hub needs it."""

    def doubt(self) -> bool:
        """Look again where the server is."""


class Here:
    """The router where there is one server at a time."""

    def __init__(self, endpoint: Doubtful | None = None) -> None:
        self._endpoint = endpoint

    def doubt(self) -> None:
        """It may be another one now."""
        if self._endpoint is not None:
            self._endpoint.doubt()

    def misplaced(self, message: str) -> None:
        """There is no other place for a channel."""

    def reroute(self, kept: Kept, message: str) -> bool:  # noqa: ARG002 (a Router's)
        """There is no other place for a command."""
        return False

    def rehouse(self, keeping: Keeping, message: str) -> None:
        """There is no other place for a lease."""


class Connection(Protocol):
    """What the hub needs of `pool.Connection`."""

    def send(self, packed: bytes, timeout: float) -> None:
        """Send requests. Raises: WireFailure."""

    def read(self, timeout: float) -> Reply:
        """The next reply. Raises: TimeoutError if none came, WireFailure if the connection is lost."""

    def fileno(self) -> int:
        """The socket's number, for poll."""

    def close(self) -> None:
        """Close the socket, without telling the server: the parent of a fork may still use it."""


def pause(failures: int, dice: float) -> float:
    """Seconds to wait after `failures` failures in a row. Full jitter: a fleet must not return as one."""
    return dice * min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10))


class Line:
    """A connection that is made anew whenever it was lost."""

    def __init__(
        self, connect: Callable[[float], Connection], *, interval: float, connect_timeout: float
    ) -> None:
        self._connect = connect
        self.interval = interval
        self._connect_timeout = connect_timeout
        self._failures = 0
        self._debts: deque[tuple[Any, float]] = deque()  # whose answer is awaited, since when
        self.connection: Connection | None = None
        self.heard = 0.0
        self.not_before = 0.0

    @property
    def owes(self) -> int:
        """Answers still to come."""
        return len(self._debts)

    def open(self, give_up: float) -> None:
        """Connect. Raises: whatever `connect` raises."""
        timeout = max(0.001, min(self._connect_timeout, give_up - monotonic()))
        self.connection = self._connect(timeout)
        self.heard = monotonic()

    def send(self, questions: Sequence[tuple[Any, bytes]]) -> None:
        """Send in one write; each question is (who gets the answer, packed command). Raises: WireFailure."""
        assert self.connection is not None
        now = monotonic()
        self._debts.extend((owner, now) for owner, _ in questions)
        self.connection.send(b"".join(packed for _, packed in questions), self.interval)

    def receive(self) -> Iterator[Reply]:
        """What has arrived. Raises: WireFailure."""
        while self.connection is not None:
            try:
                reply = self.connection.read(0)
            except TimeoutError:
                return
            self.heard = monotonic()
            if not isinstance(reply, ReplyError):
                self._failures = 0
            yield reply

    def settle(self, kind: type[T]) -> T:
        """Whose answer has just come. Raises: WireFailure if no answer to such a one was awaited."""
        if not self._debts or not isinstance(self._debts[0][0], kind):
            raise WireFailure("an answer that nobody asked for", sent=True)
        owner: T = self._debts.popleft()[0]
        return owner

    def settled(self, owner: object) -> bool:
        """Is it the answer to `owner` that has just come? It may also be one that nobody has asked for."""
        if not self._debts or self._debts[0][0] != owner:
            return False
        self._debts.popleft()
        return True

    def deadline(self) -> float:
        """When the oldest answer is overdue. Raises: WireFailure if that has passed."""
        if not self._debts:
            return NEVER
        deadline = self._debts[0][1] + self.interval
        if deadline <= monotonic():
            raise WireFailure(f"no answer within {self.interval:.3g} s", sent=True)
        return deadline

    def rest(self) -> None:
        """Leave the server in peace for a moment."""
        self.not_before = monotonic() + pause(self._failures, random.random())
        self._failures += 1

    def forgive(self) -> None:
        """Forget former failures: the next attempt is made at once."""
        self._failures = 0
        self.not_before = 0.0

    def drop(self) -> None:
        """Close; what is owed will never come."""
        connection, self.connection = self.connection, None
        self._debts.clear()
        if connection is not None:
            connection.close()


class Desk:
    """What Ear and Courier share: keep a line while there is work, read it, say when to be called again."""

    def __init__(self, line: Line, server: str, report: Report, router: Router) -> None:
        self.line = line
        self._server = server
        self._report = report
        self._router = router
        self._away = False  # so that an outage is told once, not at every attempt

    def work(self, give_up: float) -> float:
        """Do what is due; returns the monotonic time of the next call (earlier if something can be read).

        `give_up`: when the hub closes.
        """
        try:
            for reply in self.line.receive():
                self._hear(reply)
            return self._work(give_up)
        except WireFailure as failure:
            self.lose(failure)
            return self.line.not_before

    def _work(self, give_up: float) -> float:
        if not self._wanted():
            return self._idle()
        if self.line.connection is None:
            if monotonic() < self.line.not_before:
                return self.line.not_before
            try:
                self.line.open(give_up)
            except Exception as error:  # unreachable, full, wrong password: all of it may be mended any time
                raise WireFailure(str(error), sent=False) from error
            self._away = False
            self._report(_signals.Connected(server=self._server, purpose="hub"))
        return min(self._speak(), self.line.deadline())

    def _idle(self) -> float:
        if self.line.connection is None:
            return NEVER
        until = self.line.heard + IDLE
        if until <= monotonic():
            self.line.drop()
            return NEVER
        return min(until, self.line.deadline())

    def lose(self, error: BaseException) -> None:
        """The line is no good any more: close it, rest, start over."""
        owed = self.line.owes
        self.line.drop()
        self.line.rest()
        self._lost()
        self._router.doubt()
        if not self._away:
            self._away = True
            cause = str(error) or type(error).__name__
            lost = _signals.Disconnected(server=self._server, purpose="hub", cause=cause, unanswered=owed)
            self._report(lost)

    def start_over(self, cause: str) -> None:
        """The server is elsewhere now: go there without a rest."""
        if self.line.connection is not None:
            self.lose(WireFailure(cause, sent=True))
        self.line.forgive()

    def _wanted(self) -> bool:
        raise NotImplementedError

    def _speak(self) -> float:
        raise NotImplementedError

    def _hear(self, reply: Reply) -> None:
        raise NotImplementedError

    def _lost(self) -> None:
        raise NotImplementedError


class Leaving(NamedTuple):
    """Stands in the queue of debts for an unsubscription."""

    name: bytes


class Pinging:
    """Stands in the queue of debts for a PING."""


class Asking:
    """Stands in the queue of debts for an ASKING."""


class Ear(Desk):
    """Keeps the watched channels subscribed, and passes on every message, confirmation, refusal and loss."""

    def __init__(
        self, line: Line, server: str, report: Report, router: Router, watches: Watches, interval: float
    ) -> None:
        super().__init__(line, server, report, router)
        self._watches = watches
        self._interval = interval
        self._refusal_told = False

    def _wanted(self) -> bool:
        return len(self._watches) > 0

    def _speak(self) -> float:
        self._watches.found()
        # One command each: a refusal then concerns one channel, and a Cluster has channels in many slots.
        questions: list[tuple[Any, bytes]] = [
            *((channel, pack(("SSUBSCRIBE", channel.name))) for channel in self._watches.take_new()),
            *((Leaving(name), pack(("SUNSUBSCRIBE", name))) for name in self._watches.take_idle(monotonic())),
        ]
        next_ping = self.line.heard + self._interval
        if not questions and not self.line.owes and next_ping <= monotonic():
            questions.append((Pinging(), PING))
        if questions:
            self.line.send(questions)
        return min(self._watches.next_idle(), NEVER if self.line.owes else next_ping)

    def _hear(self, reply: Reply) -> None:
        kind = bytes(reply[0]) if isinstance(reply, list) and reply else b""
        if kind == b"smessage":
            self._watches.message(reply[1], reply[2])
        elif kind == b"ssubscribe":
            self._watches.settle(self.line.settle(Channel), State.ON)
        elif kind == b"sunsubscribe":
            if not self.line.settled(Leaving(reply[1])):
                self._watches.displaced(reply[1])  # nobody has asked for it: its slot has moved
        elif isinstance(reply, ReplyError):
            self._refused(str(reply))
        else:
            self.line.settle(Pinging)

    def _refused(self, message: str) -> None:
        channel = self.line.settle(object)
        if message.startswith("MOVED "):
            self._router.misplaced(message)
            if isinstance(channel, Leaving) or (isinstance(channel, Channel) and self._watches.left(channel)):
                return  # who watches it does so elsewhere now
            raise WireFailure(message, sent=True)
        if not isinstance(channel, Channel) or heals(message, "SSUBSCRIBE", self._server):
            raise WireFailure(message, sent=True)
        if not self._refusal_told:
            self._refusal_told = True
            consequence = f"whoever waits polls instead of being woken ({message})"
            self._report(_signals.ServerWarning(server=self._server, setting="ACL", consequence=consequence))
        self._watches.settle(channel, State.REFUSED)

    def _lost(self) -> None:
        self._watches.lost()


def heals(message: str, command: str, server: str) -> bool:
    """Does the reason for the error reply `message` pass (loading, out of memory, read-only, disk full)?"""
    error = verdict.of_reply(message, command, server).error
    return isinstance(error, Unavailable | OutOfMemory | ReadOnly)


class Courier(Desk):
    """Sends every kept command until the server has confirmed it."""

    def __init__(
        self, line: Line, server: str, report: Report, router: Router, outbox: Outbox, settled: Settled
    ) -> None:
        super().__init__(line, server, report, router)
        self._outbox = outbox
        self._settled = settled

    def _wanted(self) -> bool:
        return len(self._outbox) > 0

    def _speak(self) -> float:
        if monotonic() < self.line.not_before:
            return self.line.not_before
        batch = self._outbox.take(BATCH - self.line.owes)
        if batch:
            questions: list[tuple[Any, bytes]] = []
            for kept in batch:
                if kept.asking:
                    questions.append((Asking(), ASKING))
                questions.append((kept, kept.packed))
            self.line.send(questions)
        return NEVER

    def _hear(self, reply: Reply) -> None:
        kept = self.line.settle(object)
        if not isinstance(kept, Kept):
            return
        refusal = str(reply) if isinstance(reply, ReplyError) else None
        if refusal is not None and refusal.startswith(("MOVED ", "ASK ")):
            if not self._router.reroute(kept, refusal):
                self._outbox.again(kept)
                self.line.rest()
        elif refusal is not None and refusal.startswith("READONLY "):
            raise WireFailure(refusal, sent=True)  # a demoted primary: the next connection leads to the new
        elif refusal is not None and heals(refusal, str(kept.command[0]), self._server):
            self._outbox.again(kept)
            if self.line.not_before <= monotonic():  # one rest for a whole batch of refusals
                self.line.rest()
        elif self._outbox.settle(kept):
            self._settled(kept, refusal)

    def _lost(self) -> None:
        self._outbox.all_again()
