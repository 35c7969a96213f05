"""The client that a command line names."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from pathlib import Path
from typing import Any

from holdfast import AsyncHoldfast, Holdfast
from holdfast.errors import ConfigurationError, HoldfastError

log = logging.getLogger("holdfast.worker")

Client = Holdfast | AsyncHoldfast


def client(target: str) -> Client:
    """The client that `target`, MODULE:ATTRIBUTE, names.

    Raises: ConfigurationError that says what is missing; what the module raises is in the log.
    """
    module, _, path = target.partition(":")
    found: Any = _imported(module)
    for name in path.split("."):
        if not hasattr(found, name):
            raise ConfigurationError(f"{target}: {module!r} has no attribute {path!r}{_instead(found)}")
        found = getattr(found, name)
    if not isinstance(found, Client):
        raise ConfigurationError(
            f"{target} is a {type(found).__name__}, neither a Holdfast nor an AsyncHoldfast"
            f"{_instead(sys.modules[module])}"
        )
    return found


def _imported(module: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"there is no module {error.name!r}, neither in {here} nor among what is installed"
            ) from error
        _blame(module, error)
    except HoldfastError as error:
        raise ConfigurationError(f"{module} could not be imported: {error}") from error
    except Exception as error:  # noqa: BLE001 (whatever the user's module raises)
        _blame(module, error)


def _blame(module: str, error: Exception) -> None:
    log.error("%s could not be imported", module, exc_info=error)
    raise ConfigurationError(f"{module} could not be imported: {type(error).__name__}: {error}") from error


def _instead(place: Any) -> str:
    """The clients that are there, as the end of a sentence."""
    names = [name for name, value in getattr(place, "__dict__", {}).items() if isinstance(value, Client)]
    return f"; there is {', '.join(names)}" if names else ""
