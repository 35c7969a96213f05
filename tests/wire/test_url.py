"""URLs: what they mean, and what is said about wrong ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast._wire.url import hide, parse
from holdfast.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", {"kind": "tcp", "host": "localhost", "port": 6379, "db": 0}),
        ("redis://cache.internal:7000/3", {"host": "cache.internal", "port": 7000, "db": 3}),
        ("valkey://h?db=2", {"kind": "tcp", "host": "h", "db": 2}),
        ("REDIS://h", {"kind": "tcp", "host": "h"}),
        ("redis://ann:p%40ss@h:1", {"username": "ann", "password": "p@ss", "port": 1}),
        ("redis://:secret@h", {"username": None, "password": "secret"}),
        ("redis://[::1]:6380", {"host": "::1", "port": 6380}),
        ("unix:///run/redis.sock?db=1", {"kind": "unix", "path": "/run/redis.sock", "db": 1}),
        ("unix://ann:pw@/run/redis.sock", {"kind": "unix", "username": "ann", "password": "pw"}),
        ("embedded://", {"kind": "embedded", "path": ""}),
        ("embedded:///var/lib/shop", {"kind": "embedded", "path": "/var/lib/shop"}),
    ],
)
def test_a_url_names_a_server(url, expected):
    """Each form of URL is understood."""
    target = parse(url)

    assert {name: getattr(target, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("localhost:6379", "redis://localhost:6379"),
        ("http://h", "must start with one of"),
        ("redis://h:port", "port"),
        ("redis://h:99999", "port"),
        ("redis://h/zero", "must be a number"),
        ("redis://h?ssl=true", "unknown option 'ssl'"),
        ("unix://run/redis.sock", "three slashes"),
        ("embedded://var/lib", "three slashes"),
        ("rediss://h", "TLS"),
        ("redis+sentinel://a,b/mymaster", "Sentinel"),
        ("redis+cluster://a,b", "Cluster"),
    ],
)
def test_a_wrong_url_is_named_with_its_fix(url, told):
    """The error quotes the URL and says how to write it."""
    with pytest.raises(ConfigurationError, match=told.replace("+", r"\+")):
        parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:s3cret@h:port",
        "http://:s3cret@h",
        "ann:s3cret@h",
        "redis://:s3cret@h/zero",
        "redis://:9/s3cret@h",
        "redis://:9?s3cret@h",
        "redis://h/0?password=s3cret",
        "embedded://u:s3cret@h",
    ],
)
def test_a_wrong_url_never_shows_its_password(url):
    """Nor does a right one, when it is printed."""
    with pytest.raises(ConfigurationError) as caught:
        parse(url)

    assert "s3cret" not in str(caught.value)


@given(
    st.text(st.characters(codec="ascii", min_codepoint=33), min_size=4).filter(lambda text: "***" not in text)
)
def test_no_password_survives_hiding(password):
    """Whatever is between the colon and the last @ is hidden, also in a URL that cannot be parsed."""
    marked = f"<{password}>"

    assert marked not in hide(f"redis://ann:{marked}@host/0")


def test_a_target_prints_as_a_url_without_its_password():
    """What logs and errors show can be pasted, and leaks nothing."""
    assert str(parse("redis://ann:secret@h:7000/3")) == "redis://ann:***@h:7000/3"
    assert "secret" not in repr(parse("redis://:secret@h"))
