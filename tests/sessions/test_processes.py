"""Sessions in many threads, and in the child of a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast.errors import SessionGone
from holdfast.sessions._sessions_sync import Sessions
from holdfast.sessions.options import SessionsOptions


def make(hf: Holdfast, **options: Any) -> Sessions[Any]:
    return Sessions(hf._wire, "web", SessionsOptions(**options))


def together(calls: list[Callable[[], Any]]) -> list[Any]:
    """What `calls` return, all begun at once; an error is a result."""
    gate = threading.Barrier(len(calls))

    def begin(call: Callable[[], Any]) -> Any:
        gate.wait(30)
        try:
            return call()
        except SessionGone as gone:
            return gone

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(begin, calls))


def test_parallel_requests_lose_nothing_and_rotate_once(hf: Holdfast):
    sessions = make(hf)
    for _ in range(5):
        first = sessions.create("ann")

        def change(number: int, id: str = first.id) -> bool:
            session = sessions.load(id)
            assert session is not None
            session.data[f"k{number}"] = number
            return sessions.save(session)

        def rotate(id: str = first.id) -> Any:
            session = sessions.load(id)
            assert session is not None
            return sessions.rotate(session)

        calls: list[Any] = [lambda number=number: change(number) for number in range(6)]
        results = together([*calls, rotate, rotate, rotate])
        (new,) = [one for one in results[6:] if not one.superseded]
        found = sessions.load(new.id)
        assert found is not None and found.data == {f"k{number}": number for number in range(6)}


def test_of_two_who_sign_in_one_does(hf: Holdfast):
    sessions = make(hf)
    for _ in range(5):
        first = sessions.create()
        hands = [sessions.load(first.id) for _ in range(4)]
        results = together(
            [
                lambda one=one, user=user: sessions.rotate(one, user=user)  # type: ignore[misc]
                for one, user in zip(hands, ("ann", "bob", "ann", "bob"), strict=True)
            ]
        )
        (winner,) = [one for one in results if not isinstance(one, SessionGone)]
        infos = [*sessions.list("ann"), *sessions.list("bob")]
        assert [one.handle for one in infos] == [winner.handle]
        sessions.revoke(winner)


def test_nothing_lives_after_everybody_was_signed_out(hf: Holdfast):
    """Logins, saves, touches and rotations beside a revoke_all that has the last word."""
    sessions = make(hf, touch=0)
    for _ in range(5):
        first = sessions.create("ann", {"n": 1})
        begun = sessions.generation("ann")
        made: list[Any] = []

        def sign_in(begun: int = begun, made: list[Any] = made) -> None:
            made.append(sessions.create("ann", generation=begun))

        def use(id: str = first.id, made: list[Any] = made) -> None:
            session = sessions.load(id)
            if session is not None:
                session.data["n"] += 1
                sessions.save(session)
                made.append(sessions.rotate(session))

        together([sign_in, sign_in, use, use, lambda: sessions.revoke_all("ann"), use, sign_in])
        assert sessions.list("ann") == []
        for session in (first, *made):
            assert sessions.load(session.id) is None


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_child_of_a_fork_has_ids_of_its_own(hf: Holdfast):
    sessions = make(hf)
    first = sessions.create("ann", {"n": 1})
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            mine = sessions.create("ann")
            found = sessions.load(first.id)
            assert found is not None
            found.data["child"] = True
            sessions.save(found)
            os.write(writer, mine.id.encode())
        finally:
            os._exit(0)
    os.close(writer)
    ours = sessions.create("ann")
    theirs = os.read(reader, 100).decode()
    os.close(reader)
    os.waitpid(pid, 0)
    assert theirs != ours.id and sessions.load(theirs) is not None
    found = sessions.load(first.id)
    assert found is not None and found.data == {"n": 1, "child": True}
    assert len(sessions.list("ann")) == 3
