"""SessionInterface for Flask: see holdfast.contrib.sessions for what it promises.

    app = Flask(__name__)
    app.session_interface = SessionInterface(hf.sessions())

    @app.post("/login")
    def log_in():
        ...
        session.login("ann")                    # another id, at once
        session["cart"] = []

`flask.session` is a dict that is read when it is first touched: a request that does not touch it costs
nothing. It is written before the answer is sent, and once more when the answer has been streamed, if it was
changed meanwhile.

`session.permanent = True` makes the browser keep the cookie for PERMANENT_SESSION_LIFETIME; the session
itself ends by the `idle` and `absolute` of its sessions. A cookie is set when its id is new, or `permanent`
changed, and at no other time, whatever SESSION_REFRESH_EACH_REQUEST says: an answer that is late would undo
what another one has set. `modified = True` is never needed: changes are noticed at any depth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self, Unpack

from flask import Flask, request, session
from flask import Request as FlaskRequest
from flask import Response as FlaskResponse
from flask.sessions import SessionInterface as FlaskSessionInterface
from flask.sessions import SessionMixin
from werkzeug.exceptions import ServiceUnavailable

from holdfast.contrib.sessions._settling_sync import Settled, read, settle
from holdfast.contrib.sessions.cookie import (
    CLEAR_SITE_DATA,
    NO_STORE,
    TOO_LATE,
    CookieKeywords,
    CookiePolicy,
    refusal,
)
from holdfast.contrib.sessions.web_session import PERMANENT, Terms, WebSession, needs_a_dict
from holdfast.errors import ConfigurationError, HoldfastError
from holdfast.sessions._sessions_sync import Sessions

About = Callable[[FlaskRequest], Mapping[str, Any]]


class FlaskSession(WebSession, SessionMixin):
    """`flask.session`: a dict, and `login`, `logout`, `regenerate`, `user`, `id` of WebSession."""

    accessed = False
    was_permanent: bool | None = None
    """As it was when it was read."""

    @property
    def sid(self) -> str | None:
        """Its `id`, as Flask-Session calls it."""
        return self.id

    @property
    def new(self) -> bool:  # type: ignore[override]
        """Is nothing of it kept yet?"""
        return self.is_new

    @property
    def modified(self) -> bool:
        """Has the request changed it? Setting it does nothing: changes are noticed at any depth."""
        return self.changed

    @modified.setter
    def modified(self, value: bool) -> None: ...

    def _refuse(self, error: HoldfastError) -> Any:
        raise ServiceUnavailable("The session cannot be reached at the moment.", retry_after=1) from error


class SessionInterface(FlaskSessionInterface):
    """Keeps the sessions of a Flask application on a server.

    `sessions`: where, or a function that returns it, called with the first request that needs it.
    `about(request)`: what to note of the request that begins a session, for `sessions.list(user)`. Other
    keywords: as CookiePolicy; what `app.config` says of the cookie (SESSION_COOKIE_NAME, _SECURE, _SAMESITE,
    _PATH, _DOMAIN) counts where it is not Flask's default and no keyword says otherwise.
    """

    pickle_based = False

    def __init__(
        self,
        sessions: Sessions[Any] | Callable[[], Sessions[Any]],
        *,
        about: About | None = None,
        **policy: Unpack[CookieKeywords],
    ) -> None:
        """Raises: ConfigurationError."""
        self._source = sessions
        self._known: Sessions[Any] | None = None
        self._about = about
        self._said = policy
        self._policies: dict[tuple[Any, ...], CookiePolicy] = {}
        CookiePolicy(**policy)
        if isinstance(sessions, Sessions):
            self._sessions()

    def open_session(self, app: Flask, request: FlaskRequest) -> FlaskSession:
        """The session of a request, not read yet."""
        policy = self.policy(app)
        return FlaskSession(
            policy.found_in(request.headers.get("Cookie", "")),
            self._read,
            user_key=policy.user_key,
            anonymous_when_away=policy.away == "anonymous",
        )

    def save_session(self, app: Flask, session: SessionMixin, response: FlaskResponse) -> None:
        """Write what the request has changed, and set the cookie."""
        assert isinstance(session, FlaskSession)
        if session.accessed or session.touched:
            response.vary.add("Cookie")
        if session.touched and not self._settled(app, session, response):
            return
        session.answered()
        if response.is_streamed and not response.direct_passthrough:
            response.response = _Watched(response.response, lambda: self._late(session))
            response.call_on_close(lambda: self._too_late(session))

    def _settled(self, app: Flask, session: FlaskSession, response: FlaskResponse) -> bool:
        """Write it, and say so in the headers; False if `response` had to be replaced."""
        policy = self.policy(app)
        about = None if self._about is None else partial(self._about, request)
        permanent = bool(session.content.get(PERMANENT))
        try:
            settled = settle(self._sessions(), session, about)
        except HoldfastError as error:
            _replace(response, error)
            return False
        cookie = self._cookie(app, policy, session, settled, permanent)
        if cookie is not None:
            response.headers.add("Set-Cookie", cookie)
        if settled.forget and policy.clear_site_data:
            response.headers["Clear-Site-Data"] = CLEAR_SITE_DATA
        if cookie is not None or "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = NO_STORE
        return True

    def regenerate(self, session: SessionMixin) -> None:
        """Give `session` another id, as Flask-Session does."""
        assert isinstance(session, FlaskSession)
        session.regenerate()

    def policy(self, app: Flask) -> CookiePolicy:
        """The cookie of `app`. Raises: ConfigurationError."""
        config = app.config
        name = config["SESSION_COOKIE_NAME"]
        found = (
            None if name == "session" else name,
            config["SESSION_COOKIE_SECURE"],
            config["SESSION_COOKIE_SAMESITE"],
            self.get_cookie_path(app),
            self.get_cookie_domain(app) or None,
        )
        policy = self._policies.get(found)
        if policy is None:
            told: CookieKeywords = {"cookie": found[0], "path": found[3] or "/", "domain": found[4]}
            if found[1]:
                told["secure"] = True
            if found[2]:
                told["samesite"] = found[2].lower()
            told.update(self._said)
            policy = self._policies[found] = CookiePolicy(**told)
        return policy

    def _cookie(
        self, app: Flask, policy: CookiePolicy, session: FlaskSession, settled: Settled, permanent: bool
    ) -> str | None:
        """The Set-Cookie header that is due."""
        if settled.forget:
            return policy.taken
        id, lasting = settled.id, settled.lasting if policy.persistent else None
        held = session.held
        if id is None and held is not None and not held.superseded and permanent != session.was_permanent:
            id = held.id
        if permanent:
            lasting = app.permanent_session_lifetime.total_seconds()
        return None if id is None else policy.given(id, lasting)

    def _read(self, session: WebSession) -> None:
        read(self._sessions(), session)
        assert isinstance(session, FlaskSession)
        session.was_permanent = bool(session.content.get(PERMANENT))

    def _late(self, session: FlaskSession) -> None:
        """Write what was changed while the answer was streamed."""
        if not session.plan().needs_cookie:
            settle(self._sessions(), session)

    def _too_late(self, session: FlaskSession) -> None:
        plan = session.plan()
        if plan.needs_cookie:
            if plan.end:  # whoever has signed out is signed out
                self._sessions().revoke(session.held)
            raise ConfigurationError(TOO_LATE)

    def _sessions(self) -> Sessions[Any]:
        if self._known is None:
            found = self._source if isinstance(self._source, Sessions) else self._source()
            needs_a_dict(found.options.type)
            self._known = found
        return self._known


class _Watched:
    """The parts of an answer; before the last one has gone, `finish` is called."""

    def __init__(self, parts: Any, finish: Callable[[], None]) -> None:
        self._parts = parts
        self._iterator = iter(parts)
        self._finish = finish

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._iterator)
        except StopIteration:
            self._finish()
            raise

    def close(self) -> None:
        """The client has got all, or is gone."""
        try:
            self._finish()
        finally:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()


def _replace(response: FlaskResponse, error: HoldfastError) -> None:
    """Let `response` say that the session could not be written. Raises: `error`, if it is another."""
    answer = refusal(error)
    if answer is None:
        raise error
    close = getattr(response.response, "close", None)
    if close is not None:
        close()
    response.direct_passthrough = False
    response.headers.clear()
    response.headers.extend(answer.headers)
    response.status_code = answer.status
    response.set_data(answer.body)


def login(user: str, **terms: Unpack[Terms]) -> None:
    """This request's session is `user`'s from now on, under a new id: to be called when they have proved it.

    What nobody had left in the session stays in it, what another user had left goes. `idle`, `absolute`,
    `generation`: as in `WebSession.login`. Raises: ConfigurationError.
    """
    _current().login(user, **terms)


def logout() -> None:
    """End this request's session, and delete its cookie. Another that is under way does not bring it back."""
    _current().logout()


def _current() -> FlaskSession:
    found = session._get_current_object()  # type: ignore[attr-defined]
    if not isinstance(found, FlaskSession):
        raise ConfigurationError(
            "this application has other sessions: app.session_interface = SessionInterface(hf.sessions())"
        )
    return found
