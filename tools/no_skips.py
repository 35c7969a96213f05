"""A pytest plugin for CI: a skipped test is a failed one, because what is skipped for long is broken unseen.

pytest -p tools.no_skips
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest


def _refuse(report: Any) -> Any:
    """Turn a skip into a failure; an expected failure is no skip."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} may not be skipped here: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Look at each test's report."""
    return _refuse((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    """Look at each file's report: `importorskip` skips a whole file."""
    return _refuse((yield))
