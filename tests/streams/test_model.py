"""Every order in which members can run the scripts of a stream, on a real server; and every guard removed.

Quick: small models, of two members and one or two messages.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.locks.explorer import Model, Mutant
from tests.streams.explorer import StreamExplorer
from tests.streams.stream_model import model


@pytest.fixture(scope="module")
def explorer(servers) -> Iterator[StreamExplorer]:
    from holdfast.testing.servers import start, wanted

    with start(wanted()[0]) as own, StreamExplorer(own.url) as one:
        yield one


MODELS: dict[str, Model] = {
    "lost": model(["effects", "ack"], ends="a", lost=1),
    "late": model(["effects", "ack"], late=1),
    "crash": model(["effects", "ack"], ends="a", crashes=1),
    "one at a time": model(["effects", "ack"], only=True, ends="a", count=2),
    "one at a time, crash": model(["effects", "ack"], only=True, count=2, crashes=1),
    "one at a time, lost": model(["effects", "effects"], only=True, ends="a", lost=1),
    "later": model(["later", "ack"], lost=1),
    "wait": model(["wait", "effects"], lost=1, only=True),
    "free": model(["free", "effects"], late=1),
    "acked": model(["ack", "effects"], ends="a"),
    "dead": model(["dead", "effects"], lost=1),
    "published": model(["ack"], count=0, published=1, lost=1, late=1),
    "repeated": model(["ack"], count=0, published=1, ids=False, lost=1, late=1),
    "limit": model(["effects", "ack"], crashes=1, most=1),
}


GUARDS: list[tuple[str, str, str, str]] = [
    # model that notices it, script, what stands there, what stands there then
    ("acked", "turn", "if mine[id] == deliveries then done", "if true then done"),
    ("one at a time", "turn", "if other[at] ~= me then\n      local", "if false then\n      local"),
    ("one at a time, crash", "turn", "redis.call('HSET', KEYS[10], '~from', '-')", ""),
    ("one at a time", "turn", "redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), me)", ""),
    ("limit", "turn", "if most > 0 and deliveries >= most then", "if false then"),
    ("later", "turn", "redis.call('HDEL', KEYS[4], unpack(done, at, last))", ""),
    ("crash", "turn", "claim_all(rows)\n    -- Deleting", "-- Deleting"),
    ("crash", "turn", "'-inf', string.format('%.0f', now), 'LIMIT', 0, 3)", "'-inf', '-inf', 'LIMIT', 0, 3)"),
    ("later", "turn", "redis.call('SET', KEYS[6], '1', 'PX', 60000)", ""),
    ("published", "turn", "redis.call('SET', KEYS[6], '1', 'PX', 60000)", ""),
    ("lost", "mine", "redis.call('ZADD', KEYS[3], 'XX', string.format('%.0f', ends), me)", ""),
    ("free", "settle", "if last >= tonumber(ARGV[4]) or", "if"),
    ("later", "settle", "freed = true -- who", "-- who"),
    ("free", "settle", "freed = true\n  else", "\n  else"),
    ("later", "settle", "redis.call('ZADD', KEYS[2], string.format('%.0f', now + pause), id)", ""),
    ("lost", "effects", "if redis.call('HEXISTS', KEYS[4], ARGV[6]) == 1 then return 1 end", ""),
    ("lost", "effects", "redis.call('HSET', KEYS[4], ARGV[6], '1')", ""),
    (
        "lost",
        "effects",
        "if not row or row[2] ~= ARGV[2] or row[4] ~= tonumber(ARGV[4]) then",
        "if not row then",
    ),
    ("lost", "effects", "redis.call('XACK', stream, group, id)", ""),
    ("wait", "effects", "redis.call('HDEL', KEYS[3], id)", ""),
    ("repeated", "publish", "if known then", "if false then"),
    ("published", "publish", "id = redis.call('GET', dedup)", ""),
    ("published", "publish", "redis.pcall('SPUBLISH', KEYS[1], '')", ""),
]


@pytest.mark.parametrize("name", MODELS)
def test_whatever_the_order_nothing_is_lost_or_done_twice(explorer: StreamExplorer, name: str):
    assert explorer.check(MODELS[name]).states > 100


@pytest.mark.parametrize("guard", GUARDS, ids=lambda one: f"{one[1]}-{one[2][:40]}")
def test_a_guard_that_is_removed_is_missed(explorer: StreamExplorer, guard: tuple[str, str, str, str]):
    """Without it a model that sees nothing would pass as well."""
    name, *mutant = guard
    explorer.must_find([MODELS[name]], [Mutant(*mutant)])
