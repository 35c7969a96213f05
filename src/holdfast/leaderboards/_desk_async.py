# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncDesk: the scripts of one board, and which of its periods they are asked about."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from holdfast._compat import monotonic
from holdfast._coord.requests import Requests
from holdfast._values.codecs import Codec, codec_for
from holdfast._wire._async import AsyncWire
from holdfast._wire.reply import text
from holdfast._wire.script import Script
from holdfast._wire.transport import Arg, Reply
from holdfast.durations import seconds
from holdfast.errors import CodecError, ConfigurationError, Unavailable, Unconfirmed
from holdfast.leaderboards import rules
from holdfast.leaderboards.calendar import Calendar, Window
from holdfast.leaderboards.options import Counters, LeaderboardOptions, zone

REMEMBER = str(rules.REMEMBER_MS)


class Spot(NamedTuple):
    """A period that is asked about: `ago` periods before the one that runs, or exactly the `pinned` one."""

    name: str
    ago: int = 0
    pinned: Window | None = None


class Plan(NamedTuple):
    """What a write into several periods says of them, made once for as long as they run. As text: to make
    it of numbers costs more than all else.
    """

    windows: dict[str, Window]
    keys: tuple[str, ...]
    args: tuple[str, ...]


class AsyncDesk:
    """See the file's docstring."""

    def __init__(self, wire: AsyncWire, name: str, options: LeaderboardOptions) -> None:
        self.wire = wire
        self.name = name
        self.options = options
        self.codec: Codec[Any] = codec_for(options.type, options.codec)
        self.counters = Counters()
        keep = None if options.keep is None else max(1, round(seconds(options.keep) * 1000))
        self.calendar = Calendar(options.periods, zone(options.tz), keep)
        self.kept = rules.kept(options.ties, options.order)
        self._staleness = None if options.max_staleness is None else seconds(options.max_staleness)
        self._base = wire.keys.tagged("board", name)
        self._plan: Plan | None = None
        self._is_endless = "1" if options.keep is None or "all" in self.calendar.periods else "0"
        self._most = str(options.max_size or 0)
        self._is_safe = self._is_agreed = False
        self._requests = Requests()

    def key(self, part: str) -> str:
        """The key of a part of the board; all share a slot."""
        return self._base + part

    # --- changing -------------------------------------------------------------------------------------------

    async def write(
        self,
        mode: str,
        items: Sequence[rules.Item],
        told: str | None = None,
        only: Spot | None = None,
        *,
        many: bool = False,
    ) -> Any:
        """What write.lua answered. `told`: the period it is about; `only`: leave the other periods alone.

        Raises: ConfigurationError, UnsafeServer, Unavailable, Unconfirmed, NotDurable, Refused, Closed.
        """
        await self._check()
        memo, number, window = self._request(many=many)
        rest = [part for item in items for part in item]
        give_up = monotonic() + self.wire.timeout
        for _ in range(rules.TRIES):
            if only is None:
                plan = self._running()
                about = list(plan.windows).index(told or self.calendar.default) + 1
            else:
                target, check = self._resolve(only)
                plan, about = self._planned({"": target._replace(begins=check.begins, ends=check.ends)}), 1
            keys = (self.key(":meta"), self.key(":data"), memo, *plan.keys)
            args = [self.kept, self.options.ties, str(number), str(window), REMEMBER, mode, self._most]
            args += [str(about), "1" if only is None else "0", self._is_endless, *plan.args]
            reply = await self.wire.run(
                rules.WRITE, keys, [*args, *rest], self._left(give_up), self.options.durability
            )
            if not isinstance(reply, list):
                return reply
            self._learn(reply)
        raise self._restless()

    def _planned(self, windows: dict[str, Window]) -> Plan:
        parts = ("",) if self.kept.startswith("plain") else ("", ":more")
        keys = [self.key(one.part + part) for one in windows.values() for part in parts]
        args = [str(len(windows))]
        for one in windows.values():
            args += [str(one.begins), str(one.ends), str(one.expires), "1" if one.is_sure else "0"]
        return Plan(windows, tuple(keys), tuple(args))

    def _request(self, *, many: bool) -> tuple[str, int, int]:
        """Memo and number of a request, and how many of them are remembered.

        Requests with many items have a memo of their own, which is shorter: their answers are long.
        """
        client = self._requests.requester()
        if many:
            return self.key(f":reqs:{client.name}"), client.number("many"), rules.WINDOW_MANY
        return self.key(f":req:{client.name}"), client.number("one"), rules.WINDOW

    async def _check(self) -> None:
        """Once: make sure that the server does not throw the board away. Raises: UnsafeServer."""
        if not self._is_safe:
            facts = await self.wire.facts()
            facts.require_keeping(f"leaderboard {self.name!r}", accept_loss=self.options.accept_loss)
            self._is_safe = True

    # --- reading --------------------------------------------------------------------------------------------

    async def ranks(self, what: str, members: Sequence[str], spot: Spot) -> rules.Places:
        """Numbers of `members`; see ranks.lua. Raises: ConfigurationError, Unavailable, Refused, Closed."""
        reply = await self._read(rules.RANKS, spot, (self.options.ties,), (what, *members))
        return rules.places(reply, self.options.order)

    async def rows(self, spot: Spot, how: str, *where: Arg) -> rules.Page:
        """Rows that follow each other; see range.lua. Raises: as `ranks`."""
        reply = await self._read(rules.RANGE, spot, (self.options.ties,), (how, *where))
        return rules.page(reply, self.options.order)

    async def scan(self, window: Window, cursor: Arg) -> tuple[str, list[Any], Sequence[bytes | None]]:
        """Some members of a period: where to go on, each with its score as it is stored, their data.

        Raises: as `ranks`.
        """
        _, after, rows, data = await self._read(
            rules.SCAN, Spot("", pinned=window), (), (cursor, rules.CHUNK)
        )
        return text(after), rows, data

    async def pin(self, spot: Spot) -> Spot:
        """The period that `spot` means at this moment, for as long as it takes. Raises: as `ranks`."""
        if spot.pinned is None:
            await self.ranks("rank", (), spot)
            spot = Spot(spot.name, pinned=self._resolve(spot)[0]._replace(begins=0, ends=0))
        return spot

    async def _read(self, script: Script, spot: Spot, before: Sequence[str], after: Sequence[Arg]) -> Any:
        """The reply of a script that only reads, about the right period."""
        give_up = monotonic() + self.wire.timeout
        self.counters.reads += 1
        for _ in range(rules.TRIES):
            target, check = self._resolve(spot)
            scores = self.key(target.part)
            keys = [scores if self._is_agreed else self.key(":meta"), self.key(":data"), scores]
            if script is not rules.SCAN:
                keys.append(self.key(f"{target.part}:more"))
            args = [self.kept, *before, str(check.begins), str(check.ends), *map(str, after)]
            reply = await self._ask(script, keys, args, self._left(give_up))
            if text(reply[0]) == "ok":
                self._is_agreed = True
                return reply
            self._learn(reply)
        raise self._restless()

    async def _ask(self, script: Script, keys: list[str], args: list[str], timeout: float) -> Reply:
        if self._staleness is None:
            return await self.wire.run(script, keys, args, timeout)
        # With its text: a replica knows no scripts but those that it was sent itself.
        return await self.wire.execute(
            "EVAL_RO",
            script.text,
            str(len(keys)),
            *keys,
            *args,
            timeout=timeout,
            max_staleness=self._staleness,
        )

    # --- which period ---------------------------------------------------------------------------------------

    def running(self) -> dict[str, Window]:
        """The periods that run, as far as we know."""
        return self._running().windows

    def _running(self) -> Plan:
        """They are right until the server names others. Until it has spoken once, our own clock is good
        enough for a guess.
        """
        plan = self._plan
        if plan is None:
            self._plan = plan = self._planned(self.calendar.around(round(time.time() * 1000)))
        return plan

    def _resolve(self, spot: Spot) -> tuple[Window, Window]:
        """The period that `spot` means if the second one runs."""
        if spot.pinned is not None:
            return spot.pinned, spot.pinned._replace(begins=0, ends=0)
        now = self._running().windows[spot.name]
        if not now.is_sure:  # a season is read whether it runs or not
            return now, now._replace(begins=0, ends=0)
        return (self.calendar.back(spot.name, now, spot.ago) if spot.ago else now), now

    def _learn(self, reply: list[Any]) -> None:
        """Mind what a script said instead of an answer. Raises: Unconfirmed, ConfigurationError."""
        what = text(reply[0])
        if what == "time":
            self.counters.corrected += 1
            self._plan = self._planned(self.calendar.around(int(reply[1])))
            return
        if what == "late":
            raise Unconfirmed(
                f"leaderboard {self.name!r}: the request came so late that it may have been executed"
            )
        if what == "range":
            member, score = text(reply[1]), rules.shown(reply[2], self.options.order)
            raise ConfigurationError(
                f"the sum for {member!r}, which has {score!r} already, would be no exact number: scores lie "
                f"between -2**53 and 2**53; nothing was added"
            )
        raise ConfigurationError(
            f"leaderboard {self.name!r} is kept as {text(reply[1])!r}, and this program means {self.kept!r}; "
            f"give it the same ties and order, or take another name"
        )

    def _left(self, give_up: float) -> float:
        return max(0.001, give_up - monotonic())

    def _restless(self) -> Unavailable:
        return Unavailable(
            f"leaderboard {self.name!r}: the clock of {self.wire.name} jumps; nothing was done"
        )

    # --- data -----------------------------------------------------------------------------------------------

    def encode(self, data: Any) -> bytes:
        """`data` as it is stored; nothing for None. Raises: CodecError."""
        return b"" if data is None else self.codec.encode(data)

    def decode(self, known: bytes | None) -> Any:
        """The data that is stored so, behind the time until which it is kept; None where there is none."""
        if known is None:
            return None
        try:
            return self.codec.decode(known.partition(b":")[2])
        except CodecError:
            self.counters.unreadable += 1
            return None
