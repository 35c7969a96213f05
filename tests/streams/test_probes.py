"""What goes wrong between a message and its handler: Holdfast passes every probe that
benchmarks/streams/probes.py shows beside its peers. The flavours take turns; all play side by side, each on a
server of its own: most of their time they wait.
"""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.streams import probes
from benchmarks.streams.crew import OURS, ByHand
from benchmarks.streams.mishaps import ALL

pytestmark = pytest.mark.timeout(150)  # the first one plays all of them

IDLE = 1.0  # seconds: no more than a busy machine may take to renew a lease
AT_ONCE = 4
OF_OURS = dict(zip([one.name for one in ALL], OURS * len(ALL), strict=False))
# It looks for what others left, so of these it loses nothing.
PASSED_BY_HAND = {"worker killed"}


@pytest.fixture(scope="module")
def verdicts():
    async def play():
        room = asyncio.Semaphore(AT_ONCE)

        async def one(mishap, kind):
            async with room:
                return await probes.play_all([mishap], [kind], IDLE)

        kinds = [(mishap, kind) for mishap in ALL for kind in (OF_OURS[mishap.name], ByHand)]
        found = await asyncio.gather(*(one(*each) for each in kinds))
        return {(one.mishap.name, one.kind): one.verdict for each in found for one in each}

    return asyncio.run(play())


@pytest.mark.parametrize("mishap", ALL, ids=lambda one: one.name)
def test_holdfast_passes(verdicts, mishap):
    """The column of Holdfast in the documentation says nothing else."""
    verdict = verdicts[mishap.name, OF_OURS[mishap.name]]

    assert verdict.ok, verdict


@pytest.mark.parametrize(
    "mishap", [one for one in ALL if one.name not in PASSED_BY_HAND], ids=lambda one: one.name
)
def test_the_loop_of_an_article_does_not(verdicts, mishap):
    """A probe that nobody fails says nothing."""
    verdict = verdicts[mishap.name, ByHand]

    assert not verdict.ok and not verdict.text.startswith("breaks"), verdict
