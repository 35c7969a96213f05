"""The socket that speaks TLS in memory: nothing hides in it, is mistaken for the end, or is sent twice.

At the other end sits a peer whose every byte the test decides on. Each guard was once removed by hand to see
its test fail; "found:" says which.
"""

from __future__ import annotations

import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import pytest

from holdfast import Tls
from holdfast._wire import connection as wire_connection
from holdfast._wire import tls
from holdfast._wire.connection import Connection
from holdfast._wire.tls import TlsSocket
from holdfast._wire.transport import WireFailure
from holdfast._wire.url import parse
from holdfast.embedded.launch import free_port
from tests.wire.lab import until
from tests.wire.tls_lab import Papers


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


class Peer:
    """A server at the other end of `sock` that sends what it is told to, and when."""

    def __init__(self, sock: socket.socket, papers: Papers, version: ssl.TLSVersion) -> None:
        self.sock = sock
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(papers.path("server"), papers.path("server", "key"))
        context.minimum_version = context.maximum_version = version
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def shake_hands(self) -> None:
        self._until_done(self._tls.do_handshake)
        self.flush()

    def _until_done(self, work: Callable[[], object]) -> object:
        while True:
            try:
                return work()
            except ssl.SSLWantReadError:
                self.flush()
                self._incoming.write(self.sock.recv(1 << 16))

    def flush(self) -> None:
        self.sock.sendall(self._outgoing.read())

    def records(self, *data: bytes) -> bytes:
        """`data`, encrypted, each part in records of its own; the test sends them."""
        for part in data:
            self._tls.write(part)
        return self._outgoing.read()

    def farewell(self) -> bytes:
        """What a server says that closes properly."""
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._outgoing.read()

    def receive(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            part = self._until_done(lambda: self._tls.read(1 << 16))
            assert isinstance(part, bytes)
            got += part
        return got


@contextmanager
def pair(
    papers: Papers, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> Iterator[tuple[TlsSocket, Peer]]:
    """Both ends, after the handshake."""
    ours, theirs = socket.socketpair()
    peer = Peer(theirs, papers, version)
    helper = threading.Thread(target=peer.shake_hands)
    helper.start()
    secure = TlsSocket(ours, tls.context(Tls(ca=papers.path("ca"))), "localhost")
    secure.introduce(time.monotonic() + 20)
    helper.join()
    try:
        yield secure, peer
    finally:
        secure.close()
        theirs.close()


def arrived(secure: TlsSocket, size: int) -> list[bytes]:
    """What `recv` returns, called only when poll() says there is something, until `size` bytes are there."""
    parts: list[bytes] = []
    while sum(map(len, parts)) < size:
        assert select.select([secure], [], [], 20)[0], "something hides where poll() does not see it"
        part = secure.recv(1 << 16, socket.MSG_DONTWAIT)
        assert part != b"", "the end, too early"
        if part is not None:
            parts.append(part)
    return parts


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
def test_whatever_came_is_handed_over_at_once(papers: Papers, version: ssl.TLSVersion) -> None:
    """found: one SSL read per recv: the others hid while poll() slept."""
    with pair(papers, version) as (secure, peer):
        peer.sock.sendall(peer.records(b"+one\r\n", b"+two\r\n", b"+three\r\n"))
        assert b"".join(arrived(secure, 19)) == b"+one\r\n+two\r\n+three\r\n"

        data = bytes(range(256)) * 1000
        sender = threading.Thread(target=lambda: peer.sock.sendall(peer.records(data)))
        sender.start()
        assert b"".join(arrived(secure, len(data))) == data
        sender.join()


def test_half_a_record_is_not_the_end(papers: Papers) -> None:
    """found: b"" for "nothing yet", which is the end of a plain socket; a read(0) that waits for the rest."""
    with pair(papers) as (secure, peer):
        connection = Connection(secure)
        first = peer.records(b"+x\r\n")  # takes the tickets along
        peer.sock.sendall(first)
        assert connection.read(20) == b"x"
        record = peer.records(b"+hello\r\n")
        peer.sock.sendall(record[:9])
        with pytest.raises(TimeoutError):
            connection.read(0)
        with pytest.raises(TimeoutError):
            connection.read(0.05)
        later = threading.Timer(0.05, lambda: peer.sock.sendall(record[9:]))
        later.start()
        assert connection.read(20) == b"hello"
        later.join()


def test_tickets_are_no_reason_to_give_a_connection_up(papers: Papers) -> None:
    """found: taking whatever can be read for the end."""
    with pair(papers) as (secure, peer):
        assert select.select([secure], [], [], 20)[0], "the tickets"
        connection = Connection(secure)
        assert connection.is_alive()
        assert connection.is_alive()
        peer.sock.sendall(peer.records(b"+x\r\n"))
        assert connection.read(20) == b"x"
        assert connection.is_alive()


@pytest.mark.parametrize("end", ["farewell", "stray", "gone"])
def test_the_end_is_noticed_before_it_is_used(papers: Papers, end: str) -> None:
    """found: a reply that nobody waits for; a farewell taken for a ticket."""
    with pair(papers) as (secure, peer):
        connection = Connection(secure)
        if end == "gone":
            peer.sock.shutdown(socket.SHUT_RDWR)
        else:
            peer.sock.sendall(peer.farewell() if end == "farewell" else peer.records(b"+x\r\n"))
        assert not connection.is_alive()


@pytest.mark.parametrize("polite", [True, False])
def test_the_end_after_the_last_reply(papers: Papers, polite: bool) -> None:
    """found: losing the reply that came with the farewell."""
    with pair(papers) as (secure, peer):
        connection = Connection(secure)
        peer.sock.sendall(peer.records(b"+last\r\n") + (peer.farewell() if polite else b""))
        if not polite:  # who has said farewell may leave the socket open
            peer.sock.shutdown(socket.SHUT_RDWR)
        assert connection.read(20) == b"last"
        for _ in range(2):
            with pytest.raises(WireFailure, match="closed by the server"):
                connection.read(20)


def test_a_broken_record_is_an_error(papers: Papers) -> None:
    """Whoever changes a byte on the way is noticed."""
    with pair(papers) as (secure, peer):
        record = bytearray(peer.records(b"+hello\r\n"))
        record[-1] ^= 1
        peer.sock.sendall(bytes(record))
        with pytest.raises(WireFailure, match="mac"):
            Connection(secure).read(20)


def test_a_slow_reader_gets_every_byte_once(papers: Papers) -> None:
    """found: encrypting again what was already encrypted when the time was over; forgetting its rest."""
    with pair(papers) as (secure, peer):
        secure.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, (8192).to_bytes(4, "little"))
        connection = Connection(secure)
        quiet: list[int] = []
        connection.suspicious_after = 0.02  # the kernel's time-out, many times while it is sent
        connection.on_quiet = lambda: quiet.append(1)
        data = bytes(range(256)) * 4096
        got: list[bytes] = []

        def read() -> None:
            until(lambda: len(quiet) > 3)
            got.append(peer.receive(len(data) + 3))

        reader = threading.Thread(target=read)
        reader.start()
        connection.send(data, 20)
        connection.send(b"end", 20)
        reader.join()
        assert got == [data + b"end"]


def test_a_reader_that_never_reads_is_given_up(papers: Papers) -> None:
    """found: a new time-out for each part."""
    with pair(papers) as (secure, _):
        begun = time.monotonic()
        with pytest.raises(WireFailure, match="does not read"):
            Connection(secure).send(bytes(1 << 22), 0.2)
        assert time.monotonic() - begun < 10


def test_new_keys_are_agreed_on_in_between(papers: Papers) -> None:
    """A server may change its keys, and ask for ours. found: never sending the answer."""
    openssl, port = shutil.which("openssl"), free_port()
    assert openssl is not None
    files = ("-cert", papers.path("server"), "-key", papers.path("server", "key"))
    command = [openssl, "s_server", "-accept", str(port), "-tls1_3", *files]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            until(lambda: can_connect(port))
            secure = TlsSocket(
                socket.create_connection(("localhost", port)),
                tls.context(Tls(ca=papers.path("ca"))),
                "localhost",
            )
            secure.introduce(time.monotonic() + 20)
            connection = Connection(secure)
            assert connection.is_alive()
            server.stdin.write(b"K\n")
            assert select.select([secure], [], [], 20)[0]
            assert connection.is_alive()
            server.stdin.write(b"+hello\n")
            assert connection_reads(secure, b"+hello\n")
            connection.send(b"our new keys work\n", 20)
            assert reads(server.stdout, b"our new keys work")
            connection.close()
        finally:
            server.kill()


def can_connect(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port)).close()
    except OSError:
        return False
    return True


def connection_reads(secure: TlsSocket, wanted: bytes) -> bool:
    return b"".join(arrived(secure, len(wanted))) == wanted


def reads(stream: IO[bytes], wanted: bytes) -> bool:
    """Does `wanted` come out of `stream`?"""
    got = b""
    while wanted not in got:
        assert select.select([stream], [], [], 20)[0]
        got += stream.read(4096)
    return True


# --- the handshake ------------------------------------------------------------------------------------------


@contextmanager
def listening(behave: Callable[[socket.socket], object]) -> Iterator[int]:
    """A server on a port of its own that treats its one guest as `behave` says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        guests: list[socket.socket] = []

        def serve() -> None:
            guest, _ = listener.accept()
            guests.append(guest)
            behave(guest)

        helper = threading.Thread(target=serve)
        helper.start()
        yield listener.getsockname()[1]
        helper.join()
        guests[0].close()


def test_a_handshake_that_is_not_answered_ends_in_time(papers: Papers) -> None:
    """found: waiting for ever; a new time-out for each step."""
    begun = time.monotonic()
    with (
        listening(lambda guest: guest.sendall(b"\x16\x03\x03\x00")) as port,
        pytest.raises(WireFailure, match="does the server speak TLS") as caught,
    ):
        wire_connection.connect(parse(f"rediss://127.0.0.1:{port}"), 0.2)
    assert time.monotonic() - begun < 10
    assert not caught.value.sent


def test_a_handshake_that_is_hung_up_on(papers: Papers) -> None:
    """A firewall, or a server that wants none of it."""
    with (
        listening(lambda guest: guest.shutdown(socket.SHUT_RDWR)) as port,
        pytest.raises(WireFailure, match="connected, but") as caught,
    ):
        wire_connection.connect(parse(f"rediss://127.0.0.1:{port}"), 20)
    assert not caught.value.sent


@pytest.mark.parametrize("alert", [b"", b"\x15\x03\x03\x00\x02\x02\x46"])
def test_a_server_that_may_have_wanted_tls(alert: bytes) -> None:
    """It hangs up on whoever does not begin with TLS, with an alert or without a word."""

    def refuse(guest: socket.socket) -> None:
        guest.recv(1 << 16)
        guest.sendall(alert)
        guest.shutdown(socket.SHUT_RDWR)

    with (
        listening(refuse) as port,
        pytest.raises(WireFailure, match="if it wants TLS, write rediss://") as caught,
    ):
        wire_connection.connect(parse(f"redis://127.0.0.1:{port}"), 20)
    assert not caught.value.sent


def test_a_handshake_can_be_ended_from_outside() -> None:
    """found: introducing before anybody is told: a failover would wait for a frozen server."""
    made: list[Connection] = []
    with listening(lambda guest: until(lambda: made)) as port:

        def begun(connection: Connection) -> None:
            made.append(connection)
            threading.Timer(0.05, lambda: connection.doom("the primary has moved")).start()

        started = time.monotonic()
        with pytest.raises(WireFailure, match="the primary has moved"):
            wire_connection.connect(parse(f"rediss://127.0.0.1:{port}"), 50, begun)
        assert time.monotonic() - started < 25
