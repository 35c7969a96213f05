"""From the text of a key back to the key, and from a function's key back to its arguments. Pure.

The way there is _coord/naming.py. Enum members and named tuples have no way back, since their classes are not
known here. What comes back is made into a text once more and must be the same: so nothing is ever guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from holdfast._coord.naming import LONGEST, Template, _parse, text
from holdfast.cli.cache.walk import plain
from holdfast.errors import ConfigurationError

TYPED = re.compile(r"%([a-z]+)\((.*)\)", re.DOTALL).fullmatch
_KIND = re.compile(r"([a-z]+)\((.*)\)", re.DOTALL).fullmatch
_INT = re.compile(r"-?[0-9]+").fullmatch
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?|-?inf|nan").fullmatch
_WORDS = {"True": True, "False": False, "None": None}
_READERS: Mapping[str, Callable[[str], Any]] = {
    "bytes": bytes.fromhex,
    "uuid": UUID,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "decimal": Decimal,
}
_BARE = {"bool", "int", "float", "none"}  # `%int(42)`: what is inside says its type itself


class NoWayBack(ValueError):
    """A text that was made of something that cannot be made again from it."""


def key(tag: str) -> Any:
    """The key whose text is `tag`. Raises: NoWayBack."""
    try:
        found = TYPED(tag)
        made = plain(tag) if found is None else _typed(found[1], found[2])
        if text(made) == tag:
            return made
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise NoWayBack(f"{tag!r}: {error}") from error
    raise NoWayBack(f"{tag!r} is not the text of {made!r}")


def tag_of(word: str, *, is_int: bool = False, is_text: bool = False) -> str:
    """The text of the key that somebody typed as `word`: a str, or with its type as in `%int(42)`.

    Raises: ConfigurationError.
    """
    if is_int:
        if not _INT(word):
            raise ConfigurationError(f"{word!r} is no int")
        return text(int(word))
    found = None if is_text else TYPED(word)
    if found is None:
        return text(word)
    if re.search(r"[\s{}]", word) or len(word.encode()) > LONGEST:
        raise ConfigurationError(f"{word!r} is no key as the server has it; for a str that looks so: --text")
    if found[1] in _READERS or found[1] in _BARE:
        try:
            return text(key(word))
        except NoWayBack as error:
            raise ConfigurationError(f"{error}; for a str that looks so: --text") from None
    return word  # of an Enum or a tuple: as it is


def shown(tag: str) -> str:
    """The text `tag` as it is given on the command line."""
    return tag if TYPED(tag) else plain(tag)


def _typed(kind: str, content: str) -> Any:
    return _element(content) if kind in _BARE else _made(kind, content)


def _element(shown: str) -> Any:
    """What `shown` stands for inside a tuple or a field."""
    if shown in _WORDS:
        return _WORDS[shown]
    if shown[:1] == '"' and shown[-1:] == '"' and len(shown) > 1:
        return unquote(shown[1:-1], errors="strict")
    if _INT(shown):
        return int(shown)
    if _FLOAT(shown):
        return float(shown)
    if found := _KIND(shown):
        return _made(found[1], found[2])
    return unquote(shown, errors="strict")


def _made(kind: str, content: str) -> Any:
    if kind == "tuple":
        return tuple(map(_element, _items(content)))
    if kind not in _READERS:
        raise ValueError(f"a {kind} cannot be made again")
    return _READERS[kind](unquote(content, errors="strict"))


def _items(content: str) -> list[str]:
    """The items of a tuple: commas and brackets that belong to them are nested, or escaped."""
    if not content:
        return []
    items, depth = [""], 0
    for sign in content:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and not depth:
            items.append("")
        else:
            items[-1] += sign
    return items


# --- the calls of a function --------------------------------------------------------------------------------


def arguments(template: Template, made: str, given: tuple[Any, ...] = ()) -> dict[str, Any]:
    """The arguments of the call whose key is `made`, by name; those that it does not tell are left out.

    `given`: arguments that are known, from the first on (a method's instance). Raises: NoWayBack, also for
    the key of another function.
    """
    parameters = list(template._signature.parameters)[len(given) :]
    found = {
        name: _field(shown)
        for name, path, shown in _fields(template.template, made)
        if name in parameters and not path
    }
    try:
        if template.bind(given, found) == made:
            return found
    except (TypeError, ConfigurationError) as error:
        raise NoWayBack(f"{made!r}: {error}") from error
    raise NoWayBack(f"{made!r} is no key of {template.template!r}")


def fields(template: str) -> list[tuple[str, str]]:
    """Parameter and path of each field of `template`."""
    return _parse(template)[1]


def _fields(template: str, made: str) -> list[tuple[str, str, str]]:
    """Parameter, path and text of each field of `made`. A field ends where the literal behind it begins."""
    literals, names = _parse(template)
    if not made.startswith(literals[0]):
        raise NoWayBack(f"{made!r} is no key of {template!r}")
    at, found = len(literals[0]), []
    for place, (name, path) in enumerate(names):
        literal = literals[place + 1]
        is_last = place == len(names) - 1
        end = len(made) - len(literal) if is_last else made.find(literal[0], at)
        if end < at or not made.startswith(literal, end):
            raise NoWayBack(f"{made!r} is no key of {template!r}")
        found.append((name, path, made[at:end]))
        at = end + len(literal)
    return found


def _field(shown: str) -> Any:
    """What stands in a field: a str is escaped once, anything else is an element, and escaped once more."""
    if shown[:1] == '"':
        return unquote(shown[1:-1])
    inner = unquote(shown)
    is_text = not (inner in _WORDS or _FLOAT(inner) or _KIND(inner))
    try:
        return inner if is_text else _element(inner)
    except (ValueError, ArithmeticError) as error:
        raise NoWayBack(f"{shown!r}: {error}") from error
