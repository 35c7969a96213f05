# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""How values are stored: formats, compression, pieces and seals, from a cache and by hand on the server."""

from __future__ import annotations

import json
import zlib
from typing import Any

import msgspec
import pydantic
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast import L1, MISSING, AsyncHoldfast, CodecError, ConfigurationError, current_load
from holdfast._values.envelope import HEADER
from holdfast._values.wrapping import Cipher
from tests.cache.crowd import AsyncCrowd
from tests.cache.test_cache_async import AsyncCounting, AsyncTable
from tests.cache.test_stale_async import PATIENT, outdate


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


async def test_json_is_read_by_anybody(ahf: AsyncHoldfast, namespace: str):
    """The payload stands behind 56 bytes, whatever Holdfast keeps in them."""
    cache = ahf.cache("users", ttl="1h", codec="json", type=Page)
    await cache.set("k", Page("ü", ["a"]))
    raw = await ahf.execute("GET", key_of(namespace))
    assert json.loads(raw[56:]) == {"title": "ü", "words": ["a"]}
    assert await cache.get("k") == Page("ü", ["a"])


async def test_raw_is_what_it_is(ahf: AsyncHoldfast, namespace: str):
    cache = ahf.cache("users", ttl="1h", codec="raw")
    await cache.set("k", b"\x00\xff" * 3)
    assert (await ahf.execute("GET", key_of(namespace)))[HEADER:] == b"\x00\xff" * 3
    assert await cache.get("k") == b"\x00\xff" * 3
    texts = ahf.cache("texts", ttl="1h", codec="raw", type=str)
    await texts.set("k", "ü")
    assert await texts.get("k") == "ü"
    for refused in (None, 7, "text", {"a": 1}, bytearray(b"x")):
        with pytest.raises(CodecError):
            await cache.set("k", refused)
    assert await cache.get("k") == b"\x00\xff" * 3
    assert await cache.get_or_set("none", AsyncCounting(MISSING)) is MISSING
    with pytest.raises(ConfigurationError, match="raw"):
        ahf.cache("numbers", ttl="1h", codec="raw", type=int)


@pytest.mark.parametrize("codec", ["msgpack", "json"])
async def test_models_of_pydantic(ahf: AsyncHoldfast, codec: Any):
    cache = ahf.cache("users", ttl="1h", codec=codec, type=Person)
    await cache.set("k", Person(name="Ann", age=7))
    found = await cache.get("k")
    assert found == Person(name="Ann", age=7) and isinstance(found, Person)

    @cache.cached("many")
    async def people() -> list[Person]:
        return [Person(name="Bob")]

    assert await people() == await people() == [Person(name="Bob")]


@pytest.mark.parametrize(("before", "after"), [("msgpack", "json"), ("json", "msgpack"), ("msgpack", "raw")])
async def test_another_format_in_the_next_release(
    ahf: AsyncHoldfast, server, namespace: str, before: Any, after: Any
):
    """What the other has written is a miss, and replaced; never an error, never something else."""
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        old = ahf.cache("users", ttl="1h", codec=before, type=str)
        new = second.cache("users", ttl="1h", codec=after, type=str)
        await old.set("k", "old")
        assert await new.get("k") is MISSING
        assert new.stats().undecodable == {"codec": 1}
        assert await new.get_or_set("k", AsyncCounting("new")) == await new.get("k") == "new"
        assert await old.get("k") is MISSING


# --- compression --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
async def test_compression(ahf: AsyncHoldfast, server, namespace: str, compression: Any):
    """Above the threshold and if it is worth it; readers need no setting."""
    options: dict[str, Any] = {
        "ttl": "1h",
        "stale": "1m",
        "compress_above": "1KiB",
        "compression": compression,
    }
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        cache, plain = ahf.cache("users", **options), second.cache("users", ttl="1h", l1=L1())
        values = {"small": "x" * 1000, "large": "x" * 5000, "noise": bytes(range(256)) * 8}
        await cache.set_many(values)
        await cache.set("tagged", "y" * 5000, tags=["t"])
        sizes = {key: await ahf.execute("STRLEN", key_of(namespace, key)) for key in (*values, "tagged")}
        assert sizes["small"] > 1000 and sizes["large"] < 500 and sizes["tagged"] < 500
        for _ in range(3):
            for one in (cache, plain):
                assert await one.get_many(values) == values
                assert [await one.get(key) for key in values] == list(values.values())
                assert await one.get("tagged") == "y" * 5000


# --- big values ---------------------------------------------------------------------------------------------


@pytest.mark.everywhere
async def test_big_values_are_stored_in_pieces(ahf: AsyncHoldfast, namespace: str):
    cache = ahf.cache("users", ttl="1h", chunk_above="64KiB", codec="raw", stale="1m")
    value = bytes(range(256)) * 1200
    assert await cache.set("k", value) is True
    key = key_of(namespace)
    assert await ahf.execute("STRLEN", key) < 200
    assert [await ahf.execute("STRLEN", f"{key}:c{n}") > 0 for n in range(6)] == [True] * 5 + [False]
    assert await ahf.execute("PTTL", f"{key}:c4") > 3_000_000
    assert await cache.get("k") == value
    assert await cache.get_many(["k"]) == {"k": value}
    assert await cache.get_or_set("loaded", AsyncCounting(value)) == value
    assert await cache.get("loaded") == value
    found = await cache.peek("k")
    assert found and found.value == value
    await cache.set("k", b"short")  # the pieces of before are nobody's
    assert await cache.get("k") == b"short"
    await cache.set("k", value[::-1])
    assert await cache.get("k") == value[::-1]
    await cache.invalidate("k")
    assert await cache.get("k") is MISSING


@pytest.mark.parametrize("fault", ["gone", "other", "short", "type"])
async def test_a_piece_that_is_missing_makes_a_miss(ahf: AsyncHoldfast, namespace: str, fault: str):
    cache = ahf.cache("users", ttl="1h", chunk_above=1024, codec="raw")
    await cache.set("k", b"a" * 5000)
    await cache.set("other", b"b" * 5000)
    piece = f"{key_of(namespace)}:c2"
    if fault == "gone":
        await ahf.execute("DEL", piece)
    elif fault == "other":  # of another fill
        await ahf.execute("SET", piece, await ahf.execute("GET", f"{key_of(namespace, 'other')}:c2"))
    elif fault == "short":
        await ahf.execute("SETRANGE", piece, 5000, "x")
    else:
        await ahf.execute("DEL", piece)
        await ahf.execute("LPUSH", piece, "x")
    assert await cache.get("k") is MISSING
    assert cache.stats().undecodable == {"incomplete": 1}
    assert await cache.get_or_set("k", AsyncCounting(b"c" * 3000)) == b"c" * 3000
    assert await cache.get("other") == b"b" * 5000


async def test_small_values_pass_big_ones(ahf: AsyncHoldfast):
    """A value of several MB on its way, and many small ones meanwhile: all arrive, whole."""
    cache = ahf.cache("users", ttl="1h", codec="raw", chunk_above="256KiB")
    big, small = bytes(range(256)) * 16_384, b"small"  # 4 MiB
    await cache.set_many({"small": small, "big": big})
    async with AsyncCrowd() as crowd:
        jobs = [crowd.start(lambda: cache.get("big")) for _ in range(2)]
        writer = crowd.start(lambda: cache.set("other", big))
        for _ in range(50):
            assert await cache.get("small") == small
        assert [await job.result() == big for job in jobs] == [True, True]
        assert await writer.result() is True
    assert await cache.get("other") == big


async def test_big_values_with_everything(ahf: AsyncHoldfast, namespace: str):
    """Tags, an etag, a version, a grace, a seal, compression and pieces in one entry."""
    cache = ahf.cache(
        "users", **PATIENT, l1=L1(), cipher=Seal(), compress_above=100, chunk_above=1024, codec="json"
    )
    value = [str(n * n * 7919) for n in range(2000)]

    async def load() -> Any:
        load = current_load()
        load.etag, load.version = "v1", 7
        load.add_tags("late")
        return value

    assert await cache.get_or_set("k", load, tags=["early"]) == value
    assert await ahf.execute("EXISTS", f"{key_of(namespace)}:c0") == 1
    for _ in range(5):
        assert await cache.get("k") == value
        assert await cache.get_many(["k"]) == {"k": value}
    assert await cache.set("k", ["older"], version=6) is False
    await cache.invalidate_tags("late")
    assert await cache.get("k") is MISSING
    await outdate(cache, "k", value)
    assert await cache.get_or_set("k", AsyncCounting(["new"])) == value
    await AsyncCrowd.until(lambda: cache.get("k"), ["new"])


# --- sealed -------------------------------------------------------------------------------------------------


async def test_sealed_values_are_nowhere_in_the_clear(ahf: AsyncHoldfast, namespace: str):
    cache = ahf.cache("users", ttl="1h", cipher=Seal(), chunk_above=1024)
    secret = "the secret " * 300
    await cache.set("k", secret)
    await cache.set("small", "the secret")
    assert await cache.get_many(["k", "small"]) == {"k": secret, "small": "the secret"}
    for key in ("k", "k:c0", "small"):
        name = key_of(namespace, *key.split(":")[:1]) + (":c0" if ":" in key else "")
        assert b"secret" not in await ahf.execute("GET", name)


async def test_what_does_not_open_is_a_miss(ahf: AsyncHoldfast, server, namespace: str):
    """Another key of the cipher, a value moved to another name, one that was never sealed, a changed byte."""
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        cache = ahf.cache("users", ttl="1h", cipher=Seal())
        others = second.cache("users", ttl="1h", cipher=Seal(b"o" * 32))
        await cache.set("k", "secret")
        assert await others.get("k") is MISSING
        assert others.stats().undecodable == {"sealed": 1}
        raw = await ahf.execute("GET", key_of(namespace))
        await ahf.execute("SET", key_of(namespace, "moved"), raw)
        await cache.get_or_set("moved", AsyncCounting("own"))  # makes its epoch
        epoch = (await ahf.execute("GET", key_of(namespace, "moved")))[16:24]
        await ahf.execute("SET", key_of(namespace, "moved"), raw[:16] + epoch + raw[24:])
        assert await cache.get("moved") is MISSING
        await ahf.execute("SETRANGE", key_of(namespace), HEADER + 14, b"\x00\x00")
        assert await cache.get("k") is MISSING
        assert cache.stats().undecodable["sealed"] >= 2
        assert await cache.get_or_set("k", AsyncCounting("new")) == await cache.get("k") == "new"


async def test_a_cipher_in_the_next_release(ahf: AsyncHoldfast, server, namespace: str):
    """Neither reads what the other wrote: a seal that was stripped off would look like that."""
    async with AsyncHoldfast(server.url, namespace=namespace) as second:
        plain, sealed = ahf.cache("users", ttl="1h"), second.cache("users", ttl="1h", cipher=Seal())
        await plain.set("k", "value")
        assert await sealed.get("k") is MISSING
        await sealed.set("k", "value")
        assert await plain.get("k") is MISSING
        assert plain.stats().undecodable == sealed.stats().undecodable == {"sealed": 1}


async def test_a_cipher_that_fails_stores_nothing(ahf: AsyncHoldfast, namespace: str):
    class Broken(Seal):
        def encrypt(self, data: bytes, associated: bytes) -> bytes:
            raise ValueError("no key")

    cache = ahf.cache("users", ttl="1h", lease="60s", wait="2s", cipher=Broken())
    with pytest.raises(CodecError, match="cipher"):
        await cache.set("k", "secret")
    for _ in range(2):
        with pytest.raises(CodecError, match="cipher"):
            await cache.get_or_set("k", AsyncCounting("secret"))
    assert await ahf.execute("EXISTS", key_of(namespace)) == 0


async def test_sealed_values_written_through(ahf: AsyncHoldfast):
    table = AsyncTable()
    cipher: Cipher = Seal()
    cache = ahf.cache("prices", ttl="1h", cipher=cipher, source=table, write="through")
    await cache.put("k", "value")
    assert await cache.get("k") == "value" and table.calls == ["save"]
