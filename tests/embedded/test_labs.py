"""What all labs promise: nothing is left of them, and relays pass everything on. And TLS for one server."""

import contextlib
import gc
import os
import re
import socket
import threading
from pathlib import Path

import pytest
import redis

from holdfast import embedded
from holdfast.embedded import lab as labs
from holdfast.embedded import launch
from holdfast.embedded.relay import Relay
from holdfast.errors import ConfigurationError, Unavailable

from .lab import alive, answers, direct, on_every_kind, owner, until

OWNER = """
lab = embedded.{make}
everyone = lab._everyone
folders = [os.path.dirname(one.server.socket_path) for one in everyone]
say(json.dumps([[one.pid, one.server.guardian, folder] for one, folder in zip(everyone, folders)]))
wait()
"""


@pytest.mark.parametrize("make", ["sentinel(cuttable=True)", "cluster(replicas=0)", "independent(tls=True)"])
def test_nothing_is_left_when_the_owner_is_killed(make):
    with owner(OWNER.format(make=make)) as process:
        everyone = process.about
        assert len(everyone) >= 3
        assert all(alive(pid) and alive(guardian) for pid, guardian, _ in everyone)
        process.kill()
        assert until(
            lambda: not any(alive(pid) or alive(guard) or Path(at).exists() for pid, guard, at in everyone)
        )


def test_nothing_is_left_when_the_last_reference_is_gone_or_forming_fails(monkeypatch):
    lab = embedded.independent(2, cuttable=True)
    pids = [node.pid for node in lab.nodes]
    del lab
    gc.collect()
    assert until(lambda: not any(map(alive, pids)))
    assert until(lambda: not any(one.name == "holdfast-relay" for one in threading.enumerate()))


@on_every_kind
def test_independent_servers_know_nothing_of_each_other(kind):
    from holdfast.testing.servers import available

    steps: list[str] = []
    with embedded.independent(3, binary=available()[kind], cuttable=True, progress=steps.append) as lab:
        assert lab.urls == [node.url for node in lab.nodes]
        assert lab.config == "urls:\n" + "".join(f'  - "{url}"\n' for url in lab.urls)
        assert steps[0] == "starting 3 servers"
        assert {node.ask("ROLE")[0] for node in lab.nodes} == {"master"}
        assert all(node.info("replication")["connected_slaves"] == "0" for node in lab.nodes)
        first, second, third = lab.nodes
        first.ask("SET", "a", 1)
        first.kill()
        second.cut_off()
        third.freeze()
        assert not any(answers(node) for node in lab.nodes)
        assert not lab.healthy
        first.restart()
        second.heal()
        third.resume()
        lab.await_ready()
        assert all(answers(node) for node in lab.nodes)
        assert first.ask("GET", "a") is None
        assert any("Ready to accept connections" in line for line in first.log_tail())
        assert re.fullmatch(r"<Node node-1 at 127.0.0.1:\d+>", repr(first))


def test_ports_taken_at_the_last_moment_are_replaced(monkeypatch):
    real, calls = launch.free_port, []
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]

        def free_port():
            calls.append(1)
            return taken if len(calls) == 2 else real()

        monkeypatch.setattr(labs, "free_port", free_port)
        with embedded.independent(3) as lab:
            assert taken not in [node.port for node in lab.nodes]
        assert len(calls) == 6


def test_one_server_over_tls(tmp_path):
    with embedded.start(tmp_path, port=True, tls=True) as server:
        assert server.tls
        assert re.match(r"rediss://:\S+@127\.0\.0\.1:\d+/0\?tls_ca=/\S+&tls_cert=/\S+&tls_key=/", server.url)
        files = server.query
        with redis.Redis(
            port=server.port, password=server.password, ssl=True, ssl_ca_certs=files["tls_ca"]
        ) as client:
            assert client.ping()
        with embedded.start(tmp_path, port=True, tls=True) as same:
            assert same.url == server.url
    with embedded.start(tmp_path, port=True), pytest.raises(ConfigurationError, match="another tls"):
        embedded.start(tmp_path, port=True, tls=True)
    with pytest.raises(ConfigurationError, match="add port=True"):
        embedded.start(tls=True)


# --- relays ---


@pytest.fixture
def relay():
    relay = Relay()
    yield relay
    relay.close()


class Echo:
    """A server that sends back what it gets; `held` are the connections it has."""

    def __init__(self):
        self.held: set[socket.socket] = set()
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._welcome, daemon=True).start()

    def _welcome(self):
        with self._door, contextlib.suppress(OSError):
            while True:
                sock = self._door.accept()[0]
                self.held.add(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock, contextlib.suppress(OSError):
            while chunk := sock.recv(65536):
                sock.sendall(chunk)
        self.held.remove(sock)

    def close(self):
        self._door.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def echo():
    echo = Echo()
    yield echo
    echo.close()


def call(port, timeout=5.0, source=None):
    return socket.create_connection(("127.0.0.1", port), timeout, source_address=source and (source, 0))


def says(sock, words=b"hello"):
    sock.sendall(words)
    return sock.recv(100) == words


def test_a_relay_passes_everything_on_and_makes_a_fast_sender_wait(relay, echo):
    with call(relay.open(0, echo.port), 20) as sock:
        data = os.urandom(1 << 20) * 64  # more than all buffers between here and there
        sender = threading.Thread(target=sock.sendall, args=(data,))
        sender.start()
        assert until(lambda: any(link.unsent for link in list(relay._links)))  # nobody reads: all is full
        assert sender.is_alive()
        got = bytearray()
        while len(got) < len(data):
            got += sock.recv(1 << 20)
        sender.join(20)
        assert bytes(got) == data
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
        assert until(lambda: not echo.held)


def test_a_server_that_is_not_there_resets_its_callers(relay):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = relay.open(0, nobody.getsockname()[1])
        with pytest.raises(ConnectionError), call(port) as sock:
            sock.sendall(b"x")
            sock.recv(1)
            raise ConnectionError("closed instead of reset")


def test_a_cut_darkens_links_of_the_node_in_both_directions_and_no_others(relay, echo):
    doors = [relay.open(node, echo.port) for node in range(3)]
    to_first, to_second = call(doors[0], 0.3), call(doors[1], 0.3)
    from_first, from_third = call(doors[1], 0.3, "127.0.1.1"), call(doors[1], 0.3, "127.0.1.3")
    everything = [to_first, to_second, from_first, from_third]
    assert all(map(says, everything))
    relay.cut(0)
    later = call(doors[0], 0.3)
    everything.append(later)
    for dark in (to_first, from_first, later):
        with pytest.raises(TimeoutError):
            says(dark)
    assert says(to_second)
    assert says(from_third)
    relay.heal(1)  # was not cut off: nothing happens
    assert says(to_second)
    relay.heal(0)
    for reset in (to_first, from_first, later):
        with pytest.raises(ConnectionResetError):
            reset.recv(1)
    with call(doors[0]) as sock:
        assert says(sock)
    assert says(from_third)
    for sock in everything:
        sock.close()


def test_calls_into_the_dark_that_are_given_up_leave_nothing(relay, echo):
    port = relay.open(0, echo.port)
    relay.cut(0)
    for _ in range(50):
        with call(port) as sock:
            sock.sendall(b"x" * 1000)
    assert until(lambda: not relay._links)
    assert not echo.held


def test_after_the_end_of_a_relay_its_verbs_say_so_and_its_callers_are_reset(relay, echo):
    with call(relay.open(0, echo.port)) as sock:
        assert says(sock)
        relay.close()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    relay.close()
    with pytest.raises(Unavailable, match="stopped"):
        relay.cut(0)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_doors_open(relay, echo):
    port = relay.open(0, echo.port)
    reader, writer = os.pipe()
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(tell, b"!")  # it has done what is done after a fork
        os.close(writer)
        os.read(reader, 1)  # lives until the parent has looked
        os._exit(0)
    try:
        assert os.read(told, 1) == b"!"
        with call(port) as sock:
            assert says(sock)
        relay.close()
        with pytest.raises(ConnectionRefusedError):
            call(port)
    finally:
        for one in (writer, reader, told, tell):
            os.close(one)
        os.waitpid(child, 0)


def test_reads_and_writes_through_relays_are_as_they_were_without():
    with embedded.independent(1, cuttable=True) as lab, direct(lab.nodes[0]) as client:
        big = "x" * (5 << 20)
        client.set("big", big)
        assert client.get("big") == big
        with client.pipeline(transaction=False) as pipe:
            for i in range(1000):
                pipe.incr("n")
            assert pipe.execute()[-1] == 1000
