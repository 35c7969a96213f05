"""What a leaderboard is, without any I/O.

A board keeps a score for each member, in each of its periods, and says who stands where. A period is a sorted
set on the server, the best member first, and two kinds of ties need a little more beside it:

    ties          equals     kept beside the scores                             so a rank is
    competition   1 2 2 4    nothing                                            how many are better, and 1
    ordinal       1 2 3 4    nothing; equals stand by the bytes of their names  the place
    dense         1 2 2 3    the scores that somebody has, each once            the place of the score
    first         1 2 3 4    a turn for each member, counted by the server      the place

Scores are kept as they are, never packed together with a time or a second key, so every whole number up to
2**53 either way is exact; with order="high" they are kept negated, so that everything is counted from the
front. "first" numbers each change of a score: who has changed to the same score later stands behind, whatever
the clocks say, and who submits the score that he has keeps his turn.

All periods of a board, and all that is kept beside them, lie in one slot and are changed by one script:

    <ns>:1:board:{<name>}:all            and :day:2026-11-26, :week:2026-W48, :month:2026-11, :season:<name>
    <ns>:1:board:{<name>}:day:...:more   what "dense" and "first" keep beside it
    <ns>:1:board:{<name>}:data           data of members, for all periods
    <ns>:1:board:{<name>}:meta           how it is kept, so that no program can use it otherwise
    <ns>:1:board:{<name>}:req:<client>   what the last requests of a client were answered

Promise: a submit changes all periods that run, or none; the server's clock says which these are, and a client
whose clock is wrong pays a round trip, no more. A request whose reply was lost is repeated without being done
twice, and tells what the first one found, for "set" and "best" as for "add": simply repeated, a "set" would
undo what somebody else has set in between, and `previous_rank` would be that behind the first one. (A memo
does it: what the last requests of a client were answered, for a minute.) The ranks in an answer are those of
one moment. Who is cut or removed leaves nothing behind in the periods that run, and every other period ends
by itself. Without an endless period the data of those who come no more is swept while others submit, so that
there is never much more of it than of what is wanted.

Not promised: that a submit survives a failover, unless `durability` asks for it; that two questions see the
same moment; that fractions add up better than floats do; that `merge`, or a `submit_many` of more than CHUNK
items, takes effect at once; the order among equals of "ordinal" beyond that it is that of their UTF-8 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from holdfast._wire.reply import text
from holdfast._wire.script import Script
from holdfast.errors import ConfigurationError
from holdfast.leaderboards.options import LONGEST_MEMBER, MOST, Number, Order, Standing, Ties

WRITE = Script.load(__package__, "write")
RANKS = Script.load(__package__, "ranks")
RANGE = Script.load(__package__, "range")
SCAN = Script.load(__package__, "scan")

REMEMBER_MS = 60_000  # for which a request may still be repeated
WINDOW = 1000  # requests of a client that are remembered
WINDOW_MANY = 128  # likewise of those with many items, whose answers are long
CHUNK = 250  # items in one script
MOST_ROWS = 5000  # in one answer
TURN = 11  # bytes in front of a member of a board of "first"
TRIES = 5  # that a clock may have to move on between a question and its answer, or jump

Item = tuple[str, str, bytes]  # member, score as it is stored, data or nothing


class Page(NamedTuple):
    """Rows that follow each other: the place of the first, from 0, its rank, and of each the member and the
    score; `data` of each, or empty.
    """

    first: int
    rank: int
    members: list[str]
    scores: list[Number]
    data: Sequence[bytes | None]


class Places(NamedTuple):
    """Of each member that was asked for a number, and its score, nan if it is not on the board; `data` of
    each, or empty. `total`: members of the board.
    """

    total: int
    numbers: list[int]
    scores: list[Number]
    data: Sequence[bytes | None]


def kept(ties: Ties, order: Order) -> str:
    """How a board is kept: two ways to count ties share one."""
    return f"{'plain' if ties in ('competition', 'ordinal') else ties} {order}"


def member_of(member: Any) -> str:
    """`member`, checked. Raises: ConfigurationError."""
    if not isinstance(member, str) or not member:
        raise ConfigurationError(f'a member must be text that is not empty, as "bob", not {member!r:.80}')
    try:
        size = len(member.encode())
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"the member {member!r:.80} cannot be written as UTF-8: {error}") from error
    if size > LONGEST_MEMBER:
        raise ConfigurationError(f"the member {member!r:.80}... must be at most {LONGEST_MEMBER} bytes long")
    return member


def stored(score: Any, order: Order, name: str = "score") -> str:
    """`score` as the server keeps it. Raises: ConfigurationError for what it could not give back."""
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise ConfigurationError(f"{name}={score!r:.80} must be an int or a float")
    if not -MOST <= score <= MOST:  # NaN is not either
        raise ConfigurationError(
            f"{name}={score!r} must lie between -2**53 and 2**53: beyond, a sorted set would round it"
        )
    if score == 0:
        return "0"  # there is a negative zero, and it is another text
    plain = int(score) if isinstance(score, int) else float(score)  # of its own type, its text could be any
    return repr(-plain if order == "high" else plain)


def chunks(items: Sequence[Item], *, apart: bool) -> Iterator[Sequence[Item]]:
    """`items` in parts of what one script takes; `apart`: without the same member twice in one of them."""
    begun, members = 0, set[str]()
    for at, (member, _, _) in enumerate(items):
        if at - begun == CHUNK or (apart and member in members):
            yield items[begun:at]
            begun, members = at, set()
        members.add(member)
    if items:
        yield items[begun:]


def shown(raw: Any, order: Order) -> Number:
    """The score that the server keeps as `raw`; an int if it is a whole number."""
    value = float(raw)
    if order == "high":
        value = -value
    return int(value) if value.is_integer() else value


def ranked(ties: Ties, first: int, rank: int, scores: Sequence[Number]) -> list[int]:
    """The ranks of rows that follow each other: `first`, the place of the first one from 0, has `rank`."""
    ranks: list[int] = []
    for at, score in enumerate(scores):
        if at == 0:
            ranks.append(rank)
        elif ties in ("competition", "dense") and score == scores[at - 1]:
            ranks.append(ranks[-1])
        else:
            ranks.append(ranks[-1] + 1 if ties == "dense" else first + at + 1)
    return ranks


def standings(answer: Any, order: Order) -> list[Standing]:
    """What write.lua said of each item."""
    words = text(answer).split(" ") if answer else []
    return [
        Standing(int(rank) or None, shown(score, order), int(previous) or None)
        for rank, score, previous in zip(words[::3], words[1::3], words[2::3], strict=True)
    ]


def page(reply: Any, order: Order) -> Page:
    """What range.lua returned."""
    _, first, rank, rows, data = reply
    members = [text(one) for one in rows[::2]]
    return Page(first, rank, members, [shown(one, order) for one in rows[1::2]], data)


def places(reply: Any, order: Order) -> Places:
    """What ranks.lua returned."""
    _, count, found, data = reply
    return Places(count, found[::2], [shown(one, order) if one else math.nan for one in found[1::2]], data)


def scanned(rows: Sequence[Any], data: Sequence[bytes | None], kept: str) -> list[tuple[str, Any, Any]]:
    """What scan.lua returned: member, score as it is stored, data; in order, as far as they were scanned."""
    turn = TURN if kept.startswith("first") else 0
    triples = zip(rows[::2], rows[1::2], data or [None] * (len(rows) // 2), strict=True)
    found = sorted(triples, key=lambda one: (float(one[1]), one[0]))
    return [(text(raw[turn:]), score, known) for raw, score, known in found]


def percentile(worse: int, count: int) -> float:
    """The percentage of the others, of `count` members, that have a worse score; who is alone has 100."""
    return 100.0 * worse / (count - 1) if count > 1 else 100.0


def share(percent: Any) -> str:
    """A percentage, checked. Raises: ConfigurationError."""
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
        raise ConfigurationError(
            f"percentile={percent!r} must be a number from 0 (the last) to 100 (the first)"
        )
    return repr(float(percent))


def bounds(low: Number | None, high: Number | None, order: Order) -> tuple[str, str]:
    """Where scores from `low` to `high` begin and end, the best first. Raises: ConfigurationError."""
    if low is not None and high is not None and low > high:
        raise ConfigurationError(f"low={low!r} must not be more than high={high!r}")
    best, worst = (high, low) if order == "high" else (low, high)
    return (
        "-inf" if best is None or math.isinf(best) else stored(best, order, "low or high"),
        "+inf" if worst is None or math.isinf(worst) else stored(worst, order, "low or high"),
    )
