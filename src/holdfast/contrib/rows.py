"""What stands in an outbox, whichever library writes it. Pure.

A row has a `topic` that says whose it is ("cache:users"), a `kind` that says what to do, a `key` that says
what must stay in order (a long one is a digest), and a `payload`, the rest, as msgpack. Rows of a topic or
kind that a relay does not know are left to others: what is published to streams shares the table, see
sqlalchemy/outbox_letters.py.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

import msgspec

from holdfast.contrib.ledger import KEY, TAG, Wanted

KINDS: Final = (KEY, TAG)
_LONGEST: Final = 200  # characters of a key that are worth an index


class Row(NamedTuple):
    """A row of an outbox, but for `id` and `created_at`, which the database makes."""

    topic: str
    kind: str
    key: str
    payload: bytes


def topic_of(cache: Any) -> str:
    """The topic of a cache's rows."""
    return f"cache:{cache.name}"


def row(one: Wanted) -> Row:
    """What stands in the outbox for `one`."""
    return Row(topic_of(one.cache), one.kind, shortened(one.text), msgspec.msgpack.encode(one.text))


def shortened(key: str) -> str:
    """`key`, or a digest of it if it is too long for the column."""
    return key if len(key) <= _LONGEST else f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def wanted_of(cache: Any, kind: str, payload: bytes) -> Wanted:
    """What `row` was given. Raises: msgspec.DecodeError if the row is not ours."""
    return Wanted(cache, kind, msgspec.msgpack.decode(payload, type=str))
