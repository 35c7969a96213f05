"""Labs of three independent servers. Tests may break what they like; whoever comes next gets them whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from holdfast import embedded
from holdfast.embedded import IndependentLab
from tests.cache.crowd import Crowd

SYNCED = {"appendonly": "yes", "appendfsync": "always"}


@pytest.fixture(scope="session")
def labs() -> Iterator[dict[str, IndependentLab]]:
    """Nodes that sync every write, so that they may be young; and nodes that forget."""
    with (
        embedded.independent(3, cuttable=True, config=SYNCED) as synced,
        embedded.independent(3, cuttable=True) as forgetful,
    ):
        yield {"synced": synced, "forgetful": forgetful}


def whole(lab: IndependentLab) -> IndependentLab:
    """The lab with all its nodes at work."""
    for node in lab.nodes:
        if node.is_cut_off:
            node.heal()
        with contextlib.suppress(Exception):
            node.resume()
        if not node.running:
            node.restart()
    lab.await_ready()
    return lab


@pytest.fixture
def lab(labs: dict[str, IndependentLab]) -> Iterator[IndependentLab]:
    """Three nodes that sync every write: they count at once."""
    yield whole(labs["synced"])
    whole(labs["synced"])  # clients that close have something to deliver


@pytest.fixture
def forgetful(labs: dict[str, IndependentLab]) -> IndependentLab:
    """Three nodes without persistence, old enough for leases of a second."""
    lab = whole(labs["forgetful"])
    for node in lab.nodes:
        Crowd.until(lambda node=node: int(node.info("server")["uptime_in_seconds"]) >= 2)
    return lab
