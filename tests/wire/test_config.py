"""Config files: ours, the shape that articles print, and what is said about wrong ones."""

import ssl

import pytest
import redis

from holdfast import ConfigurationError, Holdfast, Tls
from holdfast._client import check
from holdfast._wire.config import read
from holdfast._wire.tls import secured
from holdfast._wire.url import parse

FULL = Tls(ca="c", cert="d", key="k", name="n", verify="chain")


def write(tmp_path, name, text):
    """A config file."""
    file = tmp_path / name
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "url: redis://h:1/2\nnamespace: shop\ntimeout: 2s\n"),
        ("a.yml", "holdfast:\n  url: redis://h:1/2\n  namespace: shop\n  timeout: 2s\n"),
        ("a.toml", 'url = "redis://h:1/2"\nnamespace = "shop"\ntimeout = "2s"\n'),
        ("a.toml", '[holdfast]\nurl = "redis://h:1/2"\nnamespace = "shop"\ntimeout = "2s"\n'),
    ],
)
def test_our_shape(tmp_path, name, text):
    """YAML and TOML, at the top or below `holdfast:`."""
    assert read(write(tmp_path, name, text)) == {"url": "redis://h:1/2", "namespace": "shop", "timeout": "2s"}


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("redis: {address: ['10.0.0.5:6379'], password: p@ss, db: 3}", "redis://:p%40ss@10.0.0.5:6379/3"),
        ("redis: {address: h, username: ann, password: 123}", "redis://ann:123@h/0"),
        ("redis: {host: h, port: 7000}", "redis://h:7000/0"),
        ("redis: {failover_cluster: false, address: ['h:1']}", "redis://h:1/0"),
        ("redis: {failover_cluster: false, master_name: m, address: h}", "redis://h/0"),
        ("redis: {host: '::1', port: 7000}", "redis://[::1]:7000/0"),
        ("redis: {address: ['::1']}", "redis://[::1]/0"),
        ("redis: {address: ['[::1]:7']}", "redis://[::1]:7/0"),
        (
            "redis: {failover_cluster: true, master_name: my/m, address: [a, '::1'], password: p@, db: 2}",
            "redis+sentinel://:p%40@a,[::1]/my%2Fm/2",
        ),
        (
            "redis: {master_name: m, addresses: [a], sentinel_username: s, sentinel_password: 'a&b@'}",
            "redis+sentinel://a/m/0?sentinel_username=s&sentinel_password=a%26b%40",
        ),
        (
            "redis: {cluster: true, address: ['a:1', b], username: ann, password: p}",
            "redis+cluster://ann:p@a:1,b/0",
        ),
        (
            "redis: {startup_nodes: [{host: a, port: 1}, {host: '::1', port: 2}, b]}",
            "redis+cluster://a:1,[::1]:2,b/0",
        ),
    ],
)
def test_the_shape_that_articles_print(tmp_path, text, url):
    """A `redis:` table with address, password and db."""
    assert read(write(tmp_path, "a.yaml", text)) == {"url": url}
    assert parse(url)


@pytest.mark.parametrize(
    ("text", "tls"),
    [
        ("url: redis://h\ntls: true", True),
        ("url: redis://h\ntls: false", False),
        ("url: redis://h\ntls: {ca: c, cert: d, key: k, name: n, verify: chain}", FULL),
        ("redis: {address: h, tls: {ca: c, cert: d, key: k, name: n, verify: chain}}", FULL),
        ("redis: {address: h}\ntls: {ca: c}", Tls(ca="c")),
    ],
)
def test_tls_is_a_word_or_a_table(tmp_path, text, tls):
    """In either shape."""
    assert read(write(tmp_path, "a.yaml", text))["tls"] == tls


def test_tls_in_toml(tmp_path):
    """As a table of its own."""
    text = 'url = "redis://h"\n[tls]\nca = "c"\n'

    assert read(write(tmp_path, "a.toml", text)) == {"url": "redis://h", "tls": Tls(ca="c")}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.yaml", "urll: redis://h", "unknown setting 'urll'"),
        ("a.yaml", "redis: {adress: [h]}", "unknown setting 'redis.adress'"),
        ("a.yaml", "redis: {address: [a, b]}", "one server.*failover_cluster.*cluster"),
        ("a.yaml", "redis: {failover_cluster: true, address: [a]}", "master_name"),
        ("a.yaml", "redis: {failover_cluster: true, master_name: m}", "name the sentinels"),
        ("a.yaml", "redis: {failover_cluster: 'on', address: [a]}", "redis.failover_cluster must be true or"),
        ("a.yaml", "redis: {cluster: true}", "name the nodes"),
        ("a.yaml", "redis: {cluster: true, failover_cluster: true, address: [a]}", "exclude each other"),
        ("a.yaml", "redis: {address: [a], startup_nodes: [b]}", "keep one"),
        ("a.yaml", "redis: {address: [1]}", "host and port"),
        ("a.yaml", "redis: {startup_nodes: [{host: a, prot: 1}]}", "host and port"),
        ("a.yaml", "{url: 'redis://h', tls: 'yes'}", "'tls' must be true, or a table of ca, cert"),
        ("a.yaml", "{url: 'redis://h', tls: {cafile: c}}", "unknown setting 'tls.cafile'"),
        ("a.yaml", "{url: 'redis://h', tls: {verify: half}}", "verify='half'"),
        ("a.yaml", "- a", "table of settings"),
        ("a.yaml", "a: [", "line"),
        ("a.toml", "a = ", "TOML"),
        ("a.ini", "a", "must end in"),
    ],
)
def test_a_wrong_file_is_named_with_its_fix(tmp_path, name, text, told):
    """The error names the file, the key and the fix."""
    with pytest.raises(ConfigurationError, match=told) as caught:
        read(write(tmp_path, name, text))

    assert name in str(caught.value)


def test_a_missing_file(tmp_path):
    """It is named."""
    with pytest.raises(ConfigurationError, match="missing.toml"):
        read(tmp_path / "missing.toml")


def test_broken_yaml_never_shows_the_password(tmp_path):
    """The parser would quote the line."""
    with pytest.raises(ConfigurationError) as caught:
        read(write(tmp_path, "a.yaml", "redis: {password: s3cret, db: ]}"))

    assert "s3cret" not in str(caught.value)


def test_argument_before_file_before_environment(tmp_path, monkeypatch):
    """Each wins over the next."""
    file = write(tmp_path, "a.toml", 'url = "redis://file"')
    monkeypatch.setenv("HOLDFAST_URL", "redis://environment")

    assert "redis://argument:" in repr(Holdfast.from_config(file, url="redis://argument"))
    assert "redis://file:" in repr(Holdfast.from_config(file))
    assert "redis://environment:" in repr(Holdfast.from_config(write(tmp_path, "b.toml", 'namespace = "x"')))


@pytest.mark.parametrize(
    ("url", "tls", "shown"),
    [
        ("redis://h", True, "rediss://h:6379/0"),
        ("redis://h", Tls(ca="c"), "rediss://h:6379/0"),
        ("redis://h", ssl.create_default_context(), "rediss://h:6379/0"),
        ("redis://h", False, "redis://h:6379/0"),
        ("rediss://h?tls_ca=c", True, "rediss://h:6379/0"),
        ("redis+cluster://h", True, "rediss+cluster://h:6379"),
        ("redis+sentinel://h/m", True, "rediss+sentinel://h:26379/m/0"),
    ],
)
def test_the_argument_tls_switches_it_on(url, tls, shown):
    """Whatever the URL says."""
    assert str(secured(parse(url), tls)) == shown
    assert str(check_only(url, tls).target) == shown


def test_the_argument_tls_replaces_what_the_url_says():
    """Only True keeps it; a context cannot say which name is expected, so that stays."""
    target = parse("rediss://h?tls_ca=c&tls_name=n")
    context = ssl.create_default_context()

    assert secured(target, True).tls == Tls(ca="c", name="n")
    assert secured(target, Tls(ca="d")).tls == Tls(ca="d")
    tls = secured(target, context).tls
    assert tls is not None
    assert (tls.name, tls.context) == ("n", context)


@pytest.mark.parametrize(
    ("url", "tls", "told"),
    [
        ("embedded://", True, "embedded://"),
        ("unix:///s", Tls(), "unix:///s"),
        ("rediss://h", False, "tls=False"),
        ("redis://h", "yes", "tls='yes'"),
        ("redis://h", Tls(context=1), "context=1"),
    ],
)
def test_a_wrong_argument_tls_is_named(url, tls, told):
    """At once."""
    with pytest.raises(ConfigurationError, match=told):
        check_only(url, tls)


def test_tls_of_a_client_is_its_own_affair():
    """Who brings a client has decided."""
    with pytest.raises(ConfigurationError, match="exclude each other"):
        Holdfast(client=redis.Redis(), tls=True)


def check_only(url, tls):
    """The settings of a client with these arguments."""
    return check(
        None,
        named=url,
        namespace="n",
        timeout=1,
        connect_timeout=1,
        max_connections=1,
        client=None,
        transport=None,
        environment={},
        tls=tls,
    )


def test_no_url_is_an_error_that_shows_both_fixes(monkeypatch):
    """Never a silent server."""
    monkeypatch.delenv("HOLDFAST_URL", raising=False)

    with pytest.raises(ConfigurationError, match=r"(?s)embedded://.*export HOLDFAST_URL"):
        Holdfast()
