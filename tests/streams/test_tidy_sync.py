# Generated from test_tidy_async.py by tools/unasync.py. Do not edit.
"""Consumers that nobody is any more do not pile up."""

import time

from holdfast import Holdfast
from holdfast._compat import sleep
from holdfast.streams._tidy_sync import Tidy


def test_a_consumer_that_read_once_more_after_it_had_left_is_removed(hf: Holdfast):
    """found: a read on its way when its member left made its consumer anew, for ever."""
    jobs = hf.stream("jobs")
    jobs.subscriber("work")(_nothing)
    jobs.publish(1)
    hf.run(until="idle")
    part = jobs._desk.layout.parts[0]
    hf.execute("XGROUP", "CREATECONSUMER", part.stream, "work", "ghost")
    hf.execute("ZADD", part.group("work").members, 10**15, "member")
    hf.execute("XGROUP", "CREATECONSUMER", part.stream, "work", "member")
    tidy = Tidy(jobs._desk, "work", lease=0.01)
    give_up = time.monotonic() + 20
    while "ghost" in (names := _consumers(hf, part.stream)):
        assert time.monotonic() < give_up, names
        tidy.part(part)
        sleep(0.02)
    assert "member" in names


def _consumers(hf: Holdfast, stream: str) -> str:
    return repr(hf.execute("XINFO", "CONSUMERS", stream, "work"))


def _nothing(value: object) -> None:
    """Handle it."""
