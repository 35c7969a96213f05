"""The pytest plugin: a real server for the run, and a client of it for each test.

    server       a running server, shared by the whole run; made anew where a test broke it
    own_server   a server for this test alone, which may kill, freeze and reconfigure it
    hf, ahf      Holdfast and AsyncHoldfast on `server`, with a namespace of their own
    faults       a FaultProxy in front of `server`

`@pytest.mark.everywhere` marks a contract: the test runs on every kind of server there is and over every
transport. Which kinds: $HOLDFAST_TEST_SERVERS="valkey,redis", where a missing one fails the run; by default
those this machine has.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.errors import ConfigurationError

if TYPE_CHECKING:  # the plugin is loaded into every run of pytest: it must cost nothing until it is used
    from holdfast import AsyncHoldfast, Holdfast
    from holdfast.embedded import Server
    from holdfast.testing.proxy import FaultProxy

TRANSPORTS = ("native", "redis-py")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark; refuse to run without a server that was asked for."""
    config.addinivalue_line(
        "markers", "everywhere: a contract; run on every kind of server and over every transport"
    )
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

    if "server_kind" in metafunc.fixturenames:
        metafunc.parametrize("server_kind", servers.wanted())
    if "transport" in metafunc.fixturenames:
        metafunc.parametrize("transport", TRANSPORTS)


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


@pytest.fixture
def hf(server: Server, namespace: str, transport: str) -> Iterator[Holdfast]:
    """A client in a namespace of its own."""
    from holdfast import Holdfast

    with Holdfast(server.url, namespace=namespace, transport=transport) as client:
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
async def ahf(server: Server, namespace: str, transport: str) -> AsyncIterator[AsyncHoldfast]:
    """An asynchronous client in a namespace of its own."""
    from holdfast import AsyncHoldfast

    async with AsyncHoldfast(server.url, namespace=namespace, transport=transport) as client:
        yield client


@pytest.fixture
def faults(server: Server) -> Iterator[FaultProxy]:
    """A proxy in front of `server`, with switches for faults; give its `url` to a client."""
    from holdfast.testing.proxy import FaultProxy

    with FaultProxy(server) as proxy:
        yield proxy
