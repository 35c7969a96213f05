"""What the tests of leaderboards share: scripts with a clock of the test's, and what must be true of keys."""

from __future__ import annotations

from typing import Any

from holdfast._wire.reply import text
from holdfast._wire.script import Script
from holdfast.leaderboards import rules
from holdfast.leaderboards._leaderboard_async import AsyncLeaderboard
from holdfast.leaderboards._leaderboard_sync import Leaderboard
from holdfast.leaderboards.options import LeaderboardOptions

CLOCK = "redis.call('TIME')"


def board_of(hf: Any, name: str = "arena", **options: Any) -> Leaderboard[Any]:
    """A board for threads; not the client's own, so that a test can have several with one name."""
    return Leaderboard(hf._wire, name, LeaderboardOptions(**options))


def aboard_of(ahf: Any, name: str = "arena", **options: Any) -> AsyncLeaderboard[Any]:
    """A board for asyncio."""
    return AsyncLeaderboard(ahf._wire, name, LeaderboardOptions(**options))


def clocked(script: Script) -> Script:
    """`script` with a clock that `set_clock` sets."""
    assert script.text.count(CLOCK) <= 1, "a script takes its time in one place"
    fake = "{redis.call('GET', string.match(KEYS[2], '^(.*):data$') .. ':clock'), '0'}"
    return Script.parse(script.name, script.text.replace(CLOCK, fake))


SCRIPTS = {name: clocked(getattr(rules, name)) for name in ("WRITE", "RANKS", "RANGE", "SCAN")}


def use_clock(monkeypatch: Any) -> None:
    """From now on scripts take the clock that `set_clock` sets."""
    for name, script in SCRIPTS.items():
        monkeypatch.setattr(rules, name, script)


def set_clock(hf: Any, board: Any, seconds: int) -> None:
    hf.execute("SET", board._desk.key(":clock"), seconds)


class Recorder:
    """A wire that remembers the last write, so that it can arrive again."""

    def __init__(self, wire: Any) -> None:
        self._wire = wire
        self.last: Any = None
        self.answer: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    def run(self, script: Script, keys: Any, args: Any = (), *rest: Any) -> Any:
        reply = self._wire.run(script, keys, args, *rest)
        if script.name.endswith("write"):
            self.last, self.answer = (script, keys, args), reply
        return reply

    def again(self) -> None:
        """What arrives twice is answered as it was. Where nothing was done, nothing is remembered."""
        if self.last is not None and not isinstance(self.answer, list):
            assert self._wire.run(*self.last) == self.answer


def entries(hf: Any, key: str) -> dict[str, float]:
    """A sorted set."""
    flat = hf.execute("ZRANGE", key, 0, -1, "WITHSCORES")
    if flat and isinstance(flat[0], list):
        return {text(member): float(score) for member, score in flat}
    return {text(one): float(score) for one, score in zip(flat[::2], flat[1::2], strict=True)}


def fields(hf: Any, key: str) -> dict[str, bytes]:
    """A hash."""
    found = hf.execute("HGETALL", key)
    pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
    return {text(name): value for name, value in pairs}


def parts(hf: Any, board: Any) -> list[str]:
    """The periods that the server has."""
    keys = (text(one) for one in hf.execute("KEYS", board._desk.key("").replace("[", "\\[") + ":*"))
    names = [one.removeprefix(board._desk.key("")) for one in keys]
    kinds = (":all", ":day:", ":week:", ":month:", ":season:")
    return [one for one in names if one.startswith(kinds) and not one.endswith(":more")]


def check_beside(hf: Any, board: Any) -> None:
    """What is kept beside the scores fits them, in every period, and ends with them."""
    desk = board._desk
    found = parts(hf, board)
    latest = 0
    for part in found:
        key, more = desk.key(part), desk.key(f"{part}:more")
        scores = entries(hf, key)
        ends = hf.execute("PEXPIRETIME", key)
        latest = max(latest, ends) if latest >= 0 and ends > 0 else -1
        if board.options.ties == "dense":
            distinct = entries(hf, more)
            assert set(distinct.values()) == set(scores.values())
            assert len(distinct) == len(set(scores.values())), "a score is there once"
        elif board.options.ties == "first":
            turns = fields(hf, more)
            given = int(turns.pop("", b"0"))
            assert {text(turn) + member for member, turn in turns.items()} == set(scores)
            assert all(int(turn, 16) <= given for turn in turns.values())
        else:
            assert hf.execute("EXISTS", more) == 0, "nothing is kept beside"
        if board.options.ties in ("dense", "first"):
            assert hf.execute("PEXPIRETIME", more) == ends
    lonely = {
        text(one).removesuffix(":more").removeprefix(desk.key(""))
        for one in hf.execute("KEYS", desk.key("") + ":*:more")
    } - set(found)
    assert not lonely, "what stands beside is there without scores"
    if found:
        meta = hf.execute("PEXPIRETIME", desk.key(":meta"))
        assert meta == -1 if latest == -1 else meta == -1 or meta >= latest, "it must not end before them"
