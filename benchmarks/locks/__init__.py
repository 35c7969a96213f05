"""Locks against those of others: what they cost, how fast they change hands, and who is told of a loss.

    python -m benchmarks locks                    everything below but the probes, about fourteen minutes
    python -m benchmarks.locks solo handoff       only these
    python -m benchmarks.locks.probes             what goes wrong where: a table of libraries and mishaps

libraries.py  the locks that are compared, each as its documentation recommends it
solo.py       a lock that nobody else wants
handoff.py    from one holder to the next
waiting.py    what those who wait cost the server
crowd.py      many who want it for a millisecond each
loss.py       from the loss of a lock until its section is cancelled
probes.py     how each library takes the mishaps of mishaps.py and failovers.py
stage.py      what these play on      actors.py   who plays      frozen.py   a process that is frozen
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.harness import Run
from benchmarks.report import Section

ROUNDS = 5  # at most: whoever waits is slow to measure


def measure(run: Run) -> list[Section]:
    """All tables."""
    from benchmarks.locks import crowd, handoff, loss, solo, waiting

    run = replace(run, rounds=min(run.rounds, ROUNDS))
    return [section for one in (solo, handoff, waiting, crowd, loss) for section in one.measure(run)]
