"""The envelope: its bytes are fixed, what was packed is unpacked, and no bytes break it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast._values import envelope as wire
from holdfast._values.envelope import EXPIRED, HEADER, MAGIC, MSGPACK, NEGATIVE, WIRE_VERSION, Envelope
from holdfast.errors import CodecError

PLAIN = Envelope(
    codec=MSGPACK,
    flags=0,
    schema=0x04030201,
    stamp=b"STAMPxyz",
    epoch=b"EPOCHxyz",
    loaded_at=1_700_000_000_000,
    ttl=60_000,
    version=None,
    load_ms=12,
    tags=(),
    payload=b"\xa3ann",
)
TAGGED = PLAIN._replace(flags=EXPIRED, version=-5, tags=(("org:1", b"version1"), ("é", b"version2")))
FULL = TAGGED._replace(flags=wire.COMPRESSED, grace=600_000, etag='"33a6é"')

# What Holdfast 0.1 stores. Servers hold such bytes while N and N+1 run side by side: to change them, raise
# WIRE_VERSION.
PLAIN_BYTES = bytes.fromhex(
    "f5 01 01 00 01020304 5354414d5078797a 45504f434878797a 0068e5cf8b010000 60ea000000000000"
    "0000000000000000 00000000 0000 0600 a3616e6e"
)
TAGGED_BYTES = bytes.fromhex(
    "f5 01 01 12 01020304 5354414d5078797a 45504f434878797a 0068e5cf8b010000 60ea000000000000"
    "fbffffffffffffff 00000000 0200 0600 0500 6f72673a31 76657273696f6e31 0200 c3a9 76657273696f6e32 a3616e6e"
)
FULL_BYTES = bytes.fromhex(
    "f5 01 01 74 01020304 5354414d5078797a 45504f434878797a 0068e5cf8b010000 60ea000000000000"
    "fbffffffffffffff c0270900 0200 0600 0500 6f72673a31 76657273696f6e31 0200 c3a9 76657273696f6e32"
    "0800 22 33336136 c3a9 22 a3616e6e"
)

eight = st.binary(min_size=8, max_size=8)
u64 = st.integers(0, 2**64 - 1)
envelopes = st.builds(
    Envelope,
    codec=st.sampled_from([wire.RAW, wire.MSGPACK, wire.JSON]),
    flags=st.sets(
        st.sampled_from([NEGATIVE, EXPIRED, wire.COMPRESSED, wire.CHUNKED, wire.SEALED]), max_size=5
    ).map(sum),
    schema=st.integers(0, 2**32 - 1),
    stamp=eight,
    epoch=eight,
    loaded_at=u64,
    ttl=u64,
    version=st.none() | st.integers(-(2**63), -1) | st.integers(1, 2**63 - 1),
    load_ms=st.integers(0, 2**16 - 1).map(lambda units: 2 * units),
    tags=st.lists(st.tuples(st.text(), eight), max_size=4).map(tuple),
    payload=st.binary(),
    grace=st.just(0) | st.integers(1, wire.LONGEST_GRACE),
    etag=st.just("") | st.text(max_size=40),
)


@pytest.mark.parametrize(
    ("envelope", "raw"),
    [(PLAIN, PLAIN_BYTES), (TAGGED, TAGGED_BYTES), (FULL, FULL_BYTES)],
    ids=["plain", "tagged", "full"],
)
def test_the_bytes_of_wire_version_1(envelope, raw):
    """found: big-endian header, tag versions before their names, grace behind the count of tags, etag before
    tags (planted by hand).
    """
    assert wire.pack(envelope) == raw
    assert wire.unpack(raw) == envelope


@given(envelopes)
def test_what_was_packed_is_unpacked(envelope):
    assert wire.unpack(wire.pack(envelope)) == envelope


@given(st.integers(0, 2**40))
def test_the_time_of_a_load_is_kept_to_two_ms_and_never_made_less(load_ms):
    """Less would be loaded anew too late (XFetch); 131 s are enough for any load."""
    found = wire.unpack(wire.pack(PLAIN._replace(load_ms=load_ms))).load_ms
    assert load_ms <= found <= load_ms + 1 or (load_ms >= 131_069 and found == 131_070)


def test_the_places_that_scripts_and_hot_paths_use():
    raw = wire.pack(PLAIN)
    assert len(raw) == HEADER + len(PLAIN.payload)
    assert raw[wire.HEAD] == wire.head(MSGPACK)
    assert raw[wire.STAMP] == PLAIN.stamp
    assert raw[wire.EPOCH] == PLAIN.epoch
    assert int.from_bytes(raw[wire.LOADED_AT], "little") == PLAIN.loaded_at
    full = wire.pack(FULL)
    assert int.from_bytes(full[wire.VERSION], "little", signed=True) == FULL.version
    assert int.from_bytes(full[wire.GRACE_AT], "little") == FULL.grace
    assert int.from_bytes(full[52:54], "little") == len(FULL.tags)
    assert int.from_bytes(full[54:56], "little") == FULL.load_ms // 2
    flagged = raw[: wire.FLAGS_AT] + bytes([EXPIRED]) + raw[wire.FLAGS_AT + 1 :]
    assert wire.unpack(flagged) == PLAIN._replace(flags=EXPIRED)
    assert flagged[wire.IDENTITY] != raw[wire.IDENTITY]


@given(envelopes)
def test_the_head_promises_a_value_right_behind_the_header(envelope):
    """found: no flag for tags, none for an etag, so that the hot path decoded them as the value (planted)."""
    raw = wire.pack(envelope)
    plain = not (envelope.flags or envelope.tags or envelope.etag)
    assert (raw[wire.HEAD] == wire.head(envelope.codec)) is (plain and not envelope.grace)
    assert (raw[wire.HEAD] == wire.head(envelope.codec, wire.GRACE)) is (plain and envelope.grace > 0)
    if plain:
        assert raw[HEADER:] == envelope.payload


@given(st.binary() | st.binary(max_size=200).map(lambda tail: bytes((MAGIC, WIRE_VERSION)) + tail))
@example(b"")
@example(bytes([MAGIC]))
def test_any_bytes_are_an_envelope_or_a_codec_error(raw):
    try:
        envelope = wire.unpack(raw)
    except CodecError as error:
        assert error.reason in {"foreign", "version", "corrupt"}
    else:
        assert wire.unpack(wire.pack(envelope)) == envelope


@given(envelopes, st.data())
def test_an_envelope_cut_anywhere_is_an_envelope_or_a_codec_error(envelope, data):
    raw = wire.pack(envelope)
    head = len(raw) - len(envelope.payload)
    cut = data.draw(st.integers(0, len(raw)))
    try:
        short = wire.unpack(raw[:cut])
    except CodecError as error:
        assert error.reason == ("corrupt" if cut else "foreign")
        assert cut < head
    else:
        assert short == envelope._replace(payload=raw[head:cut])


@given(envelopes, st.data())
def test_an_envelope_with_a_wrong_byte_is_an_envelope_or_a_codec_error(envelope, data):
    raw = bytearray(wire.pack(envelope))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        wire.unpack(bytes(raw))
    except CodecError as error:
        assert error.reason in {"foreign", "version", "corrupt"}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "foreign"),
        (b"\x80\x04N.", "foreign"),
        (b'{"id": 1}', "foreign"),
        (bytes((MAGIC, 2)), "version"),
        (bytes((MAGIC, WIRE_VERSION + 1)) + PLAIN_BYTES[2:], "version"),
        (PLAIN_BYTES[:2] + b"\x09" + PLAIN_BYTES[3:], "version"),  # a codec of tomorrow
        (PLAIN_BYTES[:55], "corrupt"),
        (PLAIN_BYTES[:3] + b"\x10" + PLAIN_BYTES[4:], "corrupt"),  # tags announced, none there
        (PLAIN_BYTES[:3] + b"\x20" + PLAIN_BYTES[4:], "corrupt"),  # grace announced, none there
        (FULL_BYTES[:3] + b"\x54" + FULL_BYTES[4:], "corrupt"),  # grace there, not announced
        (PLAIN_BYTES[:3] + b"\x40" + PLAIN_BYTES[4:], "corrupt"),  # its payload is no etag
        (PLAIN_BYTES[:3] + b"\x40" + PLAIN_BYTES[4:56], "corrupt"),  # nothing where the etag should be
        (FULL_BYTES[:-6], "corrupt"),  # inside the etag
        (FULL_BYTES.replace('é"'.encode(), b'\xff\xff"'), "corrupt"),
        (TAGGED_BYTES[:60], "corrupt"),  # inside a tag's name
        (TAGGED_BYTES[:72], "corrupt"),  # inside the length of the second
        (TAGGED_BYTES[:-6], "corrupt"),  # inside the version of the last
        (TAGGED_BYTES.replace("é".encode(), b"\xff\xff"), "corrupt"),
    ],
)
def test_the_reason_says_who_wrote_it(raw, reason):
    """found: tags that end beyond the bytes, tag names that are no UTF-8 (both planted by hand)."""
    with pytest.raises(CodecError) as caught:
        wire.unpack(raw)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"stamp": b"short"},
        {"epoch": b"123456789"},
        {"version": 0},
        {"version": 2**63},
        {"flags": wire.GRACE},
        {"flags": wire.TAGGED},
        {"flags": wire.ETAG},
        {"grace": -1},
        {"grace": wire.LONGEST_GRACE + 1},
        {"etag": "e" * 65536},
        {"etag": "\ud800"},
        {"load_ms": -2},
        {"schema": -1},
        {"ttl": -1},
        {"loaded_at": 2**64},
        {"tags": (("t", b"short"),)},
        {"tags": (("t" * 65536, b"version1"),)},
        {"tags": (("\ud800", b"version1"),)},
        {"tags": (("t", b"version1"),) * 65536},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_does_not_fit_the_layout_is_refused_when_written(wrong):
    """found: a stamp of 5 bytes was padded, one of 9 was cut (struct's "8s", planted by hand)."""
    with pytest.raises(CodecError) as caught:
        wire.pack(PLAIN._replace(**wrong))
    assert caught.value.reason == "unencodable"
