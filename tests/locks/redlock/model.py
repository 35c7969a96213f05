"""Redlock as a model: nodes, lock attempts, a clock, and a network that delays, reorders and loses.

Every order of events is walked through (breadth first), so a counterexample is a shortest one. One step is
one of: the clock ticks, a node executes a request that is under way, a node crashes and is there again, an
attempt decides something. A request that is lost is one that is never executed. An attempt decides on any
quorum of the answers there are, so answers that are late or lost are among what is walked through.

The rules are switches, so that each can be left out: a rule without which nothing breaks would be for
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

IDLE, CLAIMING, CONFIRMING, HOLDING, OVER = range(5)
LONG_AGO = -99


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the protocol does. The defaults are what holdfast.locks.redlock does."""

    quorum: int = 2
    confirm_quorum: int = 2
    restart_rule: bool = True
    validity_at_grant: bool = True
    confirm_writes: bool = True
    confirm_only_ours: bool = True
    fences: str = "hybrid"  # of register and clock; "register"; or "none", where only leases are looked at
    tombstone: bool = True
    extension_recreates: bool = False
    counts_from: str = "send"  # or "answer"
    until_of: str = "quorum"  # the deadline that a quorum of nodes reaches; or "best": the latest one


@dataclass(frozen=True, kw_only=True)
class World:
    """What can happen, and for how long."""

    attempts: int = 2
    extends: tuple[int, ...] = ()
    ttl: int = 2
    longest: int = 2
    ticks: int = 5
    crashes: int = 1
    keeps_memory: bool = False  # what a crashed node had is still there (every write is synced)
    keeps_fences: bool = False
    begun: bool = False  # attempt 0 has the lock from the beginning
    releases: str = "late"  # or "at once": on every node in one step
    skews: tuple[int, ...] = (0, 0, 0)  # of the nodes' clocks, in ticks
    scale: int = 8  # fences in one tick


class Link(NamedTuple):
    """What an attempt and a node have to do with each other. Requests under way, and answers heard."""

    claim: bool = False
    claimed: int = -1  # max(fence, clock) as the node told it; -1: not heard
    confirm: bool = False
    confirmed: bool = False
    extend: int = -1  # sent at; -1: none under way
    until: int = -1  # this node is certainly ours until then
    release: bool = False
    released: bool = False
    buried: bool = False  # the node has a tombstone


class Column(NamedTuple):
    """A node, and its links to all attempts."""

    skew: int
    holder: int
    expires: int
    fence: int
    born: int
    links: tuple[Link, ...]


class Attempt(NamedTuple):
    """One attempt to get the lock: its token is new, so it is known by its number."""

    phase: int = IDLE
    start: int = 0
    fence: int = 0
    extended: bool = False


OVER_NOW = Attempt(OVER)


class State(NamedTuple):
    """Everything."""

    now: int
    crashes: int
    granted: int  # the highest fence granted so far
    attempts: tuple[Attempt, ...]
    columns: tuple[Column, ...]


class Broken(Exception):
    """A promise is broken in this state."""


class Model:
    """The protocol under `rules` in `world`."""

    def __init__(self, rules: Rules, world: World) -> None:
        self.rules = rules
        self.world = world

    def first(self) -> list[State]:
        """The beginning: attempt 0 has just claimed, or has the lock already."""
        links = (Link(),) * self.world.attempts
        columns = tuple(Column(skew, -1, 0, 0, LONG_AGO, links) for skew in self.world.skews)
        state = State(0, self.world.crashes, 0, (Attempt(),) * self.world.attempts, columns)
        begun = self.do(state, "0 claims")
        return [*self.granted(begun)] if self.world.begun else [begun]

    def do(self, state: State, what: str) -> State:
        """The state after the step called `what`."""
        return next(after for step, after in self.steps(state) if step.startswith(what))

    def granted(self, state: State) -> Iterator[State]:
        """Every way in which two nodes can have granted it to attempt 0; the third has not heard of it."""
        for third in range(len(state.columns)):
            now, places = state, {*range(len(state.columns))} - {third}
            for place in places:
                now = self.do(now, f"{place} claimed by 0")
            if self.rules.fences != "none":
                now = self.do(now, "0 confirms")
                for place in places:
                    now = self.do(now, f"{place} confirmed 0")
            now = self.do(now, "0 granted")
            link = now.columns[third].links[0]._replace(claim=False, confirm=False)
            yield self.plain(_put(now, third, now.columns[third], 0, link))

    def check(self) -> int:
        """Walk through all states; returns how many there are. Raises: Broken, with the way there."""
        wave = self.first()
        came: dict[State, tuple[State, str] | None] = dict.fromkeys(wave)
        while wave:
            following: list[State] = []
            for state in wave:
                try:
                    for what, after in self.steps(state):
                        after = self.plain(after)
                        if after not in came:
                            came[after] = (state, what)
                            self.promises(after)
                            following.append(after)
                except Broken as broken:
                    raise Broken(f"{broken} after {self.way(came, state)}") from None
            wave = following
        return len(came)

    @staticmethod
    def way(came: dict[State, tuple[State, str] | None], state: State) -> str:
        """How `state` came about."""
        steps: list[str] = []
        while (before := came[state]) is not None:
            state, what = before
            steps.append(what)
        return " > ".join(reversed(steps))

    def plain(self, state: State) -> State:
        """The state without what can make no difference any more; nodes that are alike are not told apart."""
        now, columns = state.now, []
        for skew, holder, expires, fence, born, links in state.columns:
            if holder >= 0 and expires <= now:
                holder, expires = -1, 0
            born = born if now - born < self.world.longest else LONG_AGO
            links = tuple(map(self.relevant, links, state.attempts))
            columns.append(Column(skew, holder, expires, fence, born, links))
        attempts = tuple(OVER_NOW if one.phase == OVER else one for one in state.attempts)
        columns.sort()
        return State(now, state.crashes, state.granted, attempts, tuple(columns))

    def relevant(self, link: Link, attempt: Attempt) -> Link:
        """The link without what can make no difference any more."""
        if attempt.phase < HOLDING:
            return link
        until = link.until if attempt.phase == HOLDING else -1
        if not link.buried or self.rules.extension_recreates:
            return Link(link.claim, -1, link.confirm, False, link.extend, until, *link[6:])
        return Link(False, -1, False, False, -1, until, *link[6:])

    # --- promises -------------------------------------------------------------------------------------------

    def promises(self, state: State) -> None:
        """Raises: Broken if two hold the lock at once, or a released claim is on a node again."""
        holders = [who for who in range(len(state.attempts)) if self.holds(state, who)]
        if len(holders) > 1:
            raise Broken("two holders")
        for column in state.columns:
            if column.holder >= 0 and column.links[column.holder].released:
                raise Broken("an orphan")

    def holds(self, state: State, who: int) -> bool:
        """Does the attempt `who` believe that the lock is its own?"""
        return state.attempts[who].phase == HOLDING and state.now < self.until(state, who)

    def until(self, state: State, who: int) -> int:
        """When the lease of `who` ends, as far as it knows."""
        untils = sorted((column.links[who].until for column in state.columns), reverse=True)
        return untils[0 if self.rules.until_of == "best" else self.rules.quorum - 1]

    # --- what can happen ------------------------------------------------------------------------------------

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """Every next state, and what leads there."""
        if state.now < self.world.ticks:
            yield "tick", state._replace(now=state.now + 1)
        for who in range(len(state.attempts)):
            yield from self.decide(state, who)
        for place in range(len(state.columns)):
            if state.crashes:
                yield f"crash {place}", self.crash(state, place)
            for who in range(len(state.attempts)):
                yield from self.serve(state, place, who)

    def decide(self, state: State, who: int) -> Iterator[tuple[str, State]]:
        """What the attempt `who` may do now."""
        me, rules = state.attempts[who], self.rules
        links = [column.links[who] for column in state.columns]
        valid = state.now < me.start + self.world.ttl or not rules.validity_at_grant
        if me.phase == IDLE and (who == 0 or state.attempts[who - 1].phase != IDLE):
            after = me._replace(phase=CLAIMING, start=state.now)
            yield f"{who} claims", self.send(state, who, after, claim=True)
        elif me.phase == CLAIMING:
            heard = sorted(link.claimed for link in links if link.claimed >= 0)
            if rules.fences == "none" and len(heard) >= rules.quorum and valid:
                yield f"{who} granted", self.grant(state, who)
            for highest in {*heard[rules.quorum - 1 :]} if rules.fences != "none" else ():  # of any quorum
                after = me._replace(phase=CONFIRMING, fence=highest + 1)
                yield f"{who} confirms {after.fence}", self.send(state, who, after, confirm=True)
        elif me.phase == CONFIRMING:
            heard = [link.confirmed for link in links if link.confirmed]
            if len(heard) >= rules.confirm_quorum and valid:
                yield f"{who} granted", self.grant(state, who)
        elif me.phase == HOLDING and who in self.world.extends and not me.extended and self.holds(state, who):
            yield f"{who} extends", self.send(state, who, me._replace(extended=True), extend=state.now)
        if me.phase in (CLAIMING, CONFIRMING, HOLDING):
            given = self.send(state, who, me._replace(phase=OVER), release=True)
            yield f"{who} releases", given if self.world.releases == "late" else self.release(given, who)

    def send(self, state: State, who: int, after: Attempt, **request: object) -> State:
        """The attempt sends a request to every node."""
        columns = [
            _with_link(column, who, column.links[who]._replace(**request))  # type: ignore[arg-type]
            for column in state.columns
        ]
        return state._replace(attempts=_with(state.attempts, who, after), columns=tuple(columns))

    def grant(self, state: State, who: int) -> State:
        """The attempt knows that the lock is its own."""
        me = state.attempts[who]
        if any(self.holds(state, other) for other in range(len(state.attempts))):
            raise Broken("granted while somebody has it")
        if me.fence <= state.granted and self.rules.fences != "none":
            raise Broken(f"fence {me.fence} after {state.granted}")
        start = me.start if self.rules.counts_from == "send" else state.now
        columns = []
        for column in state.columns:
            link = column.links[who]
            ours = link.confirmed or (link.claimed >= 0 and self.rules.fences == "none")
            until = start + self.world.ttl if ours else -1
            columns.append(_with_link(column, who, link._replace(until=until)))
        attempts = _with(state.attempts, who, me._replace(phase=HOLDING))
        return state._replace(granted=me.fence, attempts=attempts, columns=tuple(columns))

    def crash(self, state: State, place: int) -> State:
        """A node loses its connections and, unless it wrote everything down, its memory."""
        column = state.columns[place]
        links = tuple(
            link._replace(
                claim=False, confirm=False, extend=-1, buried=link.buried and self.world.keeps_memory
            )
            for link in column.links
        )
        column = column._replace(born=state.now, links=links)
        if not self.world.keeps_memory:
            fence = column.fence if self.world.keeps_fences else 0
            column = column._replace(holder=-1, expires=0, fence=fence)
        return state._replace(crashes=state.crashes - 1, columns=_with(state.columns, place, column))

    def serve(self, state: State, place: int, who: int) -> Iterator[tuple[str, State]]:
        """A node executes a request of `who` that is under way."""
        column = state.columns[place]
        if column.holder >= 0 and column.expires <= state.now:
            column = column._replace(holder=-1, expires=0)
        link = column.links[who]
        if link.claim:
            yield from self.claim(state, place, column, who, link)
        if link.confirm:
            yield from self.confirm(state, place, column, who, link)
        if link.extend >= 0:
            yield from self.extend(state, place, column, who, link)
        if link.release:
            column = self.freed(column, who)
            yield f"{place} released {who}", _with_column(state, place, column)

    def freed(self, column: Column, who: int) -> Column:
        """DEL if ours, else a tombstone (here: always one, which makes no difference)."""
        link = column.links[who]._replace(release=False, released=True, buried=self.rules.tombstone)
        column = column._replace(holder=-1, expires=0) if column.holder == who else column
        return _with_link(column, who, link)

    def release(self, state: State, who: int) -> State:
        """Every node executes the release of `who`."""
        return state._replace(columns=tuple(self.freed(column, who) for column in state.columns))

    def claim(
        self, state: State, place: int, column: Column, who: int, link: Link
    ) -> Iterator[tuple[str, State]]:
        """SET NX PX, with the restart rule."""
        link = link._replace(claim=False)
        young = state.now - column.born < self.world.longest and not self.world.keeps_memory
        if column.holder >= 0 or link.buried or (young and self.rules.restart_rule):
            yield f"{place} refused {who}", _put(state, place, column, who, link)
            return
        told = column.fence
        if self.rules.fences == "hybrid":
            told = max(told, (state.now + column.skew) * self.world.scale)
        column = column._replace(holder=who, expires=state.now + self.world.ttl)
        yield f"{place} claimed by {who}", _put(state, place, column, who, link._replace(claimed=told))

    def confirm(
        self, state: State, place: int, column: Column, who: int, link: Link
    ) -> Iterator[tuple[str, State]]:
        """Write the fence, if the lock is still ours."""
        link = link._replace(confirm=False)
        if column.holder != who and self.rules.confirm_only_ours:
            yield f"{place} lost {who}", _put(state, place, column, who, link)
            return
        if self.rules.confirm_writes and self.rules.fences != "none":
            column = column._replace(fence=max(column.fence, state.attempts[who].fence))
        yield f"{place} confirmed {who}", _put(state, place, column, who, link._replace(confirmed=True))

    def extend(
        self, state: State, place: int, column: Column, who: int, link: Link
    ) -> Iterator[tuple[str, State]]:
        """PEXPIRE, if the lock is still ours."""
        sent, link = link.extend, link._replace(extend=-1)
        again = column.holder < 0 and self.rules.extension_recreates
        if column.holder != who and not again:
            yield f"{place} lost {who}", _put(state, place, column, who, link._replace(until=-1))
            return
        column = column._replace(holder=who, expires=state.now + self.world.ttl)
        counted = sent if self.rules.counts_from == "send" else state.now
        heard = link._replace(until=max(link.until, counted + self.world.ttl))
        yield f"{place} extended {who}", _put(state, place, column, who, heard)


def _with(items: tuple, place: int, item: object) -> tuple:  # type: ignore[type-arg]
    return (*items[:place], item, *items[place + 1 :])


def _with_link(column: Column, who: int, link: Link) -> Column:
    return Column(*column[:5], _with(column.links, who, link))


def _put(state: State, place: int, column: Column, who: int, link: Link) -> State:
    return _with_column(state, place, _with_link(column, who, link))


def _with_column(state: State, place: int, column: Column) -> State:
    return State(*state[:4], _with(state.columns, place, column))


def without(**changed: object) -> Rules:
    """The rules with some of them changed."""
    return replace(Rules(), **changed)  # type: ignore[arg-type]
