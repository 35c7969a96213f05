"""Ending: whatever becomes of an owner, within a second nothing is left of its server."""

import json
import os
import shutil
import signal
import threading
import time
from multiprocessing import get_context
from pathlib import Path

import psutil
import pytest

from holdfast import embedded
from holdfast.embedded import guardian
from holdfast.errors import Unavailable

from .lab import PROMISE, alive, get, gone, owner, put, until

# Forking with threads about is what these tests are about; newer Pythons warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

START = "server = embedded.start(); tell(server)\n"

ENDS = {
    "end of the program": "",
    "stop": "server.stop()",
    "sys.exit": "sys.exit(3)",
    "sys.exit in a thread": "threading.Thread(target=sys.exit).start()",
    "exception": "raise ZeroDivisionError",
    "os._exit": "os._exit(1)",
    "segmentation fault": "ctypes.string_at(0)",
    "abort": "os.abort()",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGKILL of its process group": "os.killpg(os.getpgrp(), signal.SIGKILL)",
    "last reference": "del server; wait()",
    "while the server is frozen": "server.freeze(); os._exit(1)",
    "after the server was killed": "server.kill(); os._exit(1)",
}


@pytest.mark.parametrize("how", ENDS)
def test_gone_within_a_second_of_its_owners_end(how):
    code = f"if 'group' in {how!r}: os.setpgrp()\n" + START + ENDS[how]
    with owner(code) as process:
        if how != "last reference":
            process.wait()
        assert gone(process.about)


def test_gone_within_a_second_of_the_end_of_an_owner_of_data(tmp_path):
    with owner(f"server = embedded.start({str(tmp_path)!r}); tell(server); wait()") as process:
        put(process.about["url"], "a", 1)
        process.kill()
        assert gone(process.about)
    assert not (tmp_path / guardian.INFO).exists()


def test_a_server_outlives_the_thread_that_started_it():
    started = []
    thread = threading.Thread(target=lambda: started.append(embedded.start()))
    thread.start()
    thread.join()
    with started[0] as server:
        time.sleep(0.1)  # a signal at the end of the thread would have arrived by now
        assert server.running
        put(server, "a", 1)


def test_a_fork_uses_the_server_of_its_parent_but_does_not_keep_it():
    code = """
server = embedded.start()
if os.fork() == 0:
    assert embedded.greeting.greet(server.socket_path, "")
    server.stop()               # not its own: does nothing
    say(os.getpid())
    time.sleep(60)
tell(server)
wait()
"""
    with owner(code, tell=False) as process:
        said = sorted(process.stdout.readline() for _ in range(2))
        child, about = int(said[0]), json.loads(said[1])
        try:
            put(about["url"], "a", 1)
            process.kill()
            process.wait()
            assert gone(about)
            assert alive(child)
        finally:
            os.kill(child, signal.SIGKILL)


def _in_worker(url):
    put(url, "from", "worker")


def test_workers_made_by_fork_can_use_the_server():
    with embedded.start() as server:
        worker = get_context("fork").Process(target=_in_worker, args=(server.url,))
        worker.start()
        worker.join()
        assert get(server, "from") == "worker"


def test_in_a_forked_child_the_verbs_say_that_it_owns_nothing():
    read, write = os.pipe()
    with embedded.start() as server:
        if (child := os.fork()) == 0:
            try:
                server.kill()
            except Unavailable as error:
                os.write(write, str(error).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert b"before a fork" in os.read(read, 1000)
        assert server.running
    os.close(read)
    os.close(write)


def test_forks_in_other_threads_do_not_keep_servers(monkeypatch):
    """Every line of this process is closed in every child, however unlucky the moment of the fork."""
    children = []
    stop = threading.Event()

    def fork():
        while not stop.is_set():
            if (child := os.fork()) == 0:
                time.sleep(30)
                os._exit(0)
            children.append(child)
            time.sleep(0.005)

    thread = threading.Thread(target=fork)
    thread.start()
    try:
        for _ in range(5):
            server = embedded.start()
            about = {"server": server.pid, "guardian": server.guardian, "socket": server.socket_path}
            server.stop()
            assert gone(about)
    finally:
        stop.set()
        thread.join()
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert children


def test_a_fork_at_the_unluckiest_moment_does_not_keep_a_server_either(monkeypatch):
    """Both ends of the line are open in the child then."""
    spawn, children = os.posix_spawn, []

    def fork_and_spawn(*args, **kwargs):
        if (child := os.fork()) == 0:
            time.sleep(30)
            os._exit(0)
        children.append(child)
        return spawn(*args, **kwargs)

    monkeypatch.setattr(os, "posix_spawn", fork_and_spawn)
    server = embedded.start()
    try:
        server.stop()
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)


def test_a_server_that_ends_by_itself_leaves_no_zombie():
    with embedded.start() as server:
        pid = server.pid or 0
        os.kill(pid, signal.SIGKILL)
        assert until(lambda: not psutil.pid_exists(pid))


def test_an_owner_killed_while_it_starts_a_server_leaves_nothing(tmp_path):
    mark = f"lab-{os.getpid()}"
    for delay in (0.0, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08):
        with owner("say('{}'); server = embedded.start(); wait()", LAB=mark) as process:
            time.sleep(delay)
            process.kill()
            process.wait()
    assert until(lambda: not _marked(mark), PROMISE), _marked(mark)


def _marked(mark):
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("LAB") == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_the_server_dies_with_its_guardian():
    server = embedded.start()
    pid = server.pid
    os.kill(server.guardian, signal.SIGKILL)
    assert until(lambda: not alive(pid), PROMISE)
    assert not server.running
    with pytest.raises(Unavailable, match="guardian"):
        server.restart()
    server.stop()
    shutil.rmtree(Path(server.socket_path).parent)  # nobody else is left to do it


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_guardian_is_deaf_to_signals_meant_for_its_owner_but_the_server_is_not(name):
    with embedded.start() as server:
        os.kill(server.guardian, getattr(signal, name))
        time.sleep(0.05)
        assert alive(server.guardian)
        pid = server.pid or 0
        if name != "SIGHUP":  # servers ignore it themselves
            os.kill(pid, getattr(signal, name))
            assert until(lambda: server.pid is None)


def test_signals_blocked_in_the_owners_thread_do_not_reach_the_guardian():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    try:
        with embedded.start() as server:
            os.kill(server.pid or 0, signal.SIGTERM)
            assert until(lambda: not server.running)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD, signal.SIGTERM})


def test_kill_freeze_resume_restart():
    with embedded.start(port=True) as server:
        url, pid = server.url, server.pid
        put(server, "a", 1)
        server.freeze()
        assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
        server.resume()
        assert get(server, "a") == "1"
        server.kill()
        assert not alive(pid)
        assert not server.running
        server.restart()
        assert server.running
        assert server.url == url
        assert get(server, "a") is None  # a private server keeps nothing
        server.freeze()
        server.restart()
        assert get(server, "a") is None


def test_stop_may_be_called_twice_and_then_nothing_else_works():
    server = embedded.start()
    server.stop()
    server.stop()
    with pytest.raises(Unavailable, match="stopped"):
        server.kill()


def test_what_killed_guardians_left_is_swept_and_nothing_else(tmp_path):
    names = {
        "holdfast-0123456789ab": "litter",
        "holdfast-0123456789ac": "in use",
        "holdfast-0123456789ad": "young",
        "holdfast-of-somebody": "foreign",
    }
    for name, what in names.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / guardian.LOCK).touch()
        if what != "young":
            os.utime(tmp_path / name, (1, 1))
    (tmp_path / "target").mkdir()
    (tmp_path / "holdfast-0123456789ae").symlink_to(tmp_path / "target")
    held = guardian.lock(tmp_path / "holdfast-0123456789ac" / guardian.LOCK)
    os.utime(tmp_path / "holdfast-0123456789ac", (1, 1))
    guardian.sweep(tmp_path)
    os.close(held)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "target", "holdfast-0123456789ae"} - {
        "holdfast-0123456789ab"
    }


def test_no_descriptor_of_the_owner_reaches_the_guardian_or_the_server(tmp_path):
    with (tmp_path / "mine").open("w") as mine:
        os.set_inheritable(mine.fileno(), True)
        with embedded.start() as server:
            for pid in (server.guardian, server.pid):
                assert str(tmp_path / "mine") not in {file.path for file in psutil.Process(pid).open_files()}
