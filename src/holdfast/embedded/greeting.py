"""The first words with a server that may just be coming up: is it there, and what is it?"""

from __future__ import annotations

import socket
from typing import NamedTuple

_WAIT = 1.0  # seconds for one answer


class Greeting(NamedTuple):
    """What the server says of itself: `kind` is "valkey" or "redis"."""

    kind: str
    version: str


def greet(socket_path: str, password: str) -> Greeting | None:
    """The server's greeting once it serves data; None if it is not there, loads its data or is frozen."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_WAIT)
            sock.connect(socket_path)
            sock.sendall((_command("AUTH", password) if password else b"") + _command("PING"))
            with sock.makefile("rb") as answers:
                if password:
                    answers.readline()
                if answers.readline() != b"+PONG\r\n":
                    return None
                sock.sendall(_command("INFO", "server"))
                size = int(answers.readline()[1:])
                return _read(answers.read(size).decode(errors="replace"))
    except (OSError, ValueError):
        return None


def _command(*words: str) -> bytes:
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


def _read(info: str) -> Greeting:
    facts = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    if "valkey_version" in facts:  # it also claims to be some version of Redis
        return Greeting("valkey", facts["valkey_version"])
    return Greeting(facts.get("server_name", "redis"), facts.get("redis_version", ""))
