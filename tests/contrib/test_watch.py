"""`watch`: what is flushed is collected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, insert, select, text, update
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from holdfast import AsyncHoldfast, Cache, ConfigurationError, Holdfast
from holdfast.contrib.sqlalchemy import on_commit, watch
from tests.contrib.shop import Notes, Pet, Place, Point, User


@pytest.fixture
def users(hf: Holdfast) -> Cache[Any]:
    return hf.cache("users", ttl="1h")


@pytest.fixture
def notes(users: Cache[Any]) -> Notes:
    return Notes(users)


@pytest.fixture
def session(sqlite: Engine, users, notes: Notes) -> Iterator[Session]:
    """A session watched by id, email, and the part of the email behind the @."""
    rules: Any = [
        (users, lambda user: f"id:{user.id}"),
        (users, lambda user: [user.email, f"at {user.domain}"]),
    ]
    with (
        Session(sqlite) as session,
        watch(session, {User: rules}, tags={User: (users, lambda user: str(user.org))}),
    ):
        session.add(User(id=1, email="ann@old", org=1))
        session.commit()
        notes.take()
        notes.tags.clear()
        yield session


def test_an_insert(session: Session, notes: Notes):
    session.add(User(email="bea@new"))
    session.flush()
    assert notes.keys == []
    session.commit()
    assert notes.take() == ["id:2", "bea@new", "at%20new"]
    assert notes.tags == ["0"]


@pytest.mark.parametrize("loaded", [True, False])
def test_an_update_concerns_the_older_key_too(session: Session, notes: Notes, loaded: bool):
    """Planted: without the view of what was, the entry under the older address stayed.

    And without the question to the database it stayed if the address had not been loaded before.
    """
    ann = session.get_one(User, 1)
    if not loaded:
        session.commit()  # expires it
        notes.take()
    ann.email, ann.org = "ann@new", 2
    session.commit()
    assert sorted(notes.take()) == ["ann@new", "ann@old", "at%20new", "at%20old", "id:1"]
    assert sorted(notes.tags) == ["1", "2"]


def test_two_updates_in_one_transaction(session: Session, notes: Notes):
    ann = session.get_one(User, 1)
    ann.email = "ann@between"
    session.flush()
    ann.email = "ann@new"
    session.commit()
    assert {"ann@old", "ann@between", "ann@new"} <= set(notes.take())


def test_a_delete_after_a_change(session: Session, notes: Notes):
    ann = session.get_one(User, 1)
    ann.email = "ann@never"
    session.delete(ann)
    session.commit()
    assert {"id:1", "ann@old", "ann@never"} == {key for key in notes.take() if "at%" not in key}


def test_a_delete_of_what_was_not_loaded(session: Session, notes: Notes):
    ann = session.get_one(User, 1)
    session.commit()
    session.delete(ann)
    session.commit()
    assert {"id:1", "ann@old"} <= set(notes.take())


def test_the_older_object_is_an_object(sqlite: Engine, users, notes: Notes):
    """Composites, synonyms, hybrids, methods and isinstance show it as it was."""

    def key(place: Any) -> list[str]:
        assert isinstance(place, Place)
        return [place.spelled("!"), f"{place.point.x}-{place.alias}"]

    with Session(sqlite) as session, watch(session, {Place: (users, key)}):
        session.add(Place(id=1, point=Point(2, 3)))
        session.commit()
        assert notes.take() == ["1%20at%202,3!", "2-"]
        place = session.get_one(Place, 1)
        place.point = Point(4, 5)
        session.commit()
        assert sorted(notes.take()) == ["1%20at%202,3!", "1%20at%204,5!", "2-", "4-changed"]
        place.point, place.name = Point(6, 7), "by hand"  # neither was loaded
        session.commit()
        assert {"4-changed", "6-by%20hand"} <= set(notes.take())


def test_a_change_that_is_none(session: Session, notes: Notes):
    ann = session.get_one(User, 1)
    ann.email = "ann@old"
    session.commit()
    assert notes.take() == []


def test_another_handler_changes_the_key(session: Session, notes: Notes):
    """Planted: asked in before_update only, the rule never saw what came after it."""

    def later(_mapper: Any, _connection: Any, target: User) -> None:
        target.email = "ann@later"

    event.listen(User, "before_update", later)
    session.get_one(User, 1).org = 7
    session.commit()
    event.remove(User, "before_update", later)
    assert {"ann@old", "ann@later"} <= set(notes.take())


def test_a_rollback_drops_it(session: Session, notes: Notes):
    ann = session.get_one(User, 1)
    ann.email = "ann@new"
    session.flush()
    session.rollback()
    session.commit()
    with session.begin_nested() as savepoint:
        ann.email = "ann@new"
        session.flush()
        savepoint.rollback()
    session.commit()
    assert notes.take() == []


def test_reads_see_what_was_flushed(session: Session, users: Cache[Any]):
    pending = on_commit(session, users)
    users.set("id:1", "cached")
    assert pending.get("id:1") == "cached"
    session.get_one(User, 1).email = "ann@new"
    session.flush()
    assert pending.get("id:1", "bypassed") == "bypassed"


def test_orphans_and_cascades(sqlite: Engine, users, notes: Notes):
    with Session(sqlite) as session, watch(session, {Pet: (users, lambda pet: (pet.id, pet.user_id))}):
        session.add(User(id=1, email="a", pets=[Pet(id=1), Pet(id=2)]))
        session.commit()
        assert notes.take() == ["%tuple(1,1)", "%tuple(2,1)"]
        user = session.get_one(User, 1)
        user.pets.pop()
        session.commit()
        assert notes.take()[0] == "%tuple(2,1)"
        session.delete(user)
        session.commit()
        assert "%tuple(1,1)" in notes.take()


def test_a_cached_function_in_the_place_of_a_cache(sqlite: Engine, users: Cache[Any]):
    @users.cached("user:{user_id}:{part}")
    def get_user(user_id: int, part: str) -> str | None:
        with Session(sqlite) as session:
            return session.scalar(select(User.email).where(User.id == user_id))

    with Session(sqlite) as session, watch(session, {User: (get_user, lambda user: (user.id, "email"))}):
        assert get_user(1, "email") is None
        session.add(User(id=1, email="a"))
        session.commit()
        assert get_user(1, "email") == "a"


def test_which_sessions(sqlite: Engine, users, notes: Notes):
    class Ours(Session):
        pass

    maker, other = sessionmaker(sqlite), sessionmaker(sqlite)
    scoped = scoped_session(maker)
    rules: Any = {User: (users, lambda user: user.id)}

    def seen(make: Any, number: int) -> bool:
        with make() as session:
            session.add(User(id=number, email=str(number)))
            session.commit()
        return bool(notes.take())

    with watch(maker, rules) as watching:
        assert seen(maker, 1)
        assert not seen(other, 2)
        assert seen(scoped, 3)
        watching.close()
        assert not seen(maker, 4)
    with watch(Ours, rules):
        assert seen(lambda: Ours(sqlite), 5)
        assert not seen(maker, 6)
    with watch(Session, rules):
        assert seen(other, 7)
    with watch(scoped, rules):
        assert seen(maker, 8)
    scoped.remove()
    with pytest.raises(ConfigurationError, match="sessionmaker"):
        watch(sqlite, rules)


STATEMENTS = [
    update(User).values(org=2),
    delete(User),
    insert(User).values(id=9, email="x"),
    update(User).where(User.id == 1).values(org=2).returning(User.id),
]


@pytest.mark.parametrize("statement", STATEMENTS, ids=str)
def test_statements_that_do_not_say_what_they_change_are_refused(session: Session, users, notes, statement):
    with pytest.raises(ConfigurationError, match="User is watched.*holdfast_collected"):
        session.execute(statement)
    on_commit(session, users).invalidate("by-hand")
    session.execute(statement.execution_options(holdfast_collected=True))
    session.execute(select(User))
    session.execute(text("SELECT 1"))
    session.commit()
    assert notes.take() == ["by-hand"]


def test_other_classes_are_no_concern(session: Session, notes: Notes):
    session.add(Pet(id=1))
    session.execute(update(Pet).values(user_id=1))
    session.commit()
    assert notes.take() == []


def test_a_rule_that_gives_none_or_fails(sqlite: Engine, users, notes: Notes):
    with Session(sqlite) as session, watch(session, {User: (users, lambda user: None)}):
        session.add(User(id=1, email="a"))
        session.commit()
        assert notes.take() == []
    with Session(sqlite) as session, watch(session, {User: (users, lambda user: user.nonsense)}):
        session.add(User(id=2, email="b"))
        with pytest.raises(AttributeError):
            session.commit()


async def test_rules_that_cannot_work(sqlite: Engine, users, ahf: AsyncHoldfast):
    wrong: list[Any] = [(users, "id"), ("users", lambda user: user.id)]
    for rule in wrong:
        with pytest.raises(ConfigurationError, match="a rule is"):
            watch(Session, {User: rule})
    threads: Any = ahf.cache("users", ttl="1h")
    with Session(sqlite) as session, watch(session, {User: (threads, lambda user: user.id)}):
        session.add(User(id=1, email="a"))
        with pytest.raises(ConfigurationError, match="a Session"):
            session.commit()
