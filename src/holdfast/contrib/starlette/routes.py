"""Which route of an ASGI application will answer a request: its template, "/items/{id}".

A middleware runs before the routes are asked, so it asks them itself. Applications of Starlette and FastAPI
know their routes; Litestar has found the route before its middleware runs, and says so in the scope.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_FULL = 2  # starlette.routing.Match


class Spot(NamedTuple):
    """What of a scope decides on its route, kept because routing changes the scope."""

    app: Any
    kind: str
    method: str
    path: str
    root_path: str
    app_root_path: str
    headers: Iterable[tuple[bytes, bytes]]  # of which Host is looked at

    @classmethod
    def of(cls, scope: Mapping[str, Any], app: Any) -> Spot:
        """`app`: for a scope that names no application."""
        root_path = scope.get("root_path", "")
        return cls(
            scope.get("app") or scope.get("router") or app,
            scope["type"],
            scope.get("method", "GET"),
            scope["path"],
            root_path,
            scope.get("app_root_path", root_path),
            scope["headers"],
        )

    def scope(self, root_path: str) -> dict[str, Any]:
        """As much of a scope as routes look at."""
        return {
            "type": self.kind,
            "method": self.method,
            "path": self.path,
            "root_path": root_path,
            "app_root_path": self.app_root_path,
            "headers": self.headers,
            "path_params": {},
        }


def template(spot: Spot) -> str | None:
    """The template of the route that will answer; None if no route will, or routes are not known."""
    routes = getattr(spot.app, "routes", None)
    if routes is None:
        return None
    found = _find(routes, spot.scope(spot.app_root_path))
    if found is None and spot.root_path != spot.app_root_path:  # an application that is mounted in another
        found = _find(routes, spot.scope(spot.root_path))
        # Not by what it is mounted at as the client wrote it: there may be parameters in that.
        found = None if found is None else f"/*{found}"
    return found


def _find(routes: Iterable[Any], scope: dict[str, Any]) -> str | None:
    second = None
    for route in _flat(routes):
        match, more = route.matches(scope)
        if not match.value:
            continue
        own = str(getattr(route, "path", ""))
        inner = getattr(route, "routes", None)
        if inner is not None:  # a mount, of whose inside nothing may be known
            own += _find(inner, {**scope, **more}) or "/*"
        if match.value == _FULL:
            return own
        second = own if second is None else second  # the path, with another method
    return second


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    """Routes, and those of routers that were included in a FastAPI application."""
    fastapi = sys.modules.get("fastapi.routing")
    contexts = getattr(fastapi, "iter_route_contexts", None)
    for route in contexts(routes) if contexts else routes:
        if hasattr(route, "matches"):
            yield route
