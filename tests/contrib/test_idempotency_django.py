"""`Idempotency-Key` for Django: the work is done once, and its answer is replayed."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse  # type: ignore[import-untyped]
from django.test import RequestFactory, override_settings  # type: ignore[import-untyped]

from holdfast import ConfigurationError, Holdfast
from holdfast.contrib.django import IdempotencyMiddleware


class Shop:
    """A service, and what it has done."""

    def __init__(self, hf: Holdfast, **policy: Any) -> None:
        self.charged: list[bytes] = []
        self.go, self.began = threading.Event(), threading.Event()
        self.go.set()
        self.status = 201
        operations = hf.operations("http", lease="2s", ttl="1m", accept_loss=True, retry=(0, 0))
        with override_settings(HOLDFAST_IDEMPOTENCY={"operations": lambda: operations, **policy}):
            self.middleware = IdempotencyMiddleware(self.view)

    def view(self, request: Any) -> Any:
        if request.path == "/crash":
            self.charged.append(b"")
            raise ZeroDivisionError
        self.began.set()
        assert self.go.wait(20)
        self.charged.append(request.body)
        if request.path == "/stream":
            return StreamingHttpResponse(iter([b"a", b"b"]))
        response = JsonResponse({"charge": len(self.charged)}, status=self.status)
        response.set_cookie("session", "secret")
        return response

    def post(self, key: str | None, body: bytes = b"5", path: str = "/pay", **headers: str) -> HttpResponse:
        if key is not None:
            headers["HTTP_IDEMPOTENCY_KEY"] = key
        request = RequestFactory().post(path, body, content_type="application/json", **headers)
        return self.middleware(request)


@pytest.fixture
def shop(hf: Holdfast, world: SimpleNamespace) -> Shop:
    return Shop(hf)


def test_the_second_request_gets_the_answer_of_the_first(shop: Shop):
    first, second = shop.post("k1"), shop.post("k1")
    assert first.status_code == second.status_code == 201
    assert first.content == second.content == b'{"charge": 1}'
    assert second["Idempotency-Replayed"] == "true"
    assert second["Content-Type"] == "application/json"
    assert "session" in first.cookies
    assert "session" not in second.cookies
    assert shop.charged == [b"5"]


def test_another_request_under_the_key_is_refused(shop: Shop):
    shop.post("k1")
    refused = shop.post("k1", b"6")
    assert refused.status_code == 422
    assert json.loads(refused.content)["title"] == "Idempotency-Key is already used"
    assert shop.post("k1", path="/pay?x=1").status_code == 422
    assert len(shop.charged) == 1


def test_without_a_key_and_with_other_methods_everything_is_as_before(shop: Shop):
    assert shop.post(None).content == b'{"charge": 1}'
    for count in (2, 3):
        request = RequestFactory().get("/pay", HTTP_IDEMPOTENCY_KEY="k")
        assert shop.middleware(request).content == b'{"charge": %d}' % count


def test_the_keys_of_two_users_are_two_keys(shop: Shop):
    shop.post("k1", HTTP_AUTHORIZATION="Bearer ann")
    shop.post("k1", HTTP_AUTHORIZATION="Bearer bob")
    assert len(shop.charged) == 2


def test_a_duplicate_waits_for_the_one_that_is_running(shop: Shop):
    shop.go.clear()
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(shop.post("k1"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert shop.began.wait(20)
    shop.go.set()
    for thread in threads:
        thread.join(20)
    assert [one.content for one in answers] == [b'{"charge": 1}'] * 3


@pytest.mark.parametrize("status", [500, 429])
def test_an_answer_that_says_try_again_is_not_kept(shop: Shop, status: int):
    shop.status = status
    assert shop.post("k1").status_code == status
    shop.status = 201
    assert shop.post("k1").content == b'{"charge": 2}'


def test_a_view_that_crashes_is_asked_again(shop: Shop):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            shop.post("k1", path="/crash")
    assert len(shop.charged) == 2


def test_what_is_streamed_is_replayed_whole(shop: Shop):
    first, second = shop.post("k1", path="/stream"), shop.post("k1", path="/stream")
    assert b"".join(first.streaming_content) == second.content == b"ab"
    assert len(shop.charged) == 1


def test_a_key_that_is_none_is_refused(shop: Shop):
    assert shop.post("a b").status_code == 400
    assert shop.charged == []


def test_a_missing_setting_is_named(world: SimpleNamespace):
    with pytest.raises(ConfigurationError, match="HOLDFAST_IDEMPOTENCY"):
        IdempotencyMiddleware(lambda _: HttpResponse())
