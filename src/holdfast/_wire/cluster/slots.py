"""Which slot a key is in, and where a command's keys are. Pure.

A Cluster has 16384 slots; a key is in slot CRC16(key) modulo that, or of its `{tag}` alone if it has one. All
keys of one command must be in one slot, and the server has the last word on it: here only the first key is
looked for, to know whom to ask. Commands without a key go to any node, and a few of them mean every node.

Source: the Redis Cluster specification, "Key distribution model" and "Hash tags".
"""

from __future__ import annotations

from binascii import crc_hqx  # CRC16-CCITT (XMODEM), the one of the specification
from collections.abc import Callable, Sequence

from holdfast._wire.transport import Arg, Command, Reply, ReplyError
from holdfast._wire.verdict import word

SLOTS = 16384

_COUNTED = {  # where the number of keys stands; the keys follow
    "EVAL": 2, "EVALSHA": 2, "EVAL_RO": 2, "EVALSHA_RO": 2, "FCALL": 2, "FCALL_RO": 2, "BLMPOP": 2,
    "BZMPOP": 2, "ZUNION": 1, "ZINTER": 1, "ZDIFF": 1, "SINTERCARD": 1, "ZINTERCARD": 1, "LMPOP": 1,
    "ZMPOP": 1, "MSETEX": 1,
}  # fmt: skip
_ELSEWHERE = {"BITOP": 2, "OBJECT": 2, "MEMORY": 2, "XGROUP": 2, "XINFO": 2, "DEBUG": 2, "PFDEBUG": 2}
_AFTER = {"XREAD": ("STREAMS", 1), "XREADGROUP": ("STREAMS", 4)}  # a word, and from where it is looked for
_NO_KEY = frozenset(
    [
        "ACL",
        "ASKING",
        "AUTH",
        "BGREWRITEAOF",
        "BGSAVE",
        "CLIENT",
        "CLUSTER",
        "COMMAND",
        "COMMANDLOG",
        "CONFIG",
        "DBSIZE",
        "DISCARD",
        "ECHO",
        "EXEC",
        "FAILOVER",
        "FLUSHALL",
        "FLUSHDB",
        "FUNCTION",
        "HELLO",
        "INFO",
        "KEYS",
        "LASTSAVE",
        "LATENCY",
        "LOLWUT",
        "MODULE",
        "MONITOR",
        "MULTI",
        "PFSELFTEST",
        "PING",
        "PSUBSCRIBE",
        "PSYNC",
        "PUBLISH",
        "PUBSUB",
        "PUNSUBSCRIBE",
        "QUIT",
        "RANDOMKEY",
        "READONLY",
        "READWRITE",
        "REPLCONF",
        "REPLICAOF",
        "RESET",
        "ROLE",
        "SAVE",
        "SCAN",
        "SCRIPT",
        "SELECT",
        "SHUTDOWN",
        "SLAVEOF",
        "SLOWLOG",
        "SUBSCRIBE",
        "SWAPDB",
        "SYNC",
        "TIME",
        "UNSUBSCRIBE",
        "UNWATCH",
        "WAIT",
        "WAITAOF",
    ]
)
_NOWHERE, _SOUGHT = 0, -1
_KNOWN_NAMES = 1000
_places: dict[Arg, int] = {}  # of the first key, by the command's name as it was written


def slot_of(key: Arg) -> int:
    """The slot of `key`."""
    raw = key if type(key) is bytes else str(key).encode()
    opening = raw.find(b"{")
    if opening >= 0:
        closing = raw.find(b"}", opening + 1)
        if closing > opening + 1:
            raw = raw[opening + 1 : closing]
    return crc_hqx(raw, 0) % SLOTS


def first_key(command: Command) -> Arg | None:
    """The key by which `command` finds its node; None if it has none, or is malformed."""
    place = _places.get(command[0])
    if place is None:
        place = _learn(command[0])
    if place == _SOUGHT:
        place = _sought(word(command[0]), command)
    return command[place] if 0 < place < len(command) else None


def _learn(written: Arg) -> int:
    name = word(written)
    place = _NOWHERE if name in _NO_KEY else _ELSEWHERE.get(name, 1)
    if name in _COUNTED or name in _AFTER or name == "MIGRATE":
        place = _SOUGHT
    if len(_places) < _KNOWN_NAMES:  # these come from outside
        _places[written] = place
    return place


def _sought(name: str, command: Command) -> int:
    """Where the first key of `command` is; 0 if it has none."""
    if name in _COUNTED:
        count = _COUNTED[name]
        return _NOWHERE if len(command) <= count or _text(command[count]) == "0" else count + 1
    words = [word(arg) for arg in command]
    if name in _AFTER:
        mark, begin = _AFTER[name]
        return words.index(mark, begin) + 1 if mark in words[begin:] else _NOWHERE
    if len(command) > 3 and words[3] == "":  # MIGRATE host port "" ... KEYS key ...
        return words.index("KEYS") + 1 if "KEYS" in words else _NOWHERE
    return 3


def _text(arg: Arg) -> str:
    return arg.decode("ascii", "replace") if isinstance(arg, bytes) else str(arg)


# --- commands about many keys, which may be taken apart --------------------------------------------------

Join = Callable[[Sequence[Reply]], Reply]


def _concatenated(replies: Sequence[Reply]) -> Reply:
    return [part for reply in replies for part in reply]


def _first(replies: Sequence[Reply]) -> Reply:
    return replies[0]


def _any_of(replies: Sequence[Reply]) -> Reply:
    return next((reply for reply in replies if reply is not None), None)


def _all_of(replies: Sequence[Reply]) -> Reply:
    return [int(all(parts)) for parts in zip(*replies, strict=True)]


# Each key stands for itself, so each may travel alone; MSET is not here, because it promises all or nothing.
SPREAD: dict[str, Join] = {"MGET": _concatenated, "DEL": sum, "UNLINK": sum, "EXISTS": sum, "TOUCH": sum}
_apart: dict[Arg, bool] = {}  # is it one of these? By its name as it was written

# What is meant for the whole database, and how its answers become one.
_EVERYWHERE: dict[str, Join] = {
    "FLUSHALL": _first,
    "FLUSHDB": _first,
    "DBSIZE": sum,
    "KEYS": _concatenated,
    "RANDOMKEY": _any_of,
    "SAVE": _first,
    "BGSAVE": _first,
    "BGREWRITEAOF": _first,
}
_EVERYWHERE_WITH: dict[tuple[str, str], Join] = {
    ("SCRIPT", "FLUSH"): _first,
    ("SCRIPT", "LOAD"): _first,
    ("SCRIPT", "EXISTS"): _all_of,
    ("FUNCTION", "LOAD"): _first,
    ("FUNCTION", "DELETE"): _first,
    ("FUNCTION", "FLUSH"): _first,
    ("FUNCTION", "RESTORE"): _first,
    ("CONFIG", "SET"): _first,
    ("CONFIG", "RESETSTAT"): _first,
    ("CONFIG", "REWRITE"): _first,
    ("ACL", "SETUSER"): _first,
    ("ACL", "DELUSER"): _first,
    ("ACL", "LOAD"): _first,
    ("ACL", "SAVE"): _first,
}
# One node is enough: the others refuse, because they have nothing of the kind.
SOMEWHERE = {("SCRIPT", "KILL"), ("FUNCTION", "KILL")}


def everywhere(command: Command) -> Join | None:
    """How the answers of all primaries to `command` become one; None if it is no matter of all."""
    name = word(command[0])
    if len(command) > 1 and name in {"SCRIPT", "FUNCTION", "CONFIG", "ACL"}:
        pair = (name, word(command[1]))
        return _unrefused if pair in SOMEWHERE else _EVERYWHERE_WITH.get(pair)
    return _EVERYWHERE.get(name)


def _unrefused(replies: Sequence[Reply]) -> Reply:
    return next((reply for reply in replies if type(reply) is not ReplyError), replies[0])


def takes_refusals(join: Join) -> bool:
    """Does `join` want to see the errors too?"""
    return join is _unrefused


def may_be_apart(command: Command) -> bool:
    """Is it a command whose keys may travel alone, with more than one of them?"""
    if len(command) < 3:
        return False
    known = _apart.get(command[0])
    if known is None:
        known = word(command[0]) in SPREAD
        if len(_apart) < _KNOWN_NAMES:
            _apart[command[0]] = known
    return known


def by_slot(command: Command) -> dict[int, list[int]]:
    """The places of the keys of `command`, one that may be taken apart, by their slots."""
    places: dict[int, list[int]] = {}
    for place in range(1, len(command)):
        places.setdefault(slot_of(command[place]), []).append(place)
    return places


# --- a walk over all nodes -------------------------------------------------------------------------------

_MARKS = 1 << 32


def to_walk(cursor: Arg, nodes: int, mark: int) -> tuple[int, int] | None:
    """Which of `nodes` nodes the `cursor` of a SCAN belongs to, and that node's own cursor; None if the slots
    were elsewhere when it was given out, or nobody ever did.

    `mark` (not 0) is a checksum of the layout: a walk that goes on after slots have moved would miss keys.
    """
    text = _text(cursor)
    if not text.isdecimal():
        return None
    rest, found = divmod(int(text), _MARKS)
    if text == "0":
        return 0, 0
    return (rest % nodes, rest // nodes) if found == mark else None


def to_be_continued(own: int, node: int, nodes: int, mark: int) -> bytes:
    """The cursor with which a SCAN goes on, after `node` said that `own` is its next one."""
    if own == 0:
        node += 1
        if node == nodes:
            return b"0"
    return b"%d" % ((own * nodes + node) * _MARKS + mark)


# --- redirections ----------------------------------------------------------------------------------------


def redirection(message: str, asked: tuple[str, int]) -> tuple[bool, int, tuple[str, int]] | None:
    """Whether the move is for good, the slot and the address in "MOVED 3999 host:port" or "ASK ..."; else
    None.

    `asked` is the address of the node that said so: an empty host means "at the address you know me by".
    """
    code, _, rest = message.partition(" ")
    if code not in {"MOVED", "ASK"}:
        return None
    slot, _, address = rest.partition(" ")
    host, _, port = address.rpartition(":")
    if not slot.isdecimal() or not port.isdecimal() or int(slot) >= SLOTS:
        return None
    host = host.strip("[]")
    return code == "MOVED", int(slot), (asked[0] if host in {"", "?"} else host, int(port))
