"""Rows of a table as values of a cache, and back. Pure.

A value is one column (`value="price"`), a dict of all columns, or an object of `type`: a dataclass, a
msgspec.Struct, a TypedDict or a pydantic model with fields named like columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import Column, Table
from sqlalchemy import inspect as about
from sqlalchemy.exc import NoInspectionAvailable

from holdfast.errors import ConfigurationError

AT_ONCE = 500  # keys in one IN


class Rows:
    """How rows of `table` are values of a cache.

    Raises: ConfigurationError if there is no such table or column.
    """

    def __init__(self, table: Any, key: str, value: str | None, type: Any) -> None:
        self.table = _table(table)
        self.key = self._column(key)
        self.value = None if value is None else self._column(value)
        self._type = type
        if value is not None and type is not None:
            raise ConfigurationError(f"value={value!r} is one column: it takes no type=")

    def _column(self, name: str) -> Column[Any]:
        if name not in self.table.c:
            raise ConfigurationError(f"table {self.table.fullname} has no column {name!r}")
        return self.table.c[name]

    @property
    def wanted(self) -> list[Column[Any]]:
        """The columns to read."""
        return list(self.table.c) if self.value is None else [self.key, self.value]

    def read(self, row: dict[str, Any]) -> Any:
        """The value in `row`."""
        if self.value is not None:
            return row[self.value.name]
        if self._type is None:
            return row
        if hasattr(self._type, "model_validate"):
            return self._type.model_validate(row)
        return msgspec.convert(row, self._type, strict=False)

    def write(self, key: Any, value: Any) -> dict[str, Any]:
        """The row for `value`. Raises: ConfigurationError if it holds another key, or no fields at all."""
        if self.value is not None:
            return {self.key.name: key, self.value.name: value}
        fields = _fields(value)
        if fields.get(self.key.name, key) != key:
            raise ConfigurationError(f"key={key!r}: its value has {self.key.name}={fields[self.key.name]!r}")
        unknown = [name for name in fields if name not in self.table.c]
        if unknown:
            raise ConfigurationError(f"table {self.table.fullname} has no column {', '.join(unknown)}")
        return {**fields, self.key.name: key}

    def batches(self, mapping: Mapping[Any, Any]) -> list[list[dict[str, Any]]]:
        """The rows of `mapping`, those with the same columns together, sorted by key.

        Sorted, so that two writers lock rows in one order and do not wait for each other in a circle.
        """
        groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for key in in_order(mapping):
            row = self.write(key, mapping[key])
            groups.setdefault(tuple(sorted(row)), []).append(row)
        return list(groups.values())


def in_order(keys: Iterable[Any]) -> list[Any]:
    """`keys`, each once, sorted."""
    once = list(dict.fromkeys(keys))
    try:
        return sorted(once)
    except TypeError:
        return sorted(once, key=lambda key: (type(key).__name__, repr(key)))


def chunks(keys: Iterable[Any]) -> Iterator[list[Any]]:
    """`keys`, each once, in lists that a database takes in one statement."""
    ordered = in_order(keys)
    for start in range(0, len(ordered), AT_ONCE):
        yield ordered[start : start + AT_ONCE]


def _table(given: Any) -> Table:
    if isinstance(given, Table):
        return given
    try:
        table = about(given).local_table
    except (NoInspectionAvailable, AttributeError):
        table = None
    if not isinstance(table, Table):
        raise ConfigurationError(f"{given!r} is neither a Table nor a mapped class")
    return table


def _fields(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if hasattr(value, "model_dump"):
        return dict(value.model_dump())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    raise ConfigurationError(f"{type(value).__name__} has no fields to store: give value= or a dict")
