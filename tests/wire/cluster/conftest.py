"""A Cluster for faults, shared by the tests of this folder and made whole again after each."""

import contextlib

import pytest

from holdfast.errors import HoldfastError, Refused, Unavailable
from holdfast.testing.plugin import TRANSPORTS
from holdfast.testing.servers import start_lab, wanted

# Over redis-py on one kind only: what differs between kinds is above the transports.
KINDS_AND_TRANSPORTS = [(kind, TRANSPORTS[0]) for kind in wanted()] + [(wanted()[0], TRANSPORTS[1])]

NODE_TIMEOUT = "600ms"
CONFIG = {"cluster-require-full-coverage": "no"}  # what happens to healthy shards is then our doing alone


def mend(lab):
    """Make `lab` whole again; False if that does not succeed."""
    try:
        for node in lab.nodes:
            if node.running:
                node.resume()
            if node.is_cut_off:
                node.heal()
        for node in lab.nodes:
            if not node.running:
                node.restart()
        for node in lab.nodes:
            for line in node.ask("CLUSTER", "NODES").splitlines():
                for part in line.split()[8:] if "myself" in line else ():
                    if part.startswith("["):
                        node.ask("CLUSTER", "SETSLOT", part[1:].partition("-")[0], "STABLE")
        lab.await_ready("15s")
        for node in lab.primaries:
            node.ask("FLUSHALL")
    except (HoldfastError, KeyError):
        return False
    return True


@pytest.fixture(scope="session")
def storm_labs():
    """The lab of each kind."""
    labs = {}
    yield labs
    for lab in labs.values():
        lab.stop()


@pytest.fixture
def calm_lab(storm_labs, server_kind):
    """The same for tests that break nothing and keep to their own keys."""
    if server_kind not in storm_labs:
        storm_labs[server_kind] = start_lab(
            "cluster", server_kind, cuttable=True, node_timeout=NODE_TIMEOUT, config=CONFIG
        )
    return storm_labs[server_kind]


@pytest.fixture
def lab(storm_labs, calm_lab, server_kind):
    """Three primaries with a replica each; every node may be killed, frozen and cut off."""
    yield calm_lab
    if not mend(calm_lab):
        with contextlib.suppress(Unavailable, Refused):
            calm_lab.stop()
        del storm_labs[server_kind]
