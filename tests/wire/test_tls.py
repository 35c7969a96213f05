"""TLS against a real server: both flavours and transports meet it, and say what is wrong where they cannot.

Each guard was once removed by hand to see its test fail; "found:" says which.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import uvloop

from holdfast import AsyncHoldfast, ConfigurationError, Holdfast, HoldfastError, Tls, Unavailable
from holdfast._compat import Signal
from holdfast._signals import Disconnected
from holdfast._wire import _redispy_async, _redispy_sync
from holdfast._wire.connection import connect
from holdfast._wire.hub import Hub
from holdfast._wire.url import parse
from holdfast.testing.servers import available
from tests.wire.lab import Witness, child_status, until
from tests.wire.tls_lab import Papers, TlsLab

__test__ = "redis" in available()  # Debian's speaks TLS; the Valkey of the wheel does not

Execute = Callable[..., Any]
FLAVOURS = ("threads", "tasks", "tasks on uvloop")
WAYS = pytest.mark.parametrize(
    ("flavour", "transport"),
    [(flavour, transport) for flavour in FLAVOURS for transport in ("native", "redis-py")],
)


@contextmanager
def client(flavour: str, url: str | None, **options: Any) -> Iterator[Execute]:
    """The `execute` of a client, whatever its flavour."""
    options = {"timeout": 5, "connect_timeout": 5, "require_server": False, **options}
    if flavour == "threads":
        with Holdfast(url, **options) as hf:
            yield hf.execute
        return
    loop_factory = uvloop.new_event_loop if "uvloop" in flavour else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        ahf = AsyncHoldfast(url, **options)
        try:
            yield lambda *command, **how: runner.run(ahf.execute(*command, **how))
        finally:
            runner.run(ahf.close())


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


def lab_for(tmp_path_factory: pytest.TempPathFactory, papers: Papers, **how: str) -> Iterator[TlsLab]:
    lab = TlsLab(tmp_path_factory.mktemp("s"), papers, **how)
    yield lab
    lab.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[TlsLab]:
    """A server that nobody hurts."""
    yield from lab_for(tmp_path_factory, papers)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[TlsLab]:
    """A server that wants a certificate from whoever comes."""
    yield from lab_for(tmp_path_factory, papers, clients="yes")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[TlsLab]:
    """A server whose certificate is made out to another name."""
    yield from lab_for(tmp_path_factory, papers, server="stranger")


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[TlsLab]:
    """A server whose certificate is too old."""
    yield from lab_for(tmp_path_factory, papers, server="expired")


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[TlsLab]:
    """A server for one test, to be frozen and killed."""
    yield from lab_for(tmp_path_factory, papers)


# --- it works -----------------------------------------------------------------------------------------------


@WAYS
def test_small_and_large_values_travel(shared: TlsLab, flavour: str, transport: str) -> None:
    """A megabyte each way, and not a byte in the clear."""
    value = os.urandom(1 << 20)
    with client(flavour, shared.url(), transport=transport) as execute:
        assert execute("SET", "small", "x") == b"OK"
        assert execute("SET", "large", value) == b"OK"
        for _ in range(3):
            assert execute("GET", "large") == value
            assert execute("GET", "small") == b"x"
        assert clients(shared, f":{shared.port}")
        assert not clients(shared, f":{shared.plain_port}")
    with client(flavour, shared.url(host="127.0.0.1"), transport=transport) as execute:
        assert execute("GET", "small") == b"x"


def clients(lab: TlsLab, where: str) -> list[str]:
    """Who is connected to the server's address that ends in `where`."""
    lines = bytes(lab.ask("CLIENT", "LIST")).decode().splitlines()
    return [line for line in lines if f"{where} " in line.partition("laddr=")[2]]


@WAYS
@pytest.mark.parametrize("form", ["Tls", "context", "url"])
def test_a_certificate_of_ours_is_shown(strict: TlsLab, flavour: str, transport: str, form: str) -> None:
    """To a server that asks for one, however it was named."""
    files = strict.client_files()
    url = f"redis://localhost:{strict.port}"
    secured: Any = None
    if form == "Tls":
        secured = Tls(ca=strict.papers.path("ca"), cert=files["tls_cert"], key=files["tls_key"])
    elif form == "context":
        secured = ssl.create_default_context(cafile=strict.papers.path("ca"))
        secured.load_cert_chain(files["tls_cert"], files["tls_key"])
    else:
        url = strict.url(**files)
    with client(flavour, url, tls=secured, transport=transport) as execute:
        assert execute("PING") == b"PONG"


@WAYS
@pytest.mark.parametrize(
    "options",
    [{"tls_name": "stranger.test"}, {"tls_verify": "chain"}, {"tls_verify": "none"}],
    ids=lambda options: "=".join(*options.items()),
)
def test_another_name_is_taken_where_that_was_said(
    stranger: TlsLab, flavour: str, transport: str, options: dict[str, str]
) -> None:
    """As in a Cluster, whose nodes are known by their numbers."""
    with client(flavour, stranger.url(**options), transport=transport) as execute:
        assert execute("PING") == b"PONG"


@WAYS
def test_nothing_is_checked_where_that_was_said(expired: TlsLab, flavour: str, transport: str) -> None:
    with client(flavour, expired.url(ca=None, tls_verify="none"), transport=transport) as execute:
        assert execute("PING") == b"PONG"


@pytest.mark.parametrize("transport", ["native", "redis-py"])
@pytest.mark.parametrize("flavour", ["threads", "tasks"])
def test_a_client_of_ones_own(strict: TlsLab, flavour: str, transport: str) -> None:
    """Its arguments hold for both transports, and for the hub."""
    files = strict.client_files()
    kind = redis.Redis if flavour == "threads" else redis.asyncio.Redis
    own: Any = kind(
        host="localhost",
        port=strict.port,
        ssl=True,
        ssl_ca_certs=strict.papers.path("ca"),
        ssl_certfile=files["tls_cert"],
        ssl_keyfile=files["tls_key"],
    )
    with client(flavour, None, client=own, transport=transport) as execute:
        assert execute("PING") == b"PONG"
    target_of = _redispy_sync.target_of if flavour == "threads" else _redispy_async.target_of
    assert str(target_of(own)) == f"rediss://localhost:{strict.port}/0"
    connect(target_of(own), 20).close()


def test_a_client_of_ones_own_that_cannot_work() -> None:
    """Said when it is handed over, not by the hub's thread."""
    with pytest.raises(ConfigurationError, match="TLS that cannot work"):
        Holdfast(client=redis.Redis(ssl=True, ssl_ca_certs="missing.pem"))


# --- it does not, and says why ------------------------------------------------------------------------------


def refusal(flavour: str, transport: str, url: str, **options: Any) -> HoldfastError:
    """What a call raises; certificates do not heal, so nobody waits for the deadline to say so."""
    patience = 25.0
    with client(flavour, url, transport=transport, **{"timeout": patience, **options}) as execute:
        for _ in range(10):
            begun = time.monotonic()
            with pytest.raises(HoldfastError) as caught:
                execute("PING")
            cut_off = ("the deadline", "handshake within 0.0")  # the last attempt, in the middle
            if not any(one in str(caught.value) for one in cut_off):
                break
        if isinstance(caught.value, ConfigurationError):
            assert time.monotonic() - begun < patience / 2
    return caught.value


@WAYS
@pytest.mark.parametrize("ca", ["other_ca", None])
def test_an_unknown_authority(shared: TlsLab, flavour: str, transport: str, ca: str | None) -> None:
    """found: redis-py's context, which knows the system's authorities besides the one that was named."""
    error = refusal(flavour, transport, shared.url(ca=ca))
    assert isinstance(error, ConfigurationError)
    assert f"the certificate of localhost:{shared.port} is not trusted (self-signed" in str(error)
    assert "tls_ca" in str(error)


@WAYS
@pytest.mark.parametrize("name", [{}, {"tls_name": "other.test"}])
def test_a_wrong_name(stranger: TlsLab, flavour: str, transport: str, name: dict[str, str]) -> None:
    error = refusal(flavour, transport, stranger.url(**name))
    assert isinstance(error, ConfigurationError)
    assert f"is not made out to '{name.get('tls_name', 'localhost')}'; name what it is" in str(error)
    assert "tls_name" in str(error)


@WAYS
def test_an_expired_certificate(expired: TlsLab, flavour: str, transport: str) -> None:
    error = refusal(flavour, transport, expired.url())
    assert isinstance(error, ConfigurationError)
    assert "has expired; renew it" in str(error)


@WAYS
def test_a_file_that_is_not_there(shared: TlsLab, flavour: str, transport: str) -> None:
    error = refusal(flavour, transport, shared.url(ca="missing"))
    assert isinstance(error, ConfigurationError)
    assert "missing.pem' cannot be read: No such file" in str(error)


@WAYS
def test_no_certificate_of_ours(strict: TlsLab, flavour: str, transport: str) -> None:
    """The server says so only after its own handshake, or just hangs up."""
    error = refusal(flavour, transport, strict.url(), timeout=0.5)
    assert isinstance(error, Unavailable)
    assert "certificate of ours" in str(error)
    assert "tls_cert and tls_key" in str(error)


@WAYS
def test_a_certificate_of_ours_that_the_server_does_not_know(
    strict: TlsLab, flavour: str, transport: str, tmp_path: Path
) -> None:
    other = Papers(tmp_path)
    files = {"tls_cert": other.path("client"), "tls_key": other.path("client", "key")}
    error = refusal(flavour, transport, strict.url(**files), timeout=0.5)
    assert isinstance(error, Unavailable)


@WAYS
def test_tls_to_a_port_without(shared: TlsLab, flavour: str, transport: str) -> None:
    """It waits for the end of a line that never comes, or answers in the clear."""
    url = f"rediss://localhost:{shared.plain_port}/0?tls_ca={shared.papers.path('ca')}"
    error = refusal(flavour, transport, url, timeout=0.8, connect_timeout=0.2)
    assert isinstance(error, Unavailable)
    assert "speak" in str(error)
    assert "TLS" in str(error)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_no_tls_to_a_port_with(shared: TlsLab, flavour: str) -> None:
    error = refusal(flavour, "native", f"redis://localhost:{shared.port}", timeout=0.5)
    assert isinstance(error, Unavailable)
    assert "if it wants TLS, write rediss://" in str(error)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_old_protocol(lab: TlsLab, flavour: str) -> None:
    """Nothing below TLS 1.2, whatever the system permits."""
    lab.ask("CONFIG", "SET", "tls-protocols", "TLSv1.2")
    with client(flavour, lab.url()) as execute:
        assert execute("PING") == b"PONG"
    lab.ask("CONFIG", "SET", "tls-protocols", "TLSv1.1")
    assert isinstance(refusal(flavour, "native", lab.url(), timeout=0.5), Unavailable)


# --- it breaks ----------------------------------------------------------------------------------------------


@WAYS
def test_a_frozen_server_costs_the_deadline_and_no_more(lab: TlsLab, flavour: str, transport: str) -> None:
    """Of a connection that stands, and of one that is to be made."""
    patience = {"timeout": 20, "connect_timeout": 20}
    if transport == "redis-py":  # it knows one time-out for everybody while it connects
        patience = {"timeout": 1, "connect_timeout": 1}
    with client(flavour, lab.url(), transport=transport, **patience) as execute:
        assert execute("SET", "k", 1) == b"OK"
        lab.signal(signal.SIGSTOP)
        for _ in range(2):
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                execute("GET", "k", timeout=0.2)
            assert time.monotonic() - begun < 8
        lab.signal(signal.SIGCONT)
        assert execute("GET", "k") == b"1"


@WAYS
def test_a_server_that_came_back_is_met_anew(lab: TlsLab, flavour: str, transport: str) -> None:
    """A write is not lost on a connection that had died: it would be Unconfirmed."""
    with client(flavour, lab.url(), transport=transport, timeout=20) as execute:
        for turn in range(3):
            assert execute("SET", "k", turn) == b"OK"
            lab.kill()
            lab.start()
            time.sleep(0.02)  # the pool trusts what was used a moment ago
            if flavour != "threads":
                assert execute("GET", "k") is None  # a loop that did not run has not heard of the end


def test_a_connection_that_rested_is_used_again(shared: TlsLab) -> None:
    """found: tickets taken for the end: every call after a pause would connect anew."""
    with client("threads", shared.url()) as execute:
        number = execute("CLIENT", "ID")
        for _ in range(3):
            time.sleep(0.03)
            assert execute("CLIENT", "ID") == number


# --- the hub ------------------------------------------------------------------------------------------------


@contextmanager
def hub_of(lab: TlsLab, witness: Witness) -> Iterator[Hub]:
    hub = Hub(lambda timeout: connect(parse(lab.url()), timeout), witness, interval=0.5, linger=0.2)
    yield hub
    hub.close(0)


def test_wake_ups_and_deliveries_pass(lab: TlsLab) -> None:
    """Also when several come at once: each one wakes, none is left inside TLS while the hub polls."""
    witness = Witness()
    with hub_of(lab, witness) as hub:
        wakes = [Signal() for _ in range(20)]
        watches = [hub.watch(f"news:{number}", wake) for number, wake in enumerate(wakes)]
        until(lambda: all(watch.pushing for watch in watches))
        for turn in range(50):
            for wake in wakes:
                wake.clear()
            for number in range(len(wakes)):
                lab.ask("SPUBLISH", f"news:{number}", "x" * turn * 1000)
            assert all(wake.wait(20) for wake in wakes)
        done: list[int] = []
        for number in range(300):
            hub.deliver(number, ("SADD", "kept", number, "x" * 1000), lambda: done.append(1))
        until(lambda: len(done) == 300)
        time.sleep(1.2)  # silence: it asks for a PONG, and gets it
        assert all(watch.pushing for watch in watches)
        assert witness.count(Disconnected) == 0
        for watch in watches:
            watch.close()


def test_the_hub_notices_a_frozen_server_and_comes_back(lab: TlsLab) -> None:
    witness = Witness()
    with hub_of(lab, witness) as hub:
        wake = Signal()
        watch = hub.watch("news", wake)
        until(lambda: watch.pushing)
        lab.signal(signal.SIGSTOP)
        until(lambda: not watch.pushing)
        lab.signal(signal.SIGCONT)
        until(lambda: watch.pushing)
        wake.clear()
        lab.ask("SPUBLISH", "news", "x")
        assert wake.wait(20)
        watch.close()


# --- fork ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_speaks_on_connections_of_its_own(lab: TlsLab) -> None:
    """found: a farewell from the child on the parent's connection; the same keys used twice."""
    with client("threads", lab.url()) as execute:
        number = execute("CLIENT", "ID")
        pid = os.fork()
        if not pid:
            try:
                well = execute("CLIENT", "ID") != number and execute("SET", "child", 1) == b"OK"
            except BaseException:
                well = False
            os._exit(0 if well else 1)
        assert child_status(pid) == 0
        assert execute("CLIENT", "ID") == number
        assert execute("GET", "child") == b"1"
