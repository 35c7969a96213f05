"""Glue to other libraries, one module for each; every one needs the extra of its name.

holdfast.contrib.sqlalchemy   pip install "holdfast[sqlalchemy]"
holdfast.contrib.django       pip install "holdfast[django]"
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.contrib import django as django
    from holdfast.contrib import sqlalchemy as sqlalchemy


def __getattr__(name: str) -> Any:
    if name not in ("django", "sqlalchemy"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
