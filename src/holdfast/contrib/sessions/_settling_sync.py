# Generated from _settling_async.py by tools/unasync.py. Do not edit.
"""The way between the session of a request and the server; see web_session.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from holdfast.contrib.sessions.web_session import WebSession
from holdfast.errors import ConflictError, Refused, SessionGone, Unavailable
from holdfast.sessions._sessions_sync import Sessions
from holdfast.sessions.options import KEEP

About = Callable[[], Mapping[str, Any]]


class Settled(NamedTuple):
    """What the browser has to be told: an `id` that is new, of a session that lasts `lasting` seconds at
    most; or to `forget` the one it has.
    """

    id: str | None = None
    lasting: float = 0.0
    forget: bool = False


def read(sessions: Sessions[Any], web: WebSession) -> None:
    """Read the session that was offered. That the server is away is noted in `web`, not raised."""
    try:
        web.take(sessions.load(web.offered or ""))
    except (Unavailable, Refused) as error:
        web.fail(error)


def settle(sessions: Sessions[Any], web: WebSession, about: About | None = None) -> Settled:
    """Write what the request has changed. `about`: says what to note of it, if it begins a session.

    Raises: SessionGone if the session has ended meanwhile; Unavailable, Refused if the server cannot do it;
    CodecError for data that cannot be stored.
    """
    plan = web.plan()
    held = web.held
    noted = about() if about is not None and plan.needs_cookie else None
    if plan.end:
        sessions.revoke(held)
    if plan.create:
        held = sessions.create(web.wanted_user, web.content, about=noted, **web.terms)
        held.data = web.content  # the application may have something of it in hand, and change it
    elif plan.rotate:
        user = KEEP if web.wanted_user == held.user else web.wanted_user
        try:
            held = sessions.rotate(held, user=user, about=noted, **web.terms)
        except (SessionGone, ConflictError, Unavailable, Refused):
            if not plan.due:
                raise
            web.answered()  # a request that only reads does not fail because an id is old
            sessions.save(held)
            return Settled()
    elif plan.save:
        sessions.save(held)
    if plan.create or plan.rotate:
        web.take(held)
        if not held.superseded:  # else another request was faster, and its answer carries the cookie
            return Settled(held.id, (held.ends_at - held.created_at).total_seconds())
    elif plan.end or plan.forget:
        web.take(None)
    return Settled(forget=plan.forget)
