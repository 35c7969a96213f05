"""`holdfast worker` as a user starts it: what ends, what is started again, and what it says of itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast import Holdfast
from holdfast.cli.worker import rules
from holdfast.embedded import Server
from tests.cli.worker_stage import Worker, answer, children, port, prepared, supervised, until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the program."""
    return prepared(tmp_path)


@pytest.fixture
def worker(folder: Path, server: Server) -> Iterator[Callable[..., Worker]]:
    """Starts a worker."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **environment: str) -> Worker:
            worker = Worker(folder, server.url, *arguments, **environment)
            stack.callback(worker.close)
            return worker

        yield start


# --- one process -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["shop:hf", "shop:ahf"])
def test_sigterm_lets_what_is_in_work_end(worker: Callable[..., Worker], target: str) -> None:
    run = worker(target, "--drain", "20s")
    run.await_said("started")
    run.send(signal.SIGTERM)
    run.await_said("closes 20")
    assert run.process.poll() is None
    run.finish()
    run.await_said("done")
    code, out, err = run.end()
    assert (code, out.count("\n")) == (0, 3)
    assert f"{target} on redis://" in out
    assert out.splitlines()[1].split() == ["name", "group", "order", "concurrency"]
    assert out.splitlines()[2].split() == ["orders", "billing", "key"]
    assert "[1] holdfast.worker: worker ended" in err


def test_the_second_signal_gives_up_what_is_in_work_and_json_tells_it(worker: Callable[..., Worker]) -> None:
    run = worker("shop:ahf", "--log", "json")
    run.await_said("started")
    run.send(signal.SIGINT)
    run.await_said("closes 10")
    run.send(signal.SIGINT)
    run.await_said("closes 0")
    run.await_said("cut off")
    code, out, err = run.end()
    assert (code, out) == (0, "")
    first, *_, last = [json.loads(line) for line in err.splitlines()]
    assert first["holdfast"]["subscribers"] == [
        {"name": "orders", "group": "billing", "order": "key", "concurrency": ""}
    ]
    assert (first["message"], last["message"]) == ("worker started", "worker ended")
    assert first["process"] == last["process"] == 1


# --- several ---------------------------------------------------------------------------------------------


def test_all_processes_drain_and_the_second_signal_gives_up_in_all(worker: Callable[..., Worker]) -> None:
    run = worker("shop:hf", "--processes", "2")
    pids = run.await_said("started", 2)
    run.send(signal.SIGTERM)
    run.await_said("closes 10", 2)
    run.send(signal.SIGTERM)
    run.await_said("cut off", 2)
    code, out, err = run.end()
    assert code == 0
    assert "2 processes" in out
    assert "[supervisor] holdfast.worker: worker ended" in err
    assert not set(pids) & children()


def test_a_signal_to_the_whole_service_is_no_haste(worker: Callable[..., Worker]) -> None:
    """systemd sends SIGTERM to every process: the supervisor's word must not count as a second one."""
    run = worker("shop:hf", "--processes", "2")
    pids = run.await_said("started", 2)
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    run.await_said("closes 10", 2)
    run.send(signal.SIGTERM)
    assert run.process.stderr is not None
    assert any("all processes are told to stop in peace" in line for line in run.process.stderr)
    run.finish()
    run.await_said("done", 2)
    assert run.end()[0] == 0
    assert not run.said("closes 0")


def test_a_process_that_is_killed_is_started_again_and_one_port_tells_of_all(
    worker: Callable[..., Worker],
) -> None:
    run = worker("shop:ahf", "--processes", "2", "--health-port", "0")
    at = port(run.process.stdout)
    first, second = run.await_said("started", 2)
    _, told = until(lambda: (found := answer(f"{at}/health"))[0] == 200 and found)
    assert {one["pid"] for one in told["processes"]} == {first, second}
    assert {one["process"] for one in told["processes"]} == {1, 2}
    text = answer(f"{at}/metrics")[1]
    assert 'holdfast_connections_made_total{process="1",purpose="commands"}' in text
    assert 'holdfast_connections_made_total{process="2",purpose="commands"}' in text
    assert text.count("# TYPE holdfast_connections_made_total counter") == 1

    os.kill(first, signal.SIGKILL)
    _, told = until(lambda: (found := answer(f"{at}/health"))[0] == 503 and found)
    assert {one["status"] for one in told["processes"]} & {"no answer", "dead", "starting"}
    *_, third = run.await_said("started", 3)
    assert children() >= {second, third}
    until(lambda: answer(f"{at}/health")[0] == 200)
    run.finish()
    run.send(signal.SIGTERM)
    code, _, err = run.end()
    assert code == 0
    assert "was killed by signal 9; again in 0.5 s" in err


def test_when_the_supervisor_is_killed_its_processes_drain_and_end(worker: Callable[..., Worker]) -> None:
    run = worker("shop:hf", "--processes", "2")
    pids = run.await_said("started", 2)
    run.send(signal.SIGKILL)
    run.await_said("closes 10", 2)
    run.finish()
    run.await_said("done", 2)
    until(lambda: not set(pids) & children())


def test_orphans_end_though_they_hang(worker: Callable[..., Worker], folder: Path) -> None:
    (folder / "impatient").touch()
    (folder / "deaf").touch()
    run = worker("shop:hf", "--processes", "2", "--drain", "0s")
    pids = run.await_said("started", 2)
    run.send(signal.SIGKILL)
    until(lambda: not set(pids) & children())
    assert not run.said("cut off")


def test_a_process_that_imports_still_ends_with_its_supervisor(
    worker: Callable[..., Worker], folder: Path
) -> None:
    (folder / "slow").touch()
    run = worker("shop:hf", "--processes", "2")
    pids = run.await_said("imported", 2)
    run.send(signal.SIGKILL)
    until(lambda: not set(pids) & children(), rules.GRACE - 1.0)  # nothing is in work: why wait?


def test_after_too_many_quick_deaths_it_gives_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "dies").touch()
    monkeypatch.setattr(rules, "FIRST_REST", 0.01)
    monkeypatch.setattr(rules, "MOST", 2)
    assert supervised(folder, monkeypatch, server).run() == 1
    assert "ended with code 3; again in 0.0 s" in caplog.text
    assert "ended with code 3; gave up: all are stopped" in caplog.text


def test_what_does_not_end_is_killed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "deaf").touch()
    monkeypatch.setattr(rules, "GRACE", 0.2)
    supervisor = supervised(folder, monkeypatch, server, drain=0)

    def stop() -> None:
        until(lambda: (folder / "said").exists() and (folder / "said").read_text().count("started") == 2)
        supervisor._interrupt()

    threading.Thread(target=stop, daemon=True).start()
    assert supervisor.run() == 1
    assert "process 1 does not end; it is killed" in caplog.text
    assert not {one.pid for one in supervisor._all} & children()


# --- with real streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["shop:shop", "shop:ashop"])
def test_what_is_in_work_at_sigterm_is_finished_and_acknowledged(
    worker: Callable[..., Worker], hf: Holdfast, namespace: str, target: str
) -> None:
    orders = hf.stream("orders")
    run = worker(target, SHOP=namespace)
    orders.publish(1024)
    run.await_said("bills 1024")
    run.send(signal.SIGTERM)
    orders.publish(1025)  # for somebody else
    run.finish()
    code, out, err = run.end()
    assert code == 0, err
    assert out.splitlines()[2].split() == ["orders", "billing", "none", "2"]
    assert run.said("billed 1024")
    lag = orders.group("billing").lag()
    assert lag.pending + lag.entries == 1 - len(run.said("billed 1025"))  # taken, and given back, perhaps


def test_what_a_killed_process_had_in_work_is_done_by_another(
    worker: Callable[..., Worker], hf: Holdfast, namespace: str
) -> None:
    orders = hf.stream("orders")
    orders.publish(1024)
    run = worker("shop:shop", "--processes", "2", SHOP=namespace)
    (first,) = run.await_said("bills 1024")
    os.kill(first, signal.SIGKILL)
    _, second = run.await_said("bills 1024", 2)
    assert second != first
    run.finish()
    run.await_said("billed 1024")
    run.send(signal.SIGTERM)
    assert run.end()[0] == 0
    assert orders.group("billing").lag().pending == 0


# --- what it says of itself ------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["shop:hf", "shop:ahf"])
def test_health_is_ok_while_the_server_answers(folder: Path, own_server: Server, target: str) -> None:
    run = Worker(folder, own_server.url, target, "--health-port", "0")
    try:
        at = port(run.process.stdout)
        run.await_said("started")
        code, told = until(lambda: (found := answer(f"{at}/health"))[0] == 200 and found)
        (one,) = told["processes"]
        assert (told["status"], one["process"], one["status"]) == ("ok", 1, "ok")
        assert one["subscribers"] == [{"name": "orders", "group": "billing", "alive": True, "in_flight": 1}]
        assert one["server"]["ok"]
        own_server.kill()
        code, told = answer(f"{at}/health")
        assert (code, told["status"]) == (503, "server away")
        assert answer(f"{at}/alive")[0] == 200  # restarting us would not bring the server back
        assert answer(f"{at}/")[0] == 404
    finally:
        run.close()
