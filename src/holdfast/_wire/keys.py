"""Every key: `<namespace>:1:<room>:<name>:{<tag>}<part>`; where the tag is the name, it stands alone. Pure.

The tag decides the slot in a Cluster, so every key of one entry carries the same one. Escaping is injective:
two different (room, name, tag, part) never share a key. In a tag only `%`, `{`, `}`, blanks and controls are
escaped, so names stay readable on the server; elsewhere also `:`, because there it separates. An empty tag is
written `%`, since the server does not take `{}` for a tag.
"""

from __future__ import annotations

import re

from holdfast.errors import ConfigurationError

WIRE_VERSION = 1

_TAG = re.compile(r"[%{}\s\x00-\x1f\x7f-\x9f]")
_NAME = re.compile(r"[%{}:\s\x00-\x1f\x7f-\x9f]")


def escape_tag(text: str) -> str:
    """`text` as the inside of a `{tag}`."""
    if not text:
        return "%"
    return _TAG.sub(_percent, text) if _TAG.search(text) else text


def escape_name(text: str) -> str:
    """`text` as a part between colons; the empty one is `%`, as in a tag."""
    if not text:
        return "%"
    return _NAME.sub(_percent, text) if _NAME.search(text) else text


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


class Keys:
    """Builds the keys of one namespace."""

    def __init__(self, namespace: str = "holdfast") -> None:
        if not namespace or type(namespace) is not str:
            raise ConfigurationError(f'namespace={namespace!r} must be a non-empty str, for example "shop"')
        self.namespace = namespace
        self._prefix = f"{escape_name(namespace)}:{WIRE_VERSION}:"

    def make(self, room: str, name: str, tag: str, part: str = "") -> str:
        """The key of `room`'s `name` with `tag`, which is escaped here, and `part` behind it."""
        return f"{self._prefix}{room}:{escape_name(name)}:{{{escape_tag(tag)}}}{part}"

    def make_escaped(self, room: str, name: str, tag: str, part: str = "") -> str:
        """As `make`, for a tag that is escaped already (typed keys start with a bare `%`)."""
        return f"{self._prefix}{room}:{escape_name(name)}:{{{tag}}}{part}"

    def tagged(self, room: str, tag: str, part: str = "") -> str:
        """The key of a room whose entries are named by their tag alone: `<namespace>:1:lock:{order:1024}`."""
        return f"{self._prefix}{room}:{{{escape_tag(tag)}}}{part}"

    def prefix(self, room: str, name: str) -> str:
        """What every key of `room`'s `name` starts with, the `{` of the tag included."""
        return f"{self._prefix}{room}:{escape_name(name)}:{{"

    def user(self, name: str, tag: str | None = None) -> str:
        """A key of the user's own making in this namespace: `<namespace>:1:user:{<name>}`, or with a `tag`
        that several keys share `<namespace>:1:user:{<tag>}:<name>`.
        """
        if tag is None:
            return f"{self._prefix}user:{{{escape_tag(name)}}}"
        return f"{self._prefix}user:{{{escape_tag(tag)}}}:{escape_name(name)}"
