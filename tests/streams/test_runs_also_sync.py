# Generated from test_runs_also_async.py by tools/unasync.py. Do not edit.
"""What `hf.run()` runs beside subscribers."""

import pytest

from holdfast import Holdfast, ConfigurationError


class Relay:
    """Something of a user's own; without `runs` nobody would start it."""

    name = "relay"
    group = None
    failure = None
    alive = False
    started = closed = 0

    def start(self) -> None:
        self.alive, self.started = True, self.started + 1

    def close(self, drain: float) -> None:
        assert drain >= 0
        self.alive, self.closed = False, self.closed + 1

    def is_idle(self) -> bool:
        return True


def test_something_else_runs_as_long_as_the_subscribers(hf: Holdfast):
    relay = Relay()
    hf.runs(relay)
    hf.run(until="idle")
    assert (relay.started, relay.closed) == (1, 1)


def test_without_its_group_it_does_not_run(hf: Holdfast):
    relay, seen = Relay(), []
    hf.runs(relay)

    @hf.stream("s").subscriber("g")
    def handle(value):
        seen.append(value)

    hf.stream("s").publish(1)
    hf.run(["g"], until="idle")
    assert (seen, relay.started) == ([1], 0)
    with pytest.raises(ConfigurationError, match="nobody"):
        hf.run(["nobody"])
