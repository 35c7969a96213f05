# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncTerm: the time for which we lead."""

from __future__ import annotations

from typing import Any

from holdfast._coord.guard import Guard
from holdfast.errors import LockLost
from holdfast.locks._lease_async import AsyncLease


class AsyncTerm:
    """The time for which we lead. `fence`: greater than that of every earlier term.

    `guard=term` is for `hf.transaction` and `hf.script(...).run`.
    """

    def __init__(self, lease: AsyncLease) -> None:
        self.name = lease.name
        self.fence = lease.fence
        self._lease = lease
        self._asked: str | None = None

    @property
    def lost(self) -> Any:
        """An event (of asyncio) that is set when it is over, or is to be ended by us."""
        return self._lease.lost

    @property
    def cause(self) -> str | None:
        """Why it is over, in a word: one of those of LockLost, "stepped_down" or "stopped". Else None."""
        return self._lease.cause or self._asked

    def remaining(self) -> float:
        """Seconds for which we certainly lead if nothing is renewed; 0.0 when it is over. The server keeps
        others away for half as long again.
        """
        return 0.0 if self.cause is not None else self._lease.remaining()

    def ensure(self) -> None:
        """Make sure that we lead, and shall go on: by what is known here, no question to the server.

        Raises: LockLost.
        """
        self._lease.ensure()
        if self._asked is not None:
            raise LockLost(
                f"leader {self.name!r} is to hand over ({self._asked})", name=self.name, cause=self._asked
            )

    def key(self, name: str) -> str:
        """The key `name` in this client's namespace and the leadership's slot, for what is guarded by it."""
        return self._lease.key(name)

    def guard(self) -> Guard:
        """For `hf.transaction(guard=term)` and `script.run(guard=term)`. It holds until `fn` has ended, also
        after we were asked to hand over.

        Raises: LockLost.
        """
        return self._lease.guard()

    def _ask(self, why: str) -> None:
        """Have it ended by `fn`; the leadership stays ours until then."""
        if self._asked is None:
            self._asked = why
            self._lease._section.tell()

    def __repr__(self) -> str:
        state = f"over: {self.cause}" if self.cause else f"{self.remaining():.3g} s left"
        return f"<{type(self).__name__} of {self.name!r}, fence {self.fence}, {state}>"
