"""Glue to other libraries, one module for each; every one needs the extra of its name.

holdfast.contrib.sqlalchemy   pip install "holdfast[sqlalchemy]"
holdfast.contrib.django       pip install "holdfast[django]"
holdfast.contrib.starlette    nothing more: it speaks ASGI, which Starlette, FastAPI, Litestar and others do
holdfast.contrib.fastapi      the same, by the name that you may look for, and limits of single routes
holdfast.contrib.flask        pip install "holdfast[flask]"
holdfast.contrib.wsgi         nothing more: every WSGI framework
holdfast.contrib.limits       nothing more: rules and policies of rate limits, for all of these
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.contrib import django as django
    from holdfast.contrib import fastapi as fastapi
    from holdfast.contrib import flask as flask
    from holdfast.contrib import limits as limits
    from holdfast.contrib import sqlalchemy as sqlalchemy
    from holdfast.contrib import starlette as starlette
    from holdfast.contrib import wsgi as wsgi


def __getattr__(name: str) -> Any:
    if name not in ("django", "fastapi", "flask", "limits", "sqlalchemy", "starlette", "wsgi"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
