"""Config files: ours, the shape that articles print, and what is said about wrong ones."""

import pytest

from holdfast import ConfigurationError, Holdfast
from holdfast._wire.config import read


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
    ],
)
def test_the_shape_that_articles_print(tmp_path, text, url):
    """A `redis:` table with address, password and db."""
    assert read(write(tmp_path, "a.yaml", text)) == {"url": url}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.yaml", "urll: redis://h", "unknown setting 'urll'"),
        ("a.yaml", "redis: {adress: [h]}", "unknown setting 'redis.adress'"),
        ("a.yaml", "redis: {address: [a, b]}", "one server"),
        ("a.yaml", "redis: {failover_cluster: true, master_name: m, address: [a]}", "Sentinel"),
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


def test_no_url_is_an_error_that_shows_both_fixes(monkeypatch):
    """Never a silent server."""
    monkeypatch.delenv("HOLDFAST_URL", raising=False)

    with pytest.raises(ConfigurationError, match=r"(?s)embedded://.*export HOLDFAST_URL"):
        Holdfast()
