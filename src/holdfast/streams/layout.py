"""Where streams live: their keys. Pure.

A stream is spread over a fixed number of partitions; the keys of one share the slot of `{<name>:<p>}`, so
that one script can do whatever has to be done in it:

    <ns>:1:stream:{<name>:<p>}              the entries, a Redis stream; a channel as well: the doorbell
    <ns>:1:stream:{<name>:<p>}:bell         is there while somebody sleeps
    <ns>:1:stream:{<name>:<p>}:at, :later   delayed entries, by time, and their fields
    <ns>:1:stream:{<name>:<p>}:id:<id>      the entry that was published with this dedup id
    <ns>:1:stream:{<name>:<p>}:req:<token>  what the last requests of a client were answered
    <ns>:1:stream:{<name>:<p>}:outbox       what effects publish into another slot
    <ns>:1:stream:{<name>:<p>}:g:<group>:m  and so on: members, retries, errors, dead letters of a group
    <ns>:1:stream:{<name>}:meta             how many partitions there are
    <ns>:1:stream:{<name>}:g:<group>        who consumes, to share the partitions out
"""

from __future__ import annotations

from zlib import crc32

from holdfast._wire.keys import Keys, escape_name
from holdfast.errors import ConfigurationError

LONGEST = 8192  # bytes of a dedup id or a key
LATER = "~later"  # the consumer that has what waits for a retry


class GroupKeys:
    """The keys of one group in one partition."""

    __slots__ = ("base", "dead", "errors", "members", "retries", "saved", "turns")

    def __init__(self, stream: str, group: str) -> None:
        self.base = base = f"{stream}:g:{escape_name(group)}"
        self.members, self.retries, self.errors = f"{base}:m", f"{base}:r", f"{base}:e"
        self.dead, self.saved, self.turns = f"{base}:dead", f"{base}:saved", f"{base}:turns"

    def done(self, member: str) -> str:
        """What the last requests of `member` have done."""
        return f"{self.base}:fx:{escape_name(member)}"


class Partition:
    """The keys of one partition."""

    __slots__ = ("at", "bell", "later", "number", "outbox", "stream")

    def __init__(self, stream: str, number: int) -> None:
        self.stream = stream
        self.number = number
        self.bell, self.at, self.later = f"{stream}:bell", f"{stream}:at", f"{stream}:later"
        self.outbox = f"{stream}:outbox"

    def requests(self, client: str) -> str:
        """What the last requests of `client` were answered."""
        return f"{self.stream}:req:{client}"

    def seen(self, dedup: str) -> str:
        """The entry with this dedup id."""
        return f"{self.stream}:id:{escape_name(dedup)}"

    def group(self, name: str) -> GroupKeys:
        """The keys of the group `name`."""
        return GroupKeys(self.stream, name)

    def user(self, name: str) -> str:
        """A key of the user's own in this partition's slot."""
        return f"{self.stream}:user:{escape_name(name)}"


class Layout:
    """The partitions of the stream `name`."""

    __slots__ = ("_keys", "_name", "meta", "parts")

    def __init__(self, keys: Keys, name: str, partitions: int) -> None:
        self._keys, self._name = keys, name
        self.parts = tuple(
            Partition(keys.tagged("stream", f"{name}:{number}"), number) for number in range(partitions)
        )
        self.meta = keys.tagged("stream", name, ":meta")

    def consumers(self, group: str) -> str:
        """Who consumes for `group`."""
        return self._keys.tagged("stream", self._name, f":g:{escape_name(group)}")

    def of(self, key: str) -> Partition:
        """The partition of `key`."""
        return self.parts[crc32(key.encode()) % len(self.parts)]


def text_of(value: object, what: str) -> str:
    """`value` as a key or a dedup id. Raises: ConfigurationError."""
    if isinstance(value, str):
        if 0 < len(value.encode("utf-8", "surrogatepass")) <= LONGEST and _is_text(value):
            return str.__str__(value)
        raise ConfigurationError(f"{what}={value!a:.80} must be text of 1 to {LONGEST} bytes")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    # A UUID and the like: a type whose str() names it, and nothing else.
    if type(value).__module__ == "uuid":
        return str(value)
    raise ConfigurationError(f"{what}={value!r} must be a str, an int or a UUID")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
