"""Was that history possible? Checkers for locks, semaphores and registers, for users' tests too.

    history = History()
    call = history.begin("a1", "acquire", "order:1")       # before the request is sent
    lease = lock.acquire()
    call.done(lease.fence)                                  # never called: its outcome is unknown
    until = time.monotonic() + lease.remaining()
    history.add(Event(who="a1", op="expire", key="order:1", call=until))    # from then on it may be over
    call = history.begin("a1", "release", "order:1")
    ...
    report = check(history.events, FencedMutex())
    assert report, report

histories.py          this: what a user imports
histories_search.py   Event, History, check(): is there an order that explains what everybody saw?
histories_models.py   what is legal: Mutex, FencedMutex, ReadersWriter, Permits, Register
histories_grants.py   Grant, fence_faults(), overlaps(): two exact checks that need no search

Found by `check`: any history that no order of its events explains. Not found: a fault that nobody saw, such
as a lock held twice where both events' intervals leave room for one after the other. So record narrow
intervals, of many clients at once, and let the grants say how long they were certain (`overlaps`).
"""

from __future__ import annotations

from holdfast.testing.histories_grants import Grant, fence_faults, overlaps
from holdfast.testing.histories_models import FencedMutex, Mutex, Permits, ReadersWriter, Register
from holdfast.testing.histories_search import Call, Event, History, Model, No, Report, check

__all__ = [
    "Call", "Event", "FencedMutex", "Grant", "History", "Model", "Mutex", "No", "Permits", "ReadersWriter",
    "Register", "Report", "check", "fence_faults", "overlaps",
]  # fmt: skip
