"""Any order of transactions and savepoints, against a model that is a stack of lists."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import event, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from holdfast import Holdfast
from holdfast.contrib.rows import wanted_of
from holdfast.contrib.sqlalchemy import Outbox, on_commit, watch
from tests.contrib.shop import Notes, User, memory


class Cut(Exception):
    """The connection, just when COMMIT was sent."""


class Transactions(RuleBasedStateMachine):
    """`due` is what the model says: one dict (used as an ordered set) for the transaction and each savepoint.

    What the cache was told at a commit must be exactly that, and so must the rows of the outbox; at a
    rollback, nothing. When COMMIT is cut, everything is told, and no row is there.
    """

    hf: Holdfast

    @initialize(outbox=st.booleans())
    def start(self, outbox: bool) -> None:
        self.engine = memory()
        self.outbox = Outbox()
        self.outbox.create(self.engine)
        users = self.hf.cache("users", ttl="1h")
        self.notes = Notes(users)
        self.session = Session(self.engine)
        self.with_outbox = outbox
        given = self.outbox if outbox else None
        self.pending = on_commit(self.session, users, outbox=given)
        self.watch = watch(self.session, {User: (users, lambda user: f"id:{user.id}")}, outbox=given)
        self.due: list[dict[str, None]] = [{}]
        self.new: set[str] = set()
        self.number = 0

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.session.close()
            self.watch.close()
            self.engine.dispose()

    @rule(key=st.sampled_from("abc"))
    def collect(self, key: str) -> None:
        self.pending.invalidate(key)
        self.due[-1][key] = None

    @rule()
    def write(self) -> None:
        self.number += 1
        self.session.add(User(id=self.number, email=str(self.number)))
        self.new.add(f"id:{self.number}")

    def flushed(self) -> None:
        self.due[-1].update(dict.fromkeys(sorted(self.new)))
        self.new.clear()

    @rule()
    def flush(self) -> None:
        self.session.flush()
        self.flushed()

    @precondition(lambda self: len(self.due) < 4)
    @rule()
    def savepoint(self) -> None:
        self.session.begin_nested()
        self.flushed()  # a savepoint flushes first
        self.due.append({})

    @precondition(lambda self: len(self.due) > 1)
    @rule()
    def release(self) -> None:
        savepoint = self.session.get_nested_transaction()
        assert savepoint is not None
        savepoint.commit()
        self.flushed()
        self.released()

    def released(self) -> None:
        top = self.due.pop()
        self.due[-1].update(top)

    @precondition(lambda self: len(self.due) > 1)
    @rule()
    def back_to_savepoint(self) -> None:
        savepoint = self.session.get_nested_transaction()
        assert savepoint is not None
        savepoint.rollback()
        self.new.clear()
        self.due.pop()

    @precondition(lambda self: len(self.due) > 1)
    @rule(at_release=st.booleans())
    def fail_in_savepoint(self, at_release: bool) -> None:
        """A flush that the database refuses rolls the savepoint back, with the rows written in it."""
        self.session.flush()
        self.session.begin_nested()
        self.flushed()
        self.pending.invalidate("gone")
        self.session.add_all([User(id=-1, email="x"), User(id=-2, email="x")])
        nested = self.session.get_nested_transaction()
        assert nested is not None
        with suppress(IntegrityError):
            nested.commit() if at_release else self.session.flush()
            raise AssertionError("two users of one address")
        nested.rollback()

    @rule(whole=st.booleans())
    def commit(self, whole: bool) -> None:
        """`whole`: the transaction's own commit, whatever savepoints are open in it."""
        root = self.session.get_transaction()
        (root if whole and root is not None else self.session).commit()
        self.flushed()
        while len(self.due) > 1:
            self.released()
        (due,) = self.due
        assert sorted(self.notes.take()) == sorted(due)
        assert self.take_rows() == (sorted(due) if self.with_outbox else [])
        self.due = [{}]

    def take_rows(self) -> list[str]:
        table = self.outbox.table
        with self.engine.begin() as connection:
            rows = connection.execute(select(table)).all()
            connection.execute(table.delete())
        return sorted(wanted_of(None, row.kind, row.payload).text for row in rows)

    @rule(whole=st.booleans())
    def commit_is_cut(self, whole: bool) -> None:
        if not self.session.in_transaction():
            return
        root = self.session.get_transaction()
        assert root is not None
        self.session.connection()  # without one, there is nothing to cut

        def cut(connection: Any) -> None:
            connection.connection.rollback()
            raise Cut

        event.listen(self.engine, "commit", cut)
        with suppress(Cut):
            (root if whole else self.session).commit()
            raise AssertionError("not cut")
        event.remove(self.engine, "commit", cut)
        self.flushed()
        due = {key: None for layer in self.due for key in layer}
        self.session.rollback()
        assert sorted(self.notes.take()) == sorted(due)
        assert self.take_rows() == []
        self.due = [{}]

    @rule(how=st.sampled_from(["rollback", "close"]))
    def give_up(self, how: str) -> None:
        if not self.session.in_transaction():
            return  # what was collected without a transaction waits for the next one
        if how == "rollback" and self.session.in_nested_transaction():
            root = self.session.get_transaction()
            assert root is not None
            root.rollback()
        else:
            getattr(self.session, how)()
        self.new.clear()
        self.due = [{}]

    @invariant()
    def nothing_is_told_between(self) -> None:
        if hasattr(self, "notes"):
            assert self.notes.keys == []

    @invariant()
    def what_was_collected_is_not_read(self) -> None:
        if hasattr(self, "pending"):
            held = {key for layer in self.due for key in layer}
            for key in "abc":
                assert self.pending._collector.holds(self.pending.cache, key) == (key in held)


def test_transactions(hf: Holdfast):
    kind = type("Transactions", (Transactions,), {"hf": hf})
    case: Any = kind.TestCase  # type: ignore[attr-defined]
    case.settings = settings(max_examples=40, stateful_step_count=25, deadline=None, derandomize=True)
    case().runTest()


def test_the_model_counts_rows_in_the_database():
    """What the machine asserts about rows means something: its table is really rolled back."""
    engine = memory()
    with Session(engine) as session:
        session.add(User(id=1, email="a"))
        nested = session.begin_nested()
        session.add(User(id=2, email="b"))
        session.flush()
        nested.rollback()
        session.commit()
        assert session.scalar(select(func.count()).select_from(User)) == 1
    engine.dispose()
