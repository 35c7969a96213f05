# Generated from test_routing_async.py by tools/unasync.py. Do not edit.
"""Where commands go, and that a Cluster looks like one server: on every kind of it, over every transport."""

import pytest

from holdfast import Holdfast, ConfigurationError, NoPermission, Refused, Unavailable
from holdfast._wire.cluster.slots import slot_of
from holdfast._wire.hub_ledger import Kept
from holdfast.testing.servers import start
from tests.wire.cluster.conftest import KINDS_AND_TRANSPORTS

SUM = """-- sum: of two keys.
-- KEYS[1] one
-- KEYS[2] two
-- retry: safe
return redis.call('GET', KEYS[1]) + redis.call('GET', KEYS[2])"""

PURE = """-- pure: a constant.
-- retry: safe
return 7"""


@pytest.fixture(params=KINDS_AND_TRANSPORTS)
def setting(request):
    """Which servers, and how they are spoken to."""
    return request.param


@pytest.fixture
def server_kind(setting):
    """The kind of server."""
    return setting[0]


@pytest.fixture
def hf(setting, calm_lab, namespace):
    """A client of the lab."""
    with Holdfast(calm_lab.url, namespace=namespace, transport=setting[1]) as client:
        yield client


def test_every_kind_of_command_finds_its_node(hf):
    """Run for several tags, so that every node has its turn."""
    for n in range(8):
        one, two, out = (hf.key(f"{n}") + name for name in ("one", "two", "out"))
        assert hf.execute("ZADD", one, 1, "a") == 1
        assert hf.execute("ZADD", two, 2, "b") == 1
        assert hf.execute("ZUNION", 2, one, two) == [b"a", b"b"]
        assert hf.execute("ZDIFFSTORE", out, 2, one, two) == 1
        assert hf.execute("OBJECT", "ENCODING", one) in {b"listpack", b"ziplist"}
        assert hf.execute("MEMORY", "USAGE", one) > 0
        assert hf.execute("DEL", one, two, out) == 3
        assert hf.execute("SET", one, "x") == b"OK"
        assert hf.execute("BITOP", "NOT", out, one) == 1
        assert hf.execute("DEL", one, out) == 2
        entry = hf.execute("XADD", one, "*", "f", "v")
        assert hf.execute("XGROUP", "CREATE", one, "streams", 0) == b"OK"
        assert hf.execute("XREAD", "COUNT", 1, "STREAMS", one, 0) == {
            one.encode(): [[entry, [b"f", b"v"]]]
        }
        grouped = hf.execute("XREADGROUP", "GROUP", "streams", "me", "STREAMS", one, ">")
        assert list(grouped) == [one.encode()]
        assert (hf.execute("XINFO", "STREAM", one))[b"length"] == 1
        assert hf.execute("RPUSH", two, "v") == 1
        assert hf.execute("BLMPOP", 1, 1, two, "LEFT") == [two.encode(), [b"v"]]
        assert hf.execute("BLPOP", two, 0.05) is None
        assert hf.execute("EVAL", "return redis.call('TYPE', KEYS[1])", 1, one) == b"stream"
        assert hf.execute("eval", "return 1", 0) == 1
        assert hf.execute("DEL", one) == 1


def test_scripts(hf):
    """By digest, and with the text where the node does not know it; with keys and without."""
    hf.execute("SCRIPT", "FLUSH")
    for n in range(6):
        one, two = hf.key(f"{n}") + "one", hf.key(f"{n}") + "two"
        hf.execute("SET", one, n)
        hf.execute("SET", two, 1)
        assert hf.script("sum.lua", text=SUM).run([one, two]) == n + 1
        assert hf.script("pure.lua", text=PURE).run() == 7
    with pytest.raises(ConfigurationError, match=r"CROSSSLOT.*same \{tag\}"):
        hf.script("sum.lua", text=SUM).run([hf.key("a"), hf.key("b")])


def test_keys_of_many_slots_at_once(hf):
    """Their answers come in the order of the keys, duplicates and all."""
    keys = [hf.key(f"k{n}") for n in range(40)]
    assert hf.execute("MGET", *keys) == [None] * 40
    for n, key in enumerate(keys):
        hf.execute("SET", key, n)
    mixed = [*reversed(keys), keys[3], hf.key("none"), keys[3].encode()]
    wanted = [*(b"%d" % n for n in reversed(range(40))), b"3", None, b"3"]
    assert hf.execute("MGET", *mixed) == wanted
    assert hf.execute("mget", *mixed) == wanted
    assert hf._wire.mget(mixed) == wanted
    assert hf.execute("EXISTS", *mixed) == 42
    assert hf.execute("TOUCH", *keys[:7], hf.key("none")) == 7
    assert hf.execute("UNLINK", keys[0], keys[0], keys[1]) == 2
    assert hf.execute("DEL", *keys, *keys) == 38
    same = [hf.key("t") + "a", hf.key("t") + "b"]
    hf.execute("MSET", same[0], 1, same[1], 2)
    assert hf.execute("MGET", *same) == [b"1", b"2"]
    with pytest.raises(ConfigurationError, match=r"CROSSSLOT.*same \{tag\}"):
        hf.execute("MSET", keys[0], 1, keys[1], 1)
    with pytest.raises(ConfigurationError, match="CROSSSLOT"):
        hf.execute("SUNION", keys[0], keys[1])
    with pytest.raises(ConfigurationError, match="arguments must be"):
        hf.execute("MGET", keys[0], None)


def test_many_commands_at_once(hf):
    """Also those about many slots, and about all nodes."""
    keys = [hf.key(f"k{n}") for n in range(20)]
    replies = hf._wire.execute_many(
        [
            ("PING",),
            *(("SET", key, n) for n, key in enumerate(keys)),
            ("MGET", *keys),
            *(("INCR", key) for key in keys),
            ("DEL", *keys),
            ("ECHO", "x"),
            ("SCRIPT", "EXISTS", "0" * 40),
        ],
        retry="safe",
    )
    assert replies[0] in {b"PONG", "PONG"}
    assert replies[1:21] == [b"OK"] * 20
    assert replies[21] == [b"%d" % n for n in range(20)]
    assert replies[22:42] == list(range(1, 21))
    assert replies[42:] == [20, b"x", [0]]
    assert hf._wire.execute_many([]) == []


def test_what_is_meant_for_all(hf):
    """DBSIZE, KEYS, SCAN, SCRIPT LOAD and EXISTS, FUNCTION: of all primaries."""
    keys = {hf.key(f"k{n}").encode() for n in range(60)}
    before = hf.execute("DBSIZE")
    for key in keys:
        hf.execute("SET", key, 1)
    assert hf.execute("DBSIZE") == before + 60
    pattern = hf.key("k*")
    assert set(hf.execute("KEYS", pattern)) == keys
    cursor, seen, turns = b"0", [], 0
    while turns == 0 or cursor != b"0":
        turns += 1
        cursor, page = hf.execute("SCAN", cursor, "MATCH", pattern, "COUNT", 20)
        seen += page
        assert turns < 1000
    assert set(seen) == keys
    with pytest.raises(Refused, match="begin again with the cursor 0"):
        hf.execute("SCAN", 17)
    assert hf.execute("RANDOMKEY") is not None
    digest = hf.execute("SCRIPT", "LOAD", "return 'everywhere'")
    assert hf.execute("SCRIPT", "EXISTS", digest, "0" * 40) == [1, 0]
    for n in range(6):
        assert hf.execute("EVALSHA", digest, 1, hf.key(f"{n}")) == b"everywhere"
    name = f"f_{hf._settings.keys.namespace}"
    library = f"#!lua name={name}\nredis.register_function('{name}', function() return 5 end)"
    hf.execute("FUNCTION", "LOAD", library)
    for n in range(6):
        assert hf.execute("FCALL", name, 1, hf.key(f"{n}")) == 5
    hf.execute("FUNCTION", "DELETE", name)
    with pytest.raises(Refused, match="NOTBUSY"):
        hf.execute("SCRIPT", "KILL")
    hf.execute("DEL", *keys)


def test_transactions(hf):
    """In one slot, on the node of their keys; elsewhere they are refused with the fix."""
    for n in range(6):
        key = hf.key(f"{n}")
        with hf.transaction(key) as tx:
            assert tx.read("GET", key) is None
            tx.incr(key)
            tx.ping()
            tx.incr(key + "b")
        assert tx.results[0] == tx.results[2] == 1
    with pytest.raises(ConfigurationError, match=r"one slot.*same \{tag\}"):
        with hf.transaction() as tx:
            tx.incr(hf.key("a"))
            tx.incr(hf.key("b"))
    with pytest.raises(ConfigurationError, match="CROSSSLOT"):
        with hf.transaction(hf.key("a"), hf.key("b")) as tx:
            pass
    for about_all in (("SCAN", 0), ("DBSIZE",)):
        with pytest.raises(ConfigurationError, match=r"all nodes.*execute\(\)"):
            with hf.transaction() as tx:
                tx.read(*about_all)


def test_what_is_kept_needs_a_key(hf):
    """Else no node would be the one to run it."""
    with pytest.raises(ConfigurationError, match="no key"):
        hf._hub.deliver("name", ("PING",), print)
    assert Kept("a", ("PING",), print).number < Kept("a", ("PING",), print).number


def test_a_server_that_is_no_cluster(server, setting):
    """At once, and with the fix."""
    url = server.url.replace("redis://", "redis+cluster://")
    client = Holdfast(url, transport=setting[1])
    with pytest.raises(ConfigurationError, match=r"no node of a Cluster.*redis://127\.0\.0\.1"):
        client.execute("GET", "a")
    client.close()


def test_a_wrong_password(calm_lab, setting):
    """Is no reason to try again until the deadline."""
    url = calm_lab.url.replace(calm_lab.password, "wrong")
    client = Holdfast(url, transport=setting[1], timeout=20)
    with pytest.raises(NoPermission, match="password"):
        client.execute("GET", "a")
    client.close()


def test_a_node_without_slots(setting):
    """It says so within the deadline."""
    with start(setting[0], config={"cluster-enabled": "yes"}) as node:
        client = Holdfast(node.url.replace("redis://", "redis+cluster://"), timeout="500ms")
        with pytest.raises(Unavailable, match=r"no slot"):
            client.execute("GET", "a")
        client.close()


def test_flushing_reaches_every_node(hf):
    """Last, since it takes everything with it."""
    keys = [hf.key(f"k{n}") for n in range(12)]
    assert len({slot_of(key) // 5462 for key in keys}) == 3
    for key in keys:
        hf.execute("SET", key, 1)
    assert hf.execute("FLUSHALL") == b"OK"
    assert hf.execute("DBSIZE") == 0
