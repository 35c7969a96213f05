"""Wrapping: what was wrapped is unwrapped, small, under its own name only, and whatever the bytes are."""

from __future__ import annotations

import os
import random
import struct
import sys
import threading
import tracemalloc
import types
import zlib

import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from holdfast._values import wrapping as wire
from holdfast._values.envelope import COMPRESSED, EXPIRED, JSON, MSGPACK, SEALED
from holdfast._values.wrapping import Wrapping, name_of
from holdfast.errors import CodecError, ConfigurationError

TEXT = b'{"id": 1, "name": "ann", "mail": "ann@example.com"}' * 40
NAME = name_of("ns:1:cache:users:{42}", MSGPACK, 7)
OTHER = name_of("ns:1:cache:users:{43}", MSGPACK, 7)


class Seal:
    """The cipher of the docstring, for any AEAD of `cryptography`; the last key seals."""

    def __init__(self, keys: dict[bytes, bytes], aead=AESGCM) -> None:
        self._keys = {id: aead(key) for id, key in keys.items()}

    def encrypt(self, data: bytes, associated: bytes) -> bytes:
        id, nonce = list(self._keys)[-1], os.urandom(12)
        return id + nonce + self._keys[id].encrypt(nonce, data, id + associated)

    def decrypt(self, data: bytes, associated: bytes) -> bytes:
        id, nonce = data[:4], data[4:16]
        return self._keys[id].decrypt(nonce, data[16:], id + associated)


K1, K2 = b"1" * 32, b"2" * 32
AES = Seal({b"key1": K1})
CHACHA = Seal({b"key1": K1}, ChaCha20Poly1305)
CIPHERS = [None, AES, CHACHA]
ALL = [
    Wrapping(above, algorithm, cipher)
    for above in (None, 0, 100)
    for algorithm in ("zlib", "zstd")
    for cipher in CIPHERS
]
SEALING = [wrapping for wrapping in ALL if wrapping.cipher]
ZLIB, ZSTD = Wrapping(0), Wrapping(0, "zstd")

bodies = st.binary(max_size=400) | st.tuples(st.binary(min_size=1, max_size=9), st.integers(0, 60)).map(
    lambda t: t[0] * t[1]
)


def refused(call, *args):
    with pytest.raises(CodecError) as caught:
        call(*args)
    return caught.value.reason


# --- round trips --------------------------------------------------------------------------------------------


@given(bodies, st.sampled_from(ALL), st.binary(max_size=40))
def test_what_was_wrapped_is_unwrapped(body, wrapping, name):
    flags, data = wrapping.wrap(body, name)
    assert flags & ~(COMPRESSED | SEALED) == 0
    assert bool(flags & SEALED) is (wrapping.cipher is not None)
    assert wrapping.unwrap(flags | EXPIRED, data, name) == body


@given(bodies, st.sampled_from(ALL), st.sampled_from(ALL))
def test_readers_with_other_settings_understand_it(body, writer, reader):
    """found: the reader's algorithm, not the one in the first byte (planted by hand)."""
    if writer.cipher is reader.cipher:
        assert reader.unwrap(*writer.wrap(body, NAME), NAME) == body
    else:
        assert refused(reader.unwrap, *writer.wrap(body, NAME), NAME) == "sealed"


def test_the_compressed_bytes_are_fixed():
    """Servers hold such bytes while N and N+1 run side by side."""
    for wrapping, number, expand in ((ZLIB, 1, zlib.decompress), (ZSTD, 2, zstandard.decompress)):
        flags, data = wrapping.wrap(TEXT, NAME)
        assert flags == COMPRESSED
        assert data[:5] == bytes([number]) + len(TEXT).to_bytes(4, "little")
        assert expand(data[5:]) == TEXT


# --- compression --------------------------------------------------------------------------------------------


def test_only_what_is_larger_and_gets_smaller_is_compressed():
    """found: `>=`; random bytes kept in the larger form (both planted by hand)."""
    noise = os.urandom(2000)
    for algorithm in ("zlib", "zstd"):
        wrapping = Wrapping(len(TEXT), algorithm)
        assert wrapping.wrap(TEXT, NAME) == (0, TEXT)
        flags, data = wrapping.wrap(TEXT + b" ", NAME)
        assert flags == COMPRESSED
        assert len(data) < len(TEXT) / 5
        assert Wrapping(0, algorithm).wrap(noise, NAME) == (0, noise)
    assert Wrapping(None).wrap(TEXT, NAME) == (0, TEXT)


def test_less_than_a_tenth_is_not_worth_it():
    """Readers would pay at every hit for next to nothing. found: `<` of the lengths (planted by hand)."""
    body = random.Random(1).randbytes(1000) + b"a" * 90
    assert len(zlib.compress(body, 1)) + 5 < len(body)
    assert ZLIB.wrap(body, NAME) == (0, body)
    assert ZLIB.wrap(body + b"a" * 200, NAME)[0] == COMPRESSED


@given(
    st.binary(max_size=200)
    | st.tuples(st.integers(0, 3), st.integers(0, 2**32 - 1), st.binary()).map(
        lambda t: struct.pack("<BI", t[0], t[1]) + t[2]
    )
)
def test_any_bytes_are_a_body_or_a_codec_error(data):
    for wrapping in (ZLIB, ZSTD, Wrapping()):
        try:
            wrapping.unwrap(COMPRESSED, data, NAME)
        except CodecError as error:
            assert error.reason == "compressed"


@given(st.sampled_from([ZLIB, ZSTD]), st.data())
def test_a_compressed_body_with_a_wrong_byte_is_never_another_body(wrapping, draw):
    """Both streams carry a checksum. found: zstd without (planted by hand)."""
    flags, data = wrapping.wrap(TEXT, NAME)
    wrong = bytearray(data)
    wrong[draw.draw(st.integers(0, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    try:
        body = wrapping.unwrap(flags, bytes(wrong), NAME)
    except CodecError as error:
        assert error.reason == "compressed"
    else:
        assert body == TEXT  # a bit in the stream's header that no reader looks at


@given(st.sampled_from([ZLIB, ZSTD]), st.data())
def test_a_compressed_body_that_is_cut_or_goes_on_is_refused(wrapping, draw):
    """found: no look at `eof` and `unused_data`; extra data allowed (both planted by hand)."""
    flags, data = wrapping.wrap(TEXT, NAME)
    cut = draw.draw(st.integers(0, len(data) - 1))
    for wrong in (data[:cut], data[:-1], data + b"x", data + data[5:]):
        assert refused(wrapping.unwrap, flags, wrong, NAME) == "compressed"


@pytest.mark.parametrize("number", [0, 3, 255])
def test_an_algorithm_of_tomorrow_is_a_miss(number):
    for pack in (zlib.compress, zstandard.compress):
        data = struct.pack("<BI", number, len(TEXT)) + pack(TEXT)
        assert refused(ZLIB.unwrap, COMPRESSED, data, NAME) == "compressed"


def zstd_without_length(body):
    """As a stream of another language may be: it does not say how long it is."""
    pack = zstandard.ZstdCompressor().compressobj()
    return pack.compress(body) + pack.flush()


COMPRESSORS = {
    "zlib": (1, zlib.compress),
    "zstd": (2, zstandard.compress),
    "zstd of unknown length": (2, zstd_without_length),
}


@pytest.mark.parametrize(("number", "pack"), COMPRESSORS.values(), ids=COMPRESSORS)
def test_a_bomb_is_noticed_not_unfolded(number, pack):
    """64 MiB in a few KiB that say they were 1000 bytes. found: a plain `decompress` (planted by hand)."""
    bomb = pack(bytes(1 << 26))
    assert ZLIB.unwrap(COMPRESSED, struct.pack("<BI", number, 1000) + pack(bytes(1000)), NAME) == bytes(1000)
    tracemalloc.start()
    for said in (0, 1, 1000, 100_000):
        assert refused(ZLIB.unwrap, COMPRESSED, struct.pack("<BI", number, said) + bomb, NAME) == "compressed"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


@pytest.mark.parametrize(("number", "pack"), COMPRESSORS.values(), ids=COMPRESSORS)
def test_another_length_than_said_is_refused(number, pack):
    stream = pack(TEXT)
    for said in (len(TEXT) - 1, len(TEXT) + 1, 2**31, 2**32 - 1):
        data = struct.pack("<BI", number, said) + stream
        assert refused(ZLIB.unwrap, COMPRESSED, data, NAME) == "compressed"


def test_more_than_a_gibibyte_is_absurd(monkeypatch):
    """Neither written nor read; here with a gibibyte of 1000 bytes."""
    monkeypatch.setattr(wire, "LARGEST", 1000)
    for wrap in (ZLIB, ZSTD):
        flags, data = wrap.wrap(bytes(1000), NAME)
        assert wrap.unwrap(flags, data, NAME) == bytes(1000)
        assert wrap.wrap(bytes(1001), NAME) == (0, bytes(1001))
        monkeypatch.setattr(wire, "LARGEST", 999)
        with pytest.raises(CodecError, match="at most 999"):
            wrap.unwrap(flags, data, NAME)
        monkeypatch.setattr(wire, "LARGEST", 1000)


def test_many_threads_may_share_one():
    """zstd's contexts may not be shared."""
    bodies = [bytes([65 + number]) * 50_000 + TEXT for number in range(8)]
    wrong = []

    def work(body):
        for _ in range(20):
            if ZSTD.unwrap(*ZSTD.wrap(body, NAME), NAME) != body:
                wrong.append(body[:1])

    threads = [threading.Thread(target=work, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- where zstd comes from ----------------------------------------------------------------------------------


@pytest.fixture
def fresh_zstd():
    """The choice is made once per process: made anew in this test, and again after it."""
    wire._zstd.cache_clear()
    yield
    wire._zstd.cache_clear()


def test_without_the_extra_zstd_is_refused_at_construction_and_a_miss_when_read(monkeypatch, fresh_zstd):
    flags, data = ZSTD.wrap(TEXT, NAME)
    wire._zstd.cache_clear()
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression", None)
    with pytest.raises(ConfigurationError, match=r"holdfast\[zstd\]"):
        Wrapping(1000, "zstd")
    assert refused(ZLIB.unwrap, flags, data, NAME) == "compressed"
    assert ZLIB.unwrap(*ZLIB.wrap(TEXT, NAME), NAME) == TEXT


class Expander:
    """What `compression.zstd.ZstdDecompressor` of Python 3.14 offers."""

    def __init__(self):
        self.eof, self.unused_data = False, b""

    def decompress(self, data, max_length):
        body = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        self.eof = len(body) <= max_length
        return body[:max_length]


def test_zstd_of_python_comes_first(monkeypatch, fresh_zstd):
    """Its calls, on a module of the same shape, so that Pythons without it see them, too."""
    seen = []

    def compress(body, options):
        seen.append(options)
        return zstandard.compress(body, options["level"])

    names = types.SimpleNamespace(compression_level="level", checksum_flag="checksum")
    module: types.ModuleType = types.ModuleType("compression.zstd")
    vars(module).update(compress=compress, ZstdDecompressor=Expander, CompressionParameter=names)
    monkeypatch.setitem(sys.modules, "compression", types.ModuleType("compression"))
    monkeypatch.setitem(sys.modules, "compression.zstd", module)
    flags, data = ZSTD.wrap(TEXT, NAME)
    assert seen == [{"level": 3, "checksum": 1}]
    assert ZSTD.unwrap(flags, data, NAME) == TEXT
    wrong = struct.pack("<BI", 2, len(TEXT) - 1) + data[5:]
    assert refused(ZSTD.unwrap, COMPRESSED, wrong, NAME) == "compressed"
    wire._zstd.cache_clear()
    monkeypatch.undo()
    assert ZSTD.unwrap(flags, data, NAME) == TEXT  # one format, whoever has written it


# --- sealing ------------------------------------------------------------------------------------------------


@given(bodies, st.sampled_from(SEALING), st.binary(max_size=40), st.binary(max_size=40))
def test_under_another_name_it_never_opens(body, wrapping, name, other):
    """found: associated data left out (planted by hand)."""
    flags, data = wrapping.wrap(body, name)
    if name != other:
        assert refused(wrapping.unwrap, flags, data, other) == "sealed"


def test_the_name_binds_key_codec_and_schema():
    names = {
        name_of(key, codec, schema)
        for key in ("a", "b", "é", "a:s00000001")
        for codec in (MSGPACK, JSON)
        for schema in (0, 1, 2**32 - 1)
    }
    assert len(names) == 24
    assert NAME != OTHER


@given(bodies, st.sampled_from(SEALING), st.data())
def test_a_wrong_byte_is_never_served(body, wrapping, draw):
    flags, data = wrapping.wrap(body, NAME)
    wrong = bytearray(data)
    wrong[draw.draw(st.integers(0, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    assert refused(wrapping.unwrap, flags, bytes(wrong), NAME) == "sealed"
    assert refused(wrapping.unwrap, flags, data[: draw.draw(st.integers(0, len(data) - 1))], NAME) == "sealed"


@given(bodies, st.sampled_from(SEALING))
def test_a_flag_that_was_turned_is_never_served(body, wrapping):
    """The envelope is not sealed: without the seal on COMPRESSED, a raw codec would serve the compressed
    bytes as the value. found: associated = name alone (planted by hand).
    """
    flags, data = wrapping.wrap(body, NAME)
    assert refused(wrapping.unwrap, flags ^ COMPRESSED, data, NAME) == "sealed"
    assert refused(wrapping.unwrap, flags ^ SEALED, data, NAME) == "sealed"


@given(st.binary(max_size=200), st.sampled_from(SEALING), st.sampled_from([SEALED, SEALED | COMPRESSED]))
def test_any_bytes_do_not_open(data, wrapping, flags):
    assert refused(wrapping.unwrap, flags, data, NAME) == "sealed"


def test_plain_bytes_are_not_served_by_a_cache_with_a_cipher_nor_sealed_ones_without():
    """The first would let whoever writes to the server choose the value. found: `if flags & SEALED: open`
    (planted by hand).
    """
    sealing = Wrapping(None, cipher=AES)
    assert refused(sealing.unwrap, 0, TEXT, NAME) == "sealed"
    assert refused(sealing.unwrap, *ZLIB.wrap(TEXT, NAME), NAME) == "sealed"
    assert refused(ZLIB.unwrap, *sealing.wrap(TEXT, NAME), NAME) == "sealed"


def test_nothing_of_the_value_is_to_be_seen():
    for wrapping in SEALING:
        assert b"ann" not in wrapping.wrap(TEXT, NAME)[1]


def test_it_is_compressed_before_it_is_sealed():
    """Sealed bytes cannot be compressed. found: the other order (planted by hand)."""
    assert len(Wrapping(0, cipher=AES).wrap(TEXT, NAME)[1]) < len(TEXT) / 4


def test_keys_are_rotated_by_the_cipher():
    """First every process can open with the new key, then they seal with it, then the old one goes."""
    old, prepared = Wrapping(cipher=Seal({b"key1": K1})), Wrapping(cipher=Seal({b"key2": K2, b"key1": K1}))
    rotated, new = Wrapping(cipher=Seal({b"key1": K1, b"key2": K2})), Wrapping(cipher=Seal({b"key2": K2}))
    for writer, readers in (
        (old, [old, prepared, rotated]),
        (prepared, [old, prepared, rotated]),
        (rotated, [prepared, rotated, new]),
        (new, [prepared, rotated, new]),
    ):
        for reader in (old, prepared, rotated, new):
            wrapped = writer.wrap(TEXT, NAME)
            if reader in readers:
                assert reader.unwrap(*wrapped, NAME) == TEXT
            else:
                assert refused(reader.unwrap, *wrapped, NAME) == "sealed"


class Broken:
    def __init__(self, result):
        self.result = result

    def encrypt(self, data, associated):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    decrypt = encrypt


@pytest.mark.parametrize(
    "result", [KeyError("k"), RuntimeError("kms"), None, "text", bytearray(b"x")], ids=repr
)
def test_a_cipher_that_fails_makes_a_miss_and_stores_nothing(result):
    wrapping = Wrapping(cipher=Broken(result))
    assert refused(wrapping.wrap, TEXT, NAME) == "unencodable"
    assert refused(wrapping.unwrap, SEALED, TEXT, NAME) == "sealed"


def test_the_error_says_nothing_of_the_value():
    class Chatty(Broken):
        def decrypt(self, data, associated):
            raise ValueError(f"cannot open {data!r}")

    with pytest.raises(CodecError) as caught:
        Wrapping(cipher=Chatty(b"")).unwrap(SEALED, b"secret", NAME)
    assert "secret" not in str(caught.value)


# --- settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"compress_above": -1}, "compress_above=-1"),
        ({"compress_above": True}, "compress_above=True"),
        ({"compress_above": "1 KiB"}, "compress_above='1 KiB'"),
        ({"algorithm": "gzip"}, "algorithm='gzip'"),
        ({"algorithm": None}, "algorithm=None"),
        ({"cipher": object()}, "cipher=object has no encrypt, decrypt"),
        ({"cipher": types.SimpleNamespace(encrypt=len)}, "has no decrypt"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(settings, named):
    with pytest.raises(ConfigurationError, match=named):
        Wrapping(**settings)
