"""What a key looks like: `text` for any key, `Template` for the calls of a function. Pure.

Promise: two different keys never share a text, and two calls that differ in an argument that counts never
share a key. Without it one caller reads what belongs to another: `doc:{tenant}:{doc}` of ("acme:1", "7") and
("acme", "1:7").

Different means different in type or in value: 1, True, 1.0, "1" and b"1" are five keys, and so are
Decimal("1.0") and Decimal("1.00"). Enum members count by the qualified name of their class and their own, so
that moving the class to another module moves no key. A subclass of str, int, float, bytes, UUID, date,
datetime or Decimal counts as its base, a named tuple does not.

How it holds:
* A str is itself, with `%`, braces, blanks and controls as `%XX`. Any other key starts with a bare `%` that
  no two upper-case hex digits follow, and says its type: `%int(42)`, `%tuple(a,1,"1",None)`.
* In a template's field, `%`, `:`, controls and the first character of the literal that follows are
  written `%XX`. So the field ends where that character first appears, and its text can be taken apart again.
  A str that would read as another type stands in quotes: "42", "None", "date(2024-01-01)", "".
* A call is bound to the signature and its defaults are filled in first: of `def f(a, b=None)`, f(1), f(a=1)
  and f(1, None) are one call.

A template gives a str: `users.get(get_user.key(42))` and `users.get("user:42")` are the same entry.
"""

from __future__ import annotations

import inspect
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, Flag
from operator import attrgetter, itemgetter
from typing import Any, Final
from uuid import UUID

from holdfast._wire.keys import escape_tag
from holdfast.errors import ConfigurationError

Key = str | int | float | bytes | UUID | date | Decimal | Enum | tuple["Key", ...] | None

LONGEST: Final = 32 * 1024 - 1  # bytes

_FIX = (
    "a key is a str, int, float, bool, None, bytes, UUID, date, datetime, Decimal, an Enum member, "
    "or a tuple of these"
)

# --- any key ------------------------------------------------------------------------------------------------

# What the hot path lets through: ASCII that needs no escape, and ints of ordinary size. The bounds keep the
# check of the length off it.
_PLAIN_INT = 1 << 63
_AS_IT_IS = re.compile(r"[!-$&-z|~]{1,4096}").fullmatch


def text(key: Key) -> str:
    """`key` as the inside of a `{tag}`, escaped already (for `Keys.make_escaped`).

    Raises: ConfigurationError for a type that makes no key, a text of 32 KiB or more, or a lone surrogate.
    """
    if type(key) is str and _AS_IT_IS(key):
        return key
    if type(key) is int and -_PLAIN_INT < key < _PLAIN_INT:
        return f"%int({key})"
    return _checked(_text(key), key)


def _text(key: Key) -> str:
    if isinstance(key, str) and not isinstance(key, Enum):
        return escape_tag(str.__str__(key))  # what a subclass shows in its place is no concern of a key
    element = _element(key)
    if element.endswith(")"):
        return f"%{element}"
    kinds = {bool: "bool", int: "int", float: "float"}  # in this order: a bool is an int
    kind = next((name for base, name in kinds.items() if isinstance(key, base)), "none")
    return f"%{kind}({element})"


def _checked(result: str, key: object) -> str:
    try:
        size = len(result.encode())
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"key={_short(key)} holds a lone surrogate; a key must be valid text, or bytes"
        ) from None
    if size > LONGEST:
        raise ConfigurationError(
            f"key={_short(key)} makes {size} bytes; a key has less than 32 KiB: use a digest of the long part"
        )
    return result


def _short(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


# --- one value inside a tuple or a field --------------------------------------------------------------------

_ODD_INSIDE = re.compile(r"[%,(){}\s\x00-\x1f\x7f-\x9f]")
# A str is quoted if it looks like this: nothing, a number, True, False, None, kind(...), or a quoted str.
_AMBIGUOUS = re.compile(
    r'|-?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?|-?inf|nan|True|False|None|[a-z]+\(.*|".*', re.DOTALL
).fullmatch

_KINDS: tuple[tuple[type, str, Callable[[Any], str]], ...] = (
    (bytes, "bytes", bytes.hex),
    (UUID, "uuid", str),
    (datetime, "datetime", lambda value: value.isoformat()),  # before date, its base
    (date, "date", lambda value: value.isoformat()),
    (Decimal, "decimal", str),
)


def _element(value: object) -> str:
    """`value` with its type: bare for numbers, True, False, None and most strs, otherwise `kind(...)`.

    Everything but the structure is escaped, so that commas and brackets of the result always nest.
    """
    if isinstance(value, Enum):
        # A flag made of several has no name that all versions of Python agree on.
        member = value.value if isinstance(value, Flag) else value.name
        return f"enum({_inside(type(value).__qualname__)},{_inside(str(member))})"
    if isinstance(value, str):
        return _quoted(value, _ODD_INSIDE)
    if isinstance(value, tuple):
        items = ",".join(map(_element, value))
        named = type(value) is not tuple
        return f"named({_inside(type(value).__qualname__)},{items})" if named else f"tuple({items})"
    return _scalar(value)


def _quoted(value: str, odd: re.Pattern[str]) -> str:
    shown = odd.sub(_percent, value)
    return f'"{shown}"' if _AMBIGUOUS(value) else shown


def _scalar(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, int):
        try:
            return int.__repr__(value)
        except ValueError:  # Python refuses to write more than 4300 digits
            bits = value.bit_length()
            raise ConfigurationError(f"an int of {bits} bits makes no key; use a digest of it") from None
    for base, kind, show in _KINDS:
        if isinstance(value, base):
            return f"{kind}({_inside(show(value))})"
    raise ConfigurationError(f"a {type(value).__name__} makes no key; {_FIX}")


def _inside(content: str) -> str:
    return _ODD_INSIDE.sub(_percent, content)


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


# --- templates ----------------------------------------------------------------------------------------------

_FIELD = re.compile(r"([^\W\d]\w*)((?:\.[^\W\d]\w*|\[[^\[\]]+\])*)").fullmatch
_STEP = re.compile(r"\.(\w+)|\[([^\[\]]+)\]")
# A literal between two fields ends the first one, so it must not start with what an escaped or quoted field
# contains.
_NO_END = frozenset(string.digits + 'ABCDEF%"')
_SURE = string.ascii_letters + string.digits + "_.@~/+-"
_MOST_PLANS = 256  # whoever passes **json of strangers decides in which order the names come

_Values = Sequence[Any]  # one call's arguments, in the order of the signature, defaults filled in


class Template:
    """The key of every call of one function: `Template("user:{user_id}", inspect.signature(function))`.

    Fields are parameters, `{user_id}`, or parts of them, `{user.id}` and `{row[id]}`. Each argument that is
    not named is an error unless `exclude` holds its name; `self` and `cls` count only where they are named.

    Raises: ConfigurationError for a template that cannot tell two calls apart.
    """

    __slots__ = (
        "_defaults",
        "_fields",
        "_frame",
        "_gathers",
        "_only",
        "_plans",
        "_signature",
        "_tails",
        "template",
    )

    def __init__(self, template: str, signature: inspect.Signature, exclude: Iterable[str] = ()) -> None:
        literals, names = _parse(template)
        _check_arguments(template, signature, {name for name, _ in names}, exclude)
        places = {name: place for place, name in enumerate(signature.parameters)}
        self.template = template
        self._signature = signature
        parameters = signature.parameters.values()
        self._defaults = tuple(p.default for p in parameters)
        self._gathers = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
        self._tails = {} if self._gathers else _tails(signature)
        self._plans: dict[tuple[object, ...], list[int]] = {}
        self._frame = "%s".join(literal.replace("%", "%%") for literal in literals)
        ends = [literal[:1] for literal in literals[1:-1]] + [""]  # behind the last field nothing varies
        self._fields = tuple(
            _field(template, name, places[name], path, end)
            for (name, path), end in zip(names, ends, strict=False)
        )

        self._only = self._fields[0] if len(self._fields) == 1 else None

    def __repr__(self) -> str:
        return f"Template({self.template!r})"

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The key of the call with `args` (a method's start with self) and `kwargs`: a str like any other.

        Raises: TypeError where the call itself would; ConfigurationError for a value that makes no key.
        """
        tail = None if kwargs else self._tails.get(len(args))
        values = self._arranged(args, kwargs) if tail is None else args + tail
        if self._only is not None:  # most templates have one field
            return self._frame % self._only(values)
        return self._frame % tuple([field(values) for field in self._fields])

    def values(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sequence[Any]:
        """The arguments of a call, in the order of the signature, defaults filled in. Raises: TypeError."""
        return self._arranged(args, kwargs)

    def _arranged(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Values:
        """As `_canonical`, much faster: how calls of one shape are bound is found out once."""
        if self._gathers:
            return self._canonical(args, kwargs)
        shape = (len(args), *kwargs)
        plan = self._plans.get(shape)
        if plan is None:
            plan = self._plan(len(args), kwargs)
            if len(self._plans) < _MOST_PLANS:
                self._plans[shape] = plan
        pool = (*args, *kwargs.values(), *self._defaults)
        return [pool[place] for place in plan]

    def _plan(self, count: int, kwargs: Iterable[str]) -> list[int]:
        """Where each parameter's value stands in `(*args, *kwargs.values(), *defaults)`."""
        numbers = {name: place for place, name in enumerate(kwargs, count)}
        bound = self._signature.bind(*range(count), **numbers).arguments
        given = count + len(numbers)
        return [bound.get(name, given + place) for place, name in enumerate(self._signature.parameters)]

    def _canonical(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Values:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return tuple(bound.arguments.values())


def _tails(signature: inspect.Signature) -> dict[int, tuple[Any, ...]]:
    """For each number of positional arguments that makes a complete call, the defaults of the others.

    Spares the hot path everything that has to do with binding.
    """
    parameters = signature.parameters.values()
    positional = sum(p.kind is not p.KEYWORD_ONLY for p in parameters)
    defaults = tuple(p.default for p in parameters)
    return {
        count: defaults[count:]
        for count in range(positional + 1)
        if not any(default is inspect.Parameter.empty for default in defaults[count:])
    }


def _parse(template: str) -> tuple[list[str], list[tuple[str, str]]]:
    """The literals of `template`, and the (parameter, path) of each field between them."""
    if not template:
        raise ConfigurationError('template="" makes no key; write for example "user:{user_id}"')
    literals, names = [""], []
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigurationError(f"template={template!r}: {error}; a brace is written twice") from None
    for literal, field, spec, conversion in pieces:
        literals[-1] += literal  # a brace written twice ends a piece, not a literal
        if field is None:
            continue
        found = _FIELD(field)
        if spec or conversion or not found:
            raise ConfigurationError(
                f"template={template!r}: {{{field}}} must be a parameter, {{user}}, or a part of one, "
                "{user.id} or {row[id]}, without a format or a conversion"
            )
        names.append((found[1], found[2]))
        literals.append("")
    for (name, path), literal in zip(names[:-1], literals[1:], strict=False):
        if not literal or literal[0] in _NO_END:
            raise ConfigurationError(
                f"template={template!r}: put a separator such as ':' behind {{{name}{path}}}; "
                "a digit, A to F, % or a quote does not end a field"
            )
    return literals, names


def _check_arguments(
    template: str, signature: inspect.Signature, named: set[str], exclude: Iterable[str]
) -> None:
    parameters = signature.parameters
    excluded = {exclude} if isinstance(exclude, str) else set(exclude)
    where = f"template={template!r}"
    if unknown := sorted((named | excluded) - parameters.keys()):
        if "result" in unknown:
            raise ConfigurationError(f"{where}: {{result}} is for tags; the key is made before the call")
        known = ", ".join(parameters) or "none"
        raise ConfigurationError(f"{where}: no parameter {unknown[0]!r}; the function has {known}")
    if both := sorted(named & excluded):
        raise ConfigurationError(f"{where}: {both[0]!r} is both named and excluded")
    for place, (name, parameter) in enumerate(parameters.items()):
        if name in named and parameter.kind is parameter.VAR_KEYWORD:
            raise ConfigurationError(f"{where}: **{name} makes no key; exclude it, or name what it may hold")
        if name not in named | excluded and not (place == 0 and name in ("self", "cls")):
            raise ConfigurationError(
                f"{where} leaves out the argument {name!r}: calls that differ in it would share an entry; "
                f"add {{{name}}}, or exclude=[{name!r}] if it does not change the result"
            )


def _field(template: str, name: str, place: int, path: str, end: str) -> Callable[[_Values], str]:
    """How to write one field of a call; `end` is the first character of the literal before the next."""
    odd = re.compile(f"[%:\\x00-\\x1f\\x7f-\\x9f{re.escape(end)}]")
    # Neither escaped nor ambiguous: the one question that most strs are asked.
    sure = re.escape(_SURE.replace(end, "") if end else _SURE)
    as_it_is = re.compile(rf"(?!(?:True|False|None|nan|-?inf|[0-9.e+-]+)\Z)[{sure}]+").fullmatch
    where = f"template={template!r}, field {{{name}{path}}}"
    part = _part(where, path) if path else None

    def field(values: _Values) -> str:
        value = values[place] if part is None else part(values[place])
        kind = type(value)
        if kind is str and as_it_is(value):
            return value  # type: ignore[no-any-return]
        if kind is int and 0 <= value < _PLAIN_INT:
            return str(value)
        if isinstance(value, str) and not isinstance(value, Enum):
            return _quoted(value, odd)
        try:
            return odd.sub(_percent, _element(value))
        except ConfigurationError as error:
            fix = f"name a part of it such as {{{name}.id}}, or exclude it"
            raise ConfigurationError(f"{where}: {error}; {fix}") from None

    return field


def _part(where: str, path: str) -> Callable[[Any], Any]:
    """How to reach `path` from a value, as str.format does: digits in brackets are a number."""
    steps: list[Callable[[Any], Any]] = [
        attrgetter(attribute) if attribute else itemgetter(int(item) if item.isdecimal() else item)
        for attribute, item in _STEP.findall(path)
    ]

    def part(value: Any) -> Any:
        try:
            for step in steps:
                value = step(value)
        except (AttributeError, LookupError, TypeError) as error:
            raise ConfigurationError(f"{where} leads nowhere: {type(error).__name__}: {error}") from error
        return value

    return part
