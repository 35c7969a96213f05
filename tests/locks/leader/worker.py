"""A process that wants to lead: `python worker.py URL NAMESPACE WHO TTL`. It says what happens.

    begin FENCE TIME     it leads
    wrote TIME           it wrote its name, guarded by its term as it was at the beginning
    refused TIME         the server refused that
    away TIME            the server did not answer
    end CAUSE TIME       it was told, has tried to write once more, and has ended

Times are of the monotonic clock, which the processes of one machine share.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from holdfast import Holdfast, LockLost, Unavailable


class Blind:
    """A guard that does not look at the clock of this machine: only the server knows."""

    def __init__(self, term: Any) -> None:
        self._guard = term.guard()

    def guard(self) -> Any:
        """As it was at the beginning."""
        return self._guard


def say(*words: object) -> None:
    """Tell the test."""
    print(*words, f"{time.monotonic():.6f}", flush=True)


def main() -> None:
    """Lead whenever it can be."""
    url, namespace, who, ttl = sys.argv[1:]
    with Holdfast(url, namespace=namespace, timeout="300ms") as hf:

        def work(term: Any) -> None:
            say("begin", term.fence)
            guard: Any = Blind(term)

            def write() -> None:
                try:
                    with hf.transaction(guard=guard) as tx:
                        tx.set(term.key("who"), who)
                    say("wrote")
                except LockLost:
                    say("refused")
                except Unavailable:
                    say("away")

            while not term.lost.wait(0.01):
                write()
            write()
            say("end", term.cause)

        hf.leader("x", ttl=float(ttl), label=who).run(work)


if __name__ == "__main__":
    main()
