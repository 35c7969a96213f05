"""Slots and keys of commands, as the servers themselves see them."""

import string
import zlib

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast._wire.cluster import slots
from holdfast.testing.servers import start, wanted

KEYS = st.one_of(st.text(alphabet="{}ab", max_size=8), st.binary(max_size=12), st.integers(), st.floats())
WORDS = st.text(alphabet=string.ascii_letters, min_size=1, max_size=6)
NUMBERS = st.integers(1, 3)
LISTS = st.lists(WORDS, min_size=1, max_size=3)


@pytest.fixture(scope="module", params=wanted())
def node(request):
    """A node of a Cluster; it knows about slots and commands, whether it serves any or not."""
    config = {"cluster-enabled": "yes"}
    with start(request.param, config=config) as own, redis.Redis.from_url(own.url) as client:
        yield client


def test_slots_are_the_servers(node):
    @settings(max_examples=150, deadline=None)
    @given(KEYS)
    def same(key):
        raw = key if isinstance(key, bytes) else str(key).encode()
        assert slots.slot_of(key) == node.execute_command("CLUSTER KEYSLOT", raw)

    same()


SHAPES = {  # how the commands look whose first key is not their first argument, and some for which it is
    "GET": lambda w, n, k: [k[0]],
    "SET": lambda w, n, k: [k[0], w],
    "MGET": lambda w, n, k: k,
    "EVAL": lambda w, n, k: [w, len(k), *k, w],
    "EVALSHA": lambda w, n, k: [w, len(k), *k],
    "EVAL_RO": lambda w, n, k: [w, len(k), *k, w],
    "EVALSHA_RO": lambda w, n, k: [w, len(k), *k, w],
    "FCALL": lambda w, n, k: [w, len(k), *k, w],
    "FCALL_RO": lambda w, n, k: [w, len(k), *k],
    "XREAD": lambda w, n, k: ["COUNT", n, "BLOCK", n, "STREAMS", *k, *["0"] * len(k)],
    "XREADGROUP": lambda w, n, k: ["GROUP", w, w, "COUNT", n, "STREAMS", *k, *[">"] * len(k)],
    "XGROUP": lambda w, n, k: ["CREATE", k[0], w, "$"],
    "XINFO": lambda w, n, k: ["STREAM", k[0]],
    "XADD": lambda w, n, k: [k[0], "*", w, w],
    "XAUTOCLAIM": lambda w, n, k: [k[0], w, w, n, "0"],
    "BITOP": lambda w, n, k: ["AND", *k, *k],
    "BITFIELD": lambda w, n, k: [k[0], "GET", "u8", 0],
    "OBJECT": lambda w, n, k: ["ENCODING", k[0]],
    "MEMORY": lambda w, n, k: ["USAGE", k[0]],
    "ZUNION": lambda w, n, k: [len(k), *k],
    "ZINTER": lambda w, n, k: [len(k), *k],
    "ZDIFF": lambda w, n, k: [len(k), *k],
    "ZUNIONSTORE": lambda w, n, k: [w, len(k), *k],
    "ZINTERCARD": lambda w, n, k: [len(k), *k],
    "SINTERCARD": lambda w, n, k: [len(k), *k],
    "LMPOP": lambda w, n, k: [len(k), *k, "LEFT"],
    "ZMPOP": lambda w, n, k: [len(k), *k, "MIN"],
    "BLMPOP": lambda w, n, k: [n, len(k), *k, "LEFT"],
    "BZMPOP": lambda w, n, k: [n, len(k), *k, "MIN"],
    "BLPOP": lambda w, n, k: [*k, n],
    "BLMOVE": lambda w, n, k: [w, k[0], "LEFT", "LEFT", n],
    "SORT": lambda w, n, k: [k[0], "BY", "nosort", "STORE", w],
    "GEOSEARCHSTORE": lambda w, n, k: [w, k[0], "FROMLONLAT", 1, 1, "BYRADIUS", 1, "km"],
    "MIGRATE": lambda w, n, k: ["h", 1, k[0], 0, 1],
    "RENAME": lambda w, n, k: [k[0], w],
    "SMOVE": lambda w, n, k: [k[0], w, w],
    "LCS": lambda w, n, k: [k[0], w],
    "PFCOUNT": lambda w, n, k: k,
    "WATCH": lambda w, n, k: k,
    "DUMP": lambda w, n, k: [k[0]],
    "COPY": lambda w, n, k: [k[0], w],
}


def test_the_first_key_is_the_servers(node):
    """Also where words of a command stand for keys, groups and consumers."""
    tricky = st.sampled_from(["streams", "STREAMS", "block", "keys", "group"])

    @settings(max_examples=250, deadline=None)
    @given(
        st.sampled_from(sorted(SHAPES)),
        st.one_of(WORDS, tricky),
        NUMBERS,
        st.lists(st.one_of(WORDS, tricky), min_size=1, max_size=3),
        st.sampled_from([str.upper, str.lower, lambda name: name.lower().encode()]),
    )
    def same(name, some, number, keys, written):
        command = (written(name), *SHAPES[name](some, number, keys))
        first = node.execute_command("COMMAND GETKEYS", *command)[0]
        assert slots.first_key(command) == (first.decode() if isinstance(first, bytes) else first)

    same()


def test_what_has_its_key_elsewhere_is_known(node):
    """Whatever command the server has: its first key is where its table says, or we look for it."""
    about = node.execute_command("COMMAND")
    wrong = []
    for one in about.values() if isinstance(about, dict) else about:
        name, first = (
            (one["name"], one["first_key_pos"]) if isinstance(one, dict) else (one[0].decode(), one[3])
        )
        command = (name, *(f"arg{n}" for n in range(1, 9)))
        known = slots._learn(name)
        if known != slots._SOUGHT and known != first:
            wrong.append((name, known, first))
        assert slots.first_key(command) is None or known
    # These have subcommands, each with a place of its own; what they say of themselves is nothing.
    assert {name for name, *_ in wrong} <= {"object", "memory", "xgroup", "xinfo", "debug", "pfdebug"}, wrong


@pytest.mark.parametrize(
    "command",
    [("PING",), ("EVAL", "return 1", 0), ("EVAL", "return 1", b"0", "x"), ("GET",), ("XREAD", "COUNT", 1)],
)
def test_what_has_no_key(command):
    assert slots.first_key(command) is None


def test_a_migration_of_many_keys():
    assert slots.first_key(("MIGRATE", "h", 1, "", 0, 1, "AUTH", "x", "KEYS", "a", "b")) == "a"


def test_redirections_in_every_form():
    asked = ("10.0.0.1", 7000)
    assert slots.redirection("MOVED 3999 10.0.0.2:7001", asked) == (True, 3999, ("10.0.0.2", 7001))
    assert slots.redirection("ASK 1 h.example:7001", asked) == (False, 1, ("h.example", 7001))
    assert slots.redirection("MOVED 1 :7001", asked) == (True, 1, ("10.0.0.1", 7001))
    assert slots.redirection("MOVED 1 ?:7001", asked) == (True, 1, ("10.0.0.1", 7001))
    assert slots.redirection("MOVED 1 ::1:7001", asked) == (True, 1, ("::1", 7001))
    assert slots.redirection("MOVED 1 [::1]:7001", asked) == (True, 1, ("::1", 7001))
    for message in ("ERR no", "MOVED", "MOVED x y:1", "MOVED 1 y", "MOVED 99999 y:1", "MOVEDX 1 y:1"):
        assert slots.redirection(message, asked) is None


@given(st.integers(0, 1 << 64), st.integers(1, 200), st.integers(1, (1 << 32) - 1), st.data())
def test_cursors_come_back_as_they_went(own, nodes, mark, data):
    node = data.draw(st.integers(0, nodes - 1))
    cursor = slots.to_be_continued(own, node, nodes, mark)
    if own == 0 and node == nodes - 1:
        assert cursor == b"0"
        return
    assert cursor != b"0"
    assert slots.to_walk(cursor, nodes, mark) == ((node, own) if own else (node + 1, 0))
    assert slots.to_walk(cursor.decode(), nodes, zlib.crc32(b"x") ^ mark or 1) in {None, (node, own)}
    assert slots.to_walk(int(cursor), nodes, mark % ((1 << 32) - 1) + 1) is None


def test_cursors_nobody_gave_out():
    assert slots.to_walk("0", 3, 7) == (0, 0)
    assert slots.to_walk(0, 3, 7) == (0, 0)
    assert slots.to_walk("17", 3, 7) is None
    assert slots.to_walk("abc", 3, 7) is None
