"""Extras that are missing are named."""

from __future__ import annotations

from importlib.util import find_spec

from holdfast.errors import ConfigurationError


def need(module: str) -> None:
    """Raises: ConfigurationError that names the extra, unless `module` is installed."""
    if find_spec(module) is None:
        raise ConfigurationError(
            f"holdfast.contrib.{module} needs {module}, which is not installed: "
            f'pip install "holdfast[{module}]"'
        )
