# Generated from _metering_async.py by tools/unasync.py. Do not edit.
"""The methods of a client that make limiters, sessions, leaderboards and analytics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, Unpack, overload

from holdfast.analytics._analytics_sync import Analytics
from holdfast.analytics.options import AnalyticsKeywords, AnalyticsOptions
from holdfast.errors import ConfigurationError
from holdfast.leaderboards._leaderboard_sync import Leaderboard
from holdfast.leaderboards.options import LeaderboardKeywords, LeaderboardOptions
from holdfast.limits._limiter_sync import Limiter
from holdfast.limits._together_sync import check_all
from holdfast.limits.concurrency._concurrency_sync import ConcurrencyLimiter
from holdfast.limits.concurrency.options import ConcurrencyKeywords, ConcurrencyOptions
from holdfast.limits.decision import Together
from holdfast.limits.options import Limit, LimiterKeywords, LimiterOptions
from holdfast.sessions._sessions_sync import Sessions
from holdfast.sessions.options import SessionsKeywords, SessionsOptions

if TYPE_CHECKING:
    from holdfast._wire._sync import Wire

T = TypeVar("T")


class _Options(Protocol):
    def difference(self, other: Self, /) -> str:
        """What `other` wants otherwise, in words."""


OptionsT = TypeVar("OptionsT", bound=_Options)


class Metering:
    """What a client offers to those who count: what is allowed, who is there, who leads, what happens."""

    _wire: Wire
    _limiters: dict[str, Limiter]
    _slots: dict[str, ConcurrencyLimiter]
    _sessions: dict[str, Sessions[Any]]
    _boards: dict[str, Leaderboard[Any]]
    _analytics: dict[str, Analytics]

    def limiter(
        self, name: str, limits: Limit | Sequence[Limit] | None = None, **options: Unpack[LimiterKeywords]
    ) -> Limiter:
        """The limiter `name`; the same object for the same name. With a name alone: as it was made.

        `limits`: what a subject may do, as `[Limit(10, "1s", burst=20), Limit(1000, "1h")]`. `plans`: other
        limits by name. `on_error`, `deadline`, `breaker`, `local_share`, `local_subjects`: what is decided
        when the server is away, and when it counts as away. `deny_cache`, `deny_entries`: how long, and of
        how many, a denial is remembered here. `shadow`: count, and deny nothing. Each is told in
        LimiterOptions.

        Raises: ConfigurationError, also when the name is in use with other options.
        """
        known = self._limiters.get(name)
        if limits is None:
            if known is None or options:
                raise ConfigurationError(f'limiter {name!r} needs limits, as in [Limit(10, "1s")]')
            return known
        wanted = _settled(LimiterOptions, f"limiter {name!r}", {"limits": limits, **options})
        if known is None:
            known = self._limiters.setdefault(name, Limiter(self._wire, name, wanted))
        _agree(f"limiter {name!r}", known.options, wanted)
        return known

    def check_all(self, items: Sequence[tuple[Limiter, str, int]]) -> Together:
        """Check several limiters at once, as `[(by_user, "ann", 1), (by_address, "10.0.0.1", 1)]`: all
        of them allow it, or nothing is charged anywhere.

        On one server that is one script. In a Cluster they are asked one after the other, in this order, and
        what was charged is given back when one denies: a request beside it may be denied in between, but none
        too many is ever allowed. So name first the one that denies most.
        Raises: ConfigurationError, Closed; not because a server is away.
        """
        return check_all(self._wire, items)

    def concurrency_limiter(
        self, name: str, limit: int | None = None, **options: Unpack[ConcurrencyKeywords]
    ) -> ConcurrencyLimiter:
        """The limiter `name` of what runs at the same time, in the whole fleet: at most `limit` per subject.
        The same object for the same name; with a name alone: as it was made.

        `ttl`: after so long the slot of whoever says nothing is free again. `wait`: how long one waits for a
        slot. Each is told in ConcurrencyOptions.

        Raises: ConfigurationError, also when the name is in use with other options.
        """
        known = self._slots.get(name)
        if limit is None:
            if known is None or options:
                raise ConfigurationError(f"concurrency limiter {name!r} needs a limit, as in 10")
            return known
        where = f"concurrency limiter {name!r}"
        wanted = _settled(ConcurrencyOptions, where, {"limit": limit, **options})
        if known is None:
            known = self._slots.setdefault(name, ConcurrencyLimiter(self._wire, name, wanted))
        _agree(where, known.options, wanted)
        return known

    @overload
    def sessions(
        self, name: str = ..., *, type: type[T], **options: Unpack[SessionsKeywords]
    ) -> Sessions[T]: ...

    @overload
    def sessions(
        self, name: str = ..., *, type: Any = ..., **options: Unpack[SessionsKeywords]
    ) -> Sessions[Any]: ...

    def sessions(
        self, name: str = "sessions", *, type: Any = dict, **options: Unpack[SessionsKeywords]
    ) -> Sessions[Any]:
        """The sessions `name`; the same object for the same name. Without any option: as they were made.

        `idle`, `absolute`: when a session ends. `type`: what its data is (default: a dict). `overlap`: how
        long a replaced id still leads to it. `touch`: how often a use is noted. `renew_after`: when an id
        wants to be replaced. `cipher`: seals what is stored. `version`, `upcast`, `deadline`, `durability`.
        Each is told in SessionsOptions.

        Raises: ConfigurationError, also when the name is in use with other options.
        """
        known = self._sessions.get(name)
        if known is not None and type is dict and not options:
            return known
        wanted = _settled(SessionsOptions, f"sessions {name!r}", {"type": type, **options})
        if known is None:
            known = self._sessions.setdefault(name, Sessions(self._wire, name, wanted))
        _agree(f"sessions {name!r}", known.options, wanted)
        return known

    @overload
    def leaderboard(
        self, name: str, *, type: type[T], **options: Unpack[LeaderboardKeywords]
    ) -> Leaderboard[T]: ...

    @overload
    def leaderboard(
        self, name: str, *, type: Any = ..., **options: Unpack[LeaderboardKeywords]
    ) -> Leaderboard[Any]: ...

    def leaderboard(
        self, name: str, *, type: Any = Any, **options: Unpack[LeaderboardKeywords]
    ) -> Leaderboard[Any]:
        """The leaderboard `name`; the same object for the same name. Without any option: as it was made.

        `ties`: which rank equals have. `order`: is the "high"est or the "low"est score the best? `mode`: what
        a submit does. `periods`, `tz`, `keep`: days, weeks, months and seasons with boards of their own.
        `max_size`: how many are kept. `type`, `codec`: the data of members. `max_staleness`, `durability`,
        `accept_loss`. Each is told in LeaderboardOptions.

        Raises: ConfigurationError, also when the name is in use with other options.
        """
        known = self._boards.get(name)
        if known is not None and type is Any and not options:
            return known
        wanted = _settled(LeaderboardOptions, f"leaderboard {name!r}", {"type": type, **options})
        if known is None:
            known = self._boards.setdefault(name, Leaderboard(self._wire, name, wanted))
        _agree(f"leaderboard {name!r}", known.options, wanted)
        return known

    def analytics(self, name: str, **options: Unpack[AnalyticsKeywords]) -> Analytics:
        """The analytics `name`; the same object for the same name. Without any option: as they were made.

        `resolutions`: how fine, and for how long, is counted, as `{"1m": "2d", "1h": "90d"}`. `tz`: whose
        days. `flush`, `max_pending`: how often, and how much at most, is gathered here before it is written.
        `max_series`: how many combinations of tags a metric may have. Each is told in AnalyticsOptions.

        Raises: ConfigurationError, also when the name is in use with other options.
        """
        known = self._analytics.get(name)
        if known is not None and not options:
            return known
        wanted = _settled(AnalyticsOptions, f"analytics {name!r}", dict(options))
        if known is None:
            known = self._analytics.setdefault(name, Analytics(self._wire, name, wanted))
        _agree(f"analytics {name!r}", known.options, wanted)
        return known

    def meters(self) -> Iterator[tuple[str, Any]]:
        """Everything made so far by the methods above, each with the name of its method: it has `name` and
        `stats()`.
        """
        every: Mapping[str, Mapping[str, Any]] = {
            "limiter": self._limiters,
            "concurrency_limiter": self._slots,
            "sessions": self._sessions,
            "leaderboard": self._boards,
            "analytics": self._analytics,
        }
        return iter([(kind, one) for kind, made in every.items() for one in list(made.values())])


def _settled(kind: type[OptionsT], where: str, told: Mapping[str, Any]) -> OptionsT:
    """The options. Raises: ConfigurationError that says `where`."""
    try:
        return kind(**told)
    except TypeError as error:
        raise ConfigurationError(f"{where}: {str(error).partition('() ')[2] or error}") from None


def _agree(where: str, known: OptionsT, wanted: OptionsT) -> None:
    """Raises: ConfigurationError unless both are the same."""
    differing = known.difference(wanted)
    if differing:
        raise ConfigurationError(f"{where} exists already with other options: {differing}")
