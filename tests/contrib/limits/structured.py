"""A strict reader of structured fields (RFC 9651, section 4.2), for Lists of Items. It refuses all else."""

from __future__ import annotations

import base64
import re
from typing import Any

_KEY = re.compile(r"[a-z*][a-z0-9_\-.*]*")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


class Reader:
    """Text that is eaten from the left."""

    def __init__(self, text: str) -> None:
        text.encode("ascii")
        self.rest = text.strip(" ")

    def list(self) -> list[tuple[Any, dict[str, Any]]]:
        """All of it: `a;x=1, b`."""
        found = []
        while self.rest:
            found.append(self.item())
            self.rest = self.rest.lstrip(" \t")
            if not self.rest:
                return found
            self.eat(",")
            self.rest = self.rest.lstrip(" \t")
            assert self.rest, "a comma at the end"
        return found

    def eat(self, what: str) -> None:
        assert self.rest.startswith(what), f"{what!r} expected at {self.rest!r}"
        self.rest = self.rest[len(what) :]

    def item(self) -> tuple[Any, dict[str, Any]]:
        value = self.bare()
        parameters: dict[str, Any] = {}
        while self.rest.startswith(";"):
            self.eat(";")
            self.rest = self.rest.lstrip(" ")
            key = _KEY.match(self.rest)
            assert key, f"a key expected at {self.rest!r}"
            self.eat(key[0])
            assert key[0] not in parameters, "a parameter twice: the last would win"
            parameters[key[0]] = True
            if self.rest.startswith("="):
                self.eat("=")
                parameters[key[0]] = self.bare()
        return value, parameters

    def bare(self) -> Any:
        first = self.rest[:1]
        if first == '"':
            return self.string()
        if first == ":":
            end = self.rest.index(":", 1)
            inner = self.rest[1:end]
            assert _BASE64.fullmatch(inner), f"{inner!r} is not base64"
            self.rest = self.rest[end + 1 :]
            return base64.b64decode(inner)
        if first == "?":
            value = {"?0": False, "?1": True}[self.rest[:2]]
            self.eat(self.rest[:2])
            return value
        number = _NUMBER.match(self.rest)
        assert number, f"no item at {self.rest!r}"
        assert number[1] is None, "a Decimal"
        assert len(number[0].lstrip("-")) <= 15, "an Integer has at most 15 digits"
        self.eat(number[0])
        return int(number[0])

    def string(self) -> str:
        self.eat('"')
        out = ""
        while True:
            assert self.rest, "a String without an end"
            char, self.rest = self.rest[0], self.rest[1:]
            if char == "\\":
                char, self.rest = self.rest[0], self.rest[1:]
                assert char in '"\\', f"\\{char} escapes nothing"
            elif char == '"':
                return out
            else:
                assert " " <= char <= "~", f"{char!r} in a String"
            out += char


def read(text: str) -> list[tuple[Any, dict[str, Any]]]:
    """The List `text`. Raises: AssertionError, ValueError."""
    return Reader(text).list()
