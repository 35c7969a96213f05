# Generated from test_values_async.py by tools/unasync.py. Do not edit.
"""How values are stored: formats, compression, pieces and seals, from a cache and by hand on the server."""

from __future__ import annotations

import json
import zlib
from typing import Any

import msgspec
import pydantic
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast import L1, MISSING, Holdfast, CodecError, ConfigurationError, current_load
from holdfast._values.envelope import HEADER
from holdfast._values.wrapping import Cipher
from tests.cache.crowd import Crowd
from tests.cache.test_cache_sync import Counting, Table
from tests.cache.test_stale_sync import PATIENT, outdate


class Page(msgspec.Struct):
    title: str
    words: list[str] = []


class Person(pydantic.BaseModel):
    name: str
    age: int = 0


class Seal:
    """As in wrapping.py, with a nonce that is good enough for a test."""

    def __init__(self, key: bytes = b"k" * 32) -> None:
        self.aead = AESGCM(key)

    def encrypt(self, data: bytes, associated: bytes) -> bytes:
        nonce = zlib.crc32(data).to_bytes(12, "big")
        return nonce + self.aead.encrypt(nonce, data, associated)

    def decrypt(self, data: bytes, associated: bytes) -> bytes:
        return self.aead.decrypt(data[:12], data[12:], associated)


def key_of(namespace: str, key: str = "k", name: str = "users") -> str:
    return f"{namespace}:1:cache:{name}:{{{key}}}"


# --- formats ------------------------------------------------------------------------------------------------


def test_json_is_read_by_anybody(hf: Holdfast, namespace: str):
    """The payload stands behind 56 bytes, whatever Holdfast keeps in them."""
    cache = hf.cache("users", ttl="1h", codec="json", type=Page)
    cache.set("k", Page("ü", ["a"]))
    raw = hf.execute("GET", key_of(namespace))
    assert json.loads(raw[56:]) == {"title": "ü", "words": ["a"]}
    assert cache.get("k") == Page("ü", ["a"])


def test_raw_is_what_it_is(hf: Holdfast, namespace: str):
    cache = hf.cache("users", ttl="1h", codec="raw")
    cache.set("k", b"\x00\xff" * 3)
    assert (hf.execute("GET", key_of(namespace)))[HEADER:] == b"\x00\xff" * 3
    assert cache.get("k") == b"\x00\xff" * 3
    texts = hf.cache("texts", ttl="1h", codec="raw", type=str)
    texts.set("k", "ü")
    assert texts.get("k") == "ü"
    for refused in (None, 7, "text", {"a": 1}, bytearray(b"x")):
        with pytest.raises(CodecError):
            cache.set("k", refused)
    assert cache.get("k") == b"\x00\xff" * 3
    assert cache.get_or_set("none", Counting(MISSING)) is MISSING
    with pytest.raises(ConfigurationError, match="raw"):
        hf.cache("numbers", ttl="1h", codec="raw", type=int)


@pytest.mark.parametrize("codec", ["msgpack", "json"])
def test_models_of_pydantic(hf: Holdfast, codec: Any):
    cache = hf.cache("users", ttl="1h", codec=codec, type=Person)
    cache.set("k", Person(name="Ann", age=7))
    found = cache.get("k")
    assert found == Person(name="Ann", age=7) and isinstance(found, Person)

    @cache.cached("many")
    def people() -> list[Person]:
        return [Person(name="Bob")]

    assert people() == people() == [Person(name="Bob")]


@pytest.mark.parametrize(("before", "after"), [("msgpack", "json"), ("json", "msgpack"), ("msgpack", "raw")])
def test_another_format_in_the_next_release(
    hf: Holdfast, server, namespace: str, before: Any, after: Any
):
    """What the other has written is a miss, and replaced; never an error, never something else."""
    with Holdfast(server.url, namespace=namespace) as second:
        old = hf.cache("users", ttl="1h", codec=before, type=str)
        new = second.cache("users", ttl="1h", codec=after, type=str)
        old.set("k", "old")
        assert new.get("k") is MISSING
        assert new.stats().undecodable == {"codec": 1}
        assert new.get_or_set("k", Counting("new")) == new.get("k") == "new"
        assert old.get("k") is MISSING


# --- compression --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_compression(hf: Holdfast, server, namespace: str, compression: Any):
    """Above the threshold and if it is worth it; readers need no setting."""
    options: dict[str, Any] = {
        "ttl": "1h",
        "stale": "1m",
        "compress_above": "1KiB",
        "compression": compression,
    }
    with Holdfast(server.url, namespace=namespace) as second:
        cache, plain = hf.cache("users", **options), second.cache("users", ttl="1h", l1=L1())
        values = {"small": "x" * 1000, "large": "x" * 5000, "noise": bytes(range(256)) * 8}
        cache.set_many(values)
        cache.set("tagged", "y" * 5000, tags=["t"])
        sizes = {key: hf.execute("STRLEN", key_of(namespace, key)) for key in (*values, "tagged")}
        assert sizes["small"] > 1000 and sizes["large"] < 500 and sizes["tagged"] < 500
        for _ in range(3):
            for one in (cache, plain):
                assert one.get_many(values) == values
                assert [one.get(key) for key in values] == list(values.values())
                assert one.get("tagged") == "y" * 5000


# --- big values ---------------------------------------------------------------------------------------------


@pytest.mark.everywhere
def test_big_values_are_stored_in_pieces(hf: Holdfast, namespace: str):
    cache = hf.cache("users", ttl="1h", chunk_above="64KiB", codec="raw", stale="1m")
    value = bytes(range(256)) * 1200
    assert cache.set("k", value) is True
    key = key_of(namespace)
    assert hf.execute("STRLEN", key) < 200
    assert [hf.execute("STRLEN", f"{key}:c{n}") > 0 for n in range(6)] == [True] * 5 + [False]
    assert hf.execute("PTTL", f"{key}:c4") > 3_000_000
    assert cache.get("k") == value
    assert cache.get_many(["k"]) == {"k": value}
    assert cache.get_or_set("loaded", Counting(value)) == value
    assert cache.get("loaded") == value
    found = cache.peek("k")
    assert found and found.value == value
    cache.set("k", b"short")  # the pieces of before are nobody's
    assert cache.get("k") == b"short"
    cache.set("k", value[::-1])
    assert cache.get("k") == value[::-1]
    cache.invalidate("k")
    assert cache.get("k") is MISSING


@pytest.mark.parametrize("fault", ["gone", "other", "short", "type"])
def test_a_piece_that_is_missing_makes_a_miss(hf: Holdfast, namespace: str, fault: str):
    cache = hf.cache("users", ttl="1h", chunk_above=1024, codec="raw")
    cache.set("k", b"a" * 5000)
    cache.set("other", b"b" * 5000)
    piece = f"{key_of(namespace)}:c2"
    if fault == "gone":
        hf.execute("DEL", piece)
    elif fault == "other":  # of another fill
        hf.execute("SET", piece, hf.execute("GET", f"{key_of(namespace, 'other')}:c2"))
    elif fault == "short":
        hf.execute("SETRANGE", piece, 5000, "x")
    else:
        hf.execute("DEL", piece)
        hf.execute("LPUSH", piece, "x")
    assert cache.get("k") is MISSING
    assert cache.stats().undecodable == {"incomplete": 1}
    assert cache.get_or_set("k", Counting(b"c" * 3000)) == b"c" * 3000
    assert cache.get("other") == b"b" * 5000


def test_small_values_pass_big_ones(hf: Holdfast):
    """A value of several MB on its way, and many small ones meanwhile: all arrive, whole."""
    cache = hf.cache("users", ttl="1h", codec="raw", chunk_above="256KiB")
    big, small = bytes(range(256)) * 16_384, b"small"  # 4 MiB
    cache.set_many({"small": small, "big": big})
    with Crowd() as crowd:
        jobs = [crowd.start(lambda: cache.get("big")) for _ in range(2)]
        writer = crowd.start(lambda: cache.set("other", big))
        for _ in range(50):
            assert cache.get("small") == small
        assert [job.result() == big for job in jobs] == [True, True]
        assert writer.result() is True
    assert cache.get("other") == big


def test_big_values_with_everything(hf: Holdfast, namespace: str):
    """Tags, an etag, a version, a grace, a seal, compression and pieces in one entry."""
    cache = hf.cache(
        "users", **PATIENT, l1=L1(), cipher=Seal(), compress_above=100, chunk_above=1024, codec="json"
    )
    value = [str(n * n * 7919) for n in range(2000)]

    def load() -> Any:
        load = current_load()
        load.etag, load.version = "v1", 7
        load.add_tags("late")
        return value

    assert cache.get_or_set("k", load, tags=["early"]) == value
    assert hf.execute("EXISTS", f"{key_of(namespace)}:c0") == 1
    for _ in range(5):
        assert cache.get("k") == value
        assert cache.get_many(["k"]) == {"k": value}
    assert cache.set("k", ["older"], version=6) is False
    cache.invalidate_tags("late")
    assert cache.get("k") is MISSING
    outdate(cache, "k", value)
    assert cache.get_or_set("k", Counting(["new"])) == value
    Crowd.until(lambda: cache.get("k"), ["new"])


# --- sealed -------------------------------------------------------------------------------------------------


def test_sealed_values_are_nowhere_in_the_clear(hf: Holdfast, namespace: str):
    cache = hf.cache("users", ttl="1h", cipher=Seal(), chunk_above=1024)
    secret = "the secret " * 300
    cache.set("k", secret)
    cache.set("small", "the secret")
    assert cache.get_many(["k", "small"]) == {"k": secret, "small": "the secret"}
    for key in ("k", "k:c0", "small"):
        name = key_of(namespace, *key.split(":")[:1]) + (":c0" if ":" in key else "")
        assert b"secret" not in hf.execute("GET", name)


def test_what_does_not_open_is_a_miss(hf: Holdfast, server, namespace: str):
    """Another key of the cipher, a value moved to another name, one that was never sealed, a changed byte."""
    with Holdfast(server.url, namespace=namespace) as second:
        cache = hf.cache("users", ttl="1h", cipher=Seal())
        others = second.cache("users", ttl="1h", cipher=Seal(b"o" * 32))
        cache.set("k", "secret")
        assert others.get("k") is MISSING
        assert others.stats().undecodable == {"sealed": 1}
        raw = hf.execute("GET", key_of(namespace))
        hf.execute("SET", key_of(namespace, "moved"), raw)
        cache.get_or_set("moved", Counting("own"))  # makes its epoch
        epoch = (hf.execute("GET", key_of(namespace, "moved")))[16:24]
        hf.execute("SET", key_of(namespace, "moved"), raw[:16] + epoch + raw[24:])
        assert cache.get("moved") is MISSING
        hf.execute("SETRANGE", key_of(namespace), HEADER + 14, b"\x00\x00")
        assert cache.get("k") is MISSING
        assert cache.stats().undecodable["sealed"] >= 2
        assert cache.get_or_set("k", Counting("new")) == cache.get("k") == "new"


def test_a_cipher_in_the_next_release(hf: Holdfast, server, namespace: str):
    """Neither reads what the other wrote: a seal that was stripped off would look like that."""
    with Holdfast(server.url, namespace=namespace) as second:
        plain, sealed = hf.cache("users", ttl="1h"), second.cache("users", ttl="1h", cipher=Seal())
        plain.set("k", "value")
        assert sealed.get("k") is MISSING
        sealed.set("k", "value")
        assert plain.get("k") is MISSING
        assert plain.stats().undecodable == sealed.stats().undecodable == {"sealed": 1}


def test_a_cipher_that_fails_stores_nothing(hf: Holdfast, namespace: str):
    class Broken(Seal):
        def encrypt(self, data: bytes, associated: bytes) -> bytes:
            raise ValueError("no key")

    cache = hf.cache("users", ttl="1h", lease="60s", wait="2s", cipher=Broken())
    with pytest.raises(CodecError, match="cipher"):
        cache.set("k", "secret")
    for _ in range(2):
        with pytest.raises(CodecError, match="cipher"):
            cache.get_or_set("k", Counting("secret"))
    assert hf.execute("EXISTS", key_of(namespace)) == 0


def test_sealed_values_written_through(hf: Holdfast):
    table = Table()
    cipher: Cipher = Seal()
    cache = hf.cache("prices", ttl="1h", cipher=cipher, source=table, write="through")
    cache.put("k", "value")
    assert cache.get("k") == "value" and table.calls == ["save"]
