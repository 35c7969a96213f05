"""One directory, many processes: the first starts the server, it ends after the last, and the data stays."""

import json
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path

import pytest

from holdfast import embedded
from holdfast.embedded import guardian
from holdfast.errors import ConfigurationError

from .lab import alive, get, gone, owner, put, until

FSYNC = 1.0  # seconds between two fsyncs: what is older is on the disk


def join(path):
    return f"server = embedded.start({str(path)!r}); tell(server); wait()"


def test_the_second_process_joins_and_the_first_one_may_be_killed(tmp_path):
    with owner(join(tmp_path)) as first, owner(join(tmp_path)) as second:
        assert first.about == second.about
        put(first.about["url"], "a", 1)
        first.kill()
        first.wait()
        time.sleep(0.2)
        assert alive(second.about["server"])
        assert get(second.about["url"], "a") == "1"
        second.kill()
        assert gone(second.about)
    with embedded.start(tmp_path) as server:
        assert get(server, "a") == "1"


def test_in_one_process_too_a_path_is_one_server_until_the_last_has_stopped(tmp_path):
    one, other = embedded.start(tmp_path), embedded.start(tmp_path)
    assert one.pid == other.pid
    one.stop()
    put(other, "a", 1)
    pid = other.pid
    other.stop()
    assert not alive(pid)


def test_many_who_start_at_the_same_moment_get_one_server(tmp_path):
    pids, failed = set(), []
    ready = threading.Barrier(6)
    done = threading.Barrier(6)

    def start():
        try:
            ready.wait()
            with embedded.start(tmp_path) as server:
                pids.add(server.pid)
                done.wait(30)
        except Exception as error:
            failed.append(error)

    _run([threading.Thread(target=start) for _ in range(6)])
    assert not failed
    assert len(pids) == 1


def test_who_comes_while_the_last_one_leaves_gets_a_server_with_all_data(tmp_path):
    failed = []

    def come_and_go(name):
        try:
            for turn in range(6):
                with embedded.start(tmp_path) as server:
                    assert get(server, name) == (str(turn - 1) if turn else None)
                    put(server, name, turn)
        except BaseException as error:
            failed.append(error)

    _run([threading.Thread(target=come_and_go, args=(name,)) for name in "abc"])
    assert not failed


def _run(threads):
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_killing_the_server_loses_nothing_older_than_the_fsync_second(tmp_path):
    with embedded.start(tmp_path) as server:
        put(server, "a", 1)
        time.sleep(FSYNC)
        os.kill(server.pid or 0, signal.SIGKILL)  # from outside: the guardian finds out by itself
        assert until(lambda: not server.running)
        server.restart()
        assert get(server, "a") == "1"


def test_who_joins_a_server_that_has_crashed_gets_it_running(tmp_path):
    with embedded.start(tmp_path) as server:
        put(server, "a", 1)
        server.kill()
        with embedded.start(tmp_path) as other:
            assert get(other, "a") == "1"
        assert server.running


def test_an_end_is_polite_so_nothing_at_all_is_lost(tmp_path):
    with embedded.start(tmp_path) as server:
        put(server, "a", 1)
        server.freeze()  # even then
    assert any("ready to exit" in line for line in (tmp_path / guardian.LOG).read_text().splitlines())
    with embedded.start(tmp_path) as server:
        assert get(server, "a") == "1"
        server.restart(empty=True)
        assert get(server, "a") is None


def test_what_a_crashed_lab_left_is_no_obstacle(tmp_path):
    with owner(join(tmp_path)) as first:
        put(first.about["url"], "a", 1)
        os.kill(first.about["guardian"], signal.SIGKILL)
        assert until(lambda: not alive(first.about["server"]))
        assert (tmp_path / guardian.INFO).exists()
        assert (tmp_path / guardian.LOCK).exists()
        shutil.rmtree(Path(first.about["socket"]).parent)
        with embedded.start(tmp_path) as server:
            assert get(server, "a") == "1"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"control": 7}', '{"control": "/nowhere"}', "\x00"])
def test_a_damaged_note_is_no_obstacle(tmp_path, text):
    (tmp_path / guardian.INFO).write_text(text)
    (tmp_path / guardian.LOCK).write_text("12345")
    with embedded.start(tmp_path) as server:
        put(server, "a", 1)
        assert json.loads(Path(tmp_path, guardian.INFO).read_text())["guardian"] == server.guardian


def test_who_knocks_at_a_guardian_that_is_about_to_end_makes_a_new_one(tmp_path):
    with socket.socket(socket.AF_UNIX) as ending:
        address = f"{tempfile.gettempdir()}/ending-{os.getpid()}"
        ending.bind(address)
        ending.listen()
        (tmp_path / guardian.INFO).write_text(json.dumps({"control": address}))
        closer = threading.Thread(target=lambda: ending.accept()[0].close())
        closer.start()
        with embedded.start(tmp_path) as server:
            closer.join()
            assert server.running
        Path(address).unlink()


def test_a_directory_whose_guardian_cannot_be_reached_is_an_error_that_says_so(tmp_path):
    held = guardian.lock(tmp_path / guardian.LOCK)  # as another container would
    try:
        with pytest.raises(Exception, match="another host or container"):
            embedded.start(tmp_path, timeout=0.3)
    finally:
        os.close(held)


def test_asking_for_another_server_than_the_one_that_runs_is_refused(tmp_path):
    with embedded.start(tmp_path, config={"maxmemory": "5mb"}, password="x") as server:
        for different in ({"config": {"maxmemory": "6mb"}}, {"port": True}, {"password": "y"}):
            with pytest.raises(
                ConfigurationError, match=f"another {next(iter(different)).replace('config', 'max')}"
            ):
                embedded.start(tmp_path, **different)
        with embedded.start(tmp_path, config={"maxmemory": "5mb"}, password="x") as same:
            assert same.pid == server.pid


def test_a_forked_child_that_starts_the_same_path_becomes_an_owner(tmp_path):
    code = f"""
server = embedded.start({str(tmp_path)!r})
if os.fork() == 0:
    server = embedded.start({str(tmp_path)!r})
    say(os.getpid())
    time.sleep(60)
time.sleep(0.5)
tell(server)
wait()
"""
    with owner(code, tell=False) as process:
        child, about = int(process.stdout.readline()), json.loads(process.stdout.readline())
        process.kill()
        process.wait()
        try:
            time.sleep(0.2)
            put(about["url"], "a", 1)
        finally:
            os.kill(child, signal.SIGKILL)
        assert gone(about)
