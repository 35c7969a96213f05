"""The rights that the page of operations gives for limits, sessions, leaderboards and analytics are enough,
and none of them is given in vain.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Holdfast, Limit, LockLost
from tests.docs.blocks import ROOT

HOUSE = Path(holdfast.__file__).parent
CONNECTING = "+ping +hello +select +client|setname +info +command|info +config|get +eval +evalsha"
LISTENING = "+ssubscribe +sunsubscribe +client|tracking"
FOLDERS = {
    "limits": "limits/*.lua",
    "concurrency limits": "limits/concurrency/*.lua",
    "sessions": "sessions/*.lua",
    "leaderboards": "leaderboards/*.lua",
    "analytics": "analytics/*.lua",
}
OUTSIDE = {  # what is sent as it is, and not by a script
    "limits": "del exists get hget hgetall set",
    "concurrency limits": "exists",
    "sessions": "hmget unlink zrange zrem",
    "leaderboards": "",
    "analytics": "hgetall pfcount scan set smembers time unlink zadd zcard zmscore zrange zrem "
    "zremrangebyscore",
}


def rights() -> dict[str, set[str]]:
    """What the page gives, by room."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| ([a-z ]+) \| `((?:\+[a-z]+ ?)+)` \|$", page, re.MULTILINE)
    return {room: {right[1:] for right in told.split()} for room, told in found}


@pytest.mark.parametrize("room", FOLDERS)
def test_every_command_is_on_the_page_and_no_other(room: str):
    scripts = [file.read_text(encoding="utf-8") for file in HOUSE.glob(FOLDERS[room])]
    called = {name.lower() for text in scripts for name in re.findall(r"redis\.p?call\('(\w+)'", text)}

    assert rights()[room] == called | set(OUTSIDE[room].split())


def limits(hf: Holdfast) -> None:
    limiter = hf.limiter(
        "api", [Limit(3, "1h"), Limit(9, "1m", algorithm="log"), Limit(9, "1d", algorithm="fixed")]
    )
    assert [bool(limiter.check("ann")) for _ in range(4)] == [True, True, True, False]
    assert limiter.refund("ann")
    limiter.set_plan("pro", Limit(100, "1h"))
    limiter.override("bea", plan="pro")
    assert limiter.check("bea", plan="pro")
    assert limiter.overridden("bea")
    with limiter.reserve("cem", 2) as reservation:
        reservation.settle(1)
    assert hf.check_all([(limiter, "dan", 1)])
    assert limiter.reset("ann")


def concurrency(hf: Holdfast) -> None:
    limiter = hf.concurrency_limiter("exports", 1, wait="5s")
    with limiter.hold("ann"):
        assert limiter.try_acquire("ann") is None
        assert limiter.peek("ann").in_use == 1
    slot = limiter.acquire("ann")
    assert limiter.reset("ann") == 1
    with contextlib.suppress(LockLost):
        slot.release()


def sessions(hf: Holdfast) -> None:
    made = hf.sessions()
    session = made.create(data={"n": 1})
    session = made.rotate(session, user="ann")
    session.data["n"] = 2
    assert made.save(session)
    assert made.touch(session)
    assert made.pop(session, "n") == 2
    assert made.load(session.id)
    assert made.list("ann")
    assert made.rotate(session).id != session.id
    assert made.revoke_all("ann")
    assert not made.list("ann")
    assert not made.revoke(session)


def leaderboards(hf: Holdfast) -> None:
    for ties in ("competition", "dense", "ordinal", "first"):
        board: Any = hf.leaderboard(ties, ties=ties, periods=("all", "day"), max_size=2, type=int)  # type: ignore[arg-type]
        for member, score in (("ann", 1), ("bob", 2), ("cem", 3)):
            board.submit(member, score, data=1)
        assert len(board.top(3)) == 2
        assert board.around("bob", 1)
        assert board.percentile("bob") == 0
        assert board.score_at(50) is not None
        assert board.friends(["bob"])
        assert board.set_data("bob", None)
        hf.leaderboard(f"{ties} too", type=int).merge(board)
        assert board.remove("bob")


def analytics(hf: Holdfast) -> None:
    hits = hf.analytics("shop", top_capacity=10)
    for number in range(40):
        hits.count("signup", tags={"plan": f"{number % 3}"})
        hits.unique("visitors", number)
        hits.active("readers", number)
        hits.active("names", f"{number}")
        hits.top("pages", f"{number}")
        hits.observe("seconds", number)
    assert hits.query("signup", since="1h", by="plan")
    assert hits.uniques("visitors", since="1h")
    assert hits.actives("readers", since="1h") == 40
    assert hits.was_active("names", "7", since="1h")
    assert hits.retention("readers", "day", since="2d")
    assert hits.top_items("pages", since="1h")
    assert hits.quantiles("seconds", since="1h").count == 40
    assert len(hits.metrics()) == 6
    assert hits.drop("signup")


USES: dict[str, Callable[[Holdfast], None]] = {
    "limits": limits,
    "concurrency limits": concurrency,
    "sessions": sessions,
    "leaderboards": leaderboards,
    "analytics": analytics,
}


@pytest.mark.parametrize("room", USES)
def test_with_those_rights_nothing_is_refused(room: str, own_server: Any):
    own = " ".join(f"+{one}" for one in rights()[room])
    listening = LISTENING if room == "concurrency limits" else ""
    may = f"on >secret ~shop:* &shop:* {CONNECTING} {own} {listening}"
    with Holdfast(own_server.url, namespace="shop") as admin:
        admin.execute("ACL", "SETUSER", "meter", *may.split())
        url = f"redis://meter:secret@127.0.0.1:{own_server.port}/0"
        with Holdfast(url, namespace="shop", timeout="20s") as hf:
            USES[room](hf)
        assert admin.execute("ACL", "LOG") == []
