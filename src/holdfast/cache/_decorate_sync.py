# Generated from _decorate_async.py by tools/unasync.py. Do not edit.
"""Cached functions: what `cache.cached(template)` makes of a function or a method."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, TypeVar, overload

from holdfast.cache.entry import Function, Entry, Missing, P, R
from holdfast.cache.flavour import Flavour
from holdfast.cache.keys import Template, text
from holdfast.cache.rules import Shape
from holdfast.errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Self

    from holdfast.cache._sync import Cache

S = TypeVar("S")
Q = typing.ParamSpec("Q")


class CachedFunction(Generic[P, R]):
    """A function whose results are cached. `invalidate`, `refresh`, `key` and `peek` take the function's
    arguments.

    On an instance it acts as a method does. Arguments that mean the same call are the same entry: f(1) and
    f(a=1).
    """

    __name__: str
    __wrapped__: Function[P, R]

    def __init__(
        self,
        cache: Cache[Any],
        function: Function[P, R],
        template: str,
        ttl: float | None,
        exclude: Iterable[str],
    ) -> None:
        """Raises: ConfigurationError."""
        if isinstance(function, staticmethod | classmethod):
            raise ConfigurationError(f"put @{type(function).__name__} above @cached, not below it")
        Flavour.check(function, f"cache {cache.name!r}: cached function")
        functools.update_wrapper(self, function)
        self._cache = cache
        self._function = function
        self._template = Template(template, inspect.signature(function), exclude)
        self._ttl = ttl
        self._instance: tuple[Any, ...] = ()
        self._origin = self
        self._shape = self._find_shape(function, at_decoration=True)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The cached result of this call, else the function's. Raises: as `get_or_set`."""
        values = self._instance + args if self._instance else args
        return self._cache._loads.fetch(  # type: ignore[no-any-return]
            text(self._template.bind(values, kwargs)),
            self._shape or self._late_shape(),
            lambda: self._function(*values, **kwargs),
            self._ttl,
        )

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of this call's entry in the cache."""
        return self._template.bind(self._instance + args, kwargs)

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the result of this call; see `invalidate` of the cache."""
        return self._cache._invalidate([text(self.key(*args, **kwargs))])

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function now, store its result and return it. Raises: as `get_or_set`."""
        values = self._instance + args
        tag, shape = text(self._template.bind(values, kwargs)), self._shape or self._late_shape()
        loader = lambda: self._function(*values, **kwargs)  # noqa: E731
        return self._cache._loads.refresh(tag, shape, loader, self._ttl)  # type: ignore[no-any-return]

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> Entry | Missing:
        """What is stored for this call, without calling the function."""
        return self._cache._peek(text(self.key(*args, **kwargs)), self._shape or self._late_shape())

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...

    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], R], instance: S, owner: type[Any] | None = None
    ) -> CachedFunction[Q, R]: ...

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        if instance is None:
            return self
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound._instance = (instance,)
        return bound

    def __repr__(self) -> str:
        return f"<cached {getattr(self, '__qualname__', self._function)!s} as {self._template.template!r}>"

    def _late_shape(self) -> Shape:
        shape = self._find_shape(self._function, at_decoration=False)
        assert shape is not None  # (only a decoration may leave it open)
        self._origin._shape = self._shape = (
            shape  # the origin too: an instance of a method lives for one call
        )
        return shape

    def _find_shape(self, function: Function[P, R], *, at_decoration: bool) -> Shape | None:
        """The shape of what `function` returns; None if its annotation names something defined later."""
        try:
            # The return annotation alone: a parameter may be annotated with what is imported for checkers
            # only.
            plain = inspect.unwrap(function)
            given = getattr(plain, "__annotations__", {})
            if "return" not in given:
                return self._cache._shape
            told = types.SimpleNamespace(__annotations__={"return": given["return"]})
            names = getattr(plain, "__globals__", {})
            returned = typing.get_type_hints(told, names, include_extras=True)["return"]
        except NameError as error:
            if at_decoration:
                return None
            raise ConfigurationError(
                f"{function!r}: its return annotation cannot be resolved: {error}"
            ) from error
        return Shape(returned)
