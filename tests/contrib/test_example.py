"""The example says what it does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "on_commit.py"


def test_the_example(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "None",
        "ann@old",
        "ann@new ann@old",
        "ann@old",
        "1 row delivered",
    ]


def test_the_modules_are_there_by_their_names():
    from holdfast import contrib

    assert all(callable(one.on_commit) for one in (contrib.sqlalchemy, contrib.django))
    assert not hasattr(contrib, "bottle")
