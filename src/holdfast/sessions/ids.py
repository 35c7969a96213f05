"""Ids of sessions: how they are made, and what of them is at rest. Pure.

    22 characters                          128 random bits, of a session that is nobody's
    22 characters . 11 characters          of a user's session: the hint is a hash of him

The server knows the `handle` of a session only, the SHA-256 of its whole id: who changes the hint of an id
has another id, which nobody knows. (Truncated to 64 bits, two users may share a hint; then `revoke_all` of
one signs out the other, too. Nobody gets in by that, and with a million users the odds are one to 36
million.)
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any, NamedTuple

from holdfast.errors import ConfigurationError

RANDOM = 16  # bytes
LONGEST_USER = 512  # bytes

_ID = re.compile(r"[A-Za-z0-9_-]{22}(?:\.([A-Za-z0-9_-]{11}))?")
_HANDLE = re.compile(r"[A-Za-z0-9_-]{43}")


class Asked(NamedTuple):
    """An id that may be one: where its session would be, and whose it says it is ("" nobody's)."""

    id: str
    handle: str
    hint: str


def make(random: bytes, hint: str) -> Asked:
    """A new id of `random` bytes."""
    text = _text(random)
    id = f"{text}.{hint}" if hint else text
    return Asked(id, handle_of(id), hint)


def parse(id: Any) -> Asked | None:
    """The id `id`; None for anything that is none."""
    found = _ID.fullmatch(id) if isinstance(id, str) else None
    return None if found is None else Asked(found[0], handle_of(found[0]), found[1] or "")


def handle_of(id: str) -> str:
    """What the server knows of it."""
    return _text(sha256(id.encode()).digest())


def hint_of(name: str, user: str | None) -> str:
    """What the ids of `user` in the sessions `name` end with; "" for nobody. Raises: ConfigurationError."""
    if user is None:
        return ""
    if not isinstance(user, str) or not 0 < len(_encoded(user)) <= LONGEST_USER:
        raise ConfigurationError(
            f"user={user!a:.80} must be a str of at most {LONGEST_USER} bytes, such as str(user.id)"
        )
    return _hint(name, user)


def fits(hint: str, name: str, user: str | None) -> bool:
    """Is `hint` that of `user`?"""
    return hint == ("" if user is None else _hint(name, user))


def is_handle(text: Any) -> bool:
    """May `text` be a handle?"""
    return isinstance(text, str) and _HANDLE.fullmatch(text) is not None


def _hint(name: str, user: str) -> str:
    return _text(sha256(b"\0".join((b"holdfast user", name.encode(), user.encode()))).digest()[:8])


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return b""


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
