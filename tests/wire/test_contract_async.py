# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""What every transport keeps: commands, scripts, transactions, and clear errors. On every server there is."""

import re
from urllib.parse import urlsplit

import pytest
import redis.asyncio

from holdfast import (
    AsyncHoldfast,
    Closed,
    ConfigurationError,
    ConflictError,
    NoPermission,
    OutOfMemory,
    ReadOnly,
    Refused,
    Unavailable,
    Unconfirmed,
)

pytestmark = pytest.mark.everywhere

COUNT = """-- count: add one.
-- KEYS[1] counter
-- retry: never
return redis.call('INCR', KEYS[1])"""

TOUCH = """-- touch: set to a value.
-- KEYS[1] register
-- retry: safe
redis.call('SET', KEYS[1], ARGV[1])
return redis.call('INCR', KEYS[1] .. ':runs')"""


def options(transport):
    """The client's argument for a transport of the fixture."""
    return {} if transport == "default" else {"transport": transport}


def as_user(url, who):
    """The same server for somebody else."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{who}@{parts.netloc.rpartition('@')[2]}").geturl()


async def test_every_kind_of_value(ahf):
    """Strings, lists, sets, sorted sets, hashes, bitmaps and streams go in and come out."""
    key = ahf.key
    assert await ahf.execute("SET", key("string"), "é\x00") == b"OK"
    assert await ahf.execute("GET", key("string")) == "é\x00".encode()
    assert await ahf.execute("RPUSH", key("list"), "a", b"\xff", 3, 1.5) == 4
    assert await ahf.execute("LRANGE", key("list"), 0, -1) == [b"a", b"\xff", b"3", b"1.5"]
    assert await ahf.execute("SADD", key("set"), "x", "y", "x") == 2
    assert set(await ahf.execute("SMEMBERS", key("set"))) == {b"x", b"y"}
    assert await ahf.execute("ZADD", key("ranks"), 2.5, "bob", 1, "ann") == 2
    assert await ahf.execute("ZRANGE", key("ranks"), 0, -1) == [b"ann", b"bob"]
    assert await ahf.execute("ZSCORE", key("ranks"), "bob") == 2.5
    assert await ahf.execute("HSET", key("hash"), "f", 1, "g", 2) == 2
    assert await ahf.execute("HGETALL", key("hash")) == {b"f": b"1", b"g": b"2"}
    assert await ahf.execute("SETBIT", key("bits"), 7, 1) == 0
    assert await ahf.execute("BITCOUNT", key("bits")) == 1
    entry = await ahf.execute("XADD", key("stream"), "*", "field", "value")
    assert await ahf.execute("XRANGE", key("stream"), "-", "+") == [[entry, [b"field", b"value"]]]
    assert await ahf.execute("GET", key("nothing")) is None


async def test_a_transaction_runs_all_or_none(ahf):
    """What is queued runs together; the replies are in `results`."""
    async with ahf.transaction() as tx:
        tx.set(ahf.key("a"), 1)
        tx.incrby(ahf.key("a"), 4)
    assert tx.results == [b"OK", 5]

    with pytest.raises(ZeroDivisionError):
        async with ahf.transaction() as tx:
            tx.set(ahf.key("a"), 100)
            raise ZeroDivisionError
    assert await ahf.execute("GET", ahf.key("a")) == b"5"


async def test_a_watched_key_that_changed_stops_the_transaction(ahf):
    """And the connection is in order afterwards."""
    await ahf.execute("SET", ahf.key("stock"), 7)
    with pytest.raises(ConflictError, match="stock"):
        async with ahf.transaction(ahf.key("stock")) as tx:
            left = int(await tx.read("GET", ahf.key("stock")))
            await ahf.execute("SET", ahf.key("stock"), 3)
            tx.set(ahf.key("stock"), left - 1)
    assert await ahf.execute("GET", ahf.key("stock")) == b"3"

    async with ahf.transaction(ahf.key("stock")) as tx:
        tx.set(ahf.key("stock"), int(await tx.read("GET", ahf.key("stock"))) - 1)
    assert await ahf.execute("GET", ahf.key("stock")) == b"2"


async def test_a_command_that_fails_in_a_transaction_is_told(ahf):
    """Its neighbours have run: that is what Redis calls a transaction."""
    text, neighbour = ahf.key("text", tag="pair"), ahf.key("neighbour", tag="pair")
    await ahf.execute("SET", text, "x")
    with pytest.raises(Refused, match="not an integer"):
        async with ahf.transaction() as tx:
            tx.set(neighbour, 1)
            tx.incr(text)
    assert await ahf.execute("GET", neighbour) == b"1"


async def test_scripts_survive_a_flush(ahf):
    """A script that the server forgot is sent again, once."""
    script = ahf.script("count", text=COUNT)
    for expected in (1, 2):
        assert await script.run([ahf.key("n")]) == expected
    await ahf.execute("SCRIPT", "FLUSH")
    assert await script.run([ahf.key("n")]) == 3


async def test_a_script_beside_the_caller(ahf, tmp_path, monkeypatch):
    """Found by its name, or named in the error."""
    (tmp_path / "count.lua").write_text(COUNT)
    monkeypatch.chdir(tmp_path)
    assert await ahf.script("count.lua").run([ahf.key("n")]) == 1
    with pytest.raises(ConfigurationError, match=r"missing\.lua"):
        ahf.script("missing.lua")


async def test_a_blocking_command_blocks_nobody_else(ahf):
    """It ends on its own time, not on the client's deadline."""
    assert await ahf.execute("BLPOP", ahf.key("empty"), 0.05) is None
    await ahf.execute("RPUSH", ahf.key("full"), "x")
    assert await ahf.execute("BLPOP", ahf.key("full"), 5) == [ahf.key("full").encode(), b"x"]


async def test_a_lost_reply_never_runs_a_never_script_twice(faults, namespace, transport):
    """Found: redis-py's own retries, which ran it eleven times."""
    async with AsyncHoldfast(faults.url, namespace=namespace, **options(transport)) as hf:
        script = hf.script("count", text=COUNT)
        await script.run([hf.key("n")])
        faults.drop_replies(1, match=b"EVALSHA")
        with pytest.raises(Unconfirmed, match="may have happened"):
            await script.run([hf.key("n")])
        assert await hf.execute("GET", hf.key("n")) == b"2"

        faults.drop_replies(1, match=b"INCR")
        with pytest.raises(Unconfirmed):
            await hf.execute("INCR", hf.key("n"))
        assert await hf.execute("GET", hf.key("n")) == b"3"


async def test_a_lost_reply_to_exec_is_unconfirmed(faults, namespace, transport):
    """It has happened, once."""
    async with AsyncHoldfast(faults.url, namespace=namespace, **options(transport)) as hf:
        with pytest.raises(Unconfirmed):
            async with hf.transaction() as tx:
                tx.incr(hf.key("n"))
                faults.drop_replies(1, match=b"EXEC")
        assert await hf.execute("GET", hf.key("n")) == b"1"


async def test_a_lost_reply_to_what_is_safe_is_asked_for_again(faults, namespace, transport):
    """The caller does not even notice."""
    async with AsyncHoldfast(faults.url, namespace=namespace, **options(transport)) as hf:
        script = hf.script("touch", text=TOUCH)
        await script.run([hf.key("r")], ["x"])
        faults.drop_replies(1, match=b"EVALSHA")
        assert await script.run([hf.key("r")], ["y"]) == 3
        faults.drop_replies(1, match=b"GET")
        assert await hf.execute("GET", hf.key("r")) == b"y"


async def test_no_answer_ends_at_the_deadline(faults, namespace, transport):
    """A server that reads and never answers: an error that names it, and no hang."""
    async with AsyncHoldfast(faults.url, namespace=namespace, timeout="300ms", **options(transport)) as hf:
        await hf.execute("SET", hf.key("a"), 1)
        faults.swallow_replies()
        with pytest.raises(Unavailable, match="GET"):
            await hf.execute("GET", hf.key("a"))
        with pytest.raises(Unavailable):
            await hf.execute("INCR", hf.key("a"))
        faults.heal()
        assert await hf.execute("GET", hf.key("a"), timeout="5s") in {b"1", b"2"}


async def test_a_server_that_restarts_is_found_again(own_server, transport):
    """Reads and writes go on, with the same client."""
    async with AsyncHoldfast(own_server.url, **options(transport)) as hf:
        await hf.execute("SET", "a", 1)
        own_server.restart(empty=True)
        assert await hf.execute("GET", "a") is None
        assert await hf.execute("SET", "a", 2) == b"OK"


async def test_a_restart_never_makes_a_harmless_write_unclear(own_server, transport):
    """A connection that rested is looked at before use: nothing was sent, so nothing is unclear."""
    async with AsyncHoldfast(own_server.url, **options(transport)) as hf:
        for expected in range(1, 4):
            assert await hf.execute("INCR", "n") == expected
            own_server.restart()
            await hf.execute("SET", "n", expected, retry="safe")


async def test_an_unreachable_server(transport):
    """Named, with the reason, within the deadline."""
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        async with AsyncHoldfast("redis://:s3cret@127.0.0.1:1", timeout="300ms", **options(transport)):
            pass


async def test_a_server_may_be_away_on_purpose(transport):
    """`require_server=False` starts without it; health tells."""
    url = "redis://127.0.0.1:1"
    async with AsyncHoldfast(url, timeout="100ms", require_server=False, **options(transport)) as hf:
        health = await hf.health()
        assert health["ok"] is False
        assert "127.0.0.1:1" in health["error"]


async def test_a_wrong_password(own_server, transport):
    """Named as such, and never shown. Found: the password in the text of the URL."""
    async with AsyncHoldfast(own_server.url) as admin:
        await admin.execute("ACL", "SETUSER", "ann", "on", ">right", "~*", "+@all")
    url = as_user(own_server.url, "ann:wr0ng")
    with pytest.raises(NoPermission, match="password") as caught:
        async with AsyncHoldfast(url, **options(transport)):
            pass
    assert "wr0ng" not in str(caught.value)


async def test_missing_rights(own_server, transport):
    """A user without CONFIG, CLIENT, COMMAND and INFO can still work; a refused command names the right."""
    async with AsyncHoldfast(own_server.url) as admin:
        await admin.execute(
            "ACL", "SETUSER", "bob", "on", ">pw", "~*", "+get", "+set", "+hello", "+ping", "+select"
        )
    url = as_user(own_server.url, "bob:pw")
    async with AsyncHoldfast(url, **options(transport)) as hf:
        assert (await hf.facts()).eviction_policy is None
        assert await hf.execute("SET", "a", 1) == b"OK"
        with pytest.raises(NoPermission, match="ACL SETUSER"):
            await hf.execute("DEL", "a")


async def test_a_full_server(own_server, transport):
    """OutOfMemory names the settings."""
    async with AsyncHoldfast(own_server.url, **options(transport)) as hf:
        await hf.execute("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(OutOfMemory, match="maxmemory"):
            await hf.execute("SET", "a", 1)


async def test_a_replica_takes_no_writes(own_server, transport):
    """ReadOnly says where to go."""
    async with AsyncHoldfast(own_server.url, **options(transport)) as hf:
        await hf.execute("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(ReadOnly, match="primary"):
            await hf.execute("SET", "a", 1)


async def test_an_old_server_is_refused(faults, transport):
    """Whatever it says, we do not go on with it. The proxy makes a real server say that it is old."""
    faults.rewrite(lambda data: re.sub(rb"(version\r\n\$)\d+\r\n[\d.]+", rb"\g<1>6\r\n6.2.14", data))
    with pytest.raises(ConfigurationError, match=r"6\.2\.14"):
        async with AsyncHoldfast(faults.url, **options(transport)):
            pass


async def test_a_client_of_ones_own(server, namespace):
    """Its address, credentials and settings are used; its retries are not, and it stays as it was."""
    theirs = redis.asyncio.Redis.from_url(server.url, decode_responses=True)
    async with AsyncHoldfast(client=theirs, namespace=namespace) as hf:
        await hf.execute("SET", hf.key("a"), "x")
        assert await hf.execute("GET", hf.key("a")) == b"x"
        assert await theirs.get(hf.key("a")) == "x"
    assert await theirs.ping()
    await theirs.aclose()


async def test_the_retries_of_a_client_of_ones_own_are_not_used(faults, namespace):
    """redis-py's default client repeats what was lost. Found: the script ran eleven times through its
    client.
    """
    theirs = redis.asyncio.Redis(**redis.asyncio.connection.parse_url(faults.url))
    async with AsyncHoldfast(client=theirs, namespace=namespace) as hf:
        await hf.execute("SET", hf.key("n"), 0)
        faults.drop_replies(1, match=b"INCR")
        with pytest.raises(Unconfirmed):
            await hf.execute("INCR", hf.key("n"))
        assert await hf.execute("GET", hf.key("n")) == b"1"
    await theirs.aclose()


async def test_after_close(server, transport):
    """Closing twice is fine; using it is not."""
    hf = AsyncHoldfast(server.url, **options(transport))
    await hf.execute("PING")
    await hf.close()
    await hf.close()
    with pytest.raises(Closed, match="make a new one"):
        await hf.execute("PING")


async def test_nonsense_is_refused_with_a_sentence(ahf):
    """Before anything is sent."""
    for command in [(), ("SET", "a", None), ("SET", "a", {"b": 1}), ("SET", "a", [1]), ("SELECT", 3)]:
        with pytest.raises(ConfigurationError):
            await ahf.execute(*command)
    assert await ahf.execute("PING") == b"PONG"


async def test_constructing_only_parses(monkeypatch):
    """A client may stand at the top of a module; wrong arguments are told at once."""
    AsyncHoldfast("redis://unreachable.invalid:1")
    for wrong in (
        {"namespace": ""},
        {"timeout": "soon"},
        {"timeout": 0},
        {"max_connections": 0},
        {"transport": "x"},
    ):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            AsyncHoldfast("redis://h", **wrong)
    with pytest.raises(ConfigurationError, match="pass one of them"):
        AsyncHoldfast("redis://h", client=redis.asyncio.Redis())
    with pytest.raises(ConfigurationError, match="must be a redis"):
        AsyncHoldfast(client=object())
