# Generated from _series_async.py by tools/unasync.py. Do not edit.
"""Series: which combinations of tags may be kept. The server says it, for all processes; we remember it
for a while, so that it is asked once an hour, not with each flush.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from holdfast._compat import monotonic
from holdfast._wire._sync import Wire
from holdfast._wire.transport import Command
from holdfast.analytics import rules
from holdfast.analytics.kinds import Base, Call, Gathered
from holdfast.analytics.layout import ALL, OTHER, Place, series_of
from holdfast.analytics.options import AnalyticsOptions
from holdfast.errors import HoldfastError, Refused


class Series:
    """See the file's docstring. `keep`: seconds for which a series is known after its last use."""

    def __init__(
        self,
        wire: Wire,
        name: str,
        options: AnalyticsOptions,
        keep: int,
        place: Callable[[str], Place],
    ) -> None:
        self._wire = wire
        self._name = name
        self._most = options.max_series
        self._keep = keep
        self._place = place
        self._admitted: dict[Base, dict[str, float]] = {}
        self._refused: dict[Base, dict[str, float]] = {}
        self._warned: set[Base] = set()

    def named(self, base: Base, events: Sequence[Gathered]) -> list[tuple[str, Gathered]]:
        """The events, each with the series under which it is kept."""
        admitted = self._admitted[base]
        named = [(series_of(one.items), one) for one in events]
        return [(one if one == ALL or one in admitted else OTHER, event) for one, event in named]

    def forget(self, metric: str) -> None:
        """It was dropped."""
        for known in (self._admitted, self._refused):
            for base in [one for one in known if one.metric == metric]:
                known[base].clear()

    def forget_old(self, now: float) -> None:
        """Whatever has to be asked for again is not to take any memory."""
        for known in (self._admitted, self._refused):
            for base in [one for one, series in known.items() if max(series.values(), default=-1.0) < now]:
                del known[base]

    def forget_all(self) -> None:
        """The server has lost what it knew."""
        self._admitted.clear()
        self._refused.clear()

    def admit(
        self, taken: Mapping[Base, Sequence[Gathered]], patience: float
    ) -> tuple[set[Base], HoldfastError | None]:
        """Ask which of the series that we do not know yet may be kept; the metrics for which the server would
        not say, and why.

        Raises: Unavailable, Closed.
        """
        now = monotonic()
        news = {base: self._news(base, events, now) for base, events in taken.items()}
        asked = {base: wanted for base, wanted in news.items() if wanted}
        trouble: HoldfastError | None = None
        undecided: set[Base] = set()
        while asked:
            some = {base: wanted[: rules.PAGE] for base, wanted in asked.items()}
            calls = {base: self._admission(base, wanted) for base, wanted in some.items()}
            replies, refused = ask(self._wire, calls, patience)
            trouble = refused or trouble
            for base, answers in replies.items():
                self._learn(base, some[base], answers, now)
            undecided |= asked.keys() - replies.keys()
            asked = {base: left for base in replies if (left := asked[base][rules.PAGE :])}
        return undecided, trouble

    def _news(self, base: Base, events: Sequence[Gathered], now: float) -> list[str]:
        admitted, refused = self._admitted.setdefault(base, {}), self._refused.setdefault(base, {})
        for known in (admitted, refused):
            if len(known) > 2 * self._most:
                known.clear()  # it is not to fill the memory; what comes again is asked for again
        wanted = {series_of(one.items) for one in events} - {ALL}
        return sorted(one for one in wanted if max(admitted.get(one, -1.0), refused.get(one, -1.0)) < now)

    def _admission(self, base: Base, wanted: Sequence[str]) -> Call:
        key = self._place(base.metric).own(base.kind.name, "series")
        return Call(rules.ADMIT, (key,), (self._most, self._keep * 1000, *wanted))

    def _learn(self, base: Base, wanted: Sequence[str], answers: Any, now: float) -> None:
        for series, admitted in zip(wanted, answers, strict=True):
            if admitted:
                self._admitted[base][series] = now + rules.NOTED * random.uniform(0.5, 1.0)
                self._refused[base].pop(series, None)
                continue
            self._admitted[base].pop(series, None)
            self._refused[base][series] = now + rules.REFUSED
            if base not in self._warned:
                self._warned.add(base)
                self._wire.observer.notify(
                    rules.SeriesOverflow(analytics=self._name, metric=base.metric, max_series=self._most)
                )


def ask(
    wire: Wire, calls: Mapping[Base, Call], patience: float
) -> tuple[dict[Base, Any], HoldfastError | None]:
    """The replies to calls of different metrics, which leave together; those that the server refuses are
    missing.

    Raises: Unavailable, Closed; then any of them may have been executed.
    """
    replies: dict[Base, Any] = {}
    trouble: HoldfastError | None = None
    bases = list(calls)
    for at in range(0, len(bases), rules.PAGE):
        part = bases[at : at + rules.PAGE]
        commands: list[Command] = [
            ("EVALSHA", one.script.digest, len(one.keys), *one.keys, *one.args)
            for one in (calls[base] for base in part)
        ]
        try:
            answers = wire.execute_many(commands, timeout=patience, retry="safe")
            replies.update(zip(part, answers, strict=True))
        except Refused:
            # One after the other: the server does not know the script yet, or refuses one of them.
            for base in part:
                one = calls[base]
                try:
                    replies[base] = wire.run(one.script, one.keys, one.args, patience)
                except Refused as error:
                    trouble = error
    return replies, trouble
