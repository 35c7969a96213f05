"""The same for Django: `on_commit`, `watch`, the outbox; on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction  # type: ignore[import-untyped]
from django.test.utils import CaptureQueriesContext  # type: ignore[import-untyped]
from sqlalchemy import create_engine

from holdfast import (
    MISSING,
    AsyncHoldfast,
    Cache,
    Closed,
    ConfigurationError,
    ConflictError,
    Holdfast,
    Unavailable,
)
from holdfast.contrib import sqlalchemy
from holdfast.contrib.django import Outbox, Relay, fenced_update, on_commit, watch
from tests.contrib.shop import Notes

OUTBOX = Outbox()


@pytest.fixture(params=["default", "pg"])
def using(request: pytest.FixtureRequest, world: SimpleNamespace) -> Iterator[str]:
    """The name of a database, empty again afterwards."""
    alias: str = request.param
    yield alias
    assert not connections[alias].in_atomic_block
    with connections[alias].cursor() as cursor:
        for table in ("django_shop_pet", "django_shop_user", "django_shop_job", OUTBOX.name):
            cursor.execute(f"DELETE FROM {table}")
    connections.close_all()


@pytest.fixture
def users(hf: Holdfast) -> Cache[Any]:
    return hf.cache("users", ttl="1h")


@pytest.fixture
def notes(users: Cache[Any]) -> Notes:
    return Notes(users)


def rows(using: str) -> int:
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {OUTBOX.name}")
        return int(cursor.fetchone()[0])


def test_at_commit_and_not_before(using: str, world: SimpleNamespace, users):
    users.set(1, "old")
    with transaction.atomic(using):
        world.User.objects.using(using).create(email="a")
        on_commit(users, using=using).invalidate(1)
        assert users.get(1) == "old"
    assert users.get(1) is MISSING


def test_one_delivery_for_many_calls(using: str, users, notes: Notes):
    with transaction.atomic(using):
        pending = on_commit(users, using=using)
        pending.invalidate("a")
        on_commit(users, using=using).invalidate("b", "a")
        pending.invalidate_tags("t")
        assert notes.keys == []
    assert (notes.keys, notes.tags) == ([["a", "b"]], ["t"])


def test_outside_of_a_transaction_at_once(using: str, users, notes: Notes):
    pending = on_commit(users, using=using)
    pending.invalidate("a")
    pending.invalidate("b")
    assert notes.keys == [["a"], ["b"]]


def test_savepoints(using: str, users, notes: Notes):
    with transaction.atomic(using):
        pending = on_commit(users, using=using)
        pending.invalidate("root")
        with pytest.raises(LookupError), transaction.atomic(using):
            pending.invalidate("gone", "root")
            with transaction.atomic(using):
                pending.invalidate("released in gone")
            raise LookupError
        with transaction.atomic(using):
            pending.invalidate("kept")
        pending.invalidate("last")
    assert notes.take() == ["root", "kept", "last"]


def test_a_rollback_drops_it(using: str, users, notes: Notes):
    with pytest.raises(LookupError), transaction.atomic(using):
        on_commit(users, using=using).invalidate("a")
        raise LookupError
    with transaction.atomic(using):
        pass
    assert notes.take() == []


def test_a_transaction_reads_what_it_wrote(using: str, users: Cache[Any]):
    users.set("a", "old")
    users.set("b", "old")
    pending = on_commit(users, using=using)
    with pytest.raises(LookupError), transaction.atomic(using):
        with pytest.raises(LookupError), transaction.atomic(using):
            pending.invalidate("b")
            assert pending.get("b") is MISSING
            raise LookupError
        pending.invalidate("a")
        assert pending.get("a") is MISSING
        assert pending.get("b") == "old"
        assert pending.get_or_set("a", lambda: "mine") == "mine"
        pending.invalidate_tags("t")
        assert pending.get("b") is MISSING
        assert users.get("a") == "old"
        raise LookupError
    assert pending.get("a") == "old"


def test_a_cache_that_fails_makes_nothing_else_fail(using: str, users, notes: Notes, caplog):
    notes.answer = Closed("closed")
    done: list[str] = []
    with transaction.atomic(using):
        on_commit(users, using=using).invalidate("a")
        transaction.on_commit(lambda: done.append("other"), using=using)
    assert done == ["other"]
    assert "'users'" in caplog.text


def test_a_bug_of_ours_makes_nothing_else_fail(using: str, users, monkeypatch):
    monkeypatch.setattr("holdfast.contrib._pending_sync.deliver", lambda wanted: 1 / 0)
    done: list[str] = []
    with transaction.atomic(using):
        on_commit(users, using=using).invalidate("a")
        transaction.on_commit(lambda: done.append("other"), using=using)
    assert done == ["other"]


def test_cached_functions(using: str, users: Cache[Any]):
    calls: list[int] = []

    @users.cached("user:{user_id}")
    def get_user(user_id: int) -> int:
        calls.append(user_id)
        return len(calls)

    assert get_user(1) == get_user(1) == 1
    with transaction.atomic(using):
        on_commit(users, using=using).invalidate_call(get_user, 1)
    assert get_user(1) == 2


def test_mistakes(using: str):
    wrong: Any = "users"
    with pytest.raises(ConfigurationError, match="give a Cache"):
        on_commit(wrong, using=using)
    for name in ("a b", "x;--", ""):
        with pytest.raises(ConfigurationError, match="identifier"):
            Outbox(name)


# --- async views --------------------------------------------------------------------------------------------


async def test_an_async_view(world: SimpleNamespace, ahf: AsyncHoldfast):
    users = ahf.cache("users", ttl="1h")
    await users.set(1, "old")
    loops: list[Any] = []
    notes: Any = users._invalidate
    target: Any = users

    async def noted(keys: list[str]) -> bool:
        loops.append(threading.current_thread())
        return bool(await notes(keys))

    target._invalidate = noted
    here = threading.current_thread()

    def work() -> Any:
        assert threading.current_thread() is not here
        with transaction.atomic():
            pending = on_commit(users)
            pending.invalidate(1)
        connections.close_all()
        return pending

    pending = await sync_to_async(work)()
    assert loops == [here]  # on the loop of the view
    assert await users.get(1) is MISSING
    with pytest.raises(ConfigurationError, match="threads"):
        on_commit(users)
    with pytest.raises(ConfigurationError, match="threads"):
        pending.invalidate(1)


def test_an_async_cache_where_there_is_no_loop(using: str, server):
    """As in a command. Every invalidation would make a loop and a connection, and leave it behind."""
    users = AsyncHoldfast(server.url).cache("users", ttl="1h")
    with pytest.raises(ConfigurationError, match="async view"):
        on_commit(users, using=using)


# --- watch --------------------------------------------------------------------------------------------------


def test_watch(using: str, world: SimpleNamespace, users, notes: Notes):
    User = world.User
    rules: Any = {User: [(users, lambda user: f"id:{user.pk}"), (users, lambda user: user.email)]}
    with watch(rules, tags={User: (users, lambda user: "all")}):
        ann = User.objects.using(using).create(email="old")
        one = f"id:{ann.pk}"
        assert set(notes.take()) == {one, "old"}
        assert set(notes.tags) == {"all"}
        ann.email = "new"
        ann.save()
        assert set(notes.take()) == {one, "old", "new"}
        with pytest.raises(LookupError), transaction.atomic(using):
            ann.email = "newer"
            ann.save()
            raise LookupError
        assert notes.take() == []
        with transaction.atomic(using):
            User.objects.using(using).all().delete()
            assert notes.take() == []
        assert {one, "new"} <= set(notes.take())
    User.objects.using(using).create(email="unseen")
    assert notes.take() == []


def test_watch_cascades_and_asks_no_more_than_it_must(
    using: str, world: SimpleNamespace, users, notes: Notes
):
    User, Pet = world.User, world.Pet
    with watch({Pet: (users, lambda pet: pet.pk)}, older=False):
        user = User.objects.using(using).create(email="a")
        with CaptureQueriesContext(connections[using]) as queries:
            pet = Pet.objects.using(using).create(user=user)
        assert len(queries) == 1
        assert notes.take() == [f"%int({pet.pk})"]
        key = pet.pk
        user.delete()
        assert notes.take() == [f"%int({key})"]


# --- outbox -------------------------------------------------------------------------------------------------


def test_rows_come_and_go_with_the_transaction(using: str, users, notes: Notes):
    with transaction.atomic(using):
        pending = on_commit(users, using=using, outbox=OUTBOX)
        pending.invalidate(1, "b")
        pending.invalidate_tags("t")
        with pytest.raises(LookupError), transaction.atomic(using):
            pending.invalidate("gone")
            raise LookupError
        assert rows(using) == 3
    with pytest.raises(LookupError), transaction.atomic(using):
        pending.invalidate("gone")
        raise LookupError
    assert rows(using) == 3
    assert notes.take() == ["%int(1)", "b"]
    notes.tags.clear()

    relay = Relay([users], OUTBOX, using=using)
    notes.answer = False
    with pytest.raises(Unavailable):
        relay.run_once()
    assert rows(using) == 3
    notes.answer = True
    notes.take()
    assert (relay.run_once(), rows(using)) == (3, 0)
    assert (notes.take(), notes.tags) == (["%int(1)", "b"], ["t", "t"])
    assert relay.run_once() == 0


def test_run_until(using: str, users, notes: Notes):
    on_commit(users, using=using, outbox=OUTBOX).invalidate("a")
    notes.take()
    Relay([users], using=using).run(until=lambda: bool(notes.keys), poll="10ms")
    assert (notes.take(), rows(using)) == (["a"], 0)


def test_watch_writes_into_the_outbox(using: str, world: SimpleNamespace, users, notes: Notes):
    with watch({world.User: (users, lambda user: user.pk)}, outbox=OUTBOX):
        world.User.objects.using(using).create(email="a")
    assert rows(using) == 1


def test_it_is_the_table_that_sqlalchemy_uses(world: SimpleNamespace, users, notes: Notes):
    on_commit(users, outbox=OUTBOX).invalidate("a")
    notes.take()
    engine = create_engine(f"sqlite:///{world.file}")
    sqlalchemy.Outbox().create(engine)
    assert sqlalchemy.Relay(engine, [users]).run_once() == 1
    engine.dispose()
    assert notes.take() == ["a"]
    assert rows("default") == 0
    connections.close_all()


def test_a_row_that_was_written_under_a_greater_fence_is_left_alone(using: str, world: SimpleNamespace):
    job = world.Job.objects.using(using).create(state="new")
    rows = world.Job.objects.using(using).filter(pk=job.pk)
    assert fenced_update(rows, 5, state="first") == 1
    assert fenced_update(rows, 9, state="second") == 1
    with pytest.raises(ConflictError) as caught:
        fenced_update(rows, 5, state="late")
    assert (caught.value.expected, caught.value.actual) == (5, 9)
    assert fenced_update(rows, 9, state="again") == 1
    assert (rows.get().state, rows.get().fence) == ("again", 9)
    assert fenced_update(rows.filter(pk=-1), 10, state="nobody") == 0
