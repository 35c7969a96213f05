"""What a failure means and whether the request may be repeated."""

import pickle

import pytest

from holdfast import errors
from holdfast._wire import server, verdict
from holdfast._wire.script import RETRIES, Script


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", errors.OutOfMemory, "maxmemory-policy"),
        ("READONLY You can't write against a read only replica.", errors.ReadOnly, "primary"),
        ("MISCONF Errors writing to the AOF file", errors.ReadOnly, "disk"),
        ("NOREPLICAS Not enough good replicas to write.", errors.ReadOnly, "min-replicas"),
        ("WRONGPASS invalid username-password pair or user is disabled.", errors.NoPermission, "password"),
        ("NOAUTH Authentication required.", errors.NoPermission, "URL"),
        ("NOPERM User bob has no permissions to run the 'set' command", errors.NoPermission, "ACL SETUSER"),
        ("WRONGTYPE Operation against a key", errors.Refused, "WRONGTYPE"),
        ("MOVED 3999 127.0.0.1:6381", errors.ConfigurationError, "redis+cluster"),
    ],
)
def test_a_refusal_is_named_and_never_repeated(reply, kind, told):
    """The server said no: it will say no again."""
    found = verdict.of_reply(reply, "SET", "redis://h")

    assert isinstance(found.error, kind)
    assert told in str(found.error)
    assert not any(found.may_repeat(retry) for retry in RETRIES)


@pytest.mark.parametrize(
    "reply",
    [
        "LOADING Redis is loading the dataset in memory",
        "BUSY Valkey is busy running a script. You can only call SCRIPT KILL",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    ],
)
def test_not_yet_is_repeated_even_for_what_must_run_once(reply):
    """The server said that it did not execute it."""
    found = verdict.of_reply(reply, "EVALSHA", "redis://h")

    assert isinstance(found.error, errors.Unavailable)
    assert all(found.may_repeat(retry) for retry in RETRIES)


@pytest.mark.parametrize(
    ("sent", "retry", "repeat", "kind"),
    [
        (False, "never", True, errors.Unavailable),
        (False, "safe", True, errors.Unavailable),
        (True, "safe", True, errors.Unavailable),
        (True, "by request id", True, errors.Unavailable),
        (True, "never", False, errors.Unconfirmed),
    ],
)
def test_a_lost_reply(sent, retry, repeat, kind):
    """Only what may have happened and must not happen twice is left unconfirmed."""
    found = verdict.lost("cut", sent=sent, command="INCR", server="redis://h", retry=retry)

    assert type(found.error) is kind
    assert found.may_repeat(retry) is repeat


def test_bare_commands_are_repeated_only_if_they_read():
    """INCR twice counts twice; so does anything not known to be a read."""
    assert verdict.class_of("GET") == "safe"
    assert {verdict.class_of(name) for name in ("SET", "INCR", "XADD", "EVALSHA", "UNHEARD_OF")} == {"never"}


@pytest.mark.parametrize(
    ("command", "blocks"),
    [
        (("GET", "k"), None),
        (("BLPOP", "a", "b", 1.5), 1.5),
        ((b"blpop", "a", 0), 0.0),
        (("XREAD", "BLOCK", 2000, "STREAMS", "s", "$"), 2.0),
        (("XREAD", "STREAMS", "s", "0"), None),
        (("XREAD", b"BLOCK", 2000, "STREAMS", "s", "$"), 2.0),
        (("XREADGROUP", "GROUP", "block", "c", "STREAMS", "block", ">"), None),
        (("BLMPOP", "2.5", 1, "k", "LEFT"), 2.5),
    ],
)
def test_what_blocks_is_known(command, blocks):
    """So that it gets a connection of its own."""
    assert verdict.blocking(command) == blocks


@pytest.mark.parametrize(
    "name", ["MULTI", "SUBSCRIBE", "SELECT", "AUTH", b"multi", "UNSUBSCRIBE", "WAIT", "REPLCONF"]
)
def test_what_would_change_a_shared_connection_is_refused(name):
    """The error names what to use instead."""
    with pytest.raises(errors.ConfigurationError, match="use "):
        verdict.blocking((name,))


@pytest.mark.parametrize(
    "command", [("CLIENT", "REPLY", "OFF"), (b"client", b"tracking", "ON"), (memoryview(b"GET"), "k")]
)
def test_what_would_shift_the_replies_of_others_is_refused(command):
    """Found: after UNSUBSCRIBE or CLIENT TRACKING every later caller got somebody else's reply."""
    with pytest.raises(errors.ConfigurationError):
        verdict.blocking(command)


@pytest.mark.parametrize(
    "reply", ["BUSY seat is taken", "LOADING dock", "TRYAGAIN later", "ERR max number of clients reached"]
)
def test_a_script_that_says_not_yet_after_it_wrote_is_not_repeated(reply):
    """The code alone is anybody's word. Found: a `never` script that answered BUSY ran 21 times."""
    assert not verdict.of_reply(reply, "EVALSHA", "redis://h").may_repeat("never")


def test_a_script_must_say_whether_it_may_be_repeated():
    """A missing header line is an error, not a guess."""
    with pytest.raises(errors.ConfigurationError, match="retry:"):
        Script.parse("mine", "return 1")

    assert Script.parse("mine", "-- retry: by request id (ARGV[1])\nreturn 1").retry == "by request id"


def every_error():
    """One of each, with its attributes set."""
    kinds = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)
    ]
    for kind in kinds:
        error = kind("what happened")
        for name in list(vars(error)):
            setattr(error, name, 3)
        yield error


@pytest.mark.parametrize("error", list(every_error()), ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error):
    """Text and attributes both: they cross process boundaries."""
    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def facts(**told):
    """Server facts as INFO would give them."""
    info = "\r\n".join(f"{name}:{value}" for name, value in told.items()).encode()
    hello = {b"server": b"redis", b"version": b"7.0.15", b"mode": b"standalone", b"role": b"master"}
    return server.facts(hello, info, [], {b"save": b""})


def test_an_evicting_server_is_unsafe_for_what_keeps_the_only_copy():
    """The error names the setting; accept_loss overrides; unknown is taken to be safe."""
    evicting = facts(maxmemory_policy="allkeys-lru")
    with pytest.raises(errors.UnsafeServer, match="maxmemory-policy"):
        evicting.require_keeping("operations")

    evicting.require_keeping("operations", accept_loss=True)
    facts(maxmemory_policy="noeviction").require_keeping("operations")
    facts().require_keeping("operations")


@pytest.mark.parametrize(
    ("product", "version", "old"),
    [
        ("redis", "6.2.14", True),
        ("redis", "7.0.0", False),
        ("valkey", "7.2.4", False),
        ("redis", "8.2.1", False),
    ],
)
def test_a_server_too_old_is_refused(product, version, old):
    """The error names the version and what is needed."""
    known = server.facts({b"server": product.encode(), b"version": version.encode()}, None, None, None)
    if not old:
        server.check_age(known, "redis://h")
        return
    with pytest.raises(errors.ConfigurationError, match=r"6\.2\.14.*7\.0"):
        server.check_age(known, "redis://h")


def test_refused_questions_are_warnings_with_their_consequence():
    """A server that forbids INFO, COMMAND and CONFIG still serves."""
    known = server.facts({b"server": b"redis", b"version": b"7.0.1"}, None, None, None)

    assert {setting for setting, _ in known.warnings} == {"INFO", "COMMAND", "CONFIG"}
    assert known.eviction_policy is None


def test_a_script_that_was_stopped_in_the_middle_is_repeated_only_if_that_is_safe():
    """Its slot is being moved. It may not have come so far as to note the id of the request."""
    told = "ERR Script attempted to access a non local key in a cluster node script: 1f, on @user_script:239."
    found = verdict.of_reply(told, "EVALSHA", "redis://h")

    assert isinstance(found.error, errors.Unconfirmed)
    assert [retry for retry in RETRIES if found.may_repeat(retry)] == ["safe"]
