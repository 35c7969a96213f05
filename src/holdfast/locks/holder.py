"""Who holds a lock, as it stands on the server. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

_OURS = re.compile(r"([0-9a-f]{32}):(\d+):(\d+):([^:]*):([^:]*):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lock.

    `owner`: in a word, "host:pid" or "host:pid:label"; "another program" for one that is not Holdfast's.
    `since`: when it was granted, by the server's clock (UTC). `ttl`: seconds until it ends if it is not
    renewed, None if it never does. `fence`, `host`, `pid`, `label`, `since` are None or "" where unknown.
    `waiting`: how many wait for a fair lock. `contended`: how often somebody found it held, lately.
    `wanted`: why somebody asks for it back, or None.
    """

    name: str
    owner: str
    host: str = ""
    pid: int | None = None
    label: str = ""
    since: datetime | None = None
    ttl: float | None = None
    fence: int | None = None
    waiting: int = 0
    contended: int = 0
    wanted: str | None = None
    value: str = ""


FOREIGN = "another program"


def read(value: bytes) -> dict[str, Any]:
    """What a lock's value says of its holder."""
    text = value.decode("utf-8", "surrogateescape")  # so that `force_release(value)` finds it again
    found = _OURS.fullmatch(text)
    since = None if found is None else _time(int(found[3]))
    if found is None or since is None:
        return {"owner": FOREIGN, "value": text}
    host, label = unquote(found[4]), "" if found[6] == "%" else unquote(found[6])
    return {
        "owner": ":".join(part for part in (host, found[5], label) if part),
        "host": host,
        "pid": int(found[5]) if found[5].isdecimal() else None,
        "label": label,
        "since": since,
        "fence": int(found[2]),
        "value": text,
    }


def _time(milliseconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):  # it only looks like one of ours
        return None


def of(name: str, reply: Any) -> Holder | None:
    """The holder in the reply to LOOK; None where nobody holds it."""
    value, left, _, wanted, waiting, contended, _ = reply
    if value is None:
        return None
    told = read(value)
    token = told["value"].partition(":")[0]
    asked = None if wanted is None else wanted.decode("utf-8", "replace")
    return Holder(
        name=name,
        **told,
        ttl=None if left < 0 else left / 1000,
        waiting=waiting,
        contended=contended,
        wanted=asked.partition(":")[2] if asked is not None and asked.startswith(token) else None,
    )


def owner(value: bytes) -> tuple[str, bool]:
    """Who holds it, in a word; and does he tell when it is free (another program does not)?"""
    told = read(value) if value else {"owner": ""}
    return told["owner"], told["owner"] != FOREIGN
