"""Questions to a server of a lab, past its network: through its socket file, whatever is cut or encrypted."""

from __future__ import annotations

import socket
from typing import Any

import hiredis

from holdfast.errors import Refused, Unavailable

WAIT = 2.0  # seconds for one answer; a frozen server gives none


def ask(socket_path: str, password: str, *words: str | int | bytes, wait: float = WAIT) -> Any:
    """The reply to the command `words`; texts are str where they are UTF-8, else bytes.

    Raises: Refused if the server says no; Unavailable if there is no answer within `wait` seconds.
    """
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(wait)
            sock.connect(socket_path)
            auth = [_pack("AUTH", password)] if password else []
            sock.sendall(b"".join([*auth, _pack(*words)]))
            replies = _read(sock, 1 + len(auth))
    except OSError as error:
        raise Unavailable(f"no answer to {words[0]!s} at {socket_path}: {error}") from error
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            text = str(reply)
            raise Refused(text, code=text.partition(" ")[0])
    return replies[-1]


def facts(text: str) -> dict[str, str]:
    """What an answer to INFO says, by name."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def pairs(flat: list[str]) -> dict[str, str]:
    """A map that was answered as a list of names and values."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _pack(*words: str | int | bytes) -> bytes:
    encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


def _read(sock: socket.socket, count: int) -> list[Any]:
    reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape")
    replies: list[Any] = []
    while len(replies) < count:
        while (reply := reader.gets()) is False:
            if not (chunk := sock.recv(65536)):
                raise ConnectionError("it closed the connection")
            reader.feed(chunk)
        replies.append(reply)
    return replies
