"""Topics, without any I/O: what they promise, and every decision that is taken.

    topic.publish({"symbol": "ACME", "price": 12.5})

    with topic.subscribe(after=position) as messages:      # None: from now on
        for message in messages:
            if isinstance(message, Gap):
                reload_everything()
            else:
                show(message.value)
                position = message.position                # keep it: there the next one goes on

Whoever listens is told by a push (sharded pub/sub). With a history (the default) the server also keeps the
last messages, numbered 1, 2, 3, ... (`offset`) since the history began; a random `epoch` names that
beginning. Both stand in one hash, which is written together with the message. So a subscriber sees by the
numbers when something is missing: after a lost connection, a moved slot, a slow minute, or when it was away
for an hour and comes back with the position of its last message. Then it reads what is missing from the
history, before it goes on.

Promised, with a history:

* Every subscriber gets every message once, in the order of the offsets, from its position on; or a `Gap`, at
  the very place where something is missing. It is a Gap if the history does not reach back any more, or if it
  is another one: deleted, flushed, restarted empty, or a failover has lost a part of it. Never silence.
* A position names a message, not just a number: one that a failover has lost is recognised, even if its
  number was given again.
* `publish` can be repeated when its reply is lost, and is: the message is said once. With `id`, whoever says
  it again within `dedup` says nothing, and is told where the first one is.
* A subscriber that is slow delays nobody: neither publishers nor other subscribers. What does not fit into
  its queue is dropped as `on_full` says, and counted; by default ("catch_up") it is read from the history
  later, so that nothing is lost as long as the history reaches.
* One connection per client and server carries all subscriptions of all topics.
* While the server is away, subscribers wait; nobody gets an exception for it.

Promised in a plain topic (history=0): at most once. What is said while a subscriber is connected arrives, in
the order of the server, without offsets. A lost connection is told as a Gap, now and then twice; so is what
did not fit into the queue. Nothing is repeated: a `publish` whose reply is lost raises Unconfirmed. Nothing
is written, and the payload is the bare value, so other programs can publish and subscribe.

Not promised:

* That a message which was confirmed is still there after a failover, unless `durability` asks for replicas;
  but its loss is told.
* That `publish` which raised Unavailable has said nothing. Publish it again with an `id`.
* A push while a slot of a Cluster is being moved: what is published in the meantime is read when the move is
  over. It is late, not lost.
* That a subscriber which began when the topic had no message yet, and is away while that topic begins, is
  deleted and begins anew, hears of the first beginning.
* A time to live of each message: `max_age` is looked at when the next one is published.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from holdfast._signals import Signal
from holdfast._wire.script import Script
from holdfast.errors import ConfigurationError
from holdfast.topics.options import Gap

AUDIENCE = Script.load(__package__, "audience")
LATEST = Script.load(__package__, "latest")
LOOK = Script.load(__package__, "look")
PUBLISH = Script.load(__package__, "publish")

POLL = 1.0  # seconds between two looks at the history while nothing is pushed
PAGE = 100  # messages in one look
REMEMBER_MS = 60_000  # for which a request may still be repeated
LEAST = 0.1  # seconds that a look may take, however short the wait

_POSITION = re.compile(r"(-|[0-9a-f]{1,32})\.([0-9]{1,15})\.([0-9]{1,15})")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicGap(Signal):
    """A subscriber of this process was told that messages are missing: `missed` of them, if that is known
    (-1: it is not); `reason` as in Gap.
    """

    level = "warning"
    topic: str
    reason: str
    missed: int


class Position(NamedTuple):
    """A place in a history: behind the message `offset` of `epoch`, which was said at `ms` on the server's
    clock. `ms` 0: behind whatever has that number.
    """

    epoch: str
    ms: int
    offset: int

    @property
    def text(self) -> str:
        """As it is given away: to be stored, or sent to a browser."""
        return f"{self.epoch}.{self.ms}.{self.offset}"


START: Final = Position("-", 0, 0)
"""Before the first message of a topic that has none yet."""


def parse(text: Any) -> Position:
    """What `Position.text` was made of. Raises: ConfigurationError."""
    found = _POSITION.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ConfigurationError(
            f"after={text!r:.80} is no position; take it from message.position, gap.position or "
            f"topic.position(), as it is"
        )
    return Position(found[1], int(found[2]), int(found[3]))


def unpack(payload: bytes) -> tuple[Position, bytes] | None:
    """Position and body of a message as publish.lua pushes it; None if somebody else has published it."""
    place, colon, body = payload.partition(b":")
    found = _POSITION.fullmatch(place.decode("ascii", "replace")) if colon else None
    return None if found is None else (Position(found[1], int(found[2]), int(found[3])), body)


class Page(NamedTuple):
    """What look.lua answered. `last` None: nothing is known of the topic."""

    last: Position | None = None
    whole: bool = False
    messages: tuple[tuple[Position, bytes], ...] = ()


def page(reply: Any) -> Page:
    """The reply of look.lua and latest.lua as a value."""
    if not reply:
        return Page()
    epoch, ms, offset, whole, entries = reply
    name = epoch.decode()
    messages = []
    for id, fields in entries:
        at, _, number = id.decode().partition("-")
        messages.append((Position(name, int(at), int(number)), fields[1]))
    return Page(Position(name, ms, offset), bool(whole), tuple(messages))


class Resumed(NamedTuple):
    """How a subscriber goes on after a look: from `at`, after `gap` if there is one, with `messages`.

    `done`: there was nothing more at that moment.
    """

    at: Position
    messages: tuple[tuple[Position, bytes], ...] = ()
    gap: Gap | None = None
    done: bool = True


def resume(at: Position, found: Page, history: int) -> Resumed:
    """How a subscriber at `at` goes on, who has found that.

    Where the first message does not follow `at`, its number says how many are missing: see `gap_before`.
    """
    last, messages = found.last, found.messages
    if last is None:
        return Resumed(START, (), Gap("reset", None, START.text) if at.epoch != START.epoch else None)
    done = not messages or messages[-1][0].offset >= last.offset
    same, whole = at.epoch in (last.epoch, START.epoch), found.whole
    if same and not at.ms:
        messages = tuple(one for one in messages if one[0].offset > at.offset)
        whole = (messages[0][0].offset if messages else last.offset + 1) == at.offset + 1
    if not whole and messages and messages[0][0].offset == last.offset - history:
        messages = messages[1:]  # it is kept only to compare with
    before = messages[0][0].offset - 1 if messages else last.offset
    if same and before > at.offset:
        gap = None if messages else Gap("trimmed", before - at.offset, last.text)
        return Resumed(at._replace(epoch=last.epoch) if messages else last, messages, gap, done)
    if whole:
        return Resumed(at, messages, None, done)
    behind = Position(last.epoch, 0, before) if messages else last
    return Resumed(behind, messages, Gap("reset", None, behind.text), done)


def gap_before(found: Resumed) -> Gap | None:
    """What is missing before the messages that were found."""
    if found.gap is not None or not found.messages:
        return found.gap
    first = found.messages[0][0]
    missed = first.offset - found.at.offset - 1
    return Gap("trimmed", missed, Position(first.epoch, 0, first.offset - 1).text) if missed else None
