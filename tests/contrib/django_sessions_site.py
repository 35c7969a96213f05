"""Views that use their session, for tests of Django."""

from __future__ import annotations

import threading
from typing import Any

from django.contrib import auth  # type: ignore[import-untyped]
from django.http import HttpResponse, JsonResponse  # type: ignore[import-untyped]
from django.urls import path  # type: ignore[import-untyped]

from holdfast.contrib.django.sessions import revoke_all


class Stage:
    """What the views share with their test."""

    began, go = threading.Event(), threading.Event()
    user: Any = None


def free(request: Any) -> HttpResponse:
    return HttpResponse("hello")


def read(request: Any) -> JsonResponse:
    return JsonResponse({key: value for key, value in request.session.items() if not key.startswith("_")})


def who(request: Any) -> JsonResponse:
    return JsonResponse({"user": request.user.get_username()})


def put(request: Any) -> JsonResponse:
    for key, value in request.GET.items():
        request.session[key] = value
    return JsonResponse({"key": request.session.session_key})


def slow(request: Any) -> HttpResponse:
    request.session["slow"] = 1
    Stage.began.set()
    assert Stage.go.wait(20)
    return HttpResponse()


def log_in(request: Any) -> HttpResponse:
    if "stay" in request.GET:
        request.session.set_expiry(int(request.GET["stay"]))
    auth.login(request, Stage.user)
    return HttpResponse()


def log_out(request: Any) -> HttpResponse:
    auth.logout(request)
    return HttpResponse()


def new_password(request: Any) -> HttpResponse:
    request.user.set_password("new")
    request.user.save()
    auth.update_session_auth_hash(request, request.user)
    revoke_all(request.user, keep=request.session)
    return HttpResponse()


def reset_password(request: Any) -> HttpResponse:
    auth.login(request, Stage.user)
    revoke_all(Stage.user, keep=request.session)
    return HttpResponse()


async def aput(request: Any) -> JsonResponse:
    await request.session.aset("n", await request.session.aget("n", 0) + 1)
    return JsonResponse({"n": await request.session.aget("n")})


async def alog_in(request: Any) -> HttpResponse:
    await auth.alogin(request, Stage.user)
    return HttpResponse()


urlpatterns = [
    path(view.__name__, view)
    for view in (free, read, who, put, slow, log_in, log_out, new_password, reset_password, aput, alog_in)
]
