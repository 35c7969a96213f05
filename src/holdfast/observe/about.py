"""What a metric is, and what is said to Prometheus of it."""

from __future__ import annotations

from typing import NamedTuple

Sample = tuple[str, tuple[str, ...], float]
"""Metric, values of its labels, number. A summary has two: `_count` and `_sum` behind its name."""


class About(NamedTuple):
    """What a metric is: a counter, a gauge or a summary. A counter's name gets `_total` appended."""

    kind: str
    labels: tuple[str, ...]
    meaning: str
