# Generated from test_contract_async.py by tools/unasync.py. Do not edit.
"""What every transport keeps: commands, scripts, transactions, and clear errors. On every server there is."""

import re
from urllib.parse import urlsplit

import pytest
import redis

from holdfast import (
    Holdfast,
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


def test_every_kind_of_value(hf):
    """Strings, lists, sets, sorted sets, hashes, bitmaps and streams go in and come out."""
    key = hf.key
    assert hf.execute("SET", key("string"), "é\x00") == b"OK"
    assert hf.execute("GET", key("string")) == "é\x00".encode()
    assert hf.execute("RPUSH", key("list"), "a", b"\xff", 3, 1.5) == 4
    assert hf.execute("LRANGE", key("list"), 0, -1) == [b"a", b"\xff", b"3", b"1.5"]
    assert hf.execute("SADD", key("set"), "x", "y", "x") == 2
    assert set(hf.execute("SMEMBERS", key("set"))) == {b"x", b"y"}
    assert hf.execute("ZADD", key("ranks"), 2.5, "bob", 1, "ann") == 2
    assert hf.execute("ZRANGE", key("ranks"), 0, -1) == [b"ann", b"bob"]
    assert hf.execute("ZSCORE", key("ranks"), "bob") == 2.5
    assert hf.execute("HSET", key("hash"), "f", 1, "g", 2) == 2
    assert hf.execute("HGETALL", key("hash")) == {b"f": b"1", b"g": b"2"}
    assert hf.execute("SETBIT", key("bits"), 7, 1) == 0
    assert hf.execute("BITCOUNT", key("bits")) == 1
    entry = hf.execute("XADD", key("stream"), "*", "field", "value")
    assert hf.execute("XRANGE", key("stream"), "-", "+") == [[entry, [b"field", b"value"]]]
    assert hf.execute("GET", key("nothing")) is None


def test_a_transaction_runs_all_or_none(hf):
    """What is queued runs together; the replies are in `results`."""
    with hf.transaction() as tx:
        tx.set(hf.key("a"), 1)
        tx.incrby(hf.key("a"), 4)
    assert tx.results == [b"OK", 5]

    with pytest.raises(ZeroDivisionError):
        with hf.transaction() as tx:
            tx.set(hf.key("a"), 100)
            raise ZeroDivisionError
    assert hf.execute("GET", hf.key("a")) == b"5"


def test_a_watched_key_that_changed_stops_the_transaction(hf):
    """And the connection is in order afterwards."""
    hf.execute("SET", hf.key("stock"), 7)
    with pytest.raises(ConflictError, match="stock"):
        with hf.transaction(hf.key("stock")) as tx:
            left = int(tx.read("GET", hf.key("stock")))
            hf.execute("SET", hf.key("stock"), 3)
            tx.set(hf.key("stock"), left - 1)
    assert hf.execute("GET", hf.key("stock")) == b"3"

    with hf.transaction(hf.key("stock")) as tx:
        tx.set(hf.key("stock"), int(tx.read("GET", hf.key("stock"))) - 1)
    assert hf.execute("GET", hf.key("stock")) == b"2"


def test_a_command_that_fails_in_a_transaction_is_told(hf):
    """Its neighbours have run: that is what Redis calls a transaction."""
    text, neighbour = hf.key("text", tag="pair"), hf.key("neighbour", tag="pair")
    hf.execute("SET", text, "x")
    with pytest.raises(Refused, match="not an integer"):
        with hf.transaction() as tx:
            tx.set(neighbour, 1)
            tx.incr(text)
    assert hf.execute("GET", neighbour) == b"1"


def test_scripts_survive_a_flush(hf):
    """A script that the server forgot is sent again, once."""
    script = hf.script("count", text=COUNT)
    for expected in (1, 2):
        assert script.run([hf.key("n")]) == expected
    hf.execute("SCRIPT", "FLUSH")
    assert script.run([hf.key("n")]) == 3


def test_a_script_beside_the_caller(hf, tmp_path, monkeypatch):
    """Found by its name, or named in the error."""
    (tmp_path / "count.lua").write_text(COUNT)
    monkeypatch.chdir(tmp_path)
    assert hf.script("count.lua").run([hf.key("n")]) == 1
    with pytest.raises(ConfigurationError, match=r"missing\.lua"):
        hf.script("missing.lua")


def test_a_blocking_command_blocks_nobody_else(hf):
    """It ends on its own time, not on the client's deadline."""
    assert hf.execute("BLPOP", hf.key("empty"), 0.05) is None
    hf.execute("RPUSH", hf.key("full"), "x")
    assert hf.execute("BLPOP", hf.key("full"), 5) == [hf.key("full").encode(), b"x"]


def test_a_lost_reply_never_runs_a_never_script_twice(faults, namespace, transport):
    """Found: redis-py's own retries, which ran it eleven times."""
    with Holdfast(faults.url, namespace=namespace, **options(transport)) as hf:
        script = hf.script("count", text=COUNT)
        script.run([hf.key("n")])
        faults.drop_replies(1, match=b"EVALSHA")
        with pytest.raises(Unconfirmed, match="may have happened"):
            script.run([hf.key("n")])
        assert hf.execute("GET", hf.key("n")) == b"2"

        faults.drop_replies(1, match=b"INCR")
        with pytest.raises(Unconfirmed):
            hf.execute("INCR", hf.key("n"))
        assert hf.execute("GET", hf.key("n")) == b"3"


def test_a_lost_reply_to_exec_is_unconfirmed(faults, namespace, transport):
    """It has happened, once."""
    with Holdfast(faults.url, namespace=namespace, **options(transport)) as hf:
        with pytest.raises(Unconfirmed):
            with hf.transaction() as tx:
                tx.incr(hf.key("n"))
                faults.drop_replies(1, match=b"EXEC")
        assert hf.execute("GET", hf.key("n")) == b"1"


def test_a_lost_reply_to_what_is_safe_is_asked_for_again(faults, namespace, transport):
    """The caller does not even notice."""
    with Holdfast(faults.url, namespace=namespace, **options(transport)) as hf:
        script = hf.script("touch", text=TOUCH)
        script.run([hf.key("r")], ["x"])
        faults.drop_replies(1, match=b"EVALSHA")
        assert script.run([hf.key("r")], ["y"]) == 3
        faults.drop_replies(1, match=b"GET")
        assert hf.execute("GET", hf.key("r")) == b"y"


def test_no_answer_ends_at_the_deadline(faults, namespace, transport):
    """A server that reads and never answers: an error that names it, and no hang."""
    with Holdfast(faults.url, namespace=namespace, timeout="300ms", **options(transport)) as hf:
        hf.execute("SET", hf.key("a"), 1)
        faults.swallow_replies()
        with pytest.raises(Unavailable, match="GET"):
            hf.execute("GET", hf.key("a"))
        with pytest.raises(Unavailable):
            hf.execute("INCR", hf.key("a"))
        faults.heal()
        assert hf.execute("GET", hf.key("a"), timeout="5s") in {b"1", b"2"}


def test_a_server_that_restarts_is_found_again(own_server, transport):
    """Reads and writes go on, with the same client."""
    with Holdfast(own_server.url, **options(transport)) as hf:
        hf.execute("SET", "a", 1)
        own_server.restart(empty=True)
        assert hf.execute("GET", "a") is None
        assert hf.execute("SET", "a", 2) == b"OK"


def test_a_restart_never_makes_a_harmless_write_unclear(own_server, transport):
    """A connection that rested is looked at before use: nothing was sent, so nothing is unclear."""
    with Holdfast(own_server.url, **options(transport)) as hf:
        for expected in range(1, 4):
            assert hf.execute("INCR", "n") == expected
            own_server.restart()
            hf.execute("SET", "n", expected, retry="safe")


def test_an_unreachable_server(transport):
    """Named, with the reason, within the deadline."""
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        with Holdfast("redis://:s3cret@127.0.0.1:1", timeout="300ms", **options(transport)):
            pass


def test_a_server_may_be_away_on_purpose(transport):
    """`require_server=False` starts without it; health tells."""
    url = "redis://127.0.0.1:1"
    with Holdfast(url, timeout="100ms", require_server=False, **options(transport)) as hf:
        health = hf.health()
        assert health["ok"] is False
        assert "127.0.0.1:1" in health["error"]


def test_a_wrong_password(own_server, transport):
    """Named as such, and never shown. Found: the password in the text of the URL."""
    with Holdfast(own_server.url) as admin:
        admin.execute("ACL", "SETUSER", "ann", "on", ">right", "~*", "+@all")
    url = as_user(own_server.url, "ann:wr0ng")
    with pytest.raises(NoPermission, match="password") as caught:
        with Holdfast(url, **options(transport)):
            pass
    assert "wr0ng" not in str(caught.value)


def test_missing_rights(own_server, transport):
    """A user without CONFIG, CLIENT, COMMAND and INFO can still work; a refused command names the right."""
    with Holdfast(own_server.url) as admin:
        admin.execute(
            "ACL", "SETUSER", "bob", "on", ">pw", "~*", "+get", "+set", "+hello", "+ping", "+select"
        )
    url = as_user(own_server.url, "bob:pw")
    with Holdfast(url, **options(transport)) as hf:
        assert (hf.facts()).eviction_policy is None
        assert hf.execute("SET", "a", 1) == b"OK"
        with pytest.raises(NoPermission, match="ACL SETUSER"):
            hf.execute("DEL", "a")


def test_a_full_server(own_server, transport):
    """OutOfMemory names the settings."""
    with Holdfast(own_server.url, **options(transport)) as hf:
        hf.execute("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(OutOfMemory, match="maxmemory"):
            hf.execute("SET", "a", 1)


def test_a_replica_takes_no_writes(own_server, transport):
    """ReadOnly says where to go."""
    with Holdfast(own_server.url, **options(transport)) as hf:
        hf.execute("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(ReadOnly, match="primary"):
            hf.execute("SET", "a", 1)


def test_an_old_server_is_refused(faults, transport):
    """Whatever it says, we do not go on with it. The proxy makes a real server say that it is old."""
    faults.rewrite(lambda data: re.sub(rb"(version\r\n\$)\d+\r\n[\d.]+", rb"\g<1>6\r\n6.2.14", data))
    with pytest.raises(ConfigurationError, match=r"6\.2\.14"):
        with Holdfast(faults.url, **options(transport)):
            pass


def test_a_client_of_ones_own(server, namespace):
    """Its address, credentials and settings are used; its retries are not, and it stays as it was."""
    theirs = redis.Redis.from_url(server.url, decode_responses=True)
    with Holdfast(client=theirs, namespace=namespace) as hf:
        hf.execute("SET", hf.key("a"), "x")
        assert hf.execute("GET", hf.key("a")) == b"x"
        assert theirs.get(hf.key("a")) == "x"
    assert theirs.ping()
    theirs.close()


def test_the_retries_of_a_client_of_ones_own_are_not_used(faults, namespace):
    """redis-py's default client repeats what was lost. Found: the script ran eleven times through its
    client.
    """
    theirs = redis.Redis(**redis.connection.parse_url(faults.url))
    with Holdfast(client=theirs, namespace=namespace) as hf:
        hf.execute("SET", hf.key("n"), 0)
        faults.drop_replies(1, match=b"INCR")
        with pytest.raises(Unconfirmed):
            hf.execute("INCR", hf.key("n"))
        assert hf.execute("GET", hf.key("n")) == b"1"
    theirs.close()


def test_after_close(server, transport):
    """Closing twice is fine; using it is not."""
    hf = Holdfast(server.url, **options(transport))
    hf.execute("PING")
    hf.close()
    hf.close()
    with pytest.raises(Closed, match="make a new one"):
        hf.execute("PING")


def test_nonsense_is_refused_with_a_sentence(hf):
    """Before anything is sent."""
    for command in [(), ("SET", "a", None), ("SET", "a", {"b": 1}), ("SET", "a", [1]), ("SELECT", 3)]:
        with pytest.raises(ConfigurationError):
            hf.execute(*command)
    assert hf.execute("PING") == b"PONG"


def test_constructing_only_parses(monkeypatch):
    """A client may stand at the top of a module; wrong arguments are told at once."""
    Holdfast("redis://unreachable.invalid:1")
    for wrong in (
        {"namespace": ""},
        {"timeout": "soon"},
        {"timeout": 0},
        {"max_connections": 0},
        {"transport": "x"},
    ):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            Holdfast("redis://h", **wrong)
    with pytest.raises(ConfigurationError, match="pass one of them"):
        Holdfast("redis://h", client=redis.Redis())
    with pytest.raises(ConfigurationError, match="must be a redis"):
        Holdfast(client=object())
