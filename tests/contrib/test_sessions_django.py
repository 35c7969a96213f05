"""Sessions for Django: what django.contrib.auth, the cookie and the server see of a request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.sessions.backends.base import UpdateError  # type: ignore[import-untyped]
from django.contrib.sessions.exceptions import SessionInterrupted  # type: ignore[import-untyped]
from django.db import connection  # type: ignore[import-untyped]
from django.test import Client, override_settings  # type: ignore[import-untyped]

from holdfast import AsyncHoldfast, ConfigurationError, Holdfast, Unavailable
from holdfast.contrib.django.sessions import SessionStore, active, revoke_all
from holdfast.sessions._sessions_async import AsyncSessions
from holdfast.sessions._sessions_sync import Sessions
from holdfast.testing import FaultProxy
from tests.contrib.django_sessions_site import Stage

NAME = "sessionid"
FORGED = "A" * 22


SETTINGS: dict[str, Any] = {
    "ROOT_URLCONF": "tests.contrib.django_sessions_site",
    "SESSION_ENGINE": "holdfast.contrib.django.sessions",
    "MIDDLEWARE": [
        "holdfast.contrib.django.sessions.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
}


@pytest.fixture
def sessions(hf: Holdfast) -> Sessions[Any]:
    return hf.sessions(idle="14d", absolute="90d", touch="1m")


@pytest.fixture
def site(world: SimpleNamespace, sessions: Sessions[Any]) -> Iterator[Any]:
    """Django with a user."""
    from django.contrib.auth.models import User  # type: ignore[import-untyped]

    if User._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(User)
    User.objects.all()._raw_delete("default")
    Stage.user = User.objects.create_user("ann", password="old")
    Stage.began.clear()
    Stage.go.clear()
    with override_settings(HOLDFAST_SESSIONS={"sessions": lambda: sessions}, **SETTINGS):
        yield


def browser(id: str | None = None) -> Any:
    client = Client(raise_request_exception=False)
    if id is not None:
        client.cookies[NAME] = id
    return client


def id_in(client: Any) -> str:
    return str(client.cookies[NAME].value)


@pytest.mark.usefixtures("site")
class TestSite:
    def test_a_request_that_does_not_touch_its_session_costs_nothing(self, sessions: Sessions[Any]) -> None:
        answer = browser(FORGED).get("/free")
        assert NAME not in answer.cookies
        assert "Vary" not in answer.headers
        assert sessions.stats().missing == 0

    def test_an_unknown_id_is_not_taken_over_and_its_cookie_not_deleted(self) -> None:
        someone = browser(FORGED)
        assert NAME not in someone.get("/read").cookies
        key = someone.get("/put?a=1").json()["key"]
        assert id_in(someone) != FORGED
        assert key is None or key != FORGED
        assert not SessionStore().exists(FORGED)

    @pytest.mark.parametrize("login", ["/log_in", "/alog_in"])
    def test_login_makes_it_the_users_under_a_new_id(self, sessions: Sessions[Any], login: str) -> None:
        someone = browser()
        someone.get("/put?cart=7")
        before = id_in(someone)
        someone.get(login)
        assert id_in(someone) != before
        assert someone.get("/who").json() == {"user": "ann"}
        assert someone.get("/read").json() == {"cart": "7"}
        assert browser(before).get("/who").json() == {"user": ""}
        assert browser(before).get("/read").json() == {}
        assert [one.user for one in sessions.list(str(Stage.user.pk))] == [str(Stage.user.pk)]

    def test_logout_ends_it_and_deletes_the_cookie(self, sessions: Sessions[Any]) -> None:
        someone = browser()
        someone.get("/log_in")
        id = id_in(someone)
        answer = someone.get("/log_out")
        assert answer.cookies[NAME]["max-age"] == 0
        assert sessions.load(id) is None
        assert browser(id).get("/who").json() == {"user": ""}

    def test_revoke_all_signs_out_everywhere(self) -> None:
        browsers = [browser() for _ in range(3)]
        for one in browsers:
            one.get("/log_in")
        assert len(active(Stage.user)) == 3
        revoke_all(Stage.user)
        assert active(Stage.user.pk) == []
        assert [one.get("/who").json()["user"] for one in browsers] == ["", "", ""]

    def test_a_new_password_signs_out_everywhere_else(self) -> None:
        here, there = browser(), browser()
        for one in (here, there):
            one.get("/log_in")
        before = id_in(here)
        assert here.get("/new_password").status_code == 200
        assert id_in(here) != before
        assert here.get("/who").json() == {"user": "ann"}
        assert there.get("/who").json() == {"user": ""}
        assert len(active(Stage.user)) == 1

    @pytest.mark.parametrize("path", ["/free", "/put?a=1", "/log_in"])
    def test_who_signs_in_with_a_new_password_is_signed_out_everywhere_else(self, path: str) -> None:
        here, there = browser(), browser()
        there.get("/log_in")
        here.get(path)
        assert here.get("/reset_password").status_code == 200
        assert here.get("/who").json() == {"user": "ann"}
        assert there.get("/who").json() == {"user": ""}

    def test_an_id_that_was_replaced_is_not_given_out_again(self, sessions: Sessions[Any]) -> None:
        old = sessions.create(data={"a": 1})
        new = sessions.rotate(old)  # by another request, whose answer has the cookie
        answer = browser(old.id).get("/put?b=2")
        assert answer.status_code == 200
        assert NAME not in answer.cookies
        assert browser(new.id).get("/read").json() == {"a": 1, "b": "2"}

    def test_a_request_that_ends_after_logout_brings_nothing_back(self, sessions: Sessions[Any]) -> None:
        someone = browser()
        someone.get("/log_in")
        id = id_in(someone)
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(browser(id).get("/slow")))
        thread.start()
        assert Stage.began.wait(20)
        someone.get("/log_out")
        Stage.go.set()
        thread.join(20)
        assert answers[0].status_code == 400
        assert sessions.load(id) is None

    def test_requests_at_the_same_time_lose_nothing(self) -> None:
        someone = browser()
        someone.get("/put?a=1")
        thread = threading.Thread(target=browser(id_in(someone)).get, args=("/slow",))
        thread.start()
        assert Stage.began.wait(20)
        someone.get("/put?b=2")
        Stage.go.set()
        thread.join(20)
        assert someone.get("/read").json() == {"a": "1", "b": "2", "slow": 1}

    def test_only_what_changed_is_written(self, sessions: Sessions[Any]) -> None:
        someone = browser()
        someone.get("/put?a=1")
        for _ in range(3):
            someone.get("/read")
        assert (sessions.stats().created, sessions.stats().saved) == (1, 0)

    def test_staying_signed_in(self, sessions: Sessions[Any]) -> None:
        someone = browser()
        answer = someone.get("/log_in?stay=10000000")  # 115 days, more than `absolute`
        assert answer.cookies[NAME]["max-age"] == 10_000_000
        held = sessions.load(id_in(someone))
        assert held is not None
        assert held.idle == 10_000_000
        assert held.ends_at > datetime.now(UTC) + timedelta(days=110)

    def test_async_views(self) -> None:
        someone = browser()
        assert [someone.get("/aput").json()["n"] for _ in range(3)] == [1, 2, 3]

    def test_what_is_noted_of_a_request_is_listed(self, sessions: Sessions[Any]) -> None:
        told = {"sessions": sessions, "about": lambda request: {"agent": request.headers["User-Agent"]}}
        with override_settings(HOLDFAST_SESSIONS=told):
            browser().get("/log_in", headers={"user-agent": "phone"})
        assert [one.about for one in active(Stage.user)] == [{"agent": "phone"}]


@pytest.mark.usefixtures("site")
class TestStore:
    def test_changes_at_any_depth_are_written_with_a_save(self) -> None:
        store = SessionStore()
        store["cart"] = {"items": []}
        store.save()
        again = SessionStore(store.session_key)
        again["cart"]["items"].append(1)
        again.save()
        assert SessionStore(store.session_key)["cart"] == {"items": [1]}

    def test_what_a_view_has_in_hand_stays_part_of_it(self) -> None:
        store = SessionStore()
        cart = store["cart"] = ["a"]
        store.save()
        cart.append("b")
        store.save()
        store.cycle_key()
        cart.append("c")
        store.save()
        assert SessionStore(store.session_key)["cart"] == ["a", "b", "c"]

    def test_a_moment_that_has_come_ends_it(self) -> None:
        store = SessionStore()
        store["a"] = 1
        store.set_expiry(timedelta(milliseconds=50))
        store.save()
        assert threading.Event().wait(0.1) is False
        assert SessionStore(store.session_key).get("a") is None
        assert not store.exists(store.session_key)

    def test_a_moment_is_not_put_off_by_use(self, hf: Holdfast) -> None:
        with override_settings(HOLDFAST_SESSIONS={"sessions": hf.sessions("used", touch=0)}):
            moment = datetime.now(UTC) + timedelta(milliseconds=400)
            store = SessionStore()
            store["a"] = 1
            store.set_expiry(moment)
            store.save()
            while datetime.now(UTC) <= moment:
                SessionStore(store.session_key).get("a")
            assert SessionStore(store.session_key).get("a") is None

    def test_a_key_that_others_have_just_replaced_is_not_handed_out(self, sessions: Sessions[Any]) -> None:
        store = SessionStore()
        store["a"] = 1
        store.save()
        held = sessions.load(store.session_key)
        assert held is not None
        sessions.rotate(held, overlap="10s")
        with pytest.raises(SessionInterrupted):
            store.cycle_key()

    def test_a_new_key_of_what_has_ended_brings_nothing_back(self) -> None:
        store = SessionStore()
        store["_auth_user_id"] = "7"
        store.save()
        late = SessionStore(store.session_key)
        assert late["_auth_user_id"] == "7"
        store.flush()
        with pytest.raises(SessionInterrupted):
            late.cycle_key()
        with pytest.raises(UpdateError):
            late.save()
        assert active("7") == []

    def test_of_two_new_keys_at_once_one_wins(self) -> None:
        store = SessionStore()
        store["a"] = 1
        store.save()
        one, other = SessionStore(store.session_key), SessionStore(store.session_key)
        assert one["a"] == other["a"] == 1
        one.cycle_key()
        with pytest.raises(SessionInterrupted):
            other.cycle_key()
        assert SessionStore(one.session_key)["a"] == 1

    def test_another_user_begins_another_session(self, sessions: Sessions[Any]) -> None:
        store = SessionStore()
        store["_auth_user_id"] = "7"
        store.save()
        before = store.session_key
        store["_auth_user_id"] = "8"
        store.save()
        assert (len(active("7")), len(active("8"))) == (0, 1)
        assert store.session_key != before
        del store["_auth_user_id"]
        store["a"] = 1
        store.save()
        assert (len(active("8")), sessions.load(store.session_key).user) == (0, None)  # type: ignore[union-attr]

    async def test_on_the_loop(self, ahf: AsyncHoldfast, sessions: Sessions[Any]) -> None:
        """`ahf` has the namespace of `hf`, so both see the same sessions."""
        theirs: AsyncSessions[Any] = ahf.sessions(idle="14d", absolute="90d", touch="1m")
        with override_settings(HOLDFAST_SESSIONS={"sessions": sessions, "async_sessions": theirs}):
            store = SessionStore()
            await store.aset("a", 1)
            await store.asave()
            assert theirs.stats().created == 1
            await store.acycle_key()
            await store.aset("_auth_user_id", "7")
            await store.asave()
            assert await asyncio.to_thread(lambda: SessionStore(store.session_key)["a"]) == 1
            assert await store.aexists(store.session_key)
            key = store.session_key
            await store.aflush()
            assert await SessionStore(key).aload() == {}
            assert theirs.stats().rotated == 2
            assert sessions.stats().created == 0


# --- the server is away -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("away", ["refuse", "anonymous"])
def test_while_the_server_is_away(faults: FaultProxy, namespace: str, away: str) -> None:
    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as hf:
        sessions: Sessions[Any] = hf.sessions()
        with override_settings(HOLDFAST_SESSIONS={"sessions": sessions, "away": away}):
            someone = browser()
            someone.get("/log_in")
            id = id_in(someone)
            faults.refuse()
            faults.cut()
            assert someone.get("/free").status_code == 200
            answers = {
                path: someone.get(path) for path in ("/who", "/read", "/put?a=1", "/log_out", "/log_in")
            }
            assert all(NAME not in one.cookies for one in answers.values())
            assert [one.status_code for one in answers.values()] == (
                [503] * 5 if away == "refuse" else [200, 200, 503, 503, 503]
            )
            assert answers["/put?a=1"].headers["retry-after"] == "1"
            faults.accept()
            while someone.get("/who").status_code != 200 or someone.get("/who").json() != {"user": "ann"}:
                assert not threading.Event().wait(0.05)
            assert id_in(someone) == id


@pytest.mark.usefixtures("site")
def test_with_djangos_middleware_it_raises(faults: FaultProxy, namespace: str) -> None:
    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as hf:
        sessions: Sessions[Any] = hf.sessions()
        with override_settings(HOLDFAST_SESSIONS={"sessions": sessions}):
            store = SessionStore()
            store["a"] = 1
            store.save()
            faults.refuse()
            faults.cut()
            with pytest.raises(Unavailable):
                SessionStore(store.session_key).get("a")
            store["a"] = 2
            with pytest.raises(Unavailable):
                async_to_sync(store.asave)()
        with override_settings(HOLDFAST_SESSIONS={"sessions": sessions, "away": "anonymous"}):
            later = SessionStore(store.session_key)
            assert later.get("a") is None
            faults.accept()
            for change in (later.create, later.save, later.cycle_key):  # it is not nobody's
                with pytest.raises(Unavailable):
                    change()


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (None, '"sessions"'),
        ({}, '"sessions"'),
        ({"sessions": 7}, "is 7"),
        ({"sessions": lambda: 7}, "is 7"),
        ({"sessions": 7, "idle": "1m"}, "'idle'"),
        ({"sessions": 7, "away": "open"}, "'open'"),
    ],
)
def test_a_wrong_setting_is_named(world: SimpleNamespace, told: Any, message: str) -> None:
    with override_settings(HOLDFAST_SESSIONS=told), pytest.raises(ConfigurationError, match=message):
        SessionStore().save()
