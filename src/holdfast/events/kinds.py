"""The types of events, and the names under which they are stored. Pure.

A stored event names its type by a stable text, never by a Python path: a module may be moved, and an event of
ten years ago must still be found. The names are those of a mapping, or else the names of the classes (for a
msgspec.Struct its tag).
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from holdfast._values.evolution import Evolution, Upcast
from holdfast._values.models import type_name
from holdfast.errors import CodecError, ConfigurationError

LONGEST = 255  # characters of a name


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be appended, with what cannot be told from its value.

    `type`: the name under which it is stored; needed where several names have the same type. `headers`: what
    belongs to it and is no part of it, such as who caused it.
    """

    value: Any
    type: str | None = None
    headers: Mapping[str, str] | None = None


class Kinds:
    """The types of the events of one log."""

    def __init__(
        self,
        type: Any = Any,
        version: int | Mapping[str, int] = 1,
        upcast: Upcast | Mapping[str, Upcast] | None = None,
    ) -> None:
        """Raises: ConfigurationError that names the type and the fix."""
        self._any = type is Any
        declared = _named(type)
        versions, upcasts = _by_name(declared, version, upcast)
        self._evolutions: dict[str, Evolution[Any]] = {
            name: Evolution(versions.get(name, 1), upcasts.get(name), type=kind)
            for name, kind in declared.items()
        }
        self._names: dict[Any, list[str]] = {}
        for name, kind in declared.items():
            self._names.setdefault(_class_of(kind), []).append(name)

    def encode(self, event: Any) -> tuple[str, bytes, int, Mapping[str, str]]:
        """Name, payload, version and headers of `event`, a value or a NewEvent.

        Raises: CodecError; ConfigurationError if it is of none of the types, or of several.
        """
        new = event if isinstance(event, NewEvent) else NewEvent(event)
        name = self._name_of(new)
        evolution = self._evolutions["" if self._any else name]
        return name, evolution.encode(new.value), evolution.version, new.headers or {}

    def decode(self, name: str, payload: bytes, version: int) -> Any:
        """The value of an event. Raises: CodecError, `type` for a name that nobody declared."""
        evolution = self._evolutions.get("" if self._any else name)
        if evolution is None:
            raise CodecError(
                f"an event of type {name!r}, but only {self._known()} are declared: a newer release wrote "
                f"it, or it was renamed; names must stay",
                reason="type",
            )
        return evolution.decode(payload, version)

    def _name_of(self, new: NewEvent) -> str:
        if new.type is not None:
            if not self._any and new.type not in self._evolutions:
                raise ConfigurationError(f"type={new.type!r} is not declared; declared are {self._known()}")
            return _checked(new.type)
        if len(self._evolutions) == 1:
            return next(iter(self._evolutions))
        kind: Any = new.value.__class__
        names = self._names.get(kind, [])
        if len(names) == 1:
            return names[0]
        if not names:
            raise ConfigurationError(
                f"an event must be one of {self._known()}, and a {type_name(kind)} is none of them; "
                f"if it is, say NewEvent(value, type=...)"
            )
        raise ConfigurationError(
            f"a {type_name(kind)} may be any of {', '.join(names)}: say NewEvent(value, type=...)"
        )

    def _known(self) -> str:
        return ", ".join(repr(name) for name in self._evolutions)


def _named(kind: Any) -> dict[str, Any]:
    if isinstance(kind, Mapping):
        if not kind:
            raise ConfigurationError('type={} names no event; write type={"created": Created, ...}')
        return {_checked(name): one for name, one in kind.items()}
    if get_origin(kind) in (Union, types.UnionType):
        members = get_args(kind)
        found = {_name(one): one for one in members if inspect.isclass(one)}
        if len(found) == len(members):
            return found
        raise ConfigurationError(
            f"type={type_name(kind)}: its members need names of their own; write "
            f'type={{"created": Created, ...}}'
        )
    return {_name(kind) if inspect.isclass(kind) and kind is not Any else "": kind}


def _name(kind: Any) -> str:
    """What a class is called in the store."""
    tag = getattr(getattr(kind, "__struct_config__", None), "tag", None)
    return tag if isinstance(tag, str) else str(kind.__name__)


def _class_of(kind: Any) -> Any:
    """What `type(value)` is of a value of `kind`."""
    return get_origin(kind) or kind


def _checked(name: Any) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST:
        raise ConfigurationError(
            f"type={name!r:.80}: the name of an event is a str of 1 to {LONGEST} characters"
        )
    return name


def _by_name(
    declared: Mapping[str, Any], version: Any, upcast: Any
) -> tuple[Mapping[str, int], Mapping[str, Upcast]]:
    """`version` and `upcast` of each name."""
    only = next(iter(declared)) if len(declared) == 1 else None
    if not isinstance(version, Mapping):
        if only is None and version != 1:
            raise ConfigurationError(
                f'version={version!r}: there are several types; write version={{"name": 2, ...}}'
            )
        version = {} if only is None else {only: version}
    upcast = upcast or {}
    if not isinstance(upcast, Mapping):
        raise ConfigurationError(f"upcast={upcast!r:.80} must be a mapping from a version to a function")
    if only is not None and not any(isinstance(one, Mapping) for one in upcast.values()):
        upcast = {only: upcast} if upcast else {}
    for what, told in (("version", version), ("upcast", upcast)):
        strange = [name for name in told if name not in declared]
        if strange:
            known = ", ".join(repr(name) for name in declared)
            raise ConfigurationError(f"{what}= names {strange[0]!r}, which is no type of this log: {known}")
    if any(not isinstance(one, Mapping) for one in upcast.values()):
        raise ConfigurationError('upcast= of several types: write upcast={"name": {1: function}, ...}')
    return version, upcast
