# Generated from test_register_async.py by tools/unasync.py. Do not edit.
"""A register refuses whoever has been replaced."""

from dataclasses import dataclass

import pytest

from holdfast import ConfigurationError, ConflictError, LockLost


@dataclass
class State:
    step: int


@pytest.mark.everywhere
def test_an_older_fence_writes_nothing(hf, topology):
    """The story of the paused holder: he wakes up after the next one has written, and must not win."""
    register = hf.fenced_register("report", type=State)
    assert register.read() is None
    lock = hf.lock("report", ttl="30s")
    paused = lock.acquire()
    lock.force_release()
    with lock as lease:
        register.write(State(2), fence=lease.fence)
        register.write(State(3), fence=lease.fence)  # the same holder may write often
        with pytest.raises(ConflictError) as caught:
            register.write(State(1), fence=paused.fence)
        assert (caught.value.expected, caught.value.actual) == (paused.fence, lease.fence)
        found = register.read()
        assert found.value == State(3)
        assert found.fence == lease.fence
    with pytest.raises(LockLost):  # said now, or it may be collected before its client has noticed
        paused.release()


def test_it_ends_by_itself_if_it_is_told_to(hf):
    hf.fenced_register("short", ttl="50s").write(1, fence=7)
    key = hf.fenced_register("short").key
    assert 40_000 < hf.execute("PTTL", key) <= 50_000
    hf.fenced_register("short").write(2, fence=8)
    assert hf.execute("PTTL", key) == -1


@pytest.mark.parametrize("fence", [0, -1, None, True, "7", 2**53])
def test_what_is_no_fence_is_refused(hf, fence):
    with pytest.raises(ConfigurationError, match="fence="):
        hf.fenced_register("r").write(1, fence=fence)


def test_a_register_needs_a_name(hf):
    with pytest.raises(ConfigurationError, match="non-empty"):
        hf.fenced_register("")
