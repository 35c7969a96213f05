"""What sessions are, exactly: a second implementation, in one process, with a clock in the hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tests.sessions.world import FUTURE

DAY = 86_400_000


class Gone(Exception):
    """SessionGone is to be raised."""


class Conflict(Exception):
    """ConflictError is to be raised."""


@dataclass
class Live:
    """A session in the server; times in ms."""

    created: int
    last: int
    ends: int
    idle: int
    version: int
    user: str | None
    generation: int
    data: dict[str, Any]


@dataclass
class Pointer:
    """An id that was replaced; or revoked, with target ""."""

    target: str
    until: int = 0
    overlap: int = 0


@dataclass
class View:
    """What a request has in hand: where the session is, and what it was when it was read."""

    at: str
    base: Live
    idle: int
    superseded: bool = False


@dataclass
class Generation:
    """A user's."""

    number: int
    kept: str = ""
    carried: int = 0


@dataclass
class World:
    """All there is."""

    idle: int
    absolute: int
    touch: int
    now: int = FUTURE
    entries: dict[str, Live | Pointer] = field(default_factory=dict)
    users: dict[str, Generation] = field(default_factory=dict)

    # --- looking --------------------------------------------------------------------------------------------

    def find(self, id: str) -> tuple[str, Live] | None:
        """The session to which an id leads, if its time is not over."""
        for _ in range(5):
            entry = self.entries.get(id)
            if isinstance(entry, Live):
                over = self.now >= entry.ends or self.now >= entry.last + entry.idle
                return None if over else (id, entry)
            if entry is None or not 0 < entry.until - self.now <= entry.overlap:
                return None
            id = entry.target
        return None

    def holds(self, id: str, live: Live) -> bool:
        """Does its user's generation let it live?"""
        if live.user is None:
            return True
        known = self.users.get(live.user)
        if known is None:
            return False
        return known.number == live.generation or (known.kept, known.carried) == (id, live.generation)

    def alive(self, id: str) -> Live | None:
        found = self.find(id)
        return found[1] if found and self.holds(*found) else None

    def view(self, id: str) -> View | None:
        """A load."""
        found = self.find(id)
        if found is None:
            return None
        at, live = found
        if self.now - live.last >= self.touch or live.last > self.now:
            live.last = self.now
        if not self.holds(at, live):
            return None
        return View(at, copied(live), live.idle, superseded=at != id)

    # --- changing -------------------------------------------------------------------------------------------

    def enter(self, user: str | None) -> int:
        if user is None:
            return 0
        return self.users.setdefault(user, Generation(self.now * 1000)).number

    def touched(self, view: View) -> bool:
        found = self.find(view.at)
        if found is None:
            return False
        at, live = found
        live.last = self.now
        if not self.holds(at, live):
            return False
        moved(view, at)
        view.base.last = self.now
        return True

    def save(self, view: View, data: dict[str, Any], *, strict: bool) -> bool:
        written, removed = delta(view.base.data, data)
        if not written and not removed and view.idle == view.base.idle:
            return False
        found = self.find(view.at)
        if found is None:
            raise Gone
        at, live = found
        if strict and live.version != view.base.version:
            raise Conflict
        live.data = {name: one for name, one in live.data.items() if name not in removed} | written
        live.version += 1
        live.last = self.now
        if view.idle != view.base.idle:
            live.idle = view.idle
        if not self.holds(at, live):
            raise Gone
        moved(view, at)
        noted(view, live.version)
        view.base = replace(view.base, data=dict(data), last=self.now, idle=view.idle)
        return True

    def pop(self, view: View, name: str) -> Any:
        found = self.find(view.at)
        if found is None:
            raise Gone
        at, live = found
        value = live.data.pop(name, None)
        live.version += value is not None
        if not self.holds(at, live):
            raise Gone
        moved(view, at)
        noted(view, live.version)
        view.base.data.pop(name, None)
        return value

    def rotate(self, view: View, data: dict[str, Any], user: str | None, overlap: int) -> View | None:
        """The view under the new id, which is still to be named; None: the other one's id holds."""
        signs_in = user != view.base.user
        written, removed = delta(view.base.data, data)
        at, base = view.at, view.base
        while True:
            generation = self.enter(user)
            if not signs_in and not self.holds(at, base):
                raise Gone
            new = copied(base)
            new.data = {name: one for name, one in base.data.items() if name not in removed} | written
            new.idle = view.idle
            new.version += bool(written or removed or view.idle != base.idle)
            new.user, new.generation, new.last = user, generation, self.now
            if signs_in:
                new.created, new.ends = self.now, self.now + self.absolute
            if self.now >= new.ends:
                raise Gone
            entry = self.entries.get(at)
            if isinstance(entry, Pointer):
                if not 0 < entry.until - self.now <= entry.overlap:
                    raise Gone
                if not signs_in:
                    moved(view, entry.target)
                    return None
                followed = self.view(entry.target)
                if followed is None or followed.base.user is not None:
                    raise Gone
                at, base = followed.at, followed.base
                continue
            if self.find(at) is None:
                raise Gone
            assert entry is not None
            if entry.version != base.version:
                base = copied(entry)
                continue
            self.entries[at] = Pointer("?", self.now + overlap, overlap)
            return View(at, new, new.idle)

    def name(self, view: View, id: str) -> None:
        """The new session of `rotate` has this id."""
        pointer = self.entries[view.at]
        assert isinstance(pointer, Pointer)
        pointer.target = id
        self.entries[id] = copied(view.base)
        view.at = id

    def revoke(self, id: str) -> bool:
        found = self.find(id)
        if found is None:
            return False
        at, live = found
        self.entries[at] = Pointer("")
        return self.holds(at, live)

    def revoke_all(self, user: str, keep: View | None) -> None:
        kept, carried = "", 0
        found = self.find(keep.at) if keep else None
        if found:
            at, live = found
            live.last = self.now
            if self.holds(at, live):
                kept, carried = at, live.generation
        known = self.users.get(user)
        number = max(self.now * 1000, known.number + 1 if known else 0)
        self.users[user] = Generation(number, kept, carried)


def copied(live: Live) -> Live:
    return replace(live, data=dict(live.data))


def delta(base: dict[str, Any], data: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    return {name: one for name, one in data.items() if base.get(name) != one}, set(base) - set(data)


def moved(view: View, at: str) -> None:
    if at != view.at:
        view.at, view.superseded = at, True


def noted(view: View, version: int) -> None:
    """The version that a request counts on only follows its own saves."""
    if version == view.base.version + 1:
        view.base.version = version
