"""What `holdfast worker` refuses, and the rules of its supervisor."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from pathlib import Path

import pytest

from holdfast.cli.__main__ import main
from holdfast.cli.worker import rules
from holdfast.cli.worker.options import Options
from holdfast.cli.worker.supervisor import Process
from holdfast.cli.worker.work import Work
from holdfast.embedded import Server
from holdfast.errors import ConfigurationError
from tests.cli.worker_stage import Worker, prepared, supervised


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the program."""
    return prepared(tmp_path)


# --- what is wrong ---------------------------------------------------------------------------------------


@pytest.fixture
def ready(folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is in the folder of the program, which was not imported yet."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("HOLDFAST_URL", server.url)
    (folder / "broken.py").write_text("import no_such_thing\n")
    for module in ("shop", "broken"):
        monkeypatch.delitem(sys.modules, module, raising=False)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["shop"], "'shop': write MODULE:ATTRIBUTE, as in shop.app:hf"),
        (["shopp:hf"], "there is no module 'shopp', neither in "),
        (["shop.app:hf"], "there is no module 'shop.app', neither in "),
        (["shop:hff"], "shop:hff: 'shop' has no attribute 'hff'; there is hf, ahf, idle, shop, ashop"),
        (["shop:number"], "shop:number is a int, neither a Holdfast nor an AsyncHoldfast; there is hf, ahf"),
        (["broken:hf"], "broken could not be imported: ModuleNotFoundError: No module named 'no_such_thing'"),
        (["shop:hf", "--groups", "mail"], "nothing to run"),
        (["shop:hf", "--groups", ","], "--groups names none"),
        (["shop:number.x"], "shop:number.x: 'shop' has no attribute 'number.x'"),
        (["shop:hf", "--processes", "0"], "--processes 0: at least 1"),
        (["shop:hf", "--drain", "soon"], "--drain='soon' is no duration"),
        (["shop:hf", "--health-port", "70000"], "--health-port 70000: a port is at most 65535"),
    ],
)
def test_what_is_missing_is_named(
    ready: None, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main(["worker", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_several_processes_do_not_try_again_what_is_wrong_usage(folder: Path, server: Server) -> None:
    run = Worker(folder, server.url, "shop:hff", "--processes", "2")
    code, _, err = run.end()
    assert code == 2
    assert "shop:hff: 'shop' has no attribute 'hff'" in err
    assert "again in" not in err


def test_processes_that_could_not_see_each_other_are_refused(
    ready: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would start a server of its own, and no message would ever come."""
    monkeypatch.setenv("HOLDFAST_URL", "embedded://")
    with pytest.raises(ConfigurationError, match="write embedded:///path, which they share"):
        Work(Options(target="shop:hf", processes=2), 1)


def test_with_json_a_failure_is_a_line_of_the_log(ready: None, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["worker", "shop:hff", "--log", "json"]) == 2
    assert "ConfigurationError: shop:hff: 'shop' has no attribute" in caplog.text


def test_a_process_that_cannot_be_started_counts_as_a_death(
    folder: Path, monkeypatch: pytest.MonkeyPatch, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine that is full for a moment must not end what runs."""
    monkeypatch.setattr(rules, "FIRST_REST", 0.01)
    monkeypatch.setattr(rules, "MOST", 2)
    monkeypatch.setattr(sys, "executable", str(folder / "nowhere"))
    assert supervised(folder, monkeypatch, server).run() == 1
    assert "nowhere'; gave up: all are stopped" in caplog.text


def test_a_port_that_is_taken_is_named(ready: None, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        number = str(taken.getsockname()[1])
        assert main(["worker", "shop:hf", "--health-port", number]) == 2
    assert f"--health-port {number} at 127.0.0.1: Address already in use" in capsys.readouterr().err


def test_a_server_that_is_away_at_the_start_is_a_failure(
    ready: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        monkeypatch.setenv("HOLDFAST_URL", f"redis://127.0.0.1:{taken.getsockname()[1]}")
        assert main(["worker", "shop:hf"]) == 1
    assert "Unavailable" in capsys.readouterr().err


# --- the rules -------------------------------------------------------------------------------------------


def test_the_rests_double_and_a_long_life_forgives() -> None:
    assert [rules.rest(count) for count in (1, 2, 3, 6, 60)] == [0.5, 1.0, 2.0, 16.0, 30.0]
    assert rules.deaths(3, lived=1.0) == 4
    assert rules.deaths(3, lived=rules.QUICK) == 1
    assert not rules.is_hopeless(rules.MOST - 1, 1)
    assert rules.is_hopeless(rules.MOST, 1)
    assert rules.is_hopeless(1, 2)


def test_a_process_that_died_quickly_rests_before_it_is_started_again() -> None:
    one = Process(1, Options(target="a:b"), lambda: None)
    one._began = time.monotonic()
    one.count_death()
    one.count_death()
    assert one.deaths == 2
    assert one.due > time.monotonic()


def test_the_health_of_all_is_that_of_the_worst() -> None:
    assert rules.overall([{"status": "ok"}, {"status": "stopping"}])[0]
    ok, told = rules.overall([{"status": "ok"}, {"status": "server away"}])
    assert (ok, told["status"]) == (False, "server away")
    dead = [{"alive": False}]
    assert rules.health("running", {"ok": True}, dead) == "subscriber dead"
    assert rules.health("stopping", {"ok": True}, dead) == "stopping"
    assert rules.health("starting", {"ok": True}, dead) == "starting"
    assert rules.health("running", {"ok": False}, []) == "server away"


def test_metrics_of_several_are_one_text() -> None:
    head = "# HELP a_total A.\n# TYPE a_total counter\n"
    one = f'{head}a_total{{of="{{x}}"}} 1.0\na_total 2.0\n# TYPE b gauge\nb 3.0\n'
    assert rules.merged({1: one, 2: "# TYPE b gauge\nb 4.0\n"}) == (
        f'{head}a_total{{process="1",of="{{x}}"}} 1.0\na_total{{process="1"}} 2.0\n'
        '# TYPE b gauge\nb{process="1"} 3.0\nb{process="2"} 4.0\n'
    )


def test_options_are_refused_with_their_value() -> None:
    with pytest.raises(ConfigurationError, match="--processes 1000"):
        Options(target="a:b", processes=1000)
