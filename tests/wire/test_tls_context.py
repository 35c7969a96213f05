"""Contexts of TLS: made once, renewed with their files, and clear about what cannot be read."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from holdfast import ConfigurationError, Tls
from holdfast._wire import tls
from holdfast._wire.url import parse
from tests.wire.tls_lab import Papers


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


def test_a_context_is_made_once_and_anew_when_a_file_was_renewed(papers: Papers, tmp_path: Path) -> None:
    """found: certificates that live for a day, and a process that lives for a month."""
    mine = Papers(tmp_path)
    chosen = Tls(ca=mine.path("ca"), cert=mine.path("client"), key=mine.path("client", "key"))
    first = tls.context(chosen)
    assert tls.context(Tls(ca=chosen.ca, cert=chosen.cert, key=chosen.key)) is first
    mine.issue("client", "client.test")
    assert tls.context(chosen) is not first
    assert first.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_context_of_ones_own_is_taken_as_it_is() -> None:
    own = ssl.create_default_context()
    assert tls.context(Tls(context=own)) is own


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("rediss://cache.internal.", "cache.internal"),
        ("rediss://cache.internal?tls_name=n", "n"),
        ("rediss://[::1]", "::1"),
    ],
)
def test_whose_certificate_is_expected(url: str, name: str) -> None:
    assert tls.server_name(parse(url)) == name


def test_files_that_cannot_be_used_are_named(papers: Papers, tmp_path: Path) -> None:
    """Not only what OpenSSL says, which names no file."""
    empty, locked = tmp_path / "empty.pem", tmp_path / "locked.key"
    empty.write_text("")
    command = ["openssl", "pkey", "-in", papers.path("client", "key"), "-aes128", "-passout", "pass:secret"]
    locked.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    client, key = papers.path("client"), papers.path("client", "key")
    for wrong, told in (
        (Tls(ca="missing.pem"), "tls_ca='missing.pem' cannot be read: No such file"),
        (Tls(ca=str(empty)), "empty.pem' is no file of certificates"),
        (Tls(cert="missing.pem"), "tls_cert='missing.pem' cannot be read"),
        (Tls(cert=client, key="missing.key"), "tls_key='missing.key' cannot be read"),
        (Tls(cert=str(empty)), "empty.pem' is no file of certificates"),
        (Tls(cert=client, key=papers.path("server", "key")), "do not belong together"),
        (Tls(cert=client, key=str(locked)), "the key is encrypted"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            tls.context(wrong)
    assert tls.context(Tls(cert=client, key=key))
