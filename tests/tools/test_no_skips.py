"""The check of the check: under tools/no_skips.py a skipped test, or file, fails the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("body", "closing"),
    [
        ("def test_it(): pass", "1 passed"),
        ("@pytest.mark.skip(reason='why')\ndef test_it(): pass", "1 error"),
        ("def test_it(): pytest.skip('why')", "1 failed"),
        ("@pytest.mark.xfail(strict=True)\ndef test_it(): assert 0", "1 xfailed"),
        ("pytest.importorskip('no_such_thing')", "1 error"),
    ],
)
def test_a_skip_is_a_failure(tmp_path: Path, body: str, closing: str) -> None:
    (tmp_path / "test_it.py").write_text(f"import pytest\n{body}\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tools.no_skips", "--rootdir", str(tmp_path)]
    command += ["-c", str(tmp_path / "pytest.ini"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert closing in done.stdout.splitlines()[-1]
    assert (done.returncode == 0) == ("passed" in closing or "xfailed" in closing)
