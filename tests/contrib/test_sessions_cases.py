"""holdfast.testing.sessions: every backend of ours passes its cases, and they find what a bad store does."""

from __future__ import annotations

import copy
import hashlib
import inspect
import secrets
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import override_settings  # type: ignore[import-untyped]
from flask import Flask

from holdfast import Holdfast, SessionGone
from holdfast.contrib.django.sessions import SessionStore
from holdfast.contrib.flask import SessionInterface
from holdfast.testing.sessions import SessionCases


def everything(hf: Holdfast) -> bytes:
    """All keys and values of the namespace of `hf`."""
    found: list[bytes] = []
    for key in hf.execute("KEYS", f"{hf.key('x').partition(':')[0]}:*"):
        kind = hf.execute("TYPE", key)
        reads = {"hash": ("HGETALL", key), "zset": ("ZRANGE", key, "0", "-1"), "string": ("GET", key)}
        kind = kind.decode() if isinstance(kind, bytes) else kind
        found += [repr(key).encode(), repr(hf.execute(*reads[kind])).encode()]
    return b"\n".join(found)


# --- ours -------------------------------------------------------------------------------------------------


class Core:
    """The sessions themselves, as a careful application uses them."""

    def __init__(self, hf: Holdfast) -> None:
        self.hf = hf
        self.sessions = hf.sessions(overlap=0)

    def visit(self, id: str | None) -> Any:
        held = self.sessions.load(id)

        def finish() -> str:
            if held is None:
                return self.sessions.create(data=data).id
            self.sessions.save(held)
            return held.id

        data: dict[str, Any] = {} if held is None else held.data
        return SimpleNamespace(data=data, finish=finish)

    def login(self, id: str | None, user: str) -> str:
        held = self.sessions.load(id)
        if held is not None and held.user is None:
            return self.sessions.rotate(held, user=user).id
        if held is not None:
            self.sessions.revoke(held)
        return self.sessions.create(user).id

    def rotate(self, id: str) -> str:
        held = self.sessions.load(id)
        if held is None:
            raise SessionGone
        return self.sessions.rotate(held).id

    def logout(self, id: str) -> None:
        self.sessions.revoke(id)

    def user(self, id: str) -> str | None:
        held = self.sessions.load(id)
        return None if held is None else held.user

    def at_rest(self) -> bytes:
        return everything(self.hf)


class InFlask:
    """`flask.session`."""

    def __init__(self, hf: Holdfast) -> None:
        self.hf = hf
        self.app = Flask(__name__)
        self.app.session_interface = SessionInterface(hf.sessions(overlap=0))

    def visit(self, id: str | None) -> Any:
        cookie = {} if id is None else {"Cookie": f"__Host-session={id}"}
        context = self.app.test_request_context(headers=cookie)
        session: Any = self.app.session_interface.open_session(self.app, context.request)

        def finish() -> str | None:
            response = self.app.response_class()
            self.app.session_interface.save_session(self.app, session, response)
            given = response.headers.get("Set-Cookie")
            if response.status_code != 200:
                raise SessionGone
            return id if given is None else given.partition("=")[2].partition(";")[0] or None

        return SimpleNamespace(data=session, finish=finish)

    def login(self, id: str | None, user: str) -> str:
        visit = self.visit(id)
        visit.data.login(user)
        return str(visit.finish())

    def rotate(self, id: str) -> str:
        visit = self.visit(id)
        visit.data.regenerate()
        return str(visit.finish())

    def logout(self, id: str) -> None:
        visit = self.visit(id)
        visit.data.logout()
        visit.finish()

    def user(self, id: str) -> str | None:
        found: str | None = self.visit(id).data.user
        return found

    def at_rest(self) -> bytes:
        return everything(self.hf)


class InDjango:
    """`request.session`, used as django.contrib.auth does."""

    def __init__(self, hf: Holdfast) -> None:
        self.hf = hf

    def visit(self, id: str | None) -> Any:
        store = SessionStore(id)
        before = copy.deepcopy(dict(store.items()))

        def finish() -> str | None:
            if dict(store.items()) != before:
                store.save()
            return store.session_key

        return SimpleNamespace(data=store, finish=finish)

    def login(self, id: str | None, user: str) -> str:
        store = SessionStore(id)
        if store.get("_auth_user_id", user) != user:
            store.flush()
        else:
            store.cycle_key()
        store["_auth_user_id"] = user
        store.save()
        return str(store.session_key)

    def rotate(self, id: str) -> str:
        store = SessionStore(id)
        store.cycle_key()
        return str(store.session_key)

    def logout(self, id: str) -> None:
        SessionStore(id).flush()

    def user(self, id: str) -> str | None:
        found: str | None = SessionStore(id).get("_auth_user_id")
        return found

    def at_rest(self) -> bytes:
        return everything(self.hf)


class TestCore(SessionCases):
    @pytest.fixture
    def store(self, hf: Holdfast) -> Any:
        return Core(hf)


class TestFlask(SessionCases):
    @pytest.fixture
    def store(self, hf: Holdfast) -> Any:
        return InFlask(hf)


class TestDjango(SessionCases):
    @pytest.fixture
    def store(self, hf: Holdfast, world: SimpleNamespace) -> Iterator[Any]:
        with override_settings(HOLDFAST_SESSIONS={"sessions": hf.sessions(overlap=0)}):
            yield InDjango(hf)


# --- what a bad store does --------------------------------------------------------------------------------


class Gone(Exception):
    """It has ended."""


class InMemory:
    """A store that is good, but for one `flaw`."""

    def __init__(self, flaw: str = "") -> None:
        self.flaw = flaw
        self.kept: dict[str, tuple[str | None, dict[str, Any]]] = {}

    def _place(self, id: str) -> str:
        return id if self.flaw == "plain ids" else hashlib.sha256(id.encode()).hexdigest()

    def _new(self, user: str | None, data: dict[str, Any]) -> str:
        id = secrets.token_urlsafe(4 if self.flaw == "short ids" else 16)
        self.kept[self._place(id)] = (user, data)
        return id

    def visit(self, id: str | None) -> Any:
        user, before = self.kept.get(self._place(id or ""), (None, {}))
        known = id is not None and self._place(id) in self.kept
        data = copy.deepcopy(before)

        def finish() -> str | None:
            if not known:
                if self.flaw != "adopts ids" or id is None:
                    return self._new(None, data) if data else None
                self.kept[self._place(id)] = (None, data)
                return id
            if data == before and self.flaw != "writes always":
                return id
            now = self.kept.get(self._place(id or ""))
            if now is None and self.flaw not in {"brings back", "writes always"}:
                raise Gone
            merged = dict(now[1]) if now else {}
            if self.flaw in {"writes all", "writes always", "brings back"}:
                merged = data
            else:
                merged |= {key: value for key, value in data.items() if before.get(key) != value}
                for key in before.keys() - data.keys():
                    del merged[key]
            self.kept[self._place(id or "")] = (user, merged)
            return id

        return SimpleNamespace(data=data, finish=finish)

    def login(self, id: str | None, user: str) -> str:
        was, data = self.kept.get(self._place(id or ""), (None, {}))
        known = id is not None and self._place(id) in self.kept
        if known and self.flaw == "login keeps the id":
            self.kept[self._place(id or "")] = (user, data)
            return id or ""
        if known and self.flaw != "the old id lives on":
            del self.kept[self._place(id or "")]
        if was not in (None, user) and self.flaw != "data of another":
            data = {}
        return self._new(user, data)

    def rotate(self, id: str) -> str:
        if self.flaw == "rotation brings back":
            user, data = self.kept.pop(self._place(id), ("ann", {}))
        elif self._place(id) not in self.kept:
            raise Gone
        else:
            user, data = self.kept.pop(self._place(id))
        return self._new(user, data)

    def logout(self, id: str) -> None:
        if self.flaw != "logout in the browser":
            self.kept.pop(self._place(id), None)

    def user(self, id: str) -> str | None:
        return self.kept.get(self._place(id), (None, {}))[0]

    def at_rest(self) -> bytes:
        return repr(self.kept).encode()


CASES = [
    (name, case)
    for name, case in inspect.getmembers(SessionCases, inspect.isfunction)
    if name.startswith("test_")
]


def failing(flaw: str) -> set[str]:
    """The cases that a store with `flaw` fails."""
    failed: set[str] = set()
    for name, case in CASES:
        changes = [{"b": 2}, {}] if "change" in inspect.signature(case).parameters else [None]
        for change in changes:
            more = {} if change is None else {"change": change}
            try:
                case(SessionCases(), InMemory(flaw), **more)
            except (AssertionError, Gone, KeyError):
                failed.add(name)
    return failed


def test_a_good_store_passes() -> None:
    assert failing("") == set()


@pytest.mark.parametrize(
    ("flaw", "case"),
    [
        ("plain ids", "test_ids_are_not_where_sessions_are_kept"),
        ("short ids", "test_ids_are_long_and_never_the_same"),
        ("adopts ids", "test_an_id_that_nobody_gave_out_is_not_taken_over"),
        ("writes always", "test_a_request_that_changes_nothing_undoes_nothing"),
        ("writes always", "test_a_request_under_way_does_not_bring_it_back"),
        ("brings back", "test_a_request_under_way_does_not_bring_it_back"),
        ("writes all", "test_different_keys_changed_at_once_are_both_kept"),
        ("login keeps the id", "test_a_login_ends_the_id_before_it"),
        ("login keeps the id", "test_a_request_under_way_does_not_follow_a_login"),
        ("the old id lives on", "test_a_login_ends_the_id_before_it"),
        ("data of another", "test_another_user_sees_nothing_of_the_one_before"),
        ("rotation brings back", "test_a_rotation_under_way_does_not_bring_it_back"),
        ("logout in the browser", "test_a_logout_ends_it"),
    ],
)
def test_a_flaw_is_found(flaw: str, case: str) -> None:
    assert case in failing(flaw)
