"""The session of one request, as an application sees it: a dict, and what becomes of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Final, NamedTuple, NoReturn, TypedDict, Unpack, is_typeddict

from holdfast.durations import Duration
from holdfast.errors import ConfigurationError, HoldfastError

PERMANENT: Final = "_permanent"
"""What Flask keeps in a session; alone it makes no session worth keeping."""

READ_ONLY: Final = (
    "a session cannot be changed through a WebSocket: no cookie can be set there, and it may end long before "
    "the WebSocket does"
)


class Terms(TypedDict, total=False):
    """What may be said of one login, as in `Sessions.create`."""

    idle: Duration | None
    absolute: Duration | None
    generation: int | None


class Plan(NamedTuple):
    """What has to be done so that the server knows what the request has changed, in this order.

    end      the session that the request came with ends.
    create   a new one begins.
    rotate   the one there is gets a new id, and what was changed is written with it.
    save     what was changed is written.
    forget   the browser shall drop its cookie.
    due      it is to be rotated because its id is old, and for no other reason.
    """

    end: bool = False
    create: bool = False
    rotate: bool = False
    save: bool = False
    forget: bool = False
    due: bool = False

    @property
    def needs_cookie(self) -> bool:
        """Is it of no use without a new cookie?"""
        return self.create or self.rotate


NOTHING: Final = Plan()


class WebSession(MutableMapping[str, Any]):
    """The session of one request. A dict of its data, which may be changed in any depth.

    `user`: whose it is, or None. `id`: its id, a secret; None as long as nothing of it is kept. `is_new`:
    nothing of it is kept yet. `degraded`: the server was away, and it is treated as nobody's.

    Raises, from everything that touches it: Unavailable or Refused, if it could not be read.
    """

    def __init__(
        self,
        offered: str | None,
        opener: Callable[[WebSession], None] | None = None,
        *,
        user_key: str | None = None,
        anonymous_when_away: bool = False,
        read_only: bool = False,
    ) -> None:
        """`offered`: the id in the cookie. `opener`: reads its session, when it is first touched. `user_key`:
        where the application notes who has signed in; see `plan`.
        """
        self.touched = False
        self._offered = offered
        self._opener = opener
        self._user_key = user_key
        self._anonymous_when_away = anonymous_when_away
        self._read_only = read_only
        self.trouble: HoldfastError | None = None
        self._user: str | None = None
        self._terms: Terms = {}
        self._answered = False
        self.take(None)
        self._loaded = offered is None

    # --- what an application does with it ---

    @property
    def user(self) -> str | None:
        """Whose session this is."""
        self._there()
        return self._user

    @property
    def id(self) -> str | None:
        """The secret id of the session, as it is in the cookie; None if there is none yet."""
        self._there()
        return None if self._held is None or self._ended else str(self._held.id)

    @property
    def is_new(self) -> bool:
        """Is nothing of it kept yet?"""
        return self.id is None

    @property
    def changed(self) -> bool:
        """Has the request changed it, so that something has to be written?"""
        return self.plan() != NOTHING

    @property
    def degraded(self) -> bool:
        """Was the server away, so that this stands in for the session?"""
        return self.trouble is not None

    def login(self, user: str, **terms: Unpack[Terms]) -> None:
        """From now on this is the session of `user`, under a new id. Data of nobody stays, another's goes.

        `idle`, `absolute`: how long this one lasts, as for "stay signed in". `generation`: what
        `sessions.generation(user)` said before the password was checked.

        Raises: ConfigurationError.
        """
        if not isinstance(user, str) or not user:
            raise ConfigurationError(
                f"login(user={user!r}): the name of a user must be a str with something in it"
            )
        self._writable()
        if self._user is not None and self._user != user:
            self._end()
        self._user, self._renew, self._terms = user, True, terms
        if self._user_key is not None:
            self._data[self._user_key] = user

    def logout(self) -> None:
        """End the session, for every request that has its id. What is put in now begins another one."""
        self._writable()
        self._end()

    def regenerate(self) -> None:
        """Give the session another id: due whenever somebody gains a right."""
        self._writable()
        self._renew = True

    # --- what a backend does with it ---

    def take(self, held: Any) -> None:
        """From here on this is the stored session `held`, without changes; None: none is stored."""
        self._held = held
        self._data: dict[str, Any] = {} if held is None else held.data
        self._user = None if held is None else held.user
        due = held is not None and held.rotation_due and not held.superseded
        self._due = due and not self._read_only and not self._answered
        self._renew = False
        self._ended = False
        self._terms = {}
        self._loaded = True

    def answered(self) -> None:
        """The answer begins, or the id could not be replaced: an old one has to wait for another request."""
        self._answered, self._due = True, False

    def fail(self, error: HoldfastError) -> None:
        """It could not be read."""
        self.trouble = error
        self._loaded = True

    @property
    def offered(self) -> str | None:
        """The id that came with the request."""
        return self._offered

    @property
    def waits(self) -> bool:
        """Has it still to be read?"""
        return not self._loaded

    @property
    def held(self) -> Any:
        """The stored session."""
        return self._held

    @property
    def wanted_user(self) -> str | None:
        """Whose session it shall be."""
        return self._user

    @property
    def terms(self) -> Terms:
        """What was said of the login."""
        return self._terms

    @property
    def content(self) -> dict[str, Any]:
        """Its data; touches nothing."""
        return self._data

    @property
    def worth_keeping(self) -> bool:
        """Is there anything in it?"""
        return self._user is not None or any(key != PERMANENT for key in self._data)

    def plan(self) -> Plan:
        """What has to be done with what the request has changed.

        With a `user_key`, a login is what puts a value there, and a logout what takes it away.
        """
        if not self._loaded or not self.touched:
            return NOTHING
        self._follow()
        end = self._ended and self._held is not None
        if self._held is None or self._ended:
            if self.worth_keeping:
                return Plan(end=end, create=True)
            return Plan(end=end, forget=self._ended and self._offered is not None)
        # One that has become empty goes on: another request may be putting something in.
        if self._renew or self._due:
            return Plan(rotate=True, due=not self._renew)
        return Plan(save=bool(self._held.changed))

    def _follow(self) -> None:
        if self._user_key is None or self.trouble is not None:
            return
        found = self._data.get(self._user_key)
        user = None if found is None or not str(found) else str(found)
        if user == self._user:
            return
        if self._user is not None:  # what another user, or nobody, goes on with has nothing to do with his
            data = dict(self._data)
            self._end()
            self._data = data
        self._user, self._renew = user, True

    def _end(self) -> None:
        self._data, self._user, self._terms = {}, None, {}
        self._due, self._renew, self._ended = False, False, True

    def _there(self) -> dict[str, Any]:
        """Its data, read if need be."""
        self.touched = True
        if not self._loaded:
            if self._opener is None:
                raise ConfigurationError(
                    "the session has not been read: with lazy=True, say `await request.session.load()` first"
                )
            self._opener(self)
        if self.trouble is not None and not self._anonymous_when_away:
            self._refuse(self.trouble)
        return self._data

    def _writable(self) -> dict[str, Any]:
        data = self._there()
        if self._read_only:
            raise ConfigurationError(READ_ONLY)
        if self.trouble is not None:  # a session in its place would sign the user out
            self._refuse(self.trouble)
        return data

    def _refuse(self, error: HoldfastError) -> NoReturn:
        raise error

    # --- the dict ---

    def __getitem__(self, key: str) -> Any:
        return self._there()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._writable()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._writable()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._there())

    def __len__(self) -> int:
        return len(self._there())

    def __contains__(self, key: object) -> bool:
        return key in self._there()

    def clear(self) -> None:
        """As `logout`: what many applications call to sign a user out shall do so."""
        self.logout()

    def __repr__(self) -> str:
        if not self._loaded:
            return "<WebSession, not read yet>"
        whose = "nobody" if self._user is None else repr(self._user)
        return f"<WebSession of {whose}, {len(self._data)} keys>"


def needs_a_dict(kind: Any) -> None:
    """Raises: ConfigurationError unless data of this type is a dict, as applications expect of a session."""
    if kind is not dict and not is_typeddict(kind):
        raise ConfigurationError(
            f"a session in a request is a dict, and these are of type={kind!r}: give hf.sessions(...) no "
            f"type, or a TypedDict"
        )
