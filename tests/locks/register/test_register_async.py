# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""A register refuses whoever has been replaced."""

from dataclasses import dataclass

import pytest

from holdfast import ConfigurationError, ConflictError, LockLost


@dataclass
class State:
    step: int


@pytest.mark.everywhere
async def test_an_older_fence_writes_nothing(ahf, topology):
    """The story of the paused holder: he wakes up after the next one has written, and must not win."""
    register = ahf.fenced_register("report", type=State)
    assert await register.read() is None
    lock = ahf.lock("report", ttl="30s")
    paused = await lock.acquire()
    await lock.force_release()
    async with lock as lease:
        await register.write(State(2), fence=lease.fence)
        await register.write(State(3), fence=lease.fence)  # the same holder may write often
        with pytest.raises(ConflictError) as caught:
            await register.write(State(1), fence=paused.fence)
        assert (caught.value.expected, caught.value.actual) == (paused.fence, lease.fence)
        found = await register.read()
        assert found.value == State(3)
        assert found.fence == lease.fence
    with pytest.raises(LockLost):  # said now, or it may be collected before its client has noticed
        await paused.release()


async def test_it_ends_by_itself_if_it_is_told_to(ahf):
    await ahf.fenced_register("short", ttl="50s").write(1, fence=7)
    key = ahf.fenced_register("short").key
    assert 40_000 < await ahf.execute("PTTL", key) <= 50_000
    await ahf.fenced_register("short").write(2, fence=8)
    assert await ahf.execute("PTTL", key) == -1


@pytest.mark.parametrize("fence", [0, -1, None, True, "7", 2**53])
async def test_what_is_no_fence_is_refused(ahf, fence):
    with pytest.raises(ConfigurationError, match="fence="):
        await ahf.fenced_register("r").write(1, fence=fence)


async def test_a_register_needs_a_name(ahf):
    with pytest.raises(ConfigurationError, match="non-empty"):
        ahf.fenced_register("")
