"""Runs the code in a Markdown page as it stands there.

Every ```python block of a page runs, one after the other, in one namespace; `await` may stand at the top. A
line that ends in `# -> value` must give what `value` evaluates to; one that ends in `# raises Name` must
raise that. So what a page says a line does is what it does.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from holdfast import AsyncHoldfast, Holdfast
from holdfast.embedded import Server

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMISE = re.compile(r"#\s*->\s*(?P<value>.+)$")
_RAISES = re.compile(r"#\s*raises (?P<error>\w+)")


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The blocks of `page` in `language`, each with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    found = (one for one in _FENCE.finditer(text) if one["language"] == language)
    return [(text.count("\n", 0, one.start("code")) + 1, one["code"]) for one in found]


def run(page: Path) -> None:
    """Run every block of `page`, then end the clients and servers that it leaves open."""
    names: dict[str, Any] = {"__name__": page.stem, "__file__": str(page), "_same": _same, "_raises": _raises}
    with asyncio.Runner() as runner:
        try:
            for line, code in blocks(page, "python"):
                tree = _Promises(code).visit(ast.parse("\n" * (line - 1) + code))
                whole = ast.fix_missing_locations(tree)
                flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                compiled = compile(whole, str(page), "exec", flags, dont_inherit=True)
                result = eval(compiled, names)
                if inspect.iscoroutine(result):
                    runner.run(result)
        finally:
            for one in list(names.values()):
                if isinstance(one, Holdfast):
                    one.close()
                elif isinstance(one, AsyncHoldfast):
                    runner.run(one.close())
                elif isinstance(one, Server):
                    one.stop()
                elif isinstance(one, sqlite3.Connection):
                    one.close()
                elif isinstance(one, Engine):
                    one.dispose()


class _Promises(ast.NodeTransformer):
    """Turns `call()  # -> value` into a comparison, and `call()  # raises Error` into its expectation."""

    def __init__(self, code: str) -> None:
        self._lines = code.split("\n")
        self._first = 0

    def visit_Module(self, node: ast.Module) -> Any:
        last = max((one.end_lineno or 0 for one in node.body), default=0)
        # The code stands behind empty lines, so that a traceback names the line of the page.
        self._first = next((one.lineno for one in node.body), last) - self._lines_before()
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> Any:
        if promise := _PROMISE.search(self._last_line(node)):
            wanted = ast.parse(promise["value"].strip(), mode="eval").body
            call = ast.Call(ast.Name("_same", ast.Load()), [node.value, wanted], [])
            return ast.copy_location(ast.Expr(ast.copy_location(call, node)), node)
        return self._guarded(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        return self._guarded(self.generic_visit(node))

    def _guarded(self, node: Any) -> Any:
        error = _RAISES.search(self._last_line(node))
        if error is None:
            return node
        guard = ast.Call(ast.Name("_raises", ast.Load()), [ast.Constant(error["error"])], [])
        return ast.copy_location(ast.With([ast.withitem(guard)], [node]), node)

    def _last_line(self, node: Any) -> str:
        return self._lines[(node.end_lineno or node.lineno) - self._first]

    def _lines_before(self) -> int:
        """Lines of the block before its first statement: comments and blanks."""
        first = next(iter(ast.parse("\n".join(self._lines)).body), None)
        return first.lineno - 1 if first else 0


def _same(got: Any, wanted: Any) -> None:
    assert got == wanted, f"the page promises {wanted!r}, but it is {got!r}"


@contextmanager
def _raises(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        assert name in kinds, f"the page promises {name}, but it raises {error!r}"
    else:
        raise AssertionError(f"the page promises {name}, but nothing is raised")
