"""The deny cache: who was denied a moment ago is denied here, without asking the server. Pure.

A subject that is far over its limit asks most often, and the answer is known: until `retry_after` has passed
it is no for the same cost. So the one who hammers costs a look into a dict. Another cost asks the server: a
smaller one may be allowed, and a greater one has to wait for longer, or is never allowed.

Promise
* What is answered here the server would have answered, had nobody given anything back: a denial is kept until
  its own `retry_after` has passed, counted from before the request was sent, and never longer than `longest`.
* After `drop` (a refund, a reset, an override of this process) no older denial is served: not the one that
  was kept, nor one whose request was under way meanwhile.
* At most `most` subjects are kept; of more, whoever was not asked about for longest is forgotten.

Not promised: that what another process gives back is noticed before `longest` is over.

Thread-safe; the clock is an argument (monotonic).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, NamedTuple

from holdfast._wire.mutex import MUTEX

STRIPES: Final = 256  # a drop refuses the denials under way of 1 in so many subjects, not only of its own
NEVER: Final = float("-inf")


class Denial(NamedTuple):
    """A denial of `cost` under `plan`, asked for at `asked`, that holds until `until`."""

    until: float
    cost: int
    plan: str | None
    asked: float
    decision: Any


class Denials:
    """See the file's docstring. `most`: subjects; `longest`: seconds, 0 keeps nothing."""

    __slots__ = ("_all", "_dropped", "_longest", "_most")

    def __init__(self, most: int, longest: float) -> None:
        self._most = most
        self._longest = longest
        self._all: OrderedDict[str, Denial] = OrderedDict()
        self._dropped = [NEVER] * STRIPES  # by hash of the subject: so long ago must a request be younger

    def __len__(self) -> int:
        return len(self._all)

    def find(self, subject: str, cost: int, plan: str | None, now: float) -> Denial | None:
        """The denial that answers this check; None: ask the server. Takes no lock: it is the hot path."""
        found = self._all.get(subject)
        if found is None or now >= found.until or cost != found.cost or plan != found.plan:
            return None
        try:
            self._all.move_to_end(subject)
        except KeyError:
            return None  # dropped this very moment
        return found

    def put(
        self, subject: str, cost: int, plan: str | None, decision: Any, retry_after: float, asked: float
    ) -> None:
        """The server has denied `cost`, asked at `asked`, and would say yes after `retry_after` seconds."""
        until = asked + min(retry_after, self._longest)
        stripe = hash(subject) % STRIPES
        with MUTEX:
            if asked <= self._dropped[stripe] or until <= asked:
                return  # from before something was given back, or not worth keeping
            known = self._all.get(subject)
            if known is not None and known.plan == plan and known.cost == cost and known.until >= until:
                return  # says more
            self._all[subject] = Denial(until, cost, plan, asked, decision)
            self._all.move_to_end(subject)
            if len(self._all) > self._most:
                self._all.popitem(last=False)

    def drop(self, subject: str, now: float) -> None:
        """Something of `subject` was given back, or its limits have changed: ask the server again."""
        with MUTEX:
            self._dropped[hash(subject) % STRIPES] = now
            self._all.pop(subject, None)

    def drop_all(self, now: float) -> None:
        """The limits of all have changed."""
        with MUTEX:
            self._dropped = [now] * STRIPES
            self._all.clear()
