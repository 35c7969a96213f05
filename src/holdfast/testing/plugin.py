"""The pytest plugin: a real server for the run, and a client of it for each test.

    server             a running server, shared by the whole run; made anew where a test broke it
    own_server         a server for this test alone, which may kill, freeze and reconfigure it
    hf, ahf            Holdfast and AsyncHoldfast on `place`, with a namespace of their own
    place              where they are: `server`, or one of the labs below, as the parameter `topology` says
    faults             a FaultProxy in front of `server`

    sentinel_lab       a primary, two replicas and three sentinels, shared by the whole run
    cluster_lab        three primaries with a replica each, shared by the whole run
    own_sentinel_lab   the same for this test alone, which may kill, freeze and cut off their nodes
    own_cluster_lab

`@pytest.mark.everywhere` marks a contract: the test runs on every kind of server there is, on the first of
them over every transport, and in every topology unless it asks for `server` or `faults` itself. Which kinds:
$HOLDFAST_TEST_SERVERS="valkey,redis", where a missing one fails the run; by default those this machine has.
Which topologies: $HOLDFAST_TEST_TOPOLOGIES="single,sentinel,cluster"; by default TOPOLOGIES.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

import pytest

from holdfast.errors import ConfigurationError

if TYPE_CHECKING:  # the plugin is loaded into every run of pytest: it must cost nothing until it is used
    from holdfast import AsyncHoldfast, Holdfast
    from holdfast.embedded import ClusterLab, Lab, SentinelLab, Server
    from holdfast.testing.proxy import FaultProxy

TRANSPORTS = ("native", "redis-py")
TOPOLOGIES = ("single", "sentinel", "cluster")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark; refuse to run without a server that was asked for."""
    config.addinivalue_line(
        "markers", "everywhere: a contract; run on every kind of server, over every transport, everywhere"
    )
    if unknown := set(_topologies()) - set(TOPOLOGIES):
        raise pytest.UsageError(f"HOLDFAST_TEST_TOPOLOGIES asks for {', '.join(sorted(unknown))}")
    if os.environ.get("HOLDFAST_TEST_SERVERS"):
        from holdfast.testing import servers

        try:
            servers.wanted()
        except ConfigurationError as error:
            raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run contracts everywhere."""
    if metafunc.definition.get_closest_marker("everywhere") is None:
        return
    from holdfast.testing import servers

    kinds, names = servers.wanted(), {"server_kind", "transport"} & set(metafunc.fixturenames)
    if len(names) == 2:
        # A transport is the same whoever answers: each with each would take twice the time.
        pairs = [(kinds[0], one) for one in TRANSPORTS] + [(one, TRANSPORTS[0]) for one in kinds[1:]]
        metafunc.parametrize(("server_kind", "transport"), pairs)
    elif names:
        (name,) = names
        metafunc.parametrize(name, kinds if name == "server_kind" else TRANSPORTS)
    if "topology" in metafunc.fixturenames:
        alone = {"server", "faults"} & set(metafunc.fixturenames)  # such a test means one server
        metafunc.parametrize("topology", TOPOLOGIES[:1] if alone else _topologies())


def _topologies() -> tuple[str, ...]:
    asked = os.environ.get("HOLDFAST_TEST_TOPOLOGIES", "")
    return tuple(name.strip() for name in asked.split(",") if name.strip()) or TOPOLOGIES


@pytest.fixture
def server_kind() -> str:
    """The kind of server of this test: "valkey" if there is one, else what there is."""
    from holdfast.testing import servers

    return servers.wanted()[0]


@pytest.fixture
def transport() -> str:
    """The transport of this test's clients: "native" or "redis-py"."""
    return TRANSPORTS[0]


@pytest.fixture
def topology() -> str:
    """How the servers of this test belong together: "single", "sentinel" or "cluster"."""
    return TOPOLOGIES[0]


@pytest.fixture
def namespace() -> str:
    """A namespace nobody else uses."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], Server]]:
    """The shared server of a kind, running; started when first asked for."""
    from holdfast.testing.servers import start

    running: dict[str, Server] = {}
    with ExitStack() as stack:

        def of_kind(kind: str) -> Server:
            if kind not in running:
                running[kind] = stack.enter_context(start(kind))
            elif not running[kind].running:
                running[kind].restart()
            else:
                running[kind].resume()
            return running[kind]

        yield of_kind


@pytest.fixture
def server(servers: Callable[[str], Server], server_kind: str) -> Server:
    """A running server, shared by the whole run: tests keep to their own keys."""
    return servers(server_kind)


@pytest.fixture
def own_server(server_kind: str) -> Iterator[Server]:
    """A server for this test alone."""
    from holdfast.testing.servers import start

    with start(server_kind) as own:
        yield own


@pytest.fixture(scope="session")
def labs() -> Iterator[Callable[[str, str], Any]]:
    """The shared lab of a topology and a kind, whole; started when first asked for."""
    from holdfast.testing.servers import start_lab

    running: dict[tuple[str, str], Lab] = {}

    def of(topology: str, kind: str) -> Lab:
        lab = running.get((topology, kind))
        if lab is not None and not lab.healthy:  # a new one is whole sooner than this one would be again
            del running[topology, kind]
            lab.stop()
        if (topology, kind) not in running:
            running[topology, kind] = start_lab(topology, kind, **_STEADY[topology])
        return running[topology, kind]

    try:
        yield of
    finally:
        for lab in running.values():
            lab.stop()


# On a busy machine a healthy server may be silent for a second: no reason for a failover in a shared lab.
_STEADY = {"sentinel": {"down_after": "5s"}, "cluster": {"node_timeout": "5s"}}


@pytest.fixture
def sentinel_lab(labs: Callable[[str, str], Any], server_kind: str) -> SentinelLab:
    """A primary, its replicas and their sentinels, shared by the whole run: tests keep to their own keys."""
    lab: SentinelLab = labs("sentinel", server_kind)
    return lab


@pytest.fixture
def cluster_lab(labs: Callable[[str, str], Any], server_kind: str) -> ClusterLab:
    """A cluster, shared by the whole run: tests keep to their own keys."""
    lab: ClusterLab = labs("cluster", server_kind)
    return lab


@pytest.fixture
def own_sentinel_lab(server_kind: str) -> Iterator[SentinelLab]:
    """A primary, its replicas and their sentinels for this test alone; every node can be cut off."""
    from holdfast.testing.servers import start_lab

    with start_lab("sentinel", server_kind, cuttable=True, down_after="1200ms") as own:
        yield cast("SentinelLab", own)


@pytest.fixture
def own_cluster_lab(server_kind: str) -> Iterator[ClusterLab]:
    """A cluster for this test alone; every node can be cut off."""
    from holdfast.testing.servers import start_lab

    with start_lab("cluster", server_kind, cuttable=True) as own:
        yield cast("ClusterLab", own)


@pytest.fixture
def place(request: pytest.FixtureRequest, topology: str, server_kind: str) -> Server | Lab:
    """Where this test's clients are: what its topology and kind of server say. Its `url` is for them."""
    if topology == "single":
        server: Server = request.getfixturevalue("server")
        return server
    lab: Lab = request.getfixturevalue("labs")(topology, server_kind)
    return lab


@pytest.fixture
def hf(place: Server | Lab, namespace: str, transport: str) -> Iterator[Holdfast]:
    """A client in a namespace of its own."""
    from holdfast import Holdfast

    with Holdfast(place.url, namespace=namespace, transport=transport) as client:
        yield client


def _async_fixture(function: Callable[..., Any]) -> Any:
    if find_spec("pytest_asyncio"):
        import pytest_asyncio

        return pytest_asyncio.fixture(function)
    if find_spec("anyio"):
        return pytest.fixture(function)  # its own plugin runs asynchronous fixtures

    def ahf() -> None:
        """Not available here."""
        pytest.fail("the fixture ahf needs an event loop: pip install pytest-asyncio", pytrace=False)

    return pytest.fixture(ahf)


@_async_fixture
async def ahf(place: Server | Lab, namespace: str, transport: str) -> AsyncIterator[AsyncHoldfast]:
    """An asynchronous client in a namespace of its own."""
    from holdfast import AsyncHoldfast

    async with AsyncHoldfast(place.url, namespace=namespace, transport=transport) as client:
        yield client


@pytest.fixture
def faults(server: Server) -> Iterator[FaultProxy]:
    """A proxy in front of `server`, with switches for faults; give its `url` to a client."""
    from holdfast.testing.proxy import FaultProxy

    with FaultProxy(server) as proxy:
        yield proxy
