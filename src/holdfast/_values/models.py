"""Models of pydantic as plain values, for the codecs, without importing it. Pure.

A model is written by its aliases, as its users write it, unless some alias is written that is not read; then
by the names of its fields. What has a canonical text (URLs, IP addresses, paths) is written as that.

Reading is never strict: what a strict model wants as a UUID or a set are here str and list, as in any JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Optional, get_args

from holdfast.errors import ConfigurationError

FIX = (
    "use builtins, a dataclass, a msgspec.Struct (with tag=True in a union), a TypedDict, a NamedTuple, "
    "an Enum, or a pydantic model"
)

_TEXTUAL = ("ipaddress", "pathlib", "pydantic.networks")  # modules


def type_name(kind: Any) -> str:
    """What to call `kind` in a message."""
    return kind.__qualname__ if isinstance(kind, type) and not hasattr(kind, "__origin__") else str(kind)


def is_model(kind: Any) -> bool:
    """Is `kind`, a class, a model of pydantic?"""
    return hasattr(kind, "model_dump") and hasattr(kind, "model_validate")


def dump(value: Any) -> Any:
    """`value`, which msgspec does not know, as something it does. Raises: TypeError if it is no model."""
    kind: Any = type(value)
    if is_model(kind):
        return value.model_dump(by_alias="by_name" not in _how(kind), round_trip=True)
    if kind.__module__.startswith(_TEXTUAL):
        return str(value)
    raise TypeError(f"a {type_name(kind)} has no bytes; {FIX}")


def load(kind: Any, plain: Any) -> Any:
    """What `dump` has made `plain` of. Raises: any Exception that the model's code raises."""
    return kind.model_validate(plain, **_how(kind))


def refuse_excluded(kind: Any) -> None:
    """Raises: ConfigurationError if models that are part of `kind` do not dump all of their fields."""
    lost = [f"{type_name(model)}.{name}" for model, name, field in _fields(kind) if field.exclude]
    if lost:
        raise ConfigurationError(
            f"type={type_name(kind)} cannot be stored: {', '.join(lost)} would be lost (exclude=True); "
            "declare a type without"
        )


def schema_text(make: Callable[[], Any], otherwise: str) -> str:
    """The JSON schema that `make` returns as text, or `otherwise` if a field has none."""
    try:
        return json.dumps(make(), sort_keys=True)
    except Exception:  # noqa: BLE001 - of pydantic, or of the model's code
        return otherwise


class Adapter:
    """Pydantic's own way to plain values and back, for what msgspec does not know: unions of models."""

    def __init__(self, kind: Any, adapter: Any) -> None:
        self._adapter = adapter
        self._how = how_to_validate(kind)
        self.schema = schema_text(adapter.json_schema, type_name(kind))

    @classmethod
    def of(cls, kind: Any) -> Adapter | None:
        """The adapter of `kind` or None; None if no model is part of it, or something nobody knows.

        Raises: ConfigurationError as `refuse_excluded`.
        """
        pydantic = sys.modules.get("pydantic")  # who has a model has imported it
        if pydantic is None or next(_fields(kind), None) is None:
            return None
        refuse_excluded(kind)
        try:
            return cls(kind, pydantic.TypeAdapter(Optional[kind]))  # noqa: UP045 - not every type has `|`
        except Exception:  # noqa: BLE001 - the error of msgspec says more
            return None

    def dump(self, value: Any) -> Any:
        """As the function. Raises: any Exception if `value` is not of the type."""
        by_alias = "by_name" not in self._how
        return self._adapter.dump_python(value, by_alias=by_alias, round_trip=True, warnings="error")

    def load(self, plain: Any) -> Any:
        """As the function."""
        return self._adapter.validate_python(plain, **self._how)


def how_to_validate(kind: Any) -> dict[str, bool]:
    """The arguments for pydantic to read `kind`; with `by_name` if that is how it must be written."""
    how = {"strict": False}
    if any(_alias_is_lost(model, name, field) for model, name, field in _fields(kind)):
        how["by_name"] = True
    return how


_how = lru_cache(1024)(how_to_validate)  # asked at every read; of classes only, a union need not have a hash


def _alias_is_lost(model: Any, name: str, field: Any) -> bool:
    """Is `field` dumped under a name that is not read?"""
    alias = field.validation_alias
    if alias is None or isinstance(alias, str):
        read = {alias or name}
    else:  # AliasChoices; an AliasPath, which no dump can follow, has none
        read = {choice for choice in getattr(alias, "choices", ()) if isinstance(choice, str)}
    if model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name"):
        read.add(name)
    return (field.serialization_alias or name) not in read


def _fields(kind: Any) -> Iterator[tuple[Any, str, Any]]:
    """(model, name, field) of every model that `kind` spells out, and of those in their fields."""
    left: list[Any] = [kind]
    seen: set[Any] = set()
    while left:
        item = left.pop()
        if not (isinstance(item, type) and is_model(item)):
            left.extend(get_args(item))
        elif item not in seen:
            seen.add(item)
            for name, field in getattr(item, "model_fields", {}).items():
                yield item, name, field
                left.append(field.annotation)
