# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Where commands go, and that a Cluster looks like one server: on every kind of it, over every transport."""

import pytest

from holdfast import AsyncHoldfast, ConfigurationError, NoPermission, Refused, Unavailable
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
async def ahf(setting, calm_lab, namespace):
    """A client of the lab."""
    async with AsyncHoldfast(calm_lab.url, namespace=namespace, transport=setting[1]) as client:
        yield client


async def test_every_kind_of_command_finds_its_node(ahf):
    """Run for several tags, so that every node has its turn."""
    for n in range(8):
        one, two, out = (ahf.key(f"{n}") + name for name in ("one", "two", "out"))
        assert await ahf.execute("ZADD", one, 1, "a") == 1
        assert await ahf.execute("ZADD", two, 2, "b") == 1
        assert await ahf.execute("ZUNION", 2, one, two) == [b"a", b"b"]
        assert await ahf.execute("ZDIFFSTORE", out, 2, one, two) == 1
        assert await ahf.execute("OBJECT", "ENCODING", one) in {b"listpack", b"ziplist"}
        assert await ahf.execute("MEMORY", "USAGE", one) > 0
        assert await ahf.execute("DEL", one, two, out) == 3
        assert await ahf.execute("SET", one, "x") == b"OK"
        assert await ahf.execute("BITOP", "NOT", out, one) == 1
        assert await ahf.execute("DEL", one, out) == 2
        entry = await ahf.execute("XADD", one, "*", "f", "v")
        assert await ahf.execute("XGROUP", "CREATE", one, "streams", 0) == b"OK"
        assert await ahf.execute("XREAD", "COUNT", 1, "STREAMS", one, 0) == {
            one.encode(): [[entry, [b"f", b"v"]]]
        }
        grouped = await ahf.execute("XREADGROUP", "GROUP", "streams", "me", "STREAMS", one, ">")
        assert list(grouped) == [one.encode()]
        assert (await ahf.execute("XINFO", "STREAM", one))[b"length"] == 1
        assert await ahf.execute("RPUSH", two, "v") == 1
        assert await ahf.execute("BLMPOP", 1, 1, two, "LEFT") == [two.encode(), [b"v"]]
        assert await ahf.execute("BLPOP", two, 0.05) is None
        assert await ahf.execute("EVAL", "return redis.call('TYPE', KEYS[1])", 1, one) == b"stream"
        assert await ahf.execute("eval", "return 1", 0) == 1
        assert await ahf.execute("DEL", one) == 1


async def test_scripts(ahf):
    """By digest, and with the text where the node does not know it; with keys and without."""
    await ahf.execute("SCRIPT", "FLUSH")
    for n in range(6):
        one, two = ahf.key(f"{n}") + "one", ahf.key(f"{n}") + "two"
        await ahf.execute("SET", one, n)
        await ahf.execute("SET", two, 1)
        assert await ahf.script("sum.lua", text=SUM).run([one, two]) == n + 1
        assert await ahf.script("pure.lua", text=PURE).run() == 7
    with pytest.raises(ConfigurationError, match=r"CROSSSLOT.*same \{tag\}"):
        await ahf.script("sum.lua", text=SUM).run([ahf.key("a"), ahf.key("b")])


async def test_keys_of_many_slots_at_once(ahf):
    """Their answers come in the order of the keys, duplicates and all."""
    keys = [ahf.key(f"k{n}") for n in range(40)]
    assert await ahf.execute("MGET", *keys) == [None] * 40
    for n, key in enumerate(keys):
        await ahf.execute("SET", key, n)
    mixed = [*reversed(keys), keys[3], ahf.key("none"), keys[3].encode()]
    wanted = [*(b"%d" % n for n in reversed(range(40))), b"3", None, b"3"]
    assert await ahf.execute("MGET", *mixed) == wanted
    assert await ahf.execute("mget", *mixed) == wanted
    assert await ahf._wire.mget(mixed) == wanted
    assert await ahf.execute("EXISTS", *mixed) == 42
    assert await ahf.execute("TOUCH", *keys[:7], ahf.key("none")) == 7
    assert await ahf.execute("UNLINK", keys[0], keys[0], keys[1]) == 2
    assert await ahf.execute("DEL", *keys, *keys) == 38
    same = [ahf.key("t") + "a", ahf.key("t") + "b"]
    await ahf.execute("MSET", same[0], 1, same[1], 2)
    assert await ahf.execute("MGET", *same) == [b"1", b"2"]
    with pytest.raises(ConfigurationError, match=r"CROSSSLOT.*same \{tag\}"):
        await ahf.execute("MSET", keys[0], 1, keys[1], 1)
    with pytest.raises(ConfigurationError, match="CROSSSLOT"):
        await ahf.execute("SUNION", keys[0], keys[1])
    with pytest.raises(ConfigurationError, match="arguments must be"):
        await ahf.execute("MGET", keys[0], None)


async def test_many_commands_at_once(ahf):
    """Also those about many slots, and about all nodes."""
    keys = [ahf.key(f"k{n}") for n in range(20)]
    replies = await ahf._wire.execute_many(
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
    assert await ahf._wire.execute_many([]) == []


async def test_what_is_meant_for_all(ahf):
    """DBSIZE, KEYS, SCAN, SCRIPT LOAD and EXISTS, FUNCTION: of all primaries."""
    keys = {ahf.key(f"k{n}").encode() for n in range(60)}
    before = await ahf.execute("DBSIZE")
    for key in keys:
        await ahf.execute("SET", key, 1)
    assert await ahf.execute("DBSIZE") == before + 60
    pattern = ahf.key("k*")
    assert set(await ahf.execute("KEYS", pattern)) == keys
    cursor, seen, turns = b"0", [], 0
    while turns == 0 or cursor != b"0":
        turns += 1
        cursor, page = await ahf.execute("SCAN", cursor, "MATCH", pattern, "COUNT", 20)
        seen += page
        assert turns < 1000
    assert set(seen) == keys
    with pytest.raises(Refused, match="begin again with the cursor 0"):
        await ahf.execute("SCAN", 17)
    assert await ahf.execute("RANDOMKEY") is not None
    digest = await ahf.execute("SCRIPT", "LOAD", "return 'everywhere'")
    assert await ahf.execute("SCRIPT", "EXISTS", digest, "0" * 40) == [1, 0]
    for n in range(6):
        assert await ahf.execute("EVALSHA", digest, 1, ahf.key(f"{n}")) == b"everywhere"
    name = f"f_{ahf._settings.keys.namespace}"
    library = f"#!lua name={name}\nredis.register_function('{name}', function() return 5 end)"
    await ahf.execute("FUNCTION", "LOAD", library)
    for n in range(6):
        assert await ahf.execute("FCALL", name, 1, ahf.key(f"{n}")) == 5
    await ahf.execute("FUNCTION", "DELETE", name)
    with pytest.raises(Refused, match="NOTBUSY"):
        await ahf.execute("SCRIPT", "KILL")
    await ahf.execute("DEL", *keys)


async def test_transactions(ahf):
    """In one slot, on the node of their keys; elsewhere they are refused with the fix."""
    for n in range(6):
        key = ahf.key(f"{n}")
        async with ahf.transaction(key) as tx:
            assert await tx.read("GET", key) is None
            tx.incr(key)
            tx.ping()
            tx.incr(key + "b")
        assert tx.results[0] == tx.results[2] == 1
    with pytest.raises(ConfigurationError, match=r"one slot.*same \{tag\}"):
        async with ahf.transaction() as tx:
            tx.incr(ahf.key("a"))
            tx.incr(ahf.key("b"))
    with pytest.raises(ConfigurationError, match="CROSSSLOT"):
        async with ahf.transaction(ahf.key("a"), ahf.key("b")) as tx:
            pass
    for about_all in (("SCAN", 0), ("DBSIZE",)):
        with pytest.raises(ConfigurationError, match=r"all nodes.*execute\(\)"):
            async with ahf.transaction() as tx:
                await tx.read(*about_all)


async def test_what_is_kept_needs_a_key(ahf):
    """Else no node would be the one to run it."""
    with pytest.raises(ConfigurationError, match="no key"):
        ahf._hub.deliver("name", ("PING",), print)
    assert Kept("a", ("PING",), print).number < Kept("a", ("PING",), print).number


async def test_a_server_that_is_no_cluster(server, setting):
    """At once, and with the fix."""
    url = server.url.replace("redis://", "redis+cluster://")
    client = AsyncHoldfast(url, transport=setting[1])
    with pytest.raises(ConfigurationError, match=r"no node of a Cluster.*redis://127\.0\.0\.1"):
        await client.execute("GET", "a")
    await client.close()


async def test_a_wrong_password(calm_lab, setting):
    """Is no reason to try again until the deadline."""
    url = calm_lab.url.replace(calm_lab.password, "wrong")
    client = AsyncHoldfast(url, transport=setting[1], timeout=20)
    with pytest.raises(NoPermission, match="password"):
        await client.execute("GET", "a")
    await client.close()


async def test_a_node_without_slots(setting):
    """It says so within the deadline."""
    with start(setting[0], config={"cluster-enabled": "yes"}) as node:
        client = AsyncHoldfast(node.url.replace("redis://", "redis+cluster://"), timeout="500ms")
        with pytest.raises(Unavailable, match=r"no slot"):
            await client.execute("GET", "a")
        await client.close()


async def test_flushing_reaches_every_node(ahf):
    """Last, since it takes everything with it."""
    keys = [ahf.key(f"k{n}") for n in range(12)]
    assert len({slot_of(key) // 5462 for key in keys}) == 3
    for key in keys:
        await ahf.execute("SET", key, 1)
    assert await ahf.execute("FLUSHALL") == b"OK"
    assert await ahf.execute("DBSIZE") == 0
