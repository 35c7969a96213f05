"""RateLimitMiddleware of WSGI, and RateLimits of Flask, with limiters of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, g, jsonify, request
from werkzeug.test import Client

from holdfast import ConfigurationError
from holdfast.contrib.flask import RateLimits, limited
from holdfast.contrib.limits import Answer, LimitRule, by_route, by_user, content_sent, everyone
from holdfast.contrib.wsgi import RateLimitMiddleware
from holdfast.errors import RateLimited
from tests.contrib.limits.pretend import AsyncLimiter, Limiter, SyncSlots, decided
from tests.contrib.limits.structured import read

# --- plain WSGI ---


class Parts:
    """An answer that knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from (b"a", b"bc", b"def")

    def close(self) -> None:
        self.closed = True


PARTS = Parts()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    if environ["PATH_INFO"] == "/told-no":
        raise RateLimited("no", decision=decided(Limiter().limit, violated=["1h"], wait=7.5), retry_after=7.5)
    if environ["PATH_INFO"] == "/broken":
        raise ZeroDivisionError
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Own", "1")])
    return PARTS


def call(rules: Any = (), path: str = "/", method: str = "GET", environ: Any = (), **options: Any) -> Any:
    client = Client(RateLimitMiddleware(application, rules, **options))
    return client.open(path, method=method, environ_overrides={"REMOTE_ADDR": "192.0.2.1", **dict(environ)})


def test_the_quota_passes_and_the_rest_is_told_to_wait():
    limiter = Limiter(2)
    for left in (1, 0):
        good = call(limiter)
        assert (good.status, good.data, good.headers["X-Own"]) == ("200 OK", b"abcdef", "1")
        assert read(good.headers["RateLimit"]) == [("1h", {"r": left, "t": 1200})]
    bad = call(limiter)
    assert (bad.status, bad.content_type, bad.headers["Retry-After"]) == (
        "429 Too Many Requests", "application/problem+json", "60",
    )  # fmt: skip
    assert bad.json["violated-policies"] == ["1h"]
    head = call(limiter, method="HEAD")
    assert (head.status_code, head.data) == (429, b"")


def test_an_answer_that_needs_no_settlement_is_passed_as_it_is():
    def start(status: str, headers: Any, exc_info: Any = None) -> None: ...

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "1.2.3.4"}
    assert RateLimitMiddleware(application, Limiter())(environ, start) is PARTS


def test_what_it_did_cost_is_settled_when_the_server_closes_it():
    limiter, slots = Limiter(100), SyncSlots(1)
    PARTS.closed = False
    answer = call([LimitRule(limiter, cost=50, settle=content_sent), LimitRule(slots)])
    assert (answer.data, slots.held, limiter.settled) == (b"abcdef", 1, [])
    answer.close()
    assert (answer.data, slots.held, slots.most, limiter.settled, PARTS.closed) == (
        b"abcdef",
        0,
        1,
        [6],
        True,
    )
    with pytest.raises(ZeroDivisionError):
        call([LimitRule(limiter, cost=50, settle=content_sent), LimitRule(slots)], path="/broken")
    assert (slots.held, limiter.settled) == (0, [6, 1])


def test_none_is_charged_unless_all_let_it_in():
    wide, narrow, slots = Limiter(100, name="wide"), Limiter(100, name="narrow"), SyncSlots(0)
    rules = [LimitRule(wide), LimitRule(narrow, cost=5, settle=content_sent), LimitRule(slots)]
    assert call(rules).status_code == 429
    assert (wide.used, narrow.used) == ({"ip:192.0.2.1": 0}, {"ip:192.0.2.1": 0})


def test_a_view_that_is_told_no_is_answered():
    answer = call(path="/told-no")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "8")


def test_proxies_users_and_routes():
    limiter = Limiter(100)
    rules = [LimitRule(limiter, key=by_user), LimitRule(limiter, key=by_route)]
    proxied = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "6.6.6.6,1.2.3.4"}
    call(rules, "/a/b", environ=proxied, trusted=["10.0.0.0/8"], route=lambda environ: "/a/*")
    call(rules, environ={"REMOTE_USER": "ann"})
    call(rules, environ={"REMOTE_ADDR": "", "HTTP_X_FORWARDED_FOR": "1.2.3.4"}, trusted=["unix"])
    assert [subject for subject, _, _ in limiter.asked] == [
        "ip:1.2.3.4", "route:/a/*", "user:ann", "route:", "ip:1.2.3.4", "route:",
    ]  # fmt: skip


def test_an_answer_of_ones_own():
    def own(environ: Any, start_response: Any) -> Any:
        start_response("420 Calm", [("X-Own", "2")])
        return [b"calm"]

    for denied in (lambda asked, refusal: own, lambda asked, refusal: Answer(420, [("X-Own", "2")], b"calm")):
        answer = call(Limiter(0), denied=denied)
        assert (answer.status_code, answer.data, answer.headers["X-Own"]) == (420, b"calm", "2")
        assert answer.headers["Retry-After"] == "60"
    with pytest.raises(ConfigurationError, match="denied"):
        call(Limiter(0), denied=lambda asked, refusal: 5)


def test_a_middleware_inside_of_another_adds_to_its_headers():
    inner = RateLimitMiddleware(application, Limiter(1, name="inner"))
    client = Client(RateLimitMiddleware(inner, Limiter(9, name="outer")))
    good, bad = client.get("/"), client.get("/")
    assert [name for name, _ in read(good.headers["RateLimit"])] == ["outer:1h", "inner:1h"]
    assert bad.json is not None
    assert bad.json["violated-policies"] == ["inner:1h"]
    assert len(bad.headers.getlist("RateLimit")) == 1


def test_bad_options_are_named():
    for options in ({"rules": AsyncLimiter()}, {"route": "x"}, {"reset": "x"}):
        with pytest.raises(ConfigurationError):
            RateLimitMiddleware(application, **options)  # type: ignore[arg-type]


# --- Flask ---


class Site:
    """An application of Flask."""

    def __init__(self, rules: Any = (), **options: Any) -> None:
        self.app = Flask("site")
        self.own, self.shared, self.slots = Limiter(2, name="own"), Limiter(100, name="shared"), SyncSlots(1)
        self.ran: list[str] = []
        RateLimits(self.app, rules, **options)
        self.app.get("/items/<int:number>")(self.item)
        self.app.get("/own/<name>")(limited(self.own)(self.view))
        self.app.get("/later")(limited(self.own, scope="all", key=everyone)(self.later))
        self.app.get("/stream")(
            limited(self.shared, cost=50, settle=content_sent)(limited(self.slots)(self.stream))
        )
        self.app.get("/told-no")(self.told_no)
        self.app.get("/broken")(limited(self.slots)(self.broken))
        self.client = self.app.test_client()

    def item(self, number: int) -> str:
        self.ran.append("item")
        return str(number)

    def view(self, name: str) -> str:
        self.ran.append("view")
        return name

    async def later(self) -> str:
        return "later"

    def stream(self) -> Response:
        assert self.slots.held == 1
        return Response(iter(["a", "bc"]), content_type="text/plain")

    def told_no(self) -> str:
        raise RateLimited("no", decision=decided(self.own.limit, violated=["1h"], wait=7.5), retry_after=7.5)

    def broken(self) -> str:
        raise ZeroDivisionError

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers=headers, environ_overrides={"REMOTE_ADDR": "192.0.2.1"})


def test_requests_of_flask_are_limited_by_route():
    limiter = Limiter(2)
    site = Site(LimitRule(limiter, scope="route"))
    assert [site.get(f"/items/{number}").status_code for number in range(3)] == [200, 200, 429]
    assert site.ran == ["item"] * 2
    bad = site.get("/items/9")
    assert (bad.content_type, bad.json["status"], bad.headers["Retry-After"]) == (
        "application/problem+json",
        429,
        "60",
    )
    assert read(bad.headers["RateLimit"]) == [("1h", {"r": 0, "t": 60})]
    assert site.get("/none").status_code == 404
    assert set(limiter.used) == {"/items/<int:number> ip:192.0.2.1", "- ip:192.0.2.1"}


def test_one_view_of_flask_is_limited():
    site = Site(Limiter(100, name="all"))
    assert [site.get(path).status_code for path in ("/own/a", "/own/b", "/own/c", "/items/1")] == [
        200,
        200,
        429,
        200,
    ]
    good, bad = site.get("/items/1"), site.get("/own/d")
    assert [name for name, _ in read(good.headers["RateLimit"])] == ["1h"]
    assert [name for name, _ in read(bad.headers["RateLimit"])] == ["all:1h", "own:1h"]
    assert bad.json["violated-policies"] == ["own:1h"]
    assert [site.get("/later").status_code for _ in range(3)] == [200, 200, 429]
    assert site.own.used == {"/own/<name> ip:192.0.2.1": 2, "all": 2}


def test_costs_and_slots_of_views_of_flask():
    site = Site()
    answer = site.get("/stream")
    assert (answer.is_streamed, answer.data) == (True, b"abc")
    answer.close()
    # A stream's length is not known: the estimate stays.
    assert (answer.data, site.slots.held, site.shared.settled) == (b"abc", 0, [])
    site.app.config["PROPAGATE_EXCEPTIONS"] = False
    broken = site.get("/broken")
    broken.close()
    assert broken.status_code == 500
    assert site.slots.held == 0
    site.app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(ZeroDivisionError):
        site.get("/broken")
    assert site.slots.held == 0
    site.slots.held = 1
    assert site.get("/stream").status_code == 429
    assert site.shared.used == {"/stream ip:192.0.2.1": 50 + 50}  # it was let in by the outer limit before


def test_a_view_of_flask_that_is_told_no_is_answered():
    answer = Site().get("/told-no")
    assert (answer.status_code, answer.headers["Retry-After"], answer.json["violated-policies"]) == (
        429,
        "8",
        ["1h"],
    )


def test_users_of_flask():
    limiter = Limiter(100)
    site = Site(LimitRule(limiter, key=by_user), user=lambda: request.headers.get("X-User"))
    site.get("/items/1", **{"X-User": "ann"})
    site.get("/items/1")
    assert list(limiter.used) == ["user:ann", "ip:192.0.2.1"]


def test_an_answer_of_ones_own_of_flask():
    def denied(asked: Any, refusal: Any) -> Any:
        return jsonify(calm=g.get("calm", refusal.retry_after)), 420

    answer = Site(Limiter(0), denied=denied).get("/items/1")
    assert (answer.status_code, answer.json) == (420, {"calm": 60})
    assert "RateLimit" in answer.headers


def test_exempt_routes_of_flask():
    limiter = Limiter(0)
    site = Site(limiter, exempt=["/items/*"])
    assert [site.get(path).status_code for path in ("/items/1", "/own/a")] == [200, 429]


def test_threads_of_flask_do_not_mix():
    site = Site(Limiter(40))
    statuses: list[int] = []

    def visit() -> None:
        client = site.app.test_client()
        statuses.extend(client.get("/items/1").status_code for _ in range(15))

    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(statuses) == [200] * 40 + [429] * 20


def test_what_is_missing_is_named():
    app = Flask("bare")
    app.get("/")(limited(Limiter())(lambda: "x"))
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(ConfigurationError, match="RateLimits"):
        app.test_client().get("/")
    RateLimits(app2 := Flask("two"))
    with pytest.raises(ConfigurationError, match="already"):
        RateLimits().init_app(app2)
    with pytest.raises(ConfigurationError, match="user"):
        RateLimits(user="ann")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="scope"):
        limited(Limiter(), scope="x")  # type: ignore[arg-type]
