"""Certificates for servers of this machine, made anew for each server or lab."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.errors import ConfigurationError


class Papers(NamedTuple):
    """What a server and its clients show each other.

    `files`: PEM texts of the authority, and of the certificate and the key of both, by file name.
    """

    files: dict[str, str]

    def settings(self, folder: str, port: int) -> dict[str, str]:
        """The server's settings, if the files are in `folder`; clients need not show a certificate."""
        return {
            "port": "0",
            "tls-port": str(port),
            "tls-ca-cert-file": f"{folder}/ca.pem",
            "tls-cert-file": f"{folder}/server.pem",
            "tls-key-file": f"{folder}/server.key",
            "tls-auth-clients": "optional",
        }


def issue() -> Papers:
    """An authority, a server certificate for 127.0.0.1 and localhost, and a client certificate.

    Raises: ConfigurationError if the library for it is not installed.
    """
    try:
        import trustme
    except ImportError as error:
        raise ConfigurationError(
            'tls=True needs certificates: pip install "holdfast[tls]" brings what makes them'
        ) from error
    authority = trustme.CA()
    files = {"ca.pem": authority.cert_pem.bytes().decode()}
    for who, name in (("server", ("127.0.0.1", "localhost")), ("client", ("client.holdfast.test",))):
        papers = authority.issue_cert(*name)
        files[f"{who}.pem"] = "".join(part.bytes().decode() for part in papers.cert_chain_pems)
        files[f"{who}.key"] = papers.private_key_pem.bytes().decode()
    return Papers(files)
