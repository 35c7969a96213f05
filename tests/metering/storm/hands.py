"""What the processes of a storm do in each room, again and again. What may matter they write down first."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from holdfast import HoldfastError, LockLost, RateLimited, SessionGone
from holdfast.limits import _hold_async, _hold_sync
from tests.metering.storm.diary import note
from tests.metering.storm.plan import (
    ANALYTICS,
    BOARDS,
    DEADLINE,
    LIMITS,
    MEMBERS,
    OWN,
    SESSIONS,
    SLOTS,
    SUBJECTS,
    USERS,
    WAIT,
    Plan,
)
from tests.streams.storm.diary import Diary

NUMBERS = itertools.count()
QUIET = 4.0  # seconds without a lost answer, after which nothing of this process is under way any more


class Stage:
    """What all hands of a process share. Threads are used from tasks, so each hand is written once."""

    def __init__(self, hf: Any, plan: Plan, diary: Diary, name: str, folder: Path, *, threads: bool) -> None:
        self.hf, self.plan, self.diary, self.threads = hf, plan, diary, threads
        self.me = f"{name}-{os.getpid()}"
        self.dice = random.Random(f"{plan.seed}/{self.me}")
        self.over = asyncio.Event()
        self._ids = folder / "ids"

    async def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if self.threads:
            return await asyncio.to_thread(function, *args, **options)
        return await function(*args, **options)

    async def enter(self, manager: Any) -> Any:
        return await self.call(manager.__enter__ if self.threads else manager.__aenter__)

    def note(self, word: str, **facts: Any) -> None:
        note(self.diary, word, **facts)

    def new(self) -> str:
        return f"{self.me}-{next(NUMBERS)}"

    async def rest(self) -> None:
        await asyncio.sleep(self.dice.uniform(0, self.plan.pause))

    # --- ids of sessions that all processes know ------------------------------------------------------------

    def tell(self, root: str, id: str, user: str | None) -> None:
        file = os.open(self._ids, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{root} {id} {user or '-'}\n".encode())
        os.close(file)

    def told(self) -> tuple[str, str] | None:
        """The root and the id of one of the last sessions of anybody."""
        if not self._ids.exists():
            return None
        lines = self._ids.read_text().splitlines()
        root, id, _ = self.dice.choice(lines[-40:]).split(" ")
        return root, id


def span(begin: float) -> tuple[float, float]:
    return begin, time.time()


# --- limits -------------------------------------------------------------------------------------------------


def record_bookings(stage: Stage) -> None:
    """Write down which moments the server gives to those who hold."""
    shells: tuple[Any, Any] = (_hold_sync, _hold_async)

    def noted(key: str, begin: float, reply: Any) -> Any:
        booking, _ = reply
        if booking is not None:
            stage.note("booked", key=key, moment=booking.moment, at=span(begin))
        return reply

    book, abook = (one.book for one in shells)

    def booked(desk: Any, table: Any, key: str, *rest: Any) -> Any:
        begin = time.time()
        return noted(key, begin, book(desk, table, key, *rest))

    async def abooked(desk: Any, table: Any, key: str, *rest: Any) -> Any:
        begin = time.time()
        return noted(key, begin, await abook(desk, table, key, *rest))

    shells[0].book, shells[1].book = booked, abooked


async def check(stage: Stage) -> None:
    """Checks, and now and then a refund."""
    dice = stage.dice
    name, subject = dice.choice(("bucket", "log")), f"s{dice.randrange(SUBJECTS)}"
    options: dict[str, Any] = {"deadline": DEADLINE, "deny_cache": "200ms"}
    limiter = stage.hf.limiter(name, [LIMITS[name]], **options)
    cost, begin = dice.choice((1, 1, 2, 3)), time.time()
    here = limiter.stats().denied_here
    found = await stage.call(limiter.check, subject, cost)
    facts = {"key": f"{name}/{subject}", "cost": cost, "at": span(begin)}
    cached = not found and limiter.stats().denied_here > here
    stage.note("checked", ok=found.allowed, degraded=found.degraded, cached=cached, **facts)
    if found and not found.degraded and name == "bucket" and dice.random() < 0.03:
        id, begin = stage.new(), time.time()
        stage.note("refunding", id=id, key=f"{name}/{subject}", cost=cost, at=span(begin))
        await stage.call(limiter.refund, subject, cost)
        stage.note("refunded", id=id, at=span(begin))


async def hold(stage: Stage) -> None:
    limiter = stage.hf.limiter("queue", [LIMITS["queue"]], deadline=DEADLINE)
    begin = time.time()
    try:
        found = await stage.enter(limiter.hold("all", wait=WAIT))
    except RateLimited:
        return
    stage.note("entered", key="queue/all", cost=1, degraded=found.degraded, at=span(begin))


class Own:
    """A subject of one process: after a reset nothing that was remembered may deny it."""

    def __init__(self) -> None:
        self._quiet_since = 0.0

    async def __call__(self, stage: Stage) -> None:
        options: dict[str, Any] = {"deadline": DEADLINE, "deny_cache": "5s"}
        limiter, subject = stage.hf.limiter("own", [OWN], **options), stage.me
        for _ in range(OWN.quota + 1):
            self._look(await stage.call(limiter.check, subject))
        try:
            await stage.call(limiter.reset, subject)
        except HoldfastError:
            self._quiet_since = time.time() + QUIET
            raise
        found = await stage.call(limiter.check, subject)
        self._look(found)
        if time.time() > self._quiet_since:
            stage.note("fresh", ok=found.allowed or found.degraded)

    def _look(self, found: Any) -> None:
        if found.degraded:
            self._quiet_since = time.time() + QUIET


async def occupy(stage: Stage) -> None:
    """Holds a slot for a while, and says how long it was sure of it."""
    options: dict[str, Any] = {"ttl": stage.plan.lease, "on_error": "deny"}
    slots = stage.hf.concurrency_limiter("slots", SLOTS, **options)
    asked = time.time()
    try:
        slot = await stage.call(slots.acquire, "all", 0.3)
    except RateLimited:
        return
    sure = granted = time.time()
    end = granted + stage.dice.choice((0.0, 0.05, 0.4, 1.5))
    try:
        while not slot.degraded:
            now = time.time()
            slot.ensure()
            sure = now
            if now >= end:
                break
            await asyncio.sleep(0.01)
    except LockLost:
        pass
    finally:
        stage.note("occupied", asked=asked, granted=granted, until=sure, id=stage.new())
    with contextlib.suppress(LockLost):
        await stage.call(slot.release)


# --- sessions -----------------------------------------------------------------------------------------------


async def visit(stage: Stage) -> None:
    what = stage.dice.choices(
        (create, look, write, rotate, sign_in, revoke, revoke_all, stranger), (15, 30, 25, 8, 5, 7, 2, 2)
    )[0]
    await what(stage, stage.hf.sessions("storm", **SESSIONS))


def any_user(stage: Stage) -> str:
    return f"u{stage.dice.randrange(USERS)}"


async def create(stage: Stage, sessions: Any) -> None:
    root, user = stage.new(), stage.dice.choice((None, any_user(stage)))
    begin = time.time()
    session = await stage.call(sessions.create, user, {"root": root})
    stage.note("created", root=root, user=user, at=span(begin))
    stage.tell(root, session.id, user)


async def load(stage: Stage, sessions: Any) -> tuple[str, Any]:
    """One of anybody's: its root, and what was found."""
    if (known := stage.told()) is None:
        return "", None
    root, id = known
    begin = time.time()
    session = await stage.call(sessions.load, id)
    if session is not None:
        numbers = {name: n for name, n in session.data.items() if name != "root"}
        facts = {"root": root, "found": session.data.get("root"), "user": session.user, "numbers": numbers}
        stage.note("loaded", at=span(begin), **facts)
    return root, session


async def look(stage: Stage, sessions: Any) -> None:
    await load(stage, sessions)


async def write(stage: Stage, sessions: Any) -> None:
    root, session = await load(stage, sessions)
    if session is None:
        return
    name, n = f"{stage.me}/{id(asyncio.current_task())}", next(NUMBERS)
    session.data[name] = n
    stage.note("saving", root=root, name=name, n=n)
    begin = time.time()
    try:
        await stage.call(sessions.save, session)
    except SessionGone:
        return
    stage.note("saved", root=root, name=name, n=n, at=span(begin))


async def rotate(stage: Stage, sessions: Any) -> None:
    """Two requests want to replace one id at the same time."""
    if (known := stage.told()) is None:
        return
    root, id = known
    both = await asyncio.gather(*(stage.call(sessions.load, id) for _ in range(2)))
    if None in both or any(one.superseded for one in both):
        return
    begin = time.time()
    found = await asyncio.gather(*(stage.call(sessions.rotate, one) for one in both), return_exceptions=True)
    for one in found:
        if isinstance(one, HoldfastError):
            continue
        if isinstance(one, BaseException):
            raise one
        if one.id != id and not one.superseded:
            stage.note("rotated", root=root, old=id[:8], new=one.id[:8], at=span(begin))
            stage.tell(root, one.id, one.user)


async def sign_in(stage: Stage, sessions: Any) -> None:
    root, session = await load(stage, sessions)
    if session is None or session.user is not None:
        return
    user, begin = any_user(stage), time.time()
    stage.note("signing", root=root, user=user)
    session = await stage.call(sessions.rotate, session, user=user)
    stage.note("signed", root=root, user=session.user, at=span(begin))
    stage.tell(root, session.id, user)


async def revoke(stage: Stage, sessions: Any) -> None:
    if (known := stage.told()) is None:
        return
    begin = time.time()
    if await stage.call(sessions.revoke, known[1]):
        stage.note("revoked", root=known[0], at=span(begin))


async def revoke_all(stage: Stage, sessions: Any) -> None:
    user, begin = any_user(stage), time.time()
    await stage.call(sessions.revoke_all, user)
    stage.note("revoked_all", user=user, at=span(begin))


async def stranger(stage: Stage, sessions: Any) -> None:
    """An id that nobody has given out."""
    if await stage.call(sessions.load, secrets.token_urlsafe(16)) is not None:
        stage.note("let_in")


# --- leaderboards -------------------------------------------------------------------------------------------


async def play(stage: Stage) -> None:
    dice = stage.dice
    name = dice.choice(tuple(BOARDS))
    board = stage.hf.leaderboard(name, **BOARDS[name])
    roll = dice.random()
    if roll < 0.75:
        count = dice.choice((1, 1, 1, 5))
        pairs = [(f"m{dice.randrange(MEMBERS)}", dice.choice((1, 2, 3))) for _ in range(count)]
        id = stage.new()
        stage.note("adding", id=id, board=name, pairs=pairs)
        begin = time.time()
        if count == 1:
            await stage.call(board.increment, *pairs[0])
        else:
            await stage.call(board.submit_many, pairs, "add")
        stage.note("added", id=id, at=span(begin))
    elif roll < 0.85:
        await stage.call(board.submit, f"x{dice.randrange(6)}", dice.randrange(40), "set")
    elif roll < 0.9:
        await stage.call(board.remove, f"x{dice.randrange(6)}")
    else:
        rows = await stage.call(board.top, 100)
        stage.note("read", board=name, rows=[(one.score, one.rank) for one in rows])


# --- analytics ----------------------------------------------------------------------------------------------


class Counting:
    """Counts events of this process alone, so that each process can be held against what it says."""

    def __init__(self) -> None:
        self.total = 0

    async def __call__(self, stage: Stage) -> None:
        hits, n = stage.hf.analytics("storm", **ANALYTICS), stage.dice.randrange(1, 30)
        begin = time.time()
        stage.note("counting", total=self.total + n, at=span(begin))
        for _ in range(n):
            tags = {"p": stage.me, "half": stage.dice.choice("ab")}
            if stage.threads:
                hits.count("hit", tags=tags)
            else:
                await hits.count("hit", tags=tags)
            self.total += 1
        if stage.dice.random() < 0.1:
            await self.flush(stage)

    async def flush(self, stage: Stage) -> None:
        total, begin = self.total, time.time()
        await stage.call(stage.hf.analytics("storm", **ANALYTICS).flush)
        stage.note("flushed", total=total, at=span(begin))


# --- all of them --------------------------------------------------------------------------------------------


async def work(stage: Stage) -> None:
    """Until `stage.over`."""
    record_bookings(stage)
    counting = Counting()
    todo: list[Callable[[Stage], Any]] = []
    hands: dict[str, list[Callable[[Stage], Any]]] = {
        "limits": [check, hold, occupy], "sessions": [visit], "leaderboards": [play], "analytics": [],
    }  # fmt: skip
    for room in stage.plan.rooms:
        todo += hands[room] * stage.plan.hands
    if "limits" in stage.plan.rooms:
        todo.append(Own())
    if "analytics" in stage.plan.rooms:
        todo.append(counting)
    await asyncio.gather(*(again_and_again(stage, one) for one in todo))
    if counting.total:
        await until_it_works(stage, counting)


async def again_and_again(stage: Stage, hand: Callable[[Stage], Any]) -> None:
    while not stage.over.is_set():
        try:
            await hand(stage)
        except HoldfastError as error:
            stage.note("error", kind=type(error).__name__)
        await stage.rest()


async def until_it_works(stage: Stage, counting: Counting) -> None:
    for _ in tries():
        try:
            return await counting.flush(stage)
        except HoldfastError:
            await asyncio.sleep(0.1)
    return None


def tries() -> Iterator[None]:
    end = time.monotonic() + 10.0
    while time.monotonic() < end:
        yield
