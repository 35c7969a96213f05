"""Exponential backoff with full jitter. Pure.

After "Exponential Backoff And Jitter" (M. Brooker, 2015): of all ways to spread those who try again, drawing
the whole rest at random makes the fewest calls.
"""

from __future__ import annotations


def rest(failures: int, dice: float, *, first: float = 0.02, longest: float = 0.5) -> float:
    """Seconds to wait after so many failures in a row; `dice` is in [0, 1)."""
    return max(0.001, dice * min(longest, first * 2.0 ** min(failures, 16)))
