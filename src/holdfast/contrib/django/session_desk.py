"""What the session engine for Django is set to, and what it reads in the data that Django keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, cast, get_args

from django.conf import settings  # type: ignore[import-untyped]
from django.utils import timezone  # type: ignore[import-untyped]

from holdfast.contrib.sessions.cookie import Away
from holdfast.contrib.sessions.web_session import needs_a_dict
from holdfast.errors import ConfigurationError
from holdfast.sessions._sessions_async import AsyncSessions
from holdfast.sessions._sessions_sync import Sessions

SETTING: Final = "HOLDFAST_SESSIONS"
USER: Final = "_auth_user_id"  # where django.contrib.auth notes who has signed in
EXPIRY: Final = "_session_expiry"  # where set_expiry does

About = Callable[[Any], Mapping[str, Any]]


class Desk:
    """The setting HOLDFAST_SESSIONS, understood."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        """Raises: ConfigurationError, naming the key and its value."""
        self._told = told
        if unknown := set(told) - {"sessions", "async_sessions", "away", "about"}:
            raise ConfigurationError(f"{SETTING} has the unknown key {min(unknown)!r}")
        if told.get("sessions") is None:
            raise ConfigurationError(
                f'{SETTING} must be a dict with "sessions", as in {{"sessions": hf.sessions(idle="14d")}}'
            )
        self.away: Away = told.get("away", "refuse")
        if self.away not in get_args(Away):
            raise ConfigurationError(
                f'{SETTING}: "away" is {self.away!r}; it must be "refuse" or "anonymous"'
            )
        self.about: About | None = told.get("about")
        self._sessions: Sessions[Any] | None = None
        self._async_sessions: AsyncSessions[Any] | None = None

    def sessions(self) -> Sessions[Any]:
        """The sessions. Raises: ConfigurationError if they are none."""
        if self._sessions is None:
            found = self._told["sessions"]
            found = found if isinstance(found, Sessions) or not callable(found) else found()
            if not isinstance(found, Sessions):
                raise ConfigurationError(f'{SETTING}: "sessions" is {found!r}; give hf.sessions(...)')
            needs_a_dict(found.options.type)
            self._sessions = found
        return self._sessions

    def async_sessions(self) -> AsyncSessions[Any] | None:
        """The same for asyncio, if they were given. Raises: ConfigurationError if they are none."""
        if self._async_sessions is None and self._told.get("async_sessions") is not None:
            found = self._told["async_sessions"]
            found = found if isinstance(found, AsyncSessions) or not callable(found) else found()
            if not isinstance(found, AsyncSessions):
                raise ConfigurationError(f'{SETTING}: "async_sessions" is {found!r}; give ahf.sessions(...)')
            needs_a_dict(found.options.type)
            self._async_sessions = found
        return self._async_sessions

    @property
    def idle(self) -> float:
        """Seconds without a use after which a session ends, unless set_expiry says otherwise."""
        return cast("float", self.sessions().options.idle)

    @property
    def absolute(self) -> float:
        """Seconds that a session lasts at most."""
        return cast("float", self.sessions().options.absolute)


_known: tuple[Any, Desk] | None = None


def desk() -> Desk:
    """The Desk of the setting as it is now. Raises: ConfigurationError if it is missing or wrong."""
    global _known  # noqa: PLW0603
    told = getattr(settings, SETTING, None)
    if _known is None or _known[0] is not told:
        _known = (told, Desk(dict(told or {})))
    return _known[1]


def user_in(data: Mapping[str, Any]) -> str | None:
    """Who has signed in."""
    found = data.get(USER)
    return None if found is None or not str(found) else str(found)


def lasting(data: Mapping[str, Any]) -> float | None:
    """What `set_expiry` has said, in seconds from now, at least a millisecond; None: nothing."""
    expiry = data.get(EXPIRY)
    if not expiry:
        return None
    if isinstance(expiry, str | datetime):
        left: float = (_moment(expiry) - timezone.now()).total_seconds()
        return max(0.001, left)
    return max(0.001, float(expiry))


def is_over(data: Mapping[str, Any]) -> bool:
    """Has the moment come that `set_expiry` has set?"""
    expiry = data.get(EXPIRY)
    if isinstance(expiry, str | datetime):
        return bool(_moment(expiry) <= timezone.now())
    return isinstance(expiry, int | float) and expiry < 0


def _moment(expiry: str | datetime) -> datetime:
    return datetime.fromisoformat(expiry) if isinstance(expiry, str) else expiry
