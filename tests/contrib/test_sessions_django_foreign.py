"""Django's own tests of session stores and of their middleware, run against ours."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.sessions.backends.base import UpdateError  # type: ignore[import-untyped]
from django.test import SimpleTestCase, override_settings  # type: ignore[import-untyped]

from holdfast import Holdfast
from holdfast.contrib.django.sessions import SessionStore
from tests.contrib.foreign.django_session_middleware import SessionMiddlewareTests
from tests.contrib.foreign.django_sessions import SessionTestsMixin

Case: Any = SimpleTestCase


class Stage(Case):
    """Django, with sessions of ours."""

    @pytest.fixture(autouse=True)
    def settled(self, hf: Holdfast, world: SimpleNamespace) -> Any:
        self.sessions = hf.sessions(idle="14d", absolute="90d")
        with override_settings(
            SESSION_ENGINE="holdfast.contrib.django.sessions",
            HOLDFAST_SESSIONS={"sessions": self.sessions},
        ):
            yield


class TestStore(SessionTestsMixin, Stage):
    backend: Any = SessionStore

    def test_session_key_valid_string_saved(self) -> None:
        """As Django's, but ends without asking the server to delete what is no id of its sessions."""
        super().test_session_key_valid_string_saved()
        with pytest.raises(UpdateError):
            self.session.save()


class TestMiddleware(SessionMiddlewareTests, Stage):
    backend: Any = SessionStore
