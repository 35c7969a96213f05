"""Glue to other libraries, one module for each; every one needs the extra of its name.

holdfast.contrib.sqlalchemy   pip install "holdfast[sqlalchemy]"
holdfast.contrib.django       pip install "holdfast[django]"
holdfast.contrib.starlette    nothing more: it speaks ASGI, which Starlette, FastAPI, Litestar and others do
holdfast.contrib.fastapi      the same, by the name that you may look for
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.contrib import django as django
    from holdfast.contrib import fastapi as fastapi
    from holdfast.contrib import sqlalchemy as sqlalchemy
    from holdfast.contrib import starlette as starlette


def __getattr__(name: str) -> Any:
    if name not in ("django", "fastapi", "sqlalchemy", "starlette"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
