"""URLs of servers of this machine, as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

HOST = "127.0.0.1"


def credentials(password: str) -> str:
    """The part of a URL that says who calls; "" without a password."""
    return f":{quote(password, safe='')}@" if password else ""


def options(query: Mapping[str, str]) -> str:
    """The part of a URL after its path; "" without options."""
    return f"?{urlencode(query, quote_via=quote, safe='/')}" if query else ""


def client_files(folder: str) -> dict[str, str]:
    """What a client needs for TLS, as options of a URL, if the files are in `folder`."""
    return {
        "tls_ca": f"{folder}/ca.pem",
        "tls_cert": f"{folder}/client.pem",
        "tls_key": f"{folder}/client.key",
    }
