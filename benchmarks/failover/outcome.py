"""What one round came to, for one client. Pure: notes and moments in, figures out.

An outage is the longest time without a success that ends after the fault. One that had not ended with the
window is None, "longer than we looked". A lane is back when it succeeds, and neither fails nor pauses later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from benchmarks.failover.plan import Op, Row, Stand, Track

PAUSE = 0.25  # seconds without a success that count as a disturbance
LONG = 0.5  # seconds of a call that are worth a line
_LINES = 8


class Moments(NamedTuple):
    """Monotonic times: of the beginning of the traffic, of the fault, and of the end of the window."""

    begun: float
    fault: float
    end: float


def outage(track: Track, moments: Moments) -> float | None:
    """The longest time without a success around the fault and after it; None if it had not ended."""
    last, longest = moments.fault, 0.0
    for op in track.ops:
        if op.error:
            continue
        if op.end > moments.fault:
            longest = max(longest, op.end - last)
        last = op.end
    return longest if _ended(track, last, moments) else None


def _ended(track: Track, last: float, moments: Moments) -> bool:
    failing = bool(track.ops) and bool(track.ops[-1].error)
    return not failing and moments.end - last < PAUSE


def back(track: Track, moments: Moments) -> float | None:
    """Seconds from the fault to the first success after which all went well; None for never."""
    last, since, troubled = moments.fault, moments.fault, False
    for op in track.ops:
        if op.end <= moments.fault:
            last = op.end
            continue
        if op.error:
            troubled = True
            continue
        if troubled or op.end - last > PAUSE:
            since, troubled = op.end, False
        last = op.end
    return since - moments.fault if _ended(track, last, moments) else None


def before(track: Track, moments: Moments) -> float:
    """The longest time without a success before the fault."""
    ends = [op.end for op in track.ops if not op.error and op.end <= moments.fault]
    return max((later - earlier for earlier, later in pairwise(ends)), default=0.0)


# --- consistency --------------------------------------------------------------------------------------------


def lost(tracks: Iterable[Track], stand: Stand) -> list[Op]:
    """Acknowledged writes that the servers do not have."""
    return [op for track in tracks if track.kind == "set" for op in track.ops
            if not op.error and track.key(op.number) not in stand.keys]  # fmt: skip


def denied(tracks: Iterable[Track], stand: Stand) -> list[Op]:
    """Writes of which the client said that they had not happened, and which the servers have."""
    return [op for track in tracks if track.kind == "set" for op in track.ops
            if op.error and not op.maybe and track.key(op.number) in stand.keys]  # fmt: skip


def counted(track: Track, stand: Stand) -> tuple[int, int]:
    """Of a counter: effects that nobody asked for, and acknowledged ones that are gone.

    From one answer to the next it may grow by what lies between: one for the call itself, and one for each
    that may have happened. More is a call that counted twice, less one that was forgotten. A count of the
    whole round would let one hide the other.
    """
    doubled = missing = maybe = value = 0
    for op in track.ops:
        if op.error:
            maybe += op.maybe
            continue
        grown = op.value - value
        doubled += max(0, grown - 1 - maybe)
        missing += max(0, 1 - grown)
        value, maybe = op.value, 0
    maybe += track.pending is not None
    final = stand.counters.get(track.counter, 0)
    doubled += max(0, final - value - maybe)
    missing += max(0, value - final)
    return doubled, missing


# --- together -----------------------------------------------------------------------------------------------


def worst(values: Iterable[float | None]) -> float | None:
    """The longest; None, which is longer than any, if there is one."""
    found = list(values)
    return None if None in found else max((one for one in found if one is not None), default=0.0)


def outcome(tracks: Sequence[Track], moments: Moments, stand: Stand) -> Row:
    """All figures of one client in one round."""
    writers = [track for track in tracks if track.kind == "set" and not track.healthy]
    readers = [track for track in tracks if track.kind == "get"]
    others = [track for track in tracks if track.healthy]
    counter = next(track for track in tracks if track.kind == "incr")
    doubled, missing = counted(counter, stand)
    gone = lost(tracks, stand)
    ops = [op for track in tracks for op in track.ops]
    return {
        "writes": worst(outage(track, moments) for track in writers),
        "reads": worst(outage(track, moments) for track in readers),
        "healthy": worst(outage(track, moments) for track in others),
        "healthy_before": worst(before(track, moments) for track in others),
        "writes_back": worst(back(track, moments) for track in writers),
        "reads_back": worst(back(track, moments) for track in readers),
        "acknowledged": sum(not op.error for track in tracks if track.kind == "set" for op in track.ops),
        "lost": len(gone),
        "lost_at": _span(gone, moments),
        "denied": len(denied(tracks, stand)),
        "doubled": doubled,
        "uncounted": missing,
        "errors": dict(Counter(op.error for op in ops if op.error)),
        "errors_at": {name: _span([op for op in ops if op.error == name], moments)
                      for name in sorted({op.error for op in ops if op.error})},
        "errors_before": sum(bool(op.error) and op.end < moments.fault for op in ops),
        "longest": max([op.end - op.start for op in ops]
                       + [moments.end - track.pending[0] for track in tracks if track.pending]),
        "stuck": [[track.lane, round(track.pending[0] - moments.fault, 3)]
                  for track in tracks if track.pending],
        "long": _long(tracks, moments),
    }  # fmt: skip


def _span(ops: Sequence[Op], moments: Moments) -> list[float]:
    """When the calls began: the first and the last, in seconds from the fault."""
    starts = [round(op.start - moments.fault, 3) for op in ops]
    return [min(starts), max(starts)] if starts else []


def _long(tracks: Sequence[Track], moments: Moments) -> list[Any]:
    found = [
        [track.lane, round(op.start - moments.fault, 3), round(op.end - op.start, 3), op.error]
        for track in tracks
        for op in track.ops
        if op.end - op.start > LONG
    ]
    return sorted(found, key=itemgetter(2), reverse=True)[:_LINES]
