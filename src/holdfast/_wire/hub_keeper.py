"""The Keeper: a desk of the hub that renews leases (`hub_keeping` says what it promises). Hub thread only.

It looks at a lease only when there is something to do about it: the book is ordered by time, and by key for
what the server tells. So ten thousand leases cost what their renewals cost. At most `BATCH` renewals are
under way, those that are nearest to their end first, and a line counts as dead when an answer is overdue and
nothing at all was heard: a short lease of one holder must not cost the others theirs.
"""

from __future__ import annotations

from typing import Any

from holdfast import _signals
from holdfast._compat import boottime, monotonic
from holdfast._wire.connection import pack
from holdfast._wire.hub_keeping import FIRST_LOOK, Keeping, Keepings, certain
from holdfast._wire.hub_line import ASKING, NEVER, Asking, Desk, Line, Report, Router, heals
from holdfast._wire.mutex import MUTEX
from holdfast._wire.transport import Reply, ReplyError, WireFailure

HASTE = 0.1  # part of what is left of the shortest lease that a rest after a lost connection may take
PUNCTUAL = 0.85  # part of what is left of it that an attempt to connect may take
BATCH = 256  # renewals under way at once: a crowd must not hold up who is nearer to his end
AGAIN = 0.02  # seconds after which a refused renewal is tried again, at first
_TRACK = pack(("CLIENT", "TRACKING", "ON", "NOLOOP"))


class _Asked:
    """Stands in the queue of debts for a renewal."""

    __slots__ = ("at", "keeping", "text")

    def __init__(self, keeping: Keeping, at: float, *, text: bool = False) -> None:
        self.keeping = keeping
        self.at = at
        self.text = text


class _Tracking:
    """Stands in the queue of debts for CLIENT TRACKING."""


class Keeper(Desk):
    """Renews what is due, hears what has changed, and says what is lost."""

    def __init__(self, line: Line, server: str, report: Report, router: Router, book: Keepings) -> None:
        super().__init__(line, server, report, router)
        self._book = book
        self._tracks = False  # does the server know, on this connection, that it shall tell us
        self._unknown: set[str] = set()  # digests of scripts that it does not know
        self._is_silent = False  # was nothing heard while an answer was overdue
        self._due: dict[Keeping, None] = {}  # to be asked as soon as there is room on the line

    def work(self, give_up: float) -> float:
        """As a Desk's; what is over is said to be lost whatever the connection does."""
        self._book.next_look = NEVER  # whoever comes from now on rings: he may have been overlooked
        until = super().work(give_up)
        self._tell(boottime())
        until = min(until, monotonic() + max(0.0, self._book.next_time() - boottime()))
        if self._is_silent:
            until = monotonic()
        if self._book.is_busy:
            # Most leases are released before anybody has to look at them. Where more are to be expected, a
            # look for nothing is cheaper than being woken by each.
            self._book.is_busy = False
            until = min(until, monotonic() + FIRST_LOOK)
        self._book.next_look = boottime() + max(0.0, until - monotonic())
        return until

    def _tell(self, now: float) -> None:
        """Say what is in danger, and what is lost; note what is to be asked."""
        while (one := self._book.take_next(now)) is not None:
            if one.end <= now:
                one.lose(self._why(one, now))
                continue
            if not one.warned and one.warning <= now:
                one.warned = True
                one.tenant.endangered()
            if one.state == "asked":
                self._wait_for(one, now)
            elif one.script is not None and one.due - one.early <= now:
                self._due[one] = None
                one.due = NEVER
                self._book.plan(one)
            else:
                self._book.plan(one)

    def _wait_for(self, one: Keeping, now: float) -> None:
        """`one` was asked for, and may be overdue."""
        if now >= one.next:
            self._is_silent = self._is_silent or monotonic() - self.line.heard > now - one.asked_at
            one.asked_at = now  # if others are being answered, it will have its turn
        self._book.plan(one)

    def _why(self, one: Keeping, now: float) -> str:
        if one.max_until <= min(now, one.until):
            return "max_hold"
        # Nobody had asked for too long: we stood still ourselves. Else the server has not answered.
        asked = one.state == "asked" or one.failures > 0 or self.line.connection is None
        return "unreachable" if asked and one.script is not None else "expired"

    def _wanted(self) -> bool:
        return self._book.renewed > 0

    def _left(self) -> float:
        """Seconds until there is something to say of the shortest of the leases."""
        return min((one.warning for one in self._book.all()), default=NEVER) - boottime()

    def _work(self, give_up: float) -> float:
        self._tell(boottime())
        if self._is_silent:
            self._is_silent = False
            if self.line.connection is not None:
                raise WireFailure("no answer in time", sent=True)
        if self.line.connection is None and self._wanted():
            # Connecting must not outlast what has to be told in time; the kernel's time-outs come late, by
            # up to an eighth.
            left = self._left()
            if left < AGAIN:
                return monotonic() + max(0.0, left)
            give_up = min(give_up, monotonic() + left * PUNCTUAL)
        return super()._work(give_up)

    def _speak(self) -> float:
        now = boottime()
        self._tell(now)
        questions: list[tuple[Any, bytes]] = []
        for one in sorted(self._due, key=lambda one: one.end)[: max(0, BATCH - self.line.owes)]:
            self._due.pop(one)
            questions += self._question(one, now)
        if questions:
            if not self._tracks:
                self._tracks = True
                questions.insert(0, (_Tracking(), _TRACK))
            self.line.send(questions)
        return NEVER

    def _question(self, one: Keeping, now: float) -> list[tuple[Any, bytes]]:
        assert one.script is not None
        with MUTEX:
            if one.state != "held" or one.book is not self._book:
                return []
            one.due = now + one.every
            one.asked_at = now
            one.state = "asked"
        self._book.plan(one)
        text = one.script.digest in self._unknown
        asked: list[tuple[Any, bytes]] = [(_Asked(one, now, text=text), one.packed(text=text))]
        return [(Asking(), ASKING), *asked] if one.asking else asked

    def _hear(self, reply: Reply) -> None:
        if isinstance(reply, list) and reply and reply[0] == b"invalidate":
            self._book.look_again(reply[1])
            return
        asked = self.line.settle(object)
        if not isinstance(asked, _Asked):
            return  # refused tracking is no harm: losses are then found at the next renewal
        one = asked.keeping
        with MUTEX:
            if one.state != "asked":
                return  # closed, or lost, meanwhile
            one.state = "held"
        if isinstance(reply, ReplyError):
            self._refused(asked, str(reply))
        elif reply in (1, 2):
            self._renewed(one, asked, wanted=reply == 2)
        else:
            one.lose("vanished" if reply == 0 else "taken")
            return
        if one.book is self._book:
            self._book.plan(one)

    def _renewed(self, one: Keeping, asked: _Asked, *, wanted: bool) -> None:
        one.until = certain(asked.at, one.ttl)
        one.is_tracked = True
        one.warned = one.alone = False
        one.failures = 0
        if asked.text and one.script is not None:
            self._unknown.discard(one.script.digest)
        if one.tenant.renewed(one.until) is False:
            one.close()
            return
        if wanted:
            one.tenant.wanted()

    def _refused(self, asked: _Asked, message: str) -> None:
        one = asked.keeping
        assert one.script is not None
        if message.startswith("NOSCRIPT") and not asked.text:
            self._unknown.add(one.script.digest)
            one.due = 0.0
        elif message.startswith(("MOVED ", "ASK ")):
            one.due = boottime() + AGAIN
            self._router.rehouse(one, message)
        elif message.startswith("TRYAGAIN ") and not one.alone and one.least < len(one.keys):
            one.alone, one.due = True, 0.0
        elif message.startswith("READONLY "):
            raise WireFailure(
                message, sent=True
            )  # a demoted primary: the next connection leads to the new one
        else:
            # Loading, out of memory, too few replicas: it may pass; until then the lease's own end counts.
            one.failures += 1
            one.due = boottime() + min(one.every, AGAIN * 2.0 ** min(one.failures, 10))
            if one.failures == 1 and not heals(message, "EVALSHA", self._server):
                consequence = f"a lease cannot be renewed and ends by itself ({message})"
                self._report(
                    _signals.ServerWarning(server=self._server, setting="ACL", consequence=consequence)
                )

    def _lost(self) -> None:
        # A fleet must not return as one. But connecting is cheap and a lease is not: the nearer its end, the
        # shorter the rest.
        left = min((one.end for one in self._book.all()), default=NEVER) - boottime()
        self._due.clear()
        self.line.not_before = min(self.line.not_before, monotonic() + max(AGAIN, left * HASTE))
        self._tracks = False
        self._unknown.clear()
        self._book.lost()
