"""The second try of CI: exactly what failed is named, so that it can be tried again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BODY = """import pytest
def test_well(): pass
@pytest.mark.parametrize("n", ["a b", "c"])
def test_bad(n): assert n == "c"
@pytest.fixture
def broken(): raise OSError
def test_broken(broken): pass
"""


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of pytest in `folder`, and its last line."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tools.failures"]
    command += ["--rootdir", str(folder), "-c", str(folder / "pytest.ini"), *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()[-1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def test_what_failed_is_named_and_can_be_tried_again(folder: Path) -> None:
    (folder / "test_it.py").write_text(BODY)
    assert run(folder, "--failures", "names", "test_it.py")[0] == 1
    names = (folder / "names").read_text().splitlines()
    assert names == ["test_it.py::test_bad[a b]", "test_it.py::test_broken"]
    assert run(folder, "@names")[1].startswith("1 failed, 1 error")


@pytest.mark.parametrize("body", ["def test_well(): pass", "import no_such_thing", "def test_it(: pass"])
def test_there_is_no_second_try_of_what_passed_or_could_not_be_read(folder: Path, body: str) -> None:
    """Also not of what an earlier run named."""
    (folder / "names").write_text("test_it.py::test_old\n")
    (folder / "test_it.py").write_text(body)
    run(folder, "--failures", "names", "test_it.py")
    assert not (folder / "names").exists()
