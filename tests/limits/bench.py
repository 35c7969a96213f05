"""The scripts of limits on a real server, but with a clock that the test sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast import Holdfast
from holdfast._wire.script import Script
from holdfast.limits import rules
from holdfast.limits.options import Limit

TIME = "local time = redis.call('TIME')"
FAKE = "local time = {{'0', redis.call('GET', '{clock}')}}"
LATER = 100_000_000  # milliseconds added to every expiry: what a test's clock does takes no time
EXPIRIES = ("math.ceil(rest / 1000) + 1", "ceil(max(0, rest) / 1000) + 1")


class Bench:
    """One subject. `change(name, text)` may damage a script before it is used."""

    def __init__(self, hf: Holdfast, limits: Sequence[Limit], subject: str = "s") -> None:
        self.hf = hf
        self.limits = tuple(limits)
        self.table = rules.Table(self.limits)
        self.key = hf._wire.keys.make("limit", "bench", subject)
        self.clock = hf._wire.keys.make("limit", "bench", subject, ":clock")
        self.state: bytes | None = None

    def become(self, limits: Sequence[Limit]) -> None:
        """The limits are changed."""
        self.limits = tuple(limits)
        self.table = rules.Table(self.limits)

    def run(self, script: Script, args: Sequence[Any], now: int, keys: int = 2) -> Any:
        """What it says at the time `now`, in microseconds."""
        self.hf.execute("SET", self.clock, str(now))
        return self.hf._wire.run(self.patched(script), (self.key, f"{self.key}:o")[:keys], args)

    def patched(self, script: Script) -> Script:
        text = script.text
        assert text.count(TIME) == 1, "a script asks for the time in one place"
        text = text.replace(TIME, FAKE.format(clock=self.clock))
        for expiry in EXPIRIES:
            text = text.replace(expiry, f"{expiry} + {LATER}")
        return Script.parse(script.name, text)

    # --- as the shells do it -------------------------------------------------------------------------------

    def check(self, cost: int, now: int, *, take: bool = True, fast: bool = True) -> list[Any]:
        args = list(self.table.args(cost))
        if not take:
            args = [args[0], args[1], "0"]
        elif not fast:
            args = args[:3]
        script = self.table.check if fast else rules.script("check")
        reply = self.run(script, args, now)
        while self.table.is_outdated(reply):
            reply = self.run(self.table.check, [self.table.text, str(cost), args[2]], now)
        return list(reply)

    def hold(self, cost: int, wait: int, now: int) -> list[Any]:
        reply = self.run(self.table.hold, (self.table.text, str(cost), str(wait)), now)
        while self.table.is_outdated(reply):
            reply = self.run(self.table.hold, (self.table.text, str(cost), str(wait)), now)
        return list(reply)

    def cancel(self, reply: Sequence[Any], cost: int, now: int) -> int:
        _, moment, before, after, _ = reply
        return int(self.run(rules.CANCEL, (before, after, str(moment), str(cost)), now, keys=1))

    def adjust(self, cost: int, now: int, since: str = "") -> Any:
        return self.run(rules.ADJUST, (self.table.text, str(cost), since), now)

    def reset(self) -> int:
        return int(self.hf._wire.run(rules.RESET, (self.key,)))

    def ttl(self) -> int:
        """Milliseconds until the state vanishes; below 0: it is not there."""
        left = int(self.hf.execute("PTTL", self.key))
        return left - LATER if left > 0 else left
