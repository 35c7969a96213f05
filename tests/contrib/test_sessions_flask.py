"""Sessions for Flask: what the cookie, the headers and the server see of a request."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Iterator
from itertools import islice
from typing import Any

import flask
import pytest
from flask import Flask, Response, request, session, stream_with_context

from holdfast import ConfigurationError, Holdfast
from holdfast.contrib.flask import SessionInterface, login, logout
from holdfast.errors import SessionGone
from holdfast.sessions._sessions_sync import Sessions
from holdfast.testing import FaultProxy
from tests.contrib.foreign.flask_session import FlaskSessionTestCase

NAME = "__Host-session"
FORGED = "A" * 22


class Shop:
    """A service with sessions, and a browser for it."""

    def __init__(self, hf: Holdfast, options: dict[str, Any] | None = None, **policy: Any) -> None:
        self.sessions: Sessions[Any] = hf.sessions("sessions", **{"touch": "10s", **(options or {})})
        self.began, self.go = threading.Event(), threading.Event()
        self.app = app = Flask(__name__)
        app.session_interface = SessionInterface(lambda: self.sessions, **policy)
        for view in "free read user put nest slow drop late permanent".split():
            app.get(f"/{view}")(getattr(self, view))
        for view in "log_in log_out regenerate clear".split():
            app.post(f"/{view}")(getattr(self, view))

    def client(self, id: str | None = None) -> Any:
        client = self.app.test_client()
        if id is not None:
            client.set_cookie(NAME, id)
        return client

    def id_in(self, client: Any) -> str:
        return str(client.get_cookie(self.app.session_interface.policy(self.app).name).value)  # type: ignore[attr-defined]

    def free(self) -> str:
        return "hello"

    def read(self) -> Any:
        return dict(session)

    def user(self) -> Any:
        return {"user": session.user}  # type: ignore[attr-defined]

    def put(self) -> Any:
        session.update(request.args)
        return dict(session)

    def nest(self) -> Any:
        session.setdefault("cart", {"items": []})["items"].append(request.args["item"])
        return session["cart"]

    def slow(self) -> str:
        session["slow"] = 1
        self.began.set()
        assert self.go.wait(20)
        return "done"

    def drop(self) -> str:
        del session[request.args["key"]]
        return "dropped"

    def permanent(self) -> str:
        session.permanent = request.args["value"] == "yes"
        return "ok"

    def late(self) -> Response:
        session.get("a")

        def parts() -> Iterator[bytes]:
            yield b"a"
            session["late"] = 1
            yield b"b"

        return Response(stream_with_context(parts()))

    def log_in(self) -> Any:
        login(request.args["name"])
        return dict(session)

    def log_out(self) -> str:
        logout()
        return "bye"

    def regenerate(self) -> str:
        self.app.session_interface.regenerate(session)  # type: ignore[attr-defined]
        return "new"

    def clear(self) -> str:
        session.clear()
        return "cleared"


@pytest.fixture
def shop(hf: Holdfast) -> Shop:
    return Shop(hf)


class TestForeign(FlaskSessionTestCase, unittest.TestCase):
    """Flask-Session's own."""

    @pytest.fixture(autouse=True)
    def settled(self, hf: Holdfast) -> None:
        self.sessions: Sessions[Any] = hf.sessions()

    def Session(self, app: Flask) -> None:
        app.session_interface = SessionInterface(self.sessions)


# --- the cookie -------------------------------------------------------------------------------------------


def test_a_request_that_does_not_touch_its_session_leaves_no_trace(shop: Shop):
    answer = shop.client(FORGED).get("/free")
    assert not {"Set-Cookie", "Vary", "Cache-Control"} & set(answer.headers.keys())
    assert shop.sessions.stats().missing == 0


def test_an_empty_session_sets_no_cookie_but_the_answer_depends_on_it(shop: Shop):
    answer = shop.client().get("/read")
    assert "Set-Cookie" not in answer.headers
    assert (answer.headers["Vary"], answer.headers["Cache-Control"]) == ("Cookie", "no-store")


def test_what_is_put_in_is_there_again(shop: Shop):
    browser = shop.client()
    answer = browser.get("/put?a=1")
    assert answer.headers["Set-Cookie"].endswith("; Path=/; HttpOnly; Secure; SameSite=Lax")
    again = browser.get("/read")
    assert again.json == {"a": "1"}
    assert "Set-Cookie" not in again.headers
    assert (shop.sessions.stats().created, shop.sessions.stats().saved) == (1, 0)


def test_a_change_at_any_depth_is_written_and_nothing_else(shop: Shop):
    browser = shop.client()
    for _ in range(3):
        browser.get("/nest?item=x")
        browser.get("/read")
    assert browser.get("/read").json == {"cart": {"items": ["x", "x", "x"]}}
    assert shop.sessions.stats().saved == 2


def test_an_id_that_nobody_gave_out_is_not_taken_over(shop: Shop):
    browser = shop.client(FORGED)
    assert "Set-Cookie" not in browser.get("/read").headers
    browser.get("/put?a=1")
    assert shop.id_in(browser) != FORGED
    assert shop.sessions.load(FORGED) is None


def test_a_permanent_session_is_kept_by_the_browser(shop: Shop):
    browser = shop.client()
    assert "Max-Age" not in browser.get("/put?a=1").headers["Set-Cookie"]
    assert "Max-Age=2678400;" in browser.get("/permanent?value=yes").headers["Set-Cookie"]  # 31 days
    assert "Set-Cookie" not in browser.get("/put?a=2").headers
    assert "Max-Age" not in browser.get("/permanent?value=no").headers["Set-Cookie"]
    assert browser.get("/read").json == {"a": "2", "_permanent": False}


def test_an_id_that_was_replaced_is_not_given_out_again(shop: Shop):
    old = shop.sessions.create("ann", {"a": 1})
    shop.sessions.rotate(old)  # by another request, whose answer has the cookie
    browser = shop.client(old.id)
    assert "Set-Cookie" not in browser.get("/permanent?value=yes").headers


def test_permanent_alone_makes_no_session(shop: Shop):
    assert "Set-Cookie" not in shop.client().get("/permanent?value=yes").headers
    assert shop.sessions.stats().created == 0


def test_the_configuration_of_flask_counts(hf: Holdfast):
    shop = Shop(hf)
    shop.app.config.update(
        SESSION_COOKIE_NAME="sid", SESSION_COOKIE_SAMESITE="Strict", SESSION_COOKIE_PATH="/a"
    )
    answer = shop.client().get("/put?a=1")
    name, _, rest = answer.headers["Set-Cookie"].partition("=")
    assert (name, rest.partition("; ")[2]) == ("sid", "Path=/a; HttpOnly; Secure; SameSite=Strict")
    local = Shop(hf, secure=False).client().get("/put?a=1").headers["Set-Cookie"]
    assert local.startswith("session=")
    assert "Secure" not in local


def test_flasks_test_client_may_change_it(shop: Shop):
    browser = shop.client()
    with browser.session_transaction() as inside:
        inside["a"] = 1
    assert browser.get("/read").json == {"a": 1}


# --- login, logout ----------------------------------------------------------------------------------------


def test_login_changes_the_id_and_keeps_what_nobody_had(shop: Shop):
    browser = shop.client()
    browser.get("/put?cart=7")
    before = shop.id_in(browser)
    browser.post("/log_in?name=ann")
    assert shop.id_in(browser) != before
    assert browser.get("/read").json == {"cart": "7"}
    assert browser.get("/user").json == {"user": "ann"}
    assert shop.client(before).get("/user").json == {"user": None}
    assert browser.post("/log_in?name=bob").json == {}
    assert shop.sessions.list("ann") == []


def test_logout_ends_it_and_deletes_the_cookie(shop: Shop):
    browser = shop.client()
    browser.post("/log_in?name=ann")
    id = shop.id_in(browser)
    assert "Max-Age=0" in browser.post("/log_out").headers["Set-Cookie"]
    assert shop.sessions.load(id) is None


def test_a_library_that_notes_the_user_in_the_session_is_followed(hf: Holdfast):
    shop = Shop(hf, user_key="_user_id")
    browser = shop.client()
    browser.get("/put?cart=7")
    before = shop.id_in(browser)
    browser.get("/put?_user_id=ann")
    after = shop.id_in(browser)
    assert shop.sessions.load(before) is None
    assert len(shop.sessions.list("ann")) == 1
    browser.get("/drop?key=_user_id")
    assert shop.sessions.load(after) is None
    assert browser.get("/read").json == {"cart": "7"}


@pytest.mark.parametrize("user", ["", "ann"])
def test_clearing_it_is_a_logout(shop: Shop, user: str):
    browser = shop.client()
    browser.get("/put?a=1")
    if user:
        browser.post("/log_in?name=ann")
    id = shop.id_in(browser)
    assert "Max-Age=0" in browser.post("/clear").headers["Set-Cookie"]
    assert shop.sessions.load(id) is None


def test_a_new_id(shop: Shop):
    browser = shop.client()
    browser.get("/put?a=1")
    before = shop.id_in(browser)
    browser.post("/regenerate")
    assert shop.id_in(browser) != before
    assert browser.get("/read").json == {"a": "1"}


# --- requests at the same time, and long answers ----------------------------------------------------------


def _slow(shop: Shop, id: str) -> tuple[threading.Thread, list[Any]]:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(shop.client(id).get("/slow")))
    thread.start()
    assert shop.began.wait(20)
    return thread, answers


def test_a_request_that_ends_after_logout_brings_nothing_back(shop: Shop):
    browser = shop.client()
    browser.post("/log_in?name=ann")
    id = shop.id_in(browser)
    thread, answers = _slow(shop, id)
    browser.post("/log_out")
    shop.go.set()
    thread.join(20)
    assert answers[0].status_code == 409
    assert "Set-Cookie" not in answers[0].headers
    assert shop.sessions.load(id) is None


def test_requests_at_the_same_time_lose_nothing(shop: Shop):
    browser = shop.client()
    browser.get("/put?a=1")
    thread, _ = _slow(shop, shop.id_in(browser))
    browser.get("/put?b=2")
    shop.go.set()
    thread.join(20)
    assert browser.get("/read").json == {"a": "1", "b": "2", "slow": 1}


def test_a_change_while_the_answer_is_streamed_is_written(shop: Shop):
    browser = shop.client()
    browser.get("/put?a=1")
    assert browser.get("/late").data == b"ab"
    assert browser.get("/read").json == {"a": "1", "late": 1}


def _streamed(shop: Shop, *changes: Any) -> Any:
    def parts() -> Iterator[bytes]:
        for change in changes:
            yield b"a"
            change()

    shop.app.get("/streamed")(lambda: Response(stream_with_context(parts())))
    return shop.client(shop.sessions.create("ann", {"a": 1}).id)


def test_a_session_that_is_first_touched_while_the_answer_is_streamed_is_written(shop: Shop):
    browser = _streamed(shop, lambda: session.update(late=1))
    assert browser.get("/streamed").data == b"a"
    assert browser.get("/read").json == {"a": 1, "late": 1}


def test_an_old_id_does_not_forbid_a_late_change(hf: Holdfast):
    shop = Shop(hf, {"renew_after": "1ms"})
    browser = _streamed(shop, lambda: session.update(late=1))
    threading.Event().wait(0.005)
    assert browser.get("/streamed").data == b"a"
    assert browser.get("/read").json == {"a": 1, "late": 1}


def test_a_late_logout_counts_even_if_what_comes_behind_it_cannot_be_kept(shop: Shop):
    browser = _streamed(shop, lambda: session.clear(), lambda: session.update(bye=1))
    with pytest.raises(ConfigurationError, match="too late"):
        with browser.get("/streamed") as answer:
            assert answer.data == b"aa"
    assert browser.get("/user").json == {"user": None}


def test_parts_are_closed_even_if_the_session_has_ended(shop: Shop):
    held = shop.sessions.create("ann", {"a": 1})
    closed: list[bool] = []

    class Parts:
        def __iter__(self) -> Iterator[bytes]:
            yield b"a"
            session["late"] = 1
            yield b"b"

        def close(self) -> None:
            closed.append(True)

    shop.app.get("/parts")(lambda: Response(Parts()))  # type: ignore[arg-type]
    with shop.app.test_request_context("/parts", headers={"Cookie": f"{NAME}={held.id}"}):
        answer = shop.app.full_dispatch_request()
        assert list(islice(answer.iter_encoded(), 2)) == [b"a", b"b"]
        shop.sessions.revoke(held)
        with pytest.raises(SessionGone):
            answer.close()
    assert closed


def test_a_session_that_begins_too_late_is_an_error(shop: Shop):
    with pytest.raises(ConfigurationError, match="too late"):
        with shop.client().get("/late") as answer:
            assert answer.data == b"ab"


# --- the server is away -----------------------------------------------------------------------------------


@pytest.mark.parametrize("away", ["refuse", "anonymous"])
def test_while_the_server_is_away(faults: FaultProxy, namespace: str, away: str):
    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as hf:
        shop = Shop(hf, away=away)
        browser = shop.client()
        browser.post("/log_in?name=ann")
        id = shop.id_in(browser)
        thread, answers = _slow(shop, id)
        faults.refuse()
        faults.cut()
        shop.go.set()
        thread.join(20)
        assert browser.get("/free").status_code == 200
        answers += [browser.get("/user"), browser.get("/put?a=1"), browser.post("/log_out")]
        expected = [503, 503, 503, 503] if away == "refuse" else [503, 200, 503, 503]
        assert [one.status_code for one in answers] == expected
        assert all("Set-Cookie" not in one.headers for one in answers)
        assert {one.headers.get("Retry-After") for one in answers if one.status_code == 503} == {"1"}
        faults.accept()
        while browser.get("/user").json != {"user": "ann"}:
            assert not threading.Event().wait(0.05)
        assert shop.id_in(browser) == id


def test_elsewhere_login_says_what_is_missing():
    app = Flask(__name__)
    app.secret_key = "x"
    with app.test_request_context(), pytest.raises(ConfigurationError, match="SessionInterface"):
        flask.session["a"] = 1
        login("ann")
