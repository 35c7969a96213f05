# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What `hf.run()` runs beside subscribers."""

import pytest

from holdfast import AsyncHoldfast, ConfigurationError


class Relay:
    """Something of a user's own; without `runs` nobody would start it."""

    name = "relay"
    group = None
    failure = None
    alive = False
    started = closed = 0

    def start(self) -> None:
        self.alive, self.started = True, self.started + 1

    async def close(self, drain: float) -> None:
        assert drain >= 0
        self.alive, self.closed = False, self.closed + 1

    async def is_idle(self) -> bool:
        return True


async def test_something_else_runs_as_long_as_the_subscribers(ahf: AsyncHoldfast):
    relay = Relay()
    ahf.runs(relay)
    await ahf.run(until="idle")
    assert (relay.started, relay.closed) == (1, 1)


async def test_without_its_group_it_does_not_run(ahf: AsyncHoldfast):
    relay, seen = Relay(), []
    ahf.runs(relay)

    @ahf.stream("s").subscriber("g")
    async def handle(value):
        seen.append(value)

    await ahf.stream("s").publish(1)
    await ahf.run(["g"], until="idle")
    assert (seen, relay.started) == ([1], 0)
    with pytest.raises(ConfigurationError, match="nobody"):
        await ahf.run(["nobody"])
