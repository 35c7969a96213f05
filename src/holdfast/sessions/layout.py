"""Where sessions are. Pure.

<ns>:1:session:<name>:{<handle>}          one session
<ns>:1:session:<name>:{<handle>}:p<id>    what a `pop` took, for a minute
<ns>:1:session:<name>:{u:<hint>}:g        the generation of a user
<ns>:1:session:<name>:{u:<hint>}:i        the index of his sessions
"""

from __future__ import annotations

from holdfast._wire.keys import Keys

ROOM = "session"


class Layout:
    """The keys of the sessions called `name`."""

    __slots__ = ("_prefix",)

    def __init__(self, keys: Keys, name: str) -> None:
        self._prefix = keys.prefix(ROOM, name)

    def session(self, handle: str) -> str:
        """Where a session is; its handle needs no escaping."""
        return f"{self._prefix}{handle}}}"

    def memo(self, handle: str, request: str) -> str:
        """Where it stands what a request took out of a session."""
        return f"{self._prefix}{handle}}}:p{request}"

    def user(self, hint: str) -> tuple[str, str]:
        """Generation and index of a user."""
        base = f"{self._prefix}u:{hint}}}"
        return f"{base}:g", f"{base}:i"
