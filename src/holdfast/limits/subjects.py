"""Who is charged for a call of a limited function. Pure."""

from __future__ import annotations

import inspect
import re
import string
from collections.abc import Callable, Mapping
from typing import Any

from holdfast._coord.naming import Template


class Subjects:
    """The subject of every call of `function`: `Subjects("user:{user_id}", export)`.

    A field is an argument or a part of one, as in the templates of a cache; what is not named does not count:
    all calls of one user have one limit, whatever else they ask for.

    Raises: ConfigurationError for a template that does not fit the function.
    """

    __slots__ = ("_template", "template")

    def __init__(self, template: str, function: Callable[..., Any]) -> None:
        signature = inspect.signature(function)
        others = signature.parameters.keys() - _named(template)
        self.template = template
        self._template = Template(template, signature, others)

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The subject of the call with `args` (a method's start with self) and `kwargs`.

        Raises: TypeError where the call itself would; ConfigurationError for a value that makes no key.
        """
        return self._template.bind(args, kwargs)


def _named(template: str) -> set[str]:
    """The arguments that a template names, as far as it can be read: whoever takes it apart complains."""
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field]
    except (ValueError, TypeError):
        return set()
    return {re.split(r"[.\[]", field)[0] for field in fields}
