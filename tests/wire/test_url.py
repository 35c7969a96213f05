"""URLs: what they mean, and what is said about wrong ones."""

import re
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import Tls
from holdfast._wire.url import SCHEMES, hide, parse, sentinel_of, with_address, with_tls
from holdfast.errors import ConfigurationError

H1, H2, H3 = ("h1", 26379), ("h2", 26379), ("::1", 26380)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", {"kind": "tcp", "host": "localhost", "port": 6379, "db": 0}),
        ("redis://cache.internal:7000/3", {"host": "cache.internal", "port": 7000, "db": 3}),
        ("valkey://h?db=2", {"kind": "tcp", "host": "h", "db": 2}),
        ("REDIS://h", {"kind": "tcp", "host": "h"}),
        ("redis://ann:p%40ss@h:1", {"username": "ann", "password": "p@ss", "port": 1}),
        ("redis://:secret@h", {"username": None, "password": "secret"}),
        ("redis://:6380", {"host": "localhost", "port": 6380}),
        ("redis://h:6379/1\n", {"host": "h", "db": 1}),
        ("redis://h", {"tls": None, "role": "", "readonly": False}),
        ("redis://[::1]:6380", {"host": "::1", "port": 6380}),
        ("unix:///run/redis.sock?db=1", {"kind": "unix", "path": "/run/redis.sock", "db": 1}),
        ("unix://ann:pw@/run/redis.sock", {"kind": "unix", "username": "ann", "password": "pw"}),
        ("embedded://", {"kind": "embedded", "path": ""}),
        ("embedded:///var/lib/shop", {"kind": "embedded", "path": "/var/lib/shop"}),
        ("rediss://h", {"kind": "tcp", "port": 6379, "tls": Tls()}),
        ("valkeys://h/1?tls_ca=/a+b%20c.pem", {"db": 1, "tls": Tls(ca="/a+b c.pem")}),
        (
            "rediss://h?tls_cert=c&tls_key=k&tls_name=n&tls_verify=chain",
            {"tls": Tls(cert="c", key="k", name="n", verify="chain")},
        ),
        (
            "redis+sentinel://ann:pw@h1:26379,H2,h1,[::1]:26380/my%2Fmaster/2?sentinel_username=s&sentinel_password=a+b%26c",
            {
                "kind": "sentinel",
                "nodes": (H1, H2, H3),
                "service": "my/master",
                "db": 2,
                "username": "ann",
                "password": "pw",
                "sentinel_username": "s",
                "sentinel_password": "a+b&c",
                "tls": None,
                "sentinel_tls": None,
            },
        ),
        ("valkey+sentinel://h1/m", {"nodes": (H1,), "service": "m", "db": 0, "sentinel_password": None}),
        ("valkey+sentinel://h1/m?db=3", {"service": "m", "db": 3}),
        ("rediss+sentinel://h1/m?tls_ca=c", {"tls": Tls(ca="c"), "sentinel_tls": Tls(ca="c")}),
        ("valkeys+sentinel://h1/m?sentinel_tls=no", {"tls": Tls(), "sentinel_tls": None}),
        ("redis+sentinel://h1/m?sentinel_tls=yes&tls_ca=c", {"tls": None, "sentinel_tls": Tls(ca="c")}),
        (
            "redis+cluster://ann:pw@h1:7000,h2/0",
            {
                "kind": "cluster",
                "nodes": (("h1", 7000), ("h2", 6379)),
                "db": 0,
                "password": "pw",
                "tls": None,
            },
        ),
        ("valkeys+cluster://h1", {"kind": "cluster", "nodes": (("h1", 6379),), "tls": Tls()}),
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
        ("redis://a,b", "redis+sentinel://h1,h2/mymaster or redis+cluster://h1,h2"),
        ("redis://::1", "IPv6 address is not in brackets"),
        ("redis://[::1", "IPv6 address is not in brackets"),
        ("redis://h?tls_ca=c", "use rediss://"),
        ("valkey://h?tls_ca=c", "use valkeys://"),
        ("redis+cluster://h?tls_verify=none", "use rediss+cluster://"),
        ("redis+sentinel://h/m?tls_ca=c", "use rediss+sentinel://"),
        ("unix:///s?tls_ca=c", "use rediss://"),
        ("rediss://h?tls_verify=maybe", "verify='maybe'"),
        ("rediss://h?tls_key=k", "key='k'"),
        ("rediss://h?tls_ca=", "ca=''"),
        ("redis://h?sentinel_password=x", "unknown option 'sentinel_password'"),
        ("redis+sentinel://h1,h2", "redis+sentinel://h1,h2/mymaster"),
        ("redis+sentinel:///mymaster", "name a host"),
        ("redis+sentinel://h1,,h2/m", "a host is empty"),
        ("redis+sentinel://h1,:1/m", "a host is empty"),
        ("redis+sentinel://h1:x/m", "port"),
        ("redis+sentinel://h1:70000/m", "port"),
        ("redis+sentinel://h1/m/zero", "must be a number"),
        ("redis+sentinel://h1/m/0/1", "must be a number"),
        ("redis+sentinel://h1/m?sentinel_tls=maybe", "sentinel_tls='maybe' must be yes or no"),
        ("redis+sentinel://h1/m?sentinel_username=s", "needs sentinel_password"),
        ("redis+sentinel://h1/m?sentinel_pasword=s", "unknown option 'sentinel_pasword'"),
        ("redis+sentinel://h1/m?sentinel_password=a&b", "%26"),
        ("redis+cluster://", "name a host"),
        ("redis+cluster://h1/1", "only the database 0, not 1"),
        ("redis+cluster://h1?db=1", "only the database 0, not 1"),
    ],
)
def test_a_wrong_url_is_named_with_its_fix(url, told):
    """The error quotes the URL and says how to write it."""
    with pytest.raises(ConfigurationError, match=re.escape(told)):
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
        "redis+sentinel://h1/m?sentinel_password=s3cret&other=1",
        "redis+sentinel://h1/m?sentinel_password=x&s3cret",
        "redis+sentinel://h1/m?sentinel_password=x@s3cret",
        "redis+sentinel://h1/m?sentinel_password=s3cret@x",
        "redis+sentinel://:9?s3cret@h1,h2/m",
        "redis+cluster://ann:s3cret@h1:x",
        "rediss://ann:s3cret@h?tls_verify=maybe",
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


SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


@given(
    st.sampled_from(sorted(SCHEMES)), SECRET, SECRET, st.sampled_from(["", "?", "&", "&x=1&", "#", "@", ","])
)
def test_no_password_survives_parsing(scheme, one, other, between):
    """However wrong a URL is put together: neither what is printed of it nor the error shows a password."""
    secrets = (f"<{one}>", f"<{other}>")
    url = f"{scheme}://ann:{secrets[0]}@h1:1,h2/m?sentinel_password={secrets[1]}{between}"

    try:
        shown = f"{parse(url)!s} {parse(url)!r}"
    except ConfigurationError as error:
        shown = str(error)

    assert not [secret for secret in secrets if secret in shown]


@given(SECRET, SECRET)
def test_credentials_survive_quoting(one, other):
    """What was quoted comes back, whatever it is made of."""
    target = parse(
        f"redis+sentinel://{quote(one, safe='')}:{quote(other, safe='')}@h1,h2/m"
        f"?sentinel_username={quote(other, safe='')}&sentinel_password={quote(one, safe='')}"
    )

    assert (target.username, target.password) == (one, other)
    assert (target.sentinel_username, target.sentinel_password) == (other, one)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://ann:secret@h:7000/3", "redis://ann:***@h:7000/3"),
        ("valkeys://:secret@[::1]", "rediss://:***@[::1]:6379/0"),
        (
            "redis+sentinel://:secret@h1,[::1]:1/my%2Fm?sentinel_password=secret",
            "redis+sentinel://:***@h1:26379,[::1]:1/my%2Fm/0",
        ),
        ("rediss+cluster://ann:secret@h1,h2:7001", "rediss+cluster://ann:***@h1:6379,h2:7001"),
        ("unix://:secret@/s?db=1", "unix://:***@/s?db=1"),
        ("embedded:///var/lib/shop", "embedded:///var/lib/shop"),
    ],
)
def test_a_target_prints_as_a_url_without_its_password(url, shown):
    """What logs and errors show can be pasted, and leaks nothing."""
    target = parse(url)

    assert str(target) == shown
    assert str(parse(shown)) == shown
    assert "secret" not in repr(target)


def test_a_node_of_a_cluster_is_spoken_to_like_the_cluster():
    """Credentials and TLS are the same; only a replica is asked for reads."""
    cluster = parse("rediss+cluster://ann:pw@h1,h2?tls_ca=c")

    node = with_address(cluster, "::1", 7000, role="primary")

    assert node == with_tls(replace(parse("redis://ann:pw@[::1]:7000"), role="primary"), Tls(ca="c"))
    assert with_address(cluster, "h", 1, role="replica").readonly


def test_sentinels_have_credentials_of_their_own():
    """The data node gets those of the URL, and its database; the sentinel its own, or none."""
    target = parse("rediss+sentinel://ann:pw@h1,h2/m/3?sentinel_username=s&sentinel_password=sp&tls_name=n")

    data, sentinel = with_address(target, "d", 7000, role="replica"), sentinel_of(target, "h1", 26379)

    assert (data.kind, data.db, data.username, data.password, data.tls) == (
        "tcp",
        3,
        "ann",
        "pw",
        Tls(name="n"),
    )
    assert not data.readonly  # only a Cluster knows the command
    assert (sentinel.kind, sentinel.db, sentinel.username, sentinel.password) == ("tcp", 0, "s", "sp")
    assert sentinel.tls == Tls(name="n")
    assert sentinel_of(parse("redis+sentinel://:pw@h1/m"), "h1", 1).password is None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"key": "k"}, "key='k'"),
        ({"verify": "half"}, "verify='half'"),
        ({"ca": 1}, "ca=1"),
        ({"name": ""}, "name=''"),
        ({"context": object(), "ca": "c"}, "context="),
    ],
)
def test_nonsense_about_tls_is_refused(wrong, told):
    """At once, naming the value."""
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        Tls(**wrong)


@pytest.mark.parametrize("url", ["unix:///s", "embedded://"])
def test_no_tls_without_tcp(url):
    """There is nobody in between."""
    with pytest.raises(ConfigurationError, match=re.escape(url)):
        with_tls(parse(url), Tls())


@pytest.mark.parametrize(
    ("url", "sentinels"),
    [
        ("redis+sentinel://h/m", True),
        ("rediss+sentinel://h/m", True),
        ("rediss+sentinel://h/m?sentinel_tls=no", False),
        ("redis+cluster://h", False),
    ],
)
def test_tls_reaches_the_sentinels_too(url, sentinels):
    """Unless the URL says that they have none."""
    target = with_tls(parse(url), Tls(ca="c"))

    assert target.tls == Tls(ca="c")
    assert target.sentinel_tls == (Tls(ca="c") if sentinels else None)
