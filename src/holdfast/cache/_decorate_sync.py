# Generated from _decorate_async.py by tools/unasync.py. Do not edit.
"""Cached functions: what `cache.cached(template)` makes of a function or a method."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Generic, TypeVar, overload

from holdfast._compat import gather
from holdfast._coord.naming import Template, text
from holdfast.cache.entry import MISSING, Function, Entry, Missing, P, R
from holdfast.cache.flavour import Flavour
from holdfast.cache.shape import Shape
from holdfast.cache.tags import TagTemplates, check
from holdfast.cache.wanted import Wanted, distinct
from holdfast.errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Self

    from holdfast.cache._sync import Cache

S = TypeVar("S")
B = TypeVar("B", bound=Callable[..., Any])
Tagger = Callable[[Any], Iterable[str]]
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
        tags: Iterable[str],
        exclude: Iterable[str],
    ) -> None:
        """Raises: ConfigurationError."""
        if isinstance(function, staticmethod | classmethod):
            raise ConfigurationError(f"put @{type(function).__name__} above @cached, not below it")
        Flavour.check(function, f"cache {cache.name!r}: cached function")
        functools.update_wrapper(self, function)
        self._cache = cache
        self._function = function
        signature = inspect.signature(function)
        self._template = Template(template, signature, exclude)
        self._tags = TagTemplates(tags, signature)
        self._is_tagged = bool(self._tags)
        self._fetch = cache._fetch
        self._ttl = ttl
        self._instance: tuple[Any, ...] = ()
        self._origin = self
        self._bulk: Callable[..., Any] | None = None
        self._shape = self._find_shape(function, at_decoration=True)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The cached result of this call, else the function's. Raises: as `get_or_set`."""
        values = self._instance + args if self._instance else args
        tag, shape = text(self._template.bind(values, kwargs)), self._shape or self._late_shape()
        loader = lambda: self._function(*values, **kwargs)  # noqa: E731
        if not self._is_tagged:
            return self._fetch(tag, shape, loader, self._ttl)  # type: ignore[no-any-return]
        tags, tagger = self._tags_of(values, kwargs)
        return self._cache._fetch(tag, shape, loader, self._ttl, tags, tagger)  # type: ignore[no-any-return]

    def _tags_of(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[str, ...], Tagger | None]:
        values = self._template.values(args, kwargs)
        return check(self._tags.early(values)), self._tags.late(values)

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
        tags, tagger = self._tags_of(values, kwargs)
        return self._cache._loads.refresh(tag, shape, loader, self._ttl, tags, tagger)  # type: ignore[no-any-return]

    def bulk(self, function: B) -> B:
        """Have `function` load what `many` does not find: `function(items)` returns a mapping of item to
        result.

            @get_user.bulk
            def get_users(user_ids: list[int]) -> dict[int, User]: ...

        An item is the argument itself, or a tuple of them where there are several. Raises:
        ConfigurationError.
        """
        Flavour.check(function, f"cache {self._cache.name!r}: bulk function")
        self._origin._bulk = self._bulk = function
        return function

    def many(self, items: Iterable[Any]) -> dict[Any, R]:
        """The results of several calls, by item: the argument, or a tuple of them where there are several.

        What is not there is loaded by one call of the function given to `bulk`; without one, by a call of
        this function for each. What a bulk function leaves out has no result. Raises: as `get_or_set_many`.
        """
        wanted: dict[str, Wanted] = {}
        for item in items:
            values = self._instance + (item if isinstance(item, tuple) else (item,))
            tags, tagger = self._tags_of(values, {})
            wanted[text(self._template.bind(values, {}))] = Wanted(item, tags, tagger)
        distinct(wanted)
        shape = self._shape or self._late_shape()
        bulk = self._origin._bulk
        if bulk is None:
            found = self._one_by_one(wanted)
        else:
            function = functools.partial(bulk, *self._instance) if self._instance else bulk
            found = self._cache._bulk.fetch(wanted, shape, function, self._ttl)
        return {one.key: found[tag] for tag, one in wanted.items() if found[tag] is not MISSING}

    def _one_by_one(self, wanted: Mapping[str, Wanted]) -> dict[str, Any]:
        """What is there in one round trip, the rest by calls of the function, side by side where that is
        possible.
        """
        shape = self._shape or self._late_shape()
        found = self._cache._bulk.fetch(wanted, shape)
        absent = [tag for tag in wanted if found.get(tag, MISSING) is MISSING]
        calls = [functools.partial(self._one, wanted[tag].key) for tag in absent]
        return {**found, **dict(zip(absent, gather(calls), strict=True))}

    def _one(self, item: Any) -> Any:
        return self(*(item if isinstance(item, tuple) else (item,)))  # type: ignore[call-arg]

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
        return Shape(returned, self._cache.options)
