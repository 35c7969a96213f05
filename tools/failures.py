"""A pytest plugin for CI: writes the names of the tests that failed to a file, one a line, for a second try.

pytest -p tools.failures --failures FILE, and then pytest @FILE

Nothing is written where trying again makes no sense: a file that cannot be read, a run that was broken off.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take `--failures`."""
    parser.addoption("--failures", type=Path, help="write the names of the tests that failed to this file")


def pytest_configure(config: pytest.Config) -> None:
    """Listen."""
    path: Path | None = config.getoption("--failures")
    if path is not None:
        path.unlink(missing_ok=True)
        config.pluginmanager.register(_Failures(path))


class _Failures:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._names: dict[str, None] = {}  # in their order, each once

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._names[report.nodeid] = None

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.TESTS_FAILED and self._names:
            self._path.write_text("".join(f"{name}\n" for name in self._names), encoding="utf-8")
