"""Does a session store keep sessions safe? Test cases for any of them, to be run with pytest.

    from holdfast.testing.sessions import SessionCases

    class TestMyStore(SessionCases):
        @pytest.fixture
        def store(self):
            return MyAdapter()           # an adapter of yours: the Protocol Store

What is asked is what OWASP's Session Management Cheat Sheet asks, and what requests at the same time make of
it: an id that the store has not given out is refused (fixation), a login or a rotation ends the id before it,
what has ended is not brought back by a request that was under way, ids are not readable where they are kept,
and two requests that change different keys both win. Nothing here knows Holdfast: adapt what you have.
"""

from __future__ import annotations

from typing import Any, Protocol

import pytest

FORGED = "0123456789abcdefABCDEF"
LEAST = 22  # characters: 128 bits in base64


class Visit(Protocol):
    """One request: it has read the session of its cookie, and will write it at its end."""

    data: dict[str, Any]

    def finish(self) -> str | None:
        """Write what was changed. The id that the answer's cookie has, or None if it sets or keeps none.

        May raise anything if the session cannot be written any more.
        """


class Store(Protocol):
    """A session store, as a web application uses it."""

    def visit(self, id: str | None) -> Visit:
        """A request with the cookie `id`, or without one, that has read its session."""

    def login(self, id: str | None, user: str) -> str:
        """A whole request that signs `user` in; the id that the answer's cookie has."""

    def rotate(self, id: str) -> str:
        """A whole request that changes the id; the id that the answer's cookie has."""

    def logout(self, id: str) -> None:
        """A whole request that ends the session."""

    def user(self, id: str) -> str | None:
        """Who is signed in, as a request with the cookie `id` sees it."""

    def at_rest(self) -> bytes:
        """Everything that is kept, names and values, as somebody finds it who has got a copy."""


class SessionCases:
    """Test cases; derive a class, and give it the fixture `store`."""

    @pytest.fixture
    def store(self) -> Store:
        """The store to be asked."""
        raise NotImplementedError("override the fixture `store`")

    @staticmethod
    def begin(store: Store, **data: Any) -> str:
        """The id of a session that has `data`."""
        visit = store.visit(None)
        visit.data.update(data)
        id = visit.finish()
        assert id is not None, "a session with data in it got no id"
        return id

    # --- ids ---

    def test_what_was_put_in_is_there_again(self, store: Store) -> None:
        """As every store does."""
        id = self.begin(store, a=1)
        assert dict(store.visit(id).data) == {"a": 1}

    def test_ids_are_long_and_never_the_same(self, store: Store) -> None:
        """128 bits, at 6 bits for a character at most."""
        ids = {self.begin(store, a=number) for number in range(50)}
        assert len(ids) == 50
        assert min(map(len, ids)) >= LEAST

    def test_an_id_that_nobody_gave_out_is_not_taken_over(self, store: Store) -> None:
        """Else whoever plants a cookie knows the session of his victim."""
        shape = self.begin(store, a=1)
        for forged in (FORGED, "x" * len(shape), shape[:-1] + ("A" if shape[-1] != "A" else "B")):
            visit = store.visit(forged)
            assert dict(visit.data) == {}
            visit.data["secret"] = 1
            assert visit.finish() != forged
            assert dict(store.visit(forged).data) == {}
            assert store.login(forged, "ann") != forged
            assert store.user(forged) is None

    def test_ids_are_not_where_sessions_are_kept(self, store: Store) -> None:
        """Else a copy of the database is a bunch of keys to every account."""
        ids = [self.begin(store, a=1), store.login(None, "ann")]
        ids.append(store.rotate(ids[0]))
        found = store.at_rest()
        assert found, "at_rest() must show what is kept"
        assert not [id for id in ids if id.encode() in found]

    # --- login, rotation, logout ---

    def test_a_login_ends_the_id_before_it(self, store: Store) -> None:
        """Whoever knew that one is not signed in."""
        before = self.begin(store, cart=7)
        after = store.login(before, "ann")
        assert after != before
        assert store.user(after) == "ann"
        assert store.visit(after).data["cart"] == 7
        assert store.user(before) is None
        assert "cart" not in store.visit(before).data

    def test_a_rotation_keeps_the_data_under_another_id(self, store: Store) -> None:
        """For how long the old one serves requests that are under way is the store's affair."""
        before = store.login(None, "ann")
        after = store.rotate(before)
        assert after != before
        assert store.user(after) == "ann"

    def test_another_user_sees_nothing_of_the_one_before(self, store: Store) -> None:
        """On a machine that two people use."""
        first = store.login(None, "ann")
        visit = store.visit(first)
        visit.data["secret"] = 1
        second = store.login(visit.finish() or first, "bob")
        assert store.user(second) == "bob"
        assert "secret" not in store.visit(second).data
        assert store.user(first) is None

    def test_a_logout_ends_it(self, store: Store) -> None:
        """On the server, not only in the browser."""
        id = store.login(None, "ann")
        store.logout(id)
        assert store.user(id) is None

    # --- requests at the same time ---

    @pytest.mark.parametrize("change", [{"b": 2}, {}])
    def test_a_request_under_way_does_not_bring_it_back(self, store: Store, change: dict[str, Any]) -> None:
        """A slow request that read the session before the logout, and writes it after."""
        id = store.login(None, "ann")
        visit = store.visit(id)
        store.logout(id)
        visit.data.update(change)
        try:
            given = visit.finish()
        except Exception:  # noqa: BLE001 (how a store says so is its affair)
            given = None
        assert store.user(id) is None
        assert dict(store.visit(id).data) == {}
        if given is not None:
            assert store.user(given) is None

    def test_a_rotation_under_way_does_not_bring_it_back(self, store: Store) -> None:
        """Nor does one that comes after."""
        id = store.login(None, "ann")
        store.logout(id)
        try:
            given = store.rotate(id)
        except Exception:  # noqa: BLE001 (as above)
            given = id
        assert store.user(id) is None
        assert store.user(given) is None

    def test_a_request_under_way_does_not_follow_a_login(self, store: Store) -> None:
        """It has the old id: it must not write into the session of who has signed in."""
        before = self.begin(store, a=1)
        visit = store.visit(before)
        after = store.login(before, "ann")
        visit.data["planted"] = 1
        try:
            given = visit.finish()
        except Exception:  # noqa: BLE001 (as above)
            given = None
        assert "planted" not in store.visit(after).data
        assert given != after
        assert store.user(after) == "ann"

    def test_different_keys_changed_at_once_are_both_kept(self, store: Store) -> None:
        """Two requests read the same, and each writes its own."""
        id = self.begin(store, a=1, b=1, c=1)
        one, other = store.visit(id), store.visit(id)
        one.data["a"] = 2
        del other.data["b"]
        other.data["d"] = 2
        one.finish()
        other.finish()
        assert dict(store.visit(id).data) == {"a": 2, "c": 1, "d": 2}

    def test_a_request_that_changes_nothing_undoes_nothing(self, store: Store) -> None:
        """It read before, and ends after."""
        id = self.begin(store, a=1)
        idle = store.visit(id)
        assert idle.data["a"] == 1
        busy = store.visit(id)
        busy.data["a"] = 2
        busy.finish()
        idle.finish()
        assert store.visit(id).data["a"] == 2
