"""Who we are, in words that an operator understands: `host:pid:label`."""

from __future__ import annotations

import functools
import os
import socket

from holdfast._wire.keys import escape_name


@functools.cache
def _host() -> str:
    return escape_name(socket.gethostname()[:64])


def owner(label: str = "") -> str:
    """`<host>:<pid>:<label>`; the parts are escaped, so that a colon only separates."""
    return f"{_host()}:{os.getpid()}:{escape_name(label[:128]) if label else ''}"


def token() -> str:
    """A name that nobody else has: 128 random bits, hexadecimal."""
    return os.urandom(16).hex()
