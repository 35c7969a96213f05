"""The command line: help, mistakes, and what is said about them."""

from __future__ import annotations

import pytest

from holdfast import __version__
from holdfast.cli.__main__ import main
from holdfast.cli.demo import options


def test_version(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"holdfast {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"]])
def test_help_names_the_demo(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    assert "demo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dmeo"], "invalid choice: 'dmeo'"),
        ([], "COMMAND"),
        (["demo", "--second", "x"], "--second"),
    ],
)
def test_what_argparse_refuses(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seconds", "1"], "--seconds 1: three phases take 3 to 3600 seconds"),
        (["--seconds", "nan"], "--seconds nan"),
        (["--processes", "0"], "--processes 0: 1 to 16"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["demo", *arguments]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert not out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--url", "redis://127.0.0.1:1"], 1, "127.0.0.1:1"),
        (["--url", "embedded://"], 2, "leave it out"),
        (["--url", "http://here"], 2, "http"),
        (["--trace", "/no/such/file"], 2, "/no/such/file"),
    ],
)
def test_what_cannot_work_is_said_and_leaves_nothing_behind(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["demo", *arguments]) == code
    assert said in capsys.readouterr().err


def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(options._NEEDED, "no_such_module", "no-such-package")
    assert main(["demo"]) == 2
    err = capsys.readouterr().err
    assert "no-such-package" in err
    assert 'pip install "holdfast[demo]"' in err
