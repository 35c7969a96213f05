# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Limited functions: what `limiter.limited(template)` makes of a function or a method."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from holdfast._coord.flavour import AsyncFlavour
from holdfast.durations import Duration
from holdfast.errors import ConfigurationError
from holdfast.limits import rules
from holdfast.limits.decision import Decision
from holdfast.limits.flavour import AsyncFunction, P, R
from holdfast.limits.options import check_plan
from holdfast.limits.subjects import Subjects

Q = ParamSpec("Q")
S = TypeVar("S")

Cost = int | Callable[..., int]
Plan = str | Callable[..., str | None] | None
AsyncEntry = Callable[[str, tuple[Any, ...], dict[str, Any]], AbstractAsyncContextManager[Any]]


class AsyncChecks(Protocol):
    """A limiter, as far as a limited function needs it."""

    name: str

    async def check(self, subject: str, cost: int = 1, *, plan: str | None = None) -> Decision:
        """May it be done now?"""

    def hold(
        self, subject: str, cost: int = 1, *, wait: Duration = "2s", plan: str | None = None
    ) -> AbstractAsyncContextManager[Any]:
        """Wait until it may be done."""


class AsyncChecked:
    """A block that is entered if the limiter allows it."""

    def __init__(self, limiter: AsyncChecks, subject: str, cost: int, plan: str | None) -> None:
        self._limiter = limiter
        self._asked = (subject, cost, plan)

    async def __aenter__(self) -> Decision:
        subject, cost, plan = self._asked
        decision = await self._limiter.check(subject, cost, plan=plan)
        if not decision:
            raise rules.limited(self._limiter.name, subject, decision)
        return decision

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What was charged stays charged."""


class AsyncLimitedFunction(Generic[P, R]):
    """A function that runs only as often as a limiter allows. `subject` takes the function's arguments, and
    says who is charged for such a call. On an instance it acts as a method does.
    """

    __name__: str
    __wrapped__: AsyncFunction[P, R]

    def __init__(self, function: AsyncFunction[P, R], template: str, entry: AsyncEntry) -> None:
        """Raises: ConfigurationError."""
        if isinstance(function, staticmethod | classmethod):
            raise ConfigurationError(f"put @{type(function).__name__} above @limited, not below it")
        AsyncFlavour.check(function, "limited function")
        functools.update_wrapper(self, function)
        self._function = function
        self._entry = entry
        self._subjects = Subjects(template, function)
        self._instance: tuple[Any, ...] = ()

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the function returns, if the limiter allows this call.

        Raises: RateLimited, and what the function raises.
        """
        values = self._instance + args if self._instance else args
        async with self._entry(self._subjects.of(values, kwargs), values, kwargs):
            return await AsyncFlavour.outcome(self._function(*values, **kwargs))

    def subject(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Who is charged for this call."""
        return self._subjects.of(self._instance + args, kwargs)

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...

    @overload
    def __get__(
        self: AsyncLimitedFunction[Concatenate[S, Q], R], instance: S, owner: type[Any] | None = None
    ) -> AsyncLimitedFunction[Q, R]: ...

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        if instance is None:
            return self
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound._instance = (instance,)
        return bound

    def __repr__(self) -> str:
        return f"<limited {getattr(self, '__qualname__', self._function)!s} by {self._subjects.template!r}>"


def limited(
    limiter: AsyncChecks, template: str, *, cost: Cost, wait: Duration | None, plan: Plan
) -> Callable[[AsyncFunction[P, R]], AsyncLimitedFunction[P, R]]:
    """What decorates a function so that `limiter` is asked before each call. Raises: ConfigurationError."""
    if not callable(cost):
        rules.check_cost(cost)
    if plan is not None and not callable(plan):
        check_plan(plan)
    if wait is not None:
        rules.wait_micros(wait)

    def entry(
        subject: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AbstractAsyncContextManager[Any]:
        price = cost(*args, **kwargs) if callable(cost) else cost
        chosen = plan(*args, **kwargs) if callable(plan) else plan
        if wait is None:
            return AsyncChecked(limiter, subject, price, chosen)
        return limiter.hold(subject, price, wait=wait, plan=chosen)

    def decorate(function: AsyncFunction[P, R]) -> AsyncLimitedFunction[P, R]:
        return AsyncLimitedFunction(function, template, entry)

    return decorate
