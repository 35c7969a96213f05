"""`holdfast cache inspect NAME KEY`."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

from holdfast._values import chunks
from holdfast._values.envelope import CHUNKED, Envelope
from holdfast._wire.transport import Command
from holdfast.cli.cache import sight, value, walk, words
from holdfast.cli.cache.inverse import shown, tag_of
from holdfast.cli.cache.paper import Line, Paper
from holdfast.cli.cache.place import Place, client
from holdfast.cli.cache.sight import CODECS, STATES, Sight
from holdfast.cli.up.screen import Part
from holdfast.errors import CodecError

_LONGEST = 200  # characters of a value
_LOOKS = {"fresh": "green", "stale": "yellow", "expired": "yellow"}


class Around(NamedTuple):
    """What stands beside an entry: lease, hold, what is left of them (ms), and who waits for the source."""

    lease: str
    lease_left: int
    hold: bytes
    hold_left: int
    is_off: bool
    waits: bool
    variants: list[str]
    all_seen: bool
    chunks: str


def run(asked: argparse.Namespace) -> int:
    """Show the entry. Raises: ConfigurationError, Unavailable, Refused."""
    paper = Paper(json=asked.json)
    tag = tag_of(asked.key, is_int=asked.is_int, is_text=asked.is_text)
    with client(asked) as hf:
        place = Place(hf, asked.name)
        key = place.entry(tag)
        raw = hf.execute("GET", key)
        named = walk.Named("entry", tag, key)
        seen = place.drive(sight.look([named] if raw else [], place.epochs, place.tag_key))
        # Unpacked once more, from all of its bytes.
        entry = sight.parsed(raw)[0] if raw and seen else None
        around = _around(place, tag, key, entry, asked.limit)
    one = seen[0] if seen else None
    paper.data(as_data(asked.name, tag, key, one, entry, around))
    paper.say(Part(words.safe(asked.name), "bold"), " ", Part(words.safe(shown(tag)), "bold"))
    paper.facts(_facts(key, one, entry, around))
    return 0


def _around(place: Place, tag: str, key: str, entry: Envelope | None, limit: int) -> Around:
    questions: list[Command] = [("GET", f"{key}:f"), ("PTTL", f"{key}:f"), ("GET", f"{key}:v")]
    questions.append(("PTTL", f"{key}:v"))
    if place.layout is not None:
        questions.append(("HEXISTS", place.layout.of(tag).pending, tag))
    lease, lease_left, hold, hold_left, *waits = place.ask(questions)
    variants: set[str] = set()

    def take(found: str) -> bool:
        variants.add(found[len(key) + 2 :])
        return True

    match = walk.pattern(f"{key}:s", "????????")
    walked = place.drive(walk.walk(match, limit, take, lambda _: None, further=1))
    return Around(
        (lease or b"").decode("utf-8", "replace"), lease_left, hold or b"", hold_left, place.is_off,
        any(waits), sorted(variants), walked.complete, _chunks(place, key, entry),
    )  # fmt: skip


def _chunks(place: Place, key: str, entry: Envelope | None) -> str:
    """How many of a big value's chunks there are."""
    if entry is None or not entry.flags & CHUNKED:
        return ""
    try:
        needed = chunks.parts(entry.payload)
    except CodecError:
        return "its manifest cannot be read"
    names = [chunks.key(key, index) for index in range(needed)]
    there = sum(sum(place.ask([("EXISTS", name) for name in page])) for page in walk.pages(names, 500))
    return f"{there} of {needed} chunks there"


# --- in words -----------------------------------------------------------------------------------------------


def _facts(key: str, one: Sight | None, entry: Envelope | None, around: Around) -> list[tuple[str, Line]]:
    rows: list[tuple[str, Line]] = [("key", [words.safe(key)])]
    if one is None:
        rows.append(("state", [Part("nothing is stored", "bold yellow"), ": a reader loads it"]))
    else:
        state = one.trouble or one.state
        rows.append(
            ("state", [Part(one.state, f"bold {_LOOKS.get(one.state, 'red')}"), ": ", STATES[one.state]])
        )
        if entry is None:
            rows.append(("", [f"why: {state}, {words.size(one.size)}"]))
        else:
            rows += _entry_facts(one, entry, around)
    rows += _around_facts(around)
    return rows


def _entry_facts(one: Sight, entry: Envelope, around: Around) -> list[tuple[str, Line]]:
    schema = f"schema {entry.schema:08x}"
    what = ", ".join([CODECS[entry.codec], schema, *one.flags, words.size(one.weight), *_some(around.chunks)])
    rows: list[tuple[str, Line]] = [("what", [what]), ("age", [words.duration(one.age), _life(one)])]
    if entry.load_ms:
        rows.append(("load", [f"took {words.duration(entry.load_ms / 1000)}"]))
    if entry.version is not None:
        rows.append(("version", [str(entry.version)]))
    if entry.etag:
        rows.append(("etag", [words.safe(entry.etag)]))
    for place, (name, current) in enumerate(one.carries.items()):
        told = Part("current", "green") if current else Part("invalidated since", "red")
        rows.append(("" if place else "tags", [words.safe(name), "  ", told]))
    text, why = value.shown(entry)
    rows.append(
        ("value", [words.short(text, _LONGEST) if not why else Part(words.short(why, _LONGEST), "dim")])
    )
    return rows


def _life(one: Sight) -> str:
    if one.fresh_for is None:
        return ", without an end"
    fresh, stale = one.fresh_for, one.stale_for
    told = f", {words.duration(fresh)} of its ttl left" if fresh else ", its ttl is over"
    return (
        told
        + (f", then {words.duration(stale)} of grace" if fresh and stale else "")
        + (f", {words.duration(stale)} of grace left" if not fresh and stale else "")
    )


def _around_facts(around: Around) -> list[tuple[str, Line]]:
    rows: list[tuple[str, Line]] = [("lease", [lease_in_words(around.lease, around.lease_left)])]
    if around.hold:
        rows.append(
            ("hold", [hold_in_words(around.hold), f", for {words.duration(around.hold_left / 1000)}"])
        )
    if around.waits:
        rows.append(("journal", [Part("a put or a removal waits to be written to the source", "yellow")]))
    if around.variants:
        more = "" if around.all_seen else " (of those looked for)"
        rows.append(("variants", [f"for other schemas: {', '.join(around.variants)}{more}"]))
    if around.is_off:
        rows.append(("cache", [Part("off", "bold red"), ": nobody reads it"]))
    return rows


def lease_in_words(lease: str, left: int) -> str:
    """Who is at it, and for how long yet."""
    if not lease:
        return "free: nobody loads or puts"
    kind, _, rest = lease.partition(":")
    known = {
        "F": f"somebody loads it (token {rest[:8]})",
        "P": f"a put is under way ({rest[:8]})",
        "X": f"{rest.count(',') + 1} puts overlap; none of them stores its value",
        "T": "throttled: a load failed, and what is stale is served",
    }
    return f"{known.get(kind, 'not understood')}, {words.duration(max(0, left) / 1000)} left"


def hold_in_words(hold: bytes) -> str:
    """What is kept out."""
    version = int.from_bytes(hold[:8], "little", signed=True)
    strict = hold[8:] == b"!"
    if not version:
        return "nothing is stored that has no version" if strict else "nothing is kept out"
    return f"nothing older than version {version} is stored" + (", nor what has no version" if strict else "")


def _some(text: str) -> list[str]:
    return [text] if text else []


def as_data(
    name: str, tag: str, key: str, one: Sight | None, entry: Envelope | None, around: Around
) -> dict[str, Any]:
    """The same for programs; times are seconds."""
    found: dict[str, Any] = {"cache": name, "key": shown(tag), "stored_at": key, "present": one is not None}
    if one is not None:
        found |= {"state": one.state, "trouble": one.trouble or None, "size": one.weight, "age": one.age}
        found |= {"ttl_left": one.fresh_for, "grace_left": one.stale_for, "tags": one.carries}
    if entry is not None:
        text, why = value.shown(entry)
        found |= {
            "codec": CODECS[entry.codec], "schema": f"{entry.schema:08x}", "version": entry.version,
            "etag": entry.etag or None, "load": entry.load_ms / 1000, "flags": one.flags if one else [],
            "value": words.short(text, _LONGEST) if not why else None, "value_hidden": why or None,
            "epoch_current": one is not None and one.state not in {"cleared", "off"},
        }  # fmt: skip
    kinds = {"F": "loading", "P": "putting", "X": "overlapping puts", "T": "throttled"}
    lease = None
    if around.lease:
        lease = {"state": kinds.get(around.lease[:1], "unknown"), "left": max(0, around.lease_left) / 1000}
    hold = None
    if around.hold:
        version = int.from_bytes(around.hold[:8], "little", signed=True)
        hold = {
            "version": version or None,
            "strict": around.hold[8:] == b"!",
            "left": around.hold_left / 1000,
        }
    return found | {
        "lease": lease, "hold": hold, "off": around.is_off, "waits_for_source": around.waits,
        "variants": around.variants, "all_variants_seen": around.all_seen, "chunks": around.chunks or None,
    }  # fmt: skip
