"""A session engine for Django.

    SESSION_ENGINE = "holdfast.contrib.django.sessions"
    HOLDFAST_SESSIONS = {"sessions": hf.sessions(idle="14d", absolute="90d")}

`sessions` is an object of `Holdfast.sessions` (without a `type`), or a function that returns one, called when
a session is first needed. `away`, `about`, `async_sessions`: see below.

`request.session` works as Django documents it: `set_expiry`, `cycle_key`, `flush`, `login`, `logout`, the
settings of the cookie. Promised on top of it:

* A session is its user's: `login` and `logout` of django.contrib.auth are followed. So `revoke_all(user)`
  signs him out everywhere, and `active(user)` says where he is signed in.
* Only keys that were changed are written, so two requests at a time do not undo each other's work.
* A request that ends after `logout` brings nothing back: Django answers it with 400 (SessionInterrupted).
* The id changes at login, and the one before it is dead at once. An unknown id never becomes a session, and
  does not make Django delete the cookie: another answer may have set a new one a moment ago.
* With SessionMiddleware of this module in the place of Django's, a view that needs the session while the
  server is away is answered with 503 instead of 500, and so is a change that could not be saved. With
  `"away": "anonymous"` it is read as nobody's; changing it is 503 in any case.

Different from Django's own engines: `session_key` is final when the session was saved; after `login`, that is
when the answer is there. SESSION_SERIALIZER is not used: data is msgpack, so top-level keys are str, and
values plain types (also datetime and bytes). `idle` ends a session, whether or not it was saved meanwhile;
`set_expiry` sets it for one session, and `absolute` bounds both (at login, and of a new session, `set_expiry`
may extend it). `clear_expired` has nothing to do.

With SessionMiddleware of this module, `"about": function` says what to note of a request that begins a
session, such as the device, for `active(user)`.

Async views: `aget`, `asave` and so on run in threads. With `async_sessions`, an AsyncSessions of the same
name and options, or a function that returns one, they run on the loop; that takes one loop for the whole life
of the process, as under uvicorn.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings  # type: ignore[import-untyped]
from django.contrib.sessions.backends.base import UpdateError  # type: ignore[import-untyped]
from django.contrib.sessions.exceptions import SessionInterrupted  # type: ignore[import-untyped]
from django.http import HttpResponse  # type: ignore[import-untyped]

from holdfast.contrib.django import session_base
from holdfast.contrib.django.session_desk import desk, is_over, lasting, user_in
from holdfast.contrib.sessions.cookie import refusal
from holdfast.errors import HoldfastError, Refused, SessionGone, Unavailable
from holdfast.sessions import ids
from holdfast.sessions.options import KEEP, SessionInfo

T = TypeVar("T")


class Ask(NamedTuple):
    """One question to the sessions: a method of Sessions, and of AsyncSessions, with its arguments."""

    verb: str
    args: tuple[Any, ...] = ()
    named: Mapping[str, Any] = MappingProxyType({})


Steps = Generator[Ask, Any, T]
"""What is to be done, for both flavours: it asks, gets the answers, and decides."""


class SessionStore(session_base.SessionBase):
    """A session of Django, kept by the server."""

    about: Mapping[str, Any] | None = None
    """What to note of the request, if it begins a session."""

    def __init__(self, session_key: str | None = None) -> None:
        """Raises: ConfigurationError if the setting is missing or wrong."""
        super().__init__(session_key)
        self._desk = desk()
        self._held: Any = None
        self._refused = False
        self.trouble: HoldfastError | None = None
        self.raised: HoldfastError | None = None

    # --- what Django calls ---

    def load(self) -> dict[str, Any]:
        """The data of the session; {} if there is none. Raises: Unavailable, Refused."""
        return self._do(self._load())

    def create(self) -> None:
        """Begin a session, with what has been put in."""
        self._do(self._create())

    def save(self, must_create: bool = False) -> None:
        """Write what was changed.

        Raises: UpdateError if the session has ended meanwhile; Unavailable, Refused; CodecError for values
        that cannot be stored.
        """
        self._do(self._save(must_create))

    def exists(self, session_key: str | None) -> bool:
        """Is there a session of this key?"""
        return self._do(self._exists(session_key))

    def delete(self, session_key: str | None = None) -> None:
        """End the session of this key, or this one."""
        self._do(self._delete(session_key))

    def cycle_key(self) -> None:
        """Give the session another key; the one it had is dead at once.

        Raises: SessionInterrupted if it has ended, or another request has just done the same.
        """
        self._do(self._cycle())

    @property
    def superseded(self) -> bool:
        """Has another request given the session a new key? Then this one must not set the cookie."""
        return bool(self._held is not None and self._held.superseded)

    def flush(self) -> None:
        """End the session and drop its data."""
        super().flush()
        self._held, self._refused, self.trouble = None, False, None

    def is_empty(self) -> bool:
        """Has the request no session, and needs none, so that its cookie may be deleted?

        Not because the key was unknown: another answer may have replaced the cookie a moment ago.
        """
        return not self._refused and bool(super().is_empty())

    @classmethod
    def clear_expired(cls) -> None:
        """Nothing: sessions end by themselves."""

    # --- the same for async views ---

    async def aload(self) -> dict[str, Any]:
        """As `load`."""
        return await self._ado(self._load())

    async def acreate(self) -> None:
        """As `create`."""
        await self._ado(self._create())

    async def asave(self, must_create: bool = False) -> None:
        """As `save`."""
        await self._ado(self._save(must_create))

    async def aexists(self, session_key: str | None) -> bool:
        """As `exists`."""
        return await self._ado(self._exists(session_key))

    async def adelete(self, session_key: str | None = None) -> None:
        """As `delete`."""
        await self._ado(self._delete(session_key))

    async def acycle_key(self) -> None:
        """As `cycle_key`."""
        await self._ado(self._cycle())

    async def aflush(self) -> None:
        """As `flush`."""
        await super().aflush()
        self._held, self._refused, self.trouble = None, False, None

    @classmethod
    async def aclear_expired(cls) -> None:
        """As `clear_expired`."""

    # --- what is done, for both ---

    def _load(self) -> Steps[dict[str, Any]]:
        key = self.session_key
        if key is None:
            return {}
        try:
            held = yield Ask("load", (key,))
        except (Unavailable, Refused) as error:
            self.trouble = error
            if self._desk.away == "anonymous":
                return {}
            raise
        self.trouble = None
        if held is None or is_over(held.data):
            self._held, self._session_key, self._refused = None, None, True
            return {}
        self._held = held
        data: dict[str, Any] = held.data
        return data

    def _present(self) -> Steps[dict[str, Any]]:
        """The data of this request; read if need be."""
        self.accessed = True
        if not hasattr(self, "_session_cache"):
            self._session_cache: dict[str, Any] = yield from self._load()
        return self._session_cache

    def _create(self) -> Steps[None]:
        if self.trouble is not None:  # a session in its place would sign the user out
            raise self.trouble
        data = self._get_session(no_load=True)
        held = yield Ask("create", (user_in(data), data), {"about": self.about, **self._terms(data)})
        held.data = data  # a view may have something of it in hand, and change it
        self._adopt(held)

    def _save(self, must_create: bool) -> Steps[None]:
        if must_create or self.session_key is None:
            yield from self._create()
            return
        data = yield from self._present()
        if self.trouble is not None:
            raise self.trouble
        held = self._held
        if held is None:
            raise UpdateError
        held.data = data
        user = user_in(data)
        try:
            if user == held.user:
                self._bound(held)
                # Django counts on it that saving is a use, and that a session which has ended is noticed.
                if not (yield Ask("save", (held,))) and not (yield Ask("touch", (held,))):
                    raise UpdateError
            elif held.user is None:
                terms = self._terms(data)
                self._adopt((yield Ask("rotate", (held,), {"user": user, "about": self.about, **terms})))
            else:  # another user, or none: nothing that knew the old id may see this one
                yield Ask("revoke", (held,))
                yield from self._create()
        except SessionGone as error:
            raise UpdateError from error

    def _cycle(self) -> Steps[None]:
        data = yield from self._present()
        if self.trouble is not None:
            raise self.trouble
        if self._held is None:
            yield from self._create()
            return
        self._held.data = data
        try:
            held = yield Ask("rotate", (self._held,), {"user": KEEP, "overlap": 0})
        except SessionGone as error:
            raise SessionInterrupted("The session ended while this request was worked on.") from error
        if held.superseded:
            raise SessionInterrupted("Another request gave the session a new key a moment ago.")
        self._adopt(held)

    def _exists(self, key: str | None) -> Steps[bool]:
        held = (yield Ask("load", (key,))) if key else None
        return held is not None and not is_over(held.data)

    def _delete(self, key: str | None) -> Steps[None]:
        key = self.session_key if key is None else key
        if key is not None:
            yield Ask("revoke", (key,))

    def _adopt(self, held: Any) -> None:
        self._held, self._session_key, self._refused = held, held.id, False
        self._session_cache = held.data
        self.modified = True  # so that its key goes into the cookie

    def _terms(self, data: dict[str, Any]) -> dict[str, Any]:
        """How long a session that begins now lasts."""
        seconds = lasting(data)
        if seconds is None:
            return {}
        return {"idle": seconds, "absolute": max(seconds, self._desk.absolute)}

    def _bound(self, held: Any) -> None:
        """Follow `set_expiry` in a session there is."""
        seconds = lasting(held.data)
        idle = self._desk.idle if seconds is None else seconds
        if idle != held.idle:
            held.idle = idle

    # --- how it is asked ---

    def _do(self, steps: Steps[T]) -> T:
        sessions = self._desk.sessions()
        try:
            ask = next(steps)
            while True:
                try:
                    reply = getattr(sessions, ask.verb)(*ask.args, **ask.named)
                except HoldfastError as error:
                    self.raised = error
                    ask = steps.throw(error)
                else:
                    ask = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _ado(self, steps: Steps[T]) -> T:
        sessions = self._desk.async_sessions()
        if sessions is None:  # not thread-sensitive: it needs nothing of the thread of the ORM
            return await sync_to_async(self._do, thread_sensitive=False)(steps)
        try:
            ask = next(steps)
            while True:
                try:
                    reply = await getattr(sessions, ask.verb)(*ask.args, **ask.named)
                except HoldfastError as error:
                    self.raised = error
                    ask = steps.throw(error)
                else:
                    ask = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result


class SessionMiddleware(session_base.SessionMiddleware):
    """Django's, which answers 503 while the server is away, and notes `about` of who begins a session."""

    def process_request(self, request: Any) -> None:
        """Give the request its session."""
        super().process_request(request)
        about = desk().about
        if about is not None and isinstance(request.session, SessionStore):
            request.session.about = about(request)

    def process_exception(self, request: Any, exception: Exception) -> Any:
        """Answer what a view ran into, if it was the session."""
        if exception is not getattr(getattr(request, "session", None), "raised", None):
            return None
        return _answer(exception)

    def process_response(self, request: Any, response: Any) -> Any:
        """Save the session, and set its cookie."""
        try:
            answer = super().process_response(request, response)
            if getattr(request.session, "superseded", False):  # another answer has the cookie of its new id
                answer.cookies.pop(settings.SESSION_COOKIE_NAME, None)
            return answer
        except HoldfastError as error:
            response.close()
            answer = _answer(error)
            if answer is None:
                raise
            return answer


def revoke_all(user: Any, *, keep: SessionStore | None = None) -> None:
    """Sign `user`, an object of the user model or its primary key, out everywhere; but not in `keep`, the
    session of this request, if it is his. To be called, for one, when he has got a new password.

    If he has signed in with this very request, his session is made when the answer is there, and lives.
    Raises: Unavailable (they may live: try again), Refused, Closed.
    """
    sessions, name = desk().sessions(), _name(user)
    asked = None if keep is None else ids.parse(keep.session_key)
    his = asked is not None and ids.fits(asked.hint, sessions.name, name)
    sessions.revoke_all(name, keep=asked.id if his and asked is not None else None)


def active(user: Any) -> list[SessionInfo]:
    """Where `user`, an object of the user model or its primary key, is signed in. Raises: as revoke_all."""
    return desk().sessions().list(_name(user))


def _name(user: Any) -> str:
    meta = getattr(user, "_meta", None)
    return str(user if meta is None else meta.pk.value_to_string(user))


def _answer(error: Exception) -> Any:
    answer = refusal(error) if isinstance(error, HoldfastError) else None
    if answer is None:
        return None
    return HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))
