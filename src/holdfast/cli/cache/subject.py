"""What is audited: the user's cache with a source, or cached function, and how it loads an entry."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from holdfast import MISSING, AsyncCache, Cache
from holdfast._compat import agather
from holdfast._coord.naming import text
from holdfast.cache._audit_async import AsyncAuditor
from holdfast.cache._audit_sync import Auditor
from holdfast.cache._decorate_async import AsyncCachedFunction
from holdfast.cache._decorate_sync import CachedFunction
from holdfast.cache.shape import Shape
from holdfast.cli.cache import inverse
from holdfast.cli.cache.walk import pages, plain
from holdfast.errors import ConfigurationError

TOGETHER = 100  # keys of one call of a source
AT_ONCE = 8  # calls of an asynchronous function under way

AnyCache = Cache[Any] | AsyncCache[Any]
AnyFunction = CachedFunction[Any, Any] | AsyncCachedFunction[Any, Any]


class Call(NamedTuple):
    """How an entry is loaded: `key` of the source, or `args` and `kwargs` of the function."""

    key: Any = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}


class Subject:
    """The object that `target`, MODULE:ATTRIBUTE, names. Raises: ConfigurationError."""

    def __init__(self, target: str) -> None:
        found = _imported(target)
        self.function: AnyFunction | None = None
        self.obstacle = ""  # why no arguments can be read off keys
        if isinstance(found, CachedFunction | AsyncCachedFunction):
            self.function = found
            self.cache: AnyCache = found._cache
            self.shape: Shape = found._shape or found._late_shape()
            self._check_template(target)
        elif isinstance(found, Cache | AsyncCache):
            self.cache, self.shape = found, found._shape
            if found._source is None:
                raise ConfigurationError(
                    f"{target}: cache {found.name!r} has no source=, nothing to compare with; name"
                    " a cached function, or use hf.cache(..., audit=0.01) where it is filled"
                )
        else:
            raise ConfigurationError(
                f"{target} is a {type(found).__name__}, neither a cache nor a cached function"
            )
        self.is_async = isinstance(self.cache, AsyncCache)
        self.failures: list[Exception] = []

    def _check_template(self, target: str) -> None:
        function = self.function
        assert function is not None
        named = inverse.fields(function._template.template)
        parameters = list(function._template._signature.parameters.values())[len(function._instance) :]
        for parameter in parameters:
            paths = [path for name, path in named if name == parameter.name]
            if any(paths):
                why = f"its template names a part of {parameter.name!r}"
            elif parameter.kind in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}:
                why = f"{parameter} takes any number of arguments"
            elif not paths and parameter.default is parameter.empty:
                why = f"its template leaves out {parameter.name!r}"
                if parameter.name in {"self", "cls"}:
                    why += "; name the attribute of an instance"
            else:
                continue
            self.obstacle = (
                f"{target}: no arguments can be read off its keys: {why}. Give calls with --args FILE, or use"
                " hf.cache(..., audit=0.01) where it runs"
            )

    # --- which entries ------------------------------------------------------------------------------------

    def call(self, tag: str) -> Call | None:
        """How the entry with `tag` is loaded; None if that cannot be told from its key."""
        try:
            if self.function is None:
                return Call(inverse.key(tag))
            given = self.function._instance
            return Call(kwargs=inverse.arguments(self.function._template, plain(tag), given))
        except inverse.NoWayBack:
            return None

    def calls(self, lines: Iterable[str]) -> dict[str, Call]:
        """The calls that the JSON `lines` tell, by tag. Raises: ConfigurationError."""
        if self.function is None:
            raise ConfigurationError("--args is for cached functions; a source is asked for keys")
        found: dict[str, Call] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                told = json.loads(line)
                args, kwargs = ((), told) if isinstance(told, dict) else (tuple(told), {})
                found[text(self.function.key(*args, **kwargs))] = Call(args=args, kwargs=kwargs)
            except (TypeError, ValueError) as error:
                raise ConfigurationError(f"--args, line {number}: {error}") from error
        return found

    # --- how they are loaded ------------------------------------------------------------------------------

    def load(self, auditor: Auditor, calls: Mapping[str, Call], tags: Sequence[str]) -> dict[str, Any]:
        """What the source has under `tags`; what fails is left out."""
        found: dict[str, Any] = {}
        source = getattr(self.cache, "_source", None)
        for page in self._pages(calls, tags):
            try:
                if self.function is None:
                    load = partial(source.load_many, [calls[tag].key for tag in page])  # type: ignore[union-attr]
                    found |= _by_tag(page, calls, auditor.load(page[0], load))
                else:
                    found[page[0]] = auditor.load(page[0], self._bound(calls[page[0]]))
            except Exception as error:  # noqa: BLE001 (whatever the user's code raises)
                self.failures.append(error)
        return found

    async def aload(
        self, auditor: AsyncAuditor, calls: Mapping[str, Call], tags: Sequence[str]
    ) -> dict[str, Any]:
        """As `load`."""
        found: dict[str, Any] = {}
        source = getattr(self.cache, "_source", None)

        async def one(page: Sequence[str]) -> None:
            try:
                if self.function is None:
                    load = partial(source.load_many, [calls[tag].key for tag in page])  # type: ignore[union-attr]
                    found.update(_by_tag(page, calls, await auditor.load(page[0], load)))
                else:
                    found[page[0]] = await auditor.load(page[0], self._bound(calls[page[0]]))
            except Exception as error:  # noqa: BLE001 (whatever the user's code raises)
                self.failures.append(error)

        for several in pages(self._pages(calls, tags), AT_ONCE):
            await agather([partial(one, page) for page in several])
        return found

    def _pages(self, calls: Mapping[str, Call], tags: Sequence[str]) -> list[list[str]]:
        """What is loaded by one call: no two keys that are equal (1 and True), since it returns a mapping."""
        if self.function is not None:
            return [[tag] for tag in tags]
        made: list[dict[Any, str]] = []
        for tag in tags:
            key = calls[tag].key
            page = next((one for one in made if len(one) < TOGETHER and key not in one), None)
            if page is None:
                made.append(page := {})
            page[key] = tag
        return [list(page.values()) for page in made]

    def _bound(self, call: Call) -> Any:
        function = self.function
        assert function is not None
        return partial(function._function, *function._instance, *call.args, **call.kwargs)


def _by_tag(tags: Sequence[str], calls: Mapping[str, Call], loaded: Mapping[Any, Any]) -> dict[str, Any]:
    return {tag: loaded.get(calls[tag].key, MISSING) for tag in tags}


def lines_of(file: str) -> list[str]:
    """The lines of `file`, or of the standard input for "-". Raises: ConfigurationError."""
    if file == "-":
        return sys.stdin.read().splitlines()
    try:
        return Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--args {file}: {error}") from error


def _imported(target: str) -> Any:
    module, colon, path = target.partition(":")
    if not colon or not module or not path:
        raise ConfigurationError(f"{target!r}: write MODULE:ATTRIBUTE, as in shop.prices:prices")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(f"{target}: {error}") from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise ConfigurationError(f"{target}: {error}") from error
    return found
