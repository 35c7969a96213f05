"""What a failure means: which of our errors it is, and whether the request may be repeated. Pure.

Two questions decide whether a request is sent again. Can the server have executed it? An error reply such as
LOADING or BUSY says it did not, a connection that was never made says the same; a lost reply says nothing.
And may it be executed twice? Only its `retry:` line knows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast._wire.script import Retry
from holdfast._wire.transport import Arg, ReplyError, WireFailure
from holdfast.errors import (
    ConfigurationError,
    HoldfastError,
    NoPermission,
    OutOfMemory,
    ReadOnly,
    Refused,
    Unavailable,
    Unconfirmed,
)

# Error replies that mean "not executed, ask again in a moment".
# In the server's own words, not by their code alone: a script may answer "BUSY seat is taken" after it wrote.
_LATER = re.compile(
    r"LOADING \w+ is loading|BUSY \w+ is busy running|TRYAGAIN Multiple keys|CLUSTERDOWN |"
    r"MASTERDOWN Link with"
)
# Likewise, from a demoted primary, or one that was cut off from its replicas: it executed nothing, and is not
# the one to ask.
_NOT_HERE = re.compile(
    r"READONLY You can't write|NOREPLICAS Not enough good|MISCONF |UNBLOCKED force unblock"
)
_MISDIRECTED = {"READONLY", "NOREPLICAS", "MASTERDOWN", "LOADING", "CLUSTERDOWN", "UNBLOCKED"}
HANDSHAKE = "the handshake"
_CANNOT = "cannot connect"
_CLOSED_DOOR = "max number of clients reached"

READS = frozenset(
    [
        "BITCOUNT",
        "BITFIELD_RO",
        "BITPOS",
        "COMMAND",
        "DBSIZE",
        "DUMP",
        "ECHO",
        "EVALSHA_RO",
        "EVAL_RO",
        "EXISTS",
        "EXPIRETIME",
        "FCALL_RO",
        "GEODIST",
        "GEOHASH",
        "GEOPOS",
        "GEORADIUSBYMEMBER_RO",
        "GEORADIUS_RO",
        "GEOSEARCH",
        "GET",
        "GETBIT",
        "GETRANGE",
        "HEXISTS",
        "HGET",
        "HGETALL",
        "HKEYS",
        "HLEN",
        "HMGET",
        "HRANDFIELD",
        "HSCAN",
        "HSTRLEN",
        "HVALS",
        "INFO",
        "KEYS",
        "LCS",
        "LINDEX",
        "LLEN",
        "LOLWUT",
        "LPOS",
        "LRANGE",
        "MGET",
        "PEXPIRETIME",
        "PFCOUNT",
        "PING",
        "PTTL",
        "RANDOMKEY",
        "SCAN",
        "SCARD",
        "SDIFF",
        "SINTER",
        "SINTERCARD",
        "SISMEMBER",
        "SMEMBERS",
        "SMISMEMBER",
        "SORT_RO",
        "SRANDMEMBER",
        "SSCAN",
        "STRLEN",
        "SUBSTR",
        "SUNION",
        "TIME",
        "TTL",
        "TYPE",
        "XLEN",
        "XRANGE",
        "XREVRANGE",
        "ZCARD",
        "ZCOUNT",
        "ZDIFF",
        "ZINTER",
        "ZINTERCARD",
        "ZLEXCOUNT",
        "ZMSCORE",
        "ZRANDMEMBER",
        "ZRANGE",
        "ZRANGEBYLEX",
        "ZRANGEBYSCORE",
        "ZRANK",
        "ZREVRANGE",
        "ZREVRANGEBYLEX",
        "ZREVRANGEBYSCORE",
        "ZREVRANK",
        "ZSCAN",
        "ZSCORE",
        "ZUNION",
    ]
)
_BLOCKING = {
    "BLPOP": -1,
    "BRPOP": -1,
    "BRPOPLPUSH": -1,
    "BLMOVE": -1,
    "BLMPOP": 1,
    "BZPOPMIN": -1,
    "BZPOPMAX": -1,
    "BZMPOP": 1,
}
# These change a connection that others share, or turn it into something else.
_STATEFUL = {
    "UNSUBSCRIBE": "a redis-py client of its own",
    "PUNSUBSCRIBE": "a redis-py client of its own",
    "SUNSUBSCRIBE": "a redis-py client of its own",
    "SYNC": "a redis-py client of its own",
    "PSYNC": "a redis-py client of its own",
    "REPLCONF": "a redis-py client of its own",
    "WAIT": "durability=Durability(replicas=1) at the write: it counts only what its own connection wrote",
    "WAITAOF": "durability=Durability(disk=True) at the write: it counts only what its own connection wrote",
    "READONLY": "max_staleness= at the read",
    "READWRITE": "max_staleness= at the read",
    "ASKING": "redis+cluster://, where it is done for you",
    "MULTI": "hf.transaction(...)",
    "EXEC": "hf.transaction(...)",
    "DISCARD": "hf.transaction(...)",
    "WATCH": "hf.transaction(key, ...)",
    "UNWATCH": "hf.transaction(key, ...)",
    "SELECT": "the database number in the URL: redis://host/2",
    "AUTH": "user and password in the URL: redis://user:password@host",
    "HELLO": "the URL; Holdfast negotiates the protocol itself",
    "RESET": "a client of its own",
    "QUIT": "hf.close()",
    "MONITOR": "a redis-py client of its own",
    "SUBSCRIBE": "a redis-py client of its own",
    "PSUBSCRIBE": "a redis-py client of its own",
    "SSUBSCRIBE": "a redis-py client of its own",
}


_STATEFUL_CLIENT = {"REPLY", "TRACKING", "CACHING", "NO-EVICT", "NO-TOUCH", "SETNAME", "SETINFO"}

_NOT_LOCAL = "access a non local key"  # in a script
_SPLIT = "SPLIT"  # our own code for it: done in part, so a request id may not have been noted


@dataclass(frozen=True, slots=True)
class Verdict:
    """`error` is what the caller gets if nothing else helps; `executed` is False where the server did not
    execute it.
    """

    error: HoldfastError
    executed: bool | None  # None: nobody knows
    code: str = ""

    @property
    def is_misdirected(self) -> bool:
        """Does only the wrong server answer so? Where there may be another one, that one can be asked."""
        return self.executed is False and self.code in _MISDIRECTED

    def may_repeat(self, retry: Retry, *, elsewhere: bool = False) -> bool:
        """May the request be sent again? `elsewhere`: perhaps to another server."""
        if elsewhere and self.is_misdirected:
            return True
        if isinstance(self.error, Refused | ConfigurationError):
            return False
        if self.code == _SPLIT:
            return retry == "safe"
        return self.executed is False or retry != "never"


def of_reply(message: str, command: str, server: str) -> Verdict:
    """What the error reply `message` to `command` means."""
    code, _, rest = message.partition(" ")
    told = f"{server} refused {command}: {message}"
    closed_door = _CLOSED_DOOR in message and command in {"HELLO", HANDSHAKE}
    if _LATER.match(message) or closed_door:
        return Verdict(
            Unavailable(f"{server} cannot answer yet: {message}", retry_after=0.1), executed=False, code=code
        )
    if code == "OOM":
        fix = "raise maxmemory, or choose an eviction policy (maxmemory-policy) that fits the data"
        return Verdict(OutOfMemory(f"{told}; {fix}", code=code), executed=False, code=code)
    if code in {"READONLY", "NOREPLICAS", "MISCONF"}:
        executed = False if _NOT_HERE.match(message) else None
        return Verdict(ReadOnly(f"{told}; {_WHY_READ_ONLY[code]}", code=code), executed=executed, code=code)
    if (
        code in {"NOAUTH", "WRONGPASS", "NOPERM"}
        or "ACL failure in script" in rest
        or "invalid password" in rest
        or "without any password" in rest
    ):
        return Verdict(NoPermission(f"{told}; {_whose_right(code)}", code=code), executed=False, code=code)
    if code == "UNBLOCKED" and _NOT_HERE.match(message):
        return Verdict(Unavailable(f"{server} is no primary any more: {message}"), executed=False, code=code)
    if code == "CROSSSLOT":
        fix = f"{told}; give all keys of one command the same {{tag}}, so that they share a slot"
        return Verdict(ConfigurationError(fix), executed=False, code=code)
    if _NOT_LOCAL in rest:
        text = f"{server} stopped {command} in the middle: its slot is being moved; it may have happened"
        return Verdict(Unconfirmed(text, retry_after=0.1), executed=None, code=_SPLIT)
    if code in {"MOVED", "ASK"}:
        fix = f"{server} is a node of a Cluster ({message}); connect with redis+cluster://"
        return Verdict(ConfigurationError(fix), executed=False, code=code)
    return Verdict(Refused(told, code=code), executed=None, code=code)


_WHY_READ_ONLY = {
    "READONLY": "this is a replica: connect to the primary",
    "NOREPLICAS": "too few replicas are connected (min-replicas-to-write)",
    "MISCONF": "the server cannot save to disk (stop-writes-on-bgsave-error): look at its disk and its log",
}


def _whose_right(code: str) -> str:
    if code == "NOPERM":
        return "give the user this right with ACL SETUSER"
    return "check the user name and the password in the URL"


def lost(message: str, *, sent: bool, command: str, server: str, retry: Retry) -> Verdict:
    """What it means that no reply came."""
    if sent and retry == "never":
        text = f"{command} was sent to {server} but its reply was lost ({message}); "
        text += "it may have happened, so it was not repeated"
        return Verdict(Unconfirmed(text), executed=None)
    text = f"no answer to {command} from {server}: {message}"
    if message.startswith(_CANNOT):
        why = message.removeprefix(_CANNOT).lstrip(": ")
        text = f"cannot connect to {server}: {why}; is it running, and is this its address?"
    return Verdict(Unavailable(text), executed=None if sent else False)


def class_of(command: str) -> Retry:
    """How a bare command may be repeated: reads are safe; anything else may count twice, so never."""
    return "safe" if command in READS else "never"


def word(arg: object) -> str:
    """A command's name or option, in capitals."""
    return (arg.decode("ascii", "replace") if isinstance(arg, bytes) else str(arg)).upper()


def blocking(args: tuple[object, ...]) -> float | None:
    """Seconds for which the command may block on the server: 0.0 for ever, None if it does not block.

    Raises: ConfigurationError if the command would change a connection that others share.
    """
    if not isinstance(args[0], str | bytes):
        raise ConfigurationError(f"the name of a command must be str or bytes, not {type(args[0]).__name__}")
    name = word(args[0])
    if name == "CLIENT" and len(args) > 1 and word(args[1]) in _STATEFUL_CLIENT:
        text = "would change a connection that others share; use a redis-py client of its own"
        raise ConfigurationError(f"CLIENT {word(args[1])} {text}")
    if name in _STATEFUL:
        raise ConfigurationError(f"{name} would change a connection that others share; use {_STATEFUL[name]}")
    try:
        if name in _BLOCKING:
            return float(args[_BLOCKING[name]])  # type: ignore[arg-type]
        if name in {"XREAD", "XREADGROUP"}:
            words = [word(arg) for arg in args]
            words = words[
                4 if words[1] == "GROUP" else 1 :
            ]  # a group may be called "block", and so may a stream
            words = words[: words.index("STREAMS")]
            return float(words[words.index("BLOCK") + 1]) / 1000 if "BLOCK" in words else None
    except (ValueError, IndexError, TypeError):
        return None  # malformed: the server will say what is wrong with it
    return None


def shortened(command: tuple[Arg, ...], spent: float) -> tuple[Arg, ...]:
    """`command`, if it blocks for a time, with `spent` seconds less of it: it has blocked before."""
    name = word(command[0])
    blocks = blocking(command) if name in _BLOCKING or name in {"XREAD", "XREADGROUP"} else None
    if not blocks:
        return command
    left = max(0.01, blocks - spent)  # zero would mean "for ever"
    if name in _BLOCKING:
        place = _BLOCKING[name] % len(command)
        return (*command[:place], left, *command[place + 1 :])
    place = [word(arg) for arg in command].index("BLOCK", 4 if name == "XREADGROUP" else 1) + 1
    return (*command[:place], max(1, round(left * 1000)), *command[place + 1 :])


def done_in_part(replies: Sequence[object], trouble: Exception) -> Exception:
    """What is wrong with `replies` to a batch that must not be executed twice, of which `trouble` is the
    first error.

    An error that says "not executed, ask again" speaks for its own command only: where others of the batch
    were executed, the batch as a whole was done in part.
    """
    if not of_reply(str(trouble), "", "").may_repeat("never", elsewhere=True):
        return trouble  # it is not repeated anyway
    for reply in replies:
        if type(reply) is not ReplyError or of_reply(str(reply), "", "").executed is not False:
            return WireFailure(f"the batch was done in part only: {trouble}", sent=True)
    return trouble


def name_of(command: Sequence[object]) -> str:
    """The name of `command`, in capitals."""
    return word(command[0])


def unsendable(command: Sequence[object], error: Exception) -> ConfigurationError:
    """What is wrong with a command that cannot be sent."""
    kinds = ", ".join(type(arg).__name__ for arg in command[1:])
    return ConfigurationError(
        f"{name_of(command)}: arguments must be str, bytes, int or float, not ({kinds}): {error}"
    )
