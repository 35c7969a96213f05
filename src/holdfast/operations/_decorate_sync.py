# Generated from _decorate_async.py by tools/unasync.py. Do not edit.
"""Idempotent functions: what `ops.idempotent(template)` makes of a function or a method."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Self, TypeVar, overload

from holdfast._coord.flavour import Flavour
from holdfast._values.codecs import Codec, codec_for
from holdfast.errors import CodecError, ConfigurationError
from holdfast.operations._calls_sync import Calls, Replay
from holdfast.operations._desk_sync import Desk
from holdfast.operations._operation_sync import Operation
from holdfast.operations.calls import CallKey, returned
from holdfast.operations.current import CURRENT
from holdfast.operations.flavour import Function, P, R
from holdfast.operations.layout import Place
from holdfast.operations.options import OperationStatus

Q = ParamSpec("Q")
S = TypeVar("S")

OnDuplicate = Literal["wait", "raise"]
Interrupted = Literal["run", "raise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What can be chosen about an idempotent function; see `idempotent`. `wait`: seconds, 0 does not."""

    template: str
    resource: str
    exclude: Iterable[str]
    wait: float
    again: bool


class IdempotentFunction(Generic[P, R]):
    """A function whose calls with one key run once at a time, and whose result is replayed. `key`, `inspect`
    and `forget` take the function's arguments. On an instance it acts as a method does.
    """

    __name__: str
    __wrapped__: Function[P, R]

    def __init__(
        self,
        desk: Desk,
        function: Function[P, R],
        options: CallOptions,
        look: Callable[[Place, Codec[Any]], Any],
        forget: Callable[[Place], Any],
    ) -> None:
        """Raises: ConfigurationError."""
        if isinstance(function, staticmethod | classmethod):
            raise ConfigurationError(f"put @{type(function).__name__} above @idempotent, not below it")
        Flavour.check(function, f"operations {desk.name!r}: idempotent function")
        functools.update_wrapper(self, function)
        self._desk = desk
        self._function = function
        self._options = options
        self._look, self._forget = look, forget
        self._resource = options.resource or getattr(function, "__qualname__", "")
        if not self._resource:
            raise ConfigurationError(f"{function!r} has no name; give it one: idempotent(..., resource=...)")
        self._keys = CallKey(options.template, function, options.exclude)
        self._instance: tuple[Any, ...] = ()
        self._origin = self
        self._made: Calls | None = None
        with contextlib.suppress(NameError):  # what is defined later than here, the first call sees
            self._made = self._make()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of this call, or of the one before it with the same key.

        Raises: what the function raises (the next call with this key runs it again); OperationBusy if
        another call with this key is not over within the wait, ConflictError if it had other arguments,
        OperationDead if it failed as often as it may; OperationLost; CodecError for a result that cannot be
        kept; Unavailable: it may have run; Refused, UnsafeServer, ConfigurationError.
        """
        values = self._instance + args if self._instance else args
        fingerprint = self._keys.fingerprint(values, kwargs)
        operation = self._calls().begin(self._keys.bind(values, kwargs), fingerprint)
        if isinstance(operation, Replay):
            return operation.result  # type: ignore[no-any-return]
        with operation:
            token = CURRENT.set(operation)
            try:
                result = self._function(*values, **kwargs)
            finally:
                CURRENT.reset(token)
            self._complete(operation, result)
        return result

    def _complete(self, operation: Operation[Any], result: R) -> None:
        try:
            operation.complete(result)
        except CodecError as error:  # it has run: nobody shall run it again for want of a result
            operation.fail(error, retry=False)
            raise

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of this call: the id of its operation, whose resource is the function's name."""
        return self._keys.bind(self._instance + args, kwargs)

    def inspect(self, *args: P.args, **kwargs: P.kwargs) -> OperationStatus | None:
        """How the call stands; None if there was none for `ttl`. Raises: Unavailable, Refused."""
        calls = self._calls()
        found: OperationStatus | None = self._look(calls.place(self.key(*args, **kwargs)), calls.result)
        return found

    def forget(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Have the next call with this key run again; False if there is nothing to forget, or it is running.

        Raises: Unavailable, Refused.
        """
        return bool(self._forget(self._calls().place(self.key(*args, **kwargs))))

    def _make(self) -> Calls:
        options, result = self._options, codec_for(returned(self._function))
        return Calls(self._desk, self._resource, result, wait=options.wait, again=options.again)

    def _calls(self) -> Calls:
        """What makes the calls; made late where the return annotation could not be resolved before."""
        if self._origin._made is None:
            try:
                self._origin._made = self._make()
            except NameError as error:
                raise ConfigurationError(
                    f"{self._function!r}: its return annotation cannot be resolved: {error}"
                ) from error
        return self._origin._made

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...

    @overload
    def __get__(
        self: IdempotentFunction[Concatenate[S, Q], R], instance: S, owner: type[Any] | None = None
    ) -> IdempotentFunction[Q, R]: ...

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        if instance is None:
            return self
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound._instance = (instance,)
        return bound

    def __repr__(self) -> str:
        return f"<idempotent {getattr(self, '__qualname__', self._function)!s} as {self._options.template!r}>"
