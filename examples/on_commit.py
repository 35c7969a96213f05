"""Invalidation that cannot be forgotten, with SQLAlchemy. Run it: python examples/on_commit.py"""

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.pool import StaticPool

from holdfast import Holdfast
from holdfast.contrib.sqlalchemy import Outbox, Relay, on_commit, watch


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]


engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
Base.metadata.create_all(engine)
sessions = sessionmaker(engine)

outbox = Outbox()  # a table: what is due stands in it as soon as the change is committed
outbox.create(engine)


def main() -> None:
    with Holdfast("embedded://") as hf:
        users = hf.cache("users", ttl="1h")

        @users.cached("email:{user_id}")
        def email(user_id: int) -> str | None:
            with Session(engine) as session:
                user = session.get(User, user_id)
                return user.email if user else None

        watch(sessions, {User: (email, lambda user: user.id)}, outbox=outbox)

        print(email(1))  # nobody yet, and that is remembered
        with sessions.begin() as session:
            session.add(User(id=1, email="ann@old"))
        print(email(1))  # nothing was invalidated by hand

        with sessions() as session:
            pending = on_commit(session, users)
            session.get_one(User, 1).email = "ann@new"
            session.flush()
            mine = pending.get_or_set(email.key(1), lambda: session.get_one(User, 1).email)
            print(mine, email(1))  # this transaction reads what it wrote, all others what is committed
            session.rollback()
        print(email(1))

        # In a process of its own: repeats what a writer may have died before doing.
        print(Relay(engine, [users], outbox).run_once(), "row delivered")
    engine.dispose()


if __name__ == "__main__":
    main()
