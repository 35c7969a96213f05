"""Which analytics and metrics there are, and one of them by its name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from holdfast import Holdfast
from holdfast._wire.reply import text
from holdfast.analytics import rules
from holdfast.analytics._analytics_sync import Analytics
from holdfast.analytics.layout import Layout
from holdfast.analytics.options import AnalyticsOptions
from holdfast.cli.analytics.arguments import KINDS
from holdfast.cli.cache.walk import drive, pattern, plain, walk
from holdfast.cli.cache.words import listed, safe
from holdfast.errors import ConfigurationError

_MOST = 1000  # analytics
_LIKE = 3  # names that are suggested


class Metric(NamedTuple):
    """A metric of the analytics `of`. `kinds`: of its figures, the first one is shown. `seen`: when it was
    last written, in seconds since 1970.
    """

    of: str
    name: str
    kinds: tuple[str, ...]
    seen: float


def names(hf: Holdfast) -> list[str]:
    """The analytics that there are. Raises: Unavailable, Refused."""
    begin, _, end = Layout(hf._wire.keys, "\0").index.partition("%00")
    found: set[str] = set()

    def take(key: str) -> bool:
        name = plain(key[len(begin) : -len(end)])
        is_new = name not in found
        found.add(name)
        return is_new

    ask = partial(hf._wire.execute_many, retry="safe")
    drive(ask, walk(pattern(begin, f"*{end}"), _MOST, take, lambda _: None))
    return sorted(found)


def metrics(hf: Holdfast, of: str) -> list[Metric]:
    """The metrics of one analytics, sorted. Raises: Unavailable, Refused."""
    index = Layout(hf._wire.keys, of).index
    found: dict[str, dict[str, float]] = {}
    reply = hf.execute("ZRANGE", index, 0, -1, "WITHSCORES")
    pairs = reply if reply and isinstance(reply[0], list) else zip(reply[::2], reply[1::2], strict=True)
    for member, score in pairs:
        name, _, kind = text(member).partition("\0")
        if kind in KINDS:
            found.setdefault(name, {})[kind] = float(score) / 1000
    return [
        Metric(of, name, tuple(sorted(kinds, key=KINDS.index)), max(kinds.values()))
        for name, kinds in sorted(found.items())
    ]


def every(hf: Holdfast, of: str | None) -> list[Metric]:
    """The metrics of all analytics, or of one. Raises: ConfigurationError, Unavailable, Refused."""
    known = names(hf)
    if of is not None and of not in known:
        raise ConfigurationError(f"no analytics {safe(of)!r} {_in(hf)}; {_near(of, known)}")
    return [one for name in known if of in (None, name) for one in metrics(hf, name)]


def called(hf: Holdfast, of: str | None, metric: str) -> Metric:
    """The metric called so. Raises: ConfigurationError, Unavailable, Refused."""
    known = every(hf, of)
    found = [one for one in known if one.name == metric]
    if not found:
        raise ConfigurationError(
            f"no metric {safe(metric)!r} {_in(hf)}; {_near(metric, sorted({one.name for one in known}))}"
        )
    if len(found) > 1:
        which = listed([safe(one.of) for one in found])
        raise ConfigurationError(
            f"metric {safe(metric)!r} is in {which}; say which: --of {safe(found[0].of)}"
        )
    return found[0]


def opened(hf: Holdfast, of: str) -> Analytics:
    """The analytics `of`, with the resolutions and the time zone with which they are written.

    Raises: ConfigurationError, Unavailable, Refused.
    """
    told = hf.execute("GET", Layout(hf._wire.keys, of).settings)
    return Analytics(hf._wire, of, rules.options_of(text(told)) if told else AnalyticsOptions())


def _in(hf: Holdfast) -> str:
    return f"in the namespace {hf._wire.keys.namespace!r}"


def _near(name: str, known: Sequence[str]) -> str:
    if not known:
        return "nothing was counted yet"
    near = difflib.get_close_matches(name, known, n=_LIKE, cutoff=0.5)
    if near:
        return f"there is {listed([safe(one) for one in near])}"
    return "see: holdfast analytics list"
