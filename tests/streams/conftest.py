"""What all tests of streams share."""

import pytest

from holdfast._coord import tracing


@pytest.fixture(autouse=True)
def _untraced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file loads OpenTelemetry for the whole process; all others are of programs that do not trace."""
    if "tracing" not in request.path.name:
        monkeypatch.setattr(tracing, "is_on", lambda: False)
