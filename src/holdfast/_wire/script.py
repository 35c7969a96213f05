"""A Lua script as a value: its text, its digest, its keys and the promise about repeating it. Pure.

The promise stands in the script's header, where whoever changes the script sees it:

    -- retry:   safe (a repeated arrival changes nothing)

`safe`            running it twice is the same as running it once
`by request id`   the same, because an argument names the request
`never`           running it twice does harm; a lost reply raises `Unconfirmed`
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import re
from dataclasses import dataclass, replace
from typing import Literal, cast

from holdfast.errors import ConfigurationError

Retry = Literal["safe", "by request id", "never"]

RETRIES: tuple[Retry, ...] = ("safe", "by request id", "never")

_RETRY = re.compile(r"^-- retry:\s+(safe|by request id|never)\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script. `digest` is the SHA1 by which the server knows it."""

    name: str
    text: str
    digest: str
    retry: Retry

    def once(self) -> Script:
        """The same, but not repeated by the wire: for a caller who has to know of stray requests."""
        return self if self.retry == "never" else _once(self)

    @staticmethod
    @functools.cache
    def load(package: str, name: str) -> Script:
        """The script in `package`'s file `<name>.lua`, read once.

        Raises: ConfigurationError if the header lacks a valid `retry:` line.
        """
        text = importlib.resources.files(package).joinpath(f"{name}.lua").read_text(encoding="utf-8")
        return Script.parse(f"{package.rpartition('.')[2]}/{name}", text)

    @staticmethod
    def parse(name: str, text: str) -> Script:
        """The script `text`, whose header must hold a `retry:` line.

        Raises: ConfigurationError if it does not.
        """
        found = _RETRY.search(text)
        if found is None:
            raise ConfigurationError(
                f"script {name!r} does not say whether it may be repeated; add a header line "
                f"'-- retry: safe', '-- retry: by request id' or '-- retry: never'"
            )
        digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        return Script(name, text, digest, cast(Retry, found[1]))


@functools.cache
def _once(script: Script) -> Script:
    return replace(script, retry="never")
