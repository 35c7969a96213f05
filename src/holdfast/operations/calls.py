"""What makes two calls of an idempotent function the same: a key, and a fingerprint. Pure.

The key is what the template says, as for cached functions. The fingerprint is a digest of all other
arguments, by name; one that has its default does not count, so that adding a parameter changes no
fingerprint.
"""

from __future__ import annotations

import hashlib
import inspect
import string
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from holdfast._coord.naming import Template
from holdfast._values.models import dump
from holdfast.errors import ConfigurationError

_write = msgspec.msgpack.Encoder(enc_hook=dump, order="deterministic").encode


class CallKey:
    """The key and the fingerprint of every call of one function. Raises: ConfigurationError."""

    def __init__(self, template: str, function: Callable[..., Any], exclude: Iterable[str] = ()) -> None:
        signature = inspect.signature(function)
        left_out = {exclude} if isinstance(exclude, str) else set(exclude)
        named = _named(template)
        self._defaults = {name: one.default for name, one in signature.parameters.items()}
        self._rest = [
            (place, name)
            for place, name in enumerate(signature.parameters)
            if name not in named | left_out and not (place == 0 and name in ("self", "cls"))
        ]
        self._template = Template(template, signature, left_out | {name for _, name in self._rest})

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The key of a call. Raises: TypeError where the call itself would; ConfigurationError."""
        return self._template.bind(args, kwargs)

    def fingerprint(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """32 hexadecimal digits for the arguments that the key does not name. Raises: as `bind`."""
        values = self._template.values(args, kwargs)
        told = {
            name: shown
            for place, name in self._rest
            if (shown := self._shown(name, values[place])) != self._default(name)
        }
        return hashlib.sha256(_write(told)).hexdigest()[:32]

    def _default(self, name: str) -> bytes | None:
        default = self._defaults[name]
        return None if default is inspect.Parameter.empty else self._shown(name, default)

    def _shown(self, name: str, value: Any) -> bytes:
        try:
            return _write(value)
        except Exception as error:  # also from the value's own code
            raise ConfigurationError(
                f"argument {name!r} of {self._template!r} is a {type(value).__name__}, of which no "
                f"fingerprint can be made ({error}); name it in the key, or exclude=[{name!r}]"
            ) from error


def returned(function: Callable[..., Any]) -> Any:
    """The annotation of what `function` returns, Any where there is none. Raises: NameError if it names what
    is not defined yet.
    """
    plain = inspect.unwrap(function)
    given = getattr(plain, "__annotations__", {})
    if "return" not in given:
        return Any
    # The return annotation alone: a parameter may be annotated with what is imported for checkers only.
    told = types.SimpleNamespace(__annotations__={"return": given["return"]})
    return typing.get_type_hints(told, getattr(plain, "__globals__", {}), include_extras=True)["return"]


def _named(template: str) -> set[str]:
    """The parameters that `template` names; what is wrong with it, Template says."""
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field]
    except (ValueError, TypeError):
        return set()
    return {field.partition(".")[0].partition("[")[0] for field in fields}
