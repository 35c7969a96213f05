"""Streams against redis-py by hand and the libraries of others: throughput, latency, memory, mishaps.

    python -m benchmarks streams                  everything below but the probes
    python -m benchmarks.streams rates latency    only these
    python -m benchmarks.streams.probes           what goes wrong where: a table of libraries and mishaps

libraries.py  the libraries that are compared
stations.py   Holdfast, and redis-py by hand      peers.py   those of others
rates.py      messages per second: published one by one, in hundreds, and handled with an acknowledgement
latency.py    from before a message is published until its handler begins
memory.py     what a stream holds after a million acknowledged messages
probes.py     how each library takes the mishaps of mishaps.py
stage.py      what these play on                  crew.py    processes that work and die
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.harness import Run
from benchmarks.report import Section

ROUNDS = 5  # at most: there are many candidates


def measure(run: Run) -> list[Section]:
    """All tables."""
    from benchmarks.streams import latency, memory, rates

    run = replace(run, rounds=min(run.rounds, ROUNDS))
    return [section for one in (rates, latency, memory) for section in one.measure(run)]
