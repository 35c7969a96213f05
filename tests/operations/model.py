"""Every order of steps of a caller and a sweep at one operation, with the real scripts on a real server.

A breadth-first search over what the server holds. A crash, or a freeze, is a lease that ends: the test sets
the deadline to the past. Each request is sent twice, since its reply may be lost: both answers must be the
same, and so must be what the server holds.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from tests.operations.bench import (
    CALLER,
    KEEP,
    LEASE,
    MOST,
    PENDING,
    SWEEP,
    Actor,
    Bench,
    Ghost,
    Node,
    stable,
)


class Model(Bench):
    """The search, and every step."""

    # --- the search -----------------------------------------------------------------------------------------

    def fences(self) -> None:
        """A fence is above the last one of the record, and of the partition, and not below the clock.

        Each of the three may be all there is: the counter is lost, the clock is set back, all is flushed.
        """
        start = Node(Ghost(), (Actor(), Actor()), tuple(None for _ in self.keys), ("fences",))
        far = 1 << 51

        def granted(prepare: Callable[[], object], *, claimed: bool) -> int:
            self.wire.execute("DEL", *self.keys)
            if claimed:
                self.begin(start)
                self.expire_now()
                prepare()
                ghost, _ = self.claim(dataclasses.replace(start, ghost=Ghost(phase="running", attempt=1)))
            else:
                prepare()
                ghost, _ = self.begin(start)
            found = ghost.fences[-1]
            counter = int(self.wire.execute("GET", self.place.part.fence) or 0)
            self.require(start, counter == found, "the counter was left behind")
            return found

        for claimed in (False, True):
            clock: list[int] = []
            plain = granted(lambda: clock.extend(map(int, self.wire.execute("TIME"))), claimed=claimed)
            self.require(start, plain >= clock[0] * 1_000_000 + clock[1], "below the clock")
            ahead = granted(lambda: self.wire.execute("SET", self.place.part.fence, far), claimed=claimed)
            self.require(start, ahead == far + 1, "the counter was ahead of the clock")
        self.wire.execute("DEL", *self.keys)
        for step in (self.claim, self.begin):
            self.begin(start)
            self.expire_now()
            self.wire.execute("HSET", self.place.record, "fence", far)
            self.wire.execute("DEL", self.place.part.fence)
            ghost, _ = step(dataclasses.replace(start, ghost=Ghost(phase="running", attempt=1)))
            self.require(start, ghost.fences[-1] > far, "the record was ahead of all")
            self.wire.execute("DEL", *self.keys)

    def search(self) -> None:
        """Raises: Wrong."""
        if self.theme == "fences":
            self.fences()
            return
        self.wire.execute("DEL", *self.keys)
        first = Node(Ghost(), (Actor(), Actor()), tuple(None for _ in self.keys), ())
        seen = set()
        queue = deque([first])
        while queue:
            node = queue.popleft()
            for name, step in self.moves(node):
                self.restore(node)
                at = dataclasses.replace(node, path=(*node.path, name))
                ghost, actors = step(at)
                self.steps += 1
                record, parts = self.look()
                self.check(at, ghost, record, parts)
                mark = self.mark(ghost, actors, record, parts)
                if mark not in seen:
                    seen.add(mark)
                    queue.append(Node(ghost, actors, self.dump(), at.path))
        self.states = len(seen)

    # --- moves ----------------------------------------------------------------------------------------------

    def moves(self, node: Node) -> Iterator[tuple[str, Callable[[Node], Any]]]:
        yield "begin", self.begin
        busy = self.theme == "checkpoints"  # they multiply the states: the rest is left to the other themes
        if not busy:
            yield "begin other", lambda at: self.begin(at, print="other")
            yield "begin once", lambda at: self.begin(at, again="0")
        yield "claim", self.claim
        verbs = ["beat", "complete", "fail", "give up"]
        if busy:
            verbs = ["checkpoint", "late checkpoint", "fail"]
        for who, name in ((CALLER, "caller"), (SWEEP, "sweep")):
            if node.actors[who].fence:
                for verb in verbs:
                    yield f"{name}: {verb}", lambda at, who=who, verb=verb: self.write(at, who, verb)
                if not busy:
                    yield f"{name}: abandon", lambda at, who=who: self.abandon(at, who)
        if (
            not busy
            and node.actors[CALLER].token
            and (node.ghost.phase != "none" or node.actors[CALLER].gone)
        ):
            yield "late begin", self.late_begin
        if node.dump[-1] is not None and not node.ghost.harmed and not busy:
            yield "late claim", self.late_claim
        if node.ghost.live:
            yield "lease ends", self.expire
        if node.ghost.phase in PENDING and not busy:
            yield "orphans", lambda at: self.orphans(at, "slot", "later")
            yield "no orphans", lambda at: self.orphans(at, "slot", "life")
            yield "other orphans", lambda at: self.orphans(at, "other", "later")
        if node.ghost.phase == "waiting":
            yield "rest ends", self.expire
        if self.theme == "burials" and node.ghost.rounds < 1:
            yield "retry", self.retry
            yield "forget", self.forget
        if self.theme == "damage" and node.ghost.harms < 1 and node.ghost.phase != "none":
            for harm in ("due", "names", "both", "early", "back"):
                yield f"harm {harm}", lambda at, harm=harm: self.harm(at, harm)
        if node.ghost.harmed:
            yield "repair", self.repair

    def begin(self, node: Node, *, print: str = "print", again: str = "1") -> Any:
        ghost, token = node.ghost, self.token()
        part, place = self.place.part, self.place
        keys = (place.record, part.due, part.names, part.dead, part.fence, part.gone + token)
        args = (place.name, token, "host:1:", "slot", "life", LEASE, MOST, KEEP, print, "data", again)
        known = ghost.phase != "none"
        code, *rest = self.run("begin", keys, args)
        if known and print == "other":
            self.require(node, code == 4, f"another request was answered {code}")
            return ghost, node.actors
        if code == 1:
            first = self.look()
            repeated = self.run("begin", keys, args)
            self.require(node, repeated[:3] == [1, *rest[:2]], f"repeated, it began again: {repeated}")
            self.require(node, stable(first) == stable(self.look()), "repeated, it changed something")
            self.require(node, print == "print" or not known, "another request began")
            self.require(node, not (ghost.phase == "running" and ghost.live), "begun although it is held")
            self.require(node, ghost.phase in ("none", *PENDING), "begun although it is settled")
            again_only = again == "0" and ghost.phase == "running"
            self.require(node, not again_only, "begun although nobody knows how it ended")
            self.require(node, bool(rest[2]) == (ghost.phase == "running"), "interrupted, or not?")
            if print == "other":
                return self.undo(node)
            return self.granted(node, CALLER, token, rest[0], rest[1])
        if code == 0:
            self.require(node, ghost.phase == "running" and ghost.live, "busy although nobody has it")
            self.require(node, 0 < rest[0] <= LEASE, f"busy for {rest[0]} ms")
        elif code == 2:
            self.require(node, ghost.phase == "done" and rest == [b"result"], "said to be done")
        else:
            gone = ghost.phase == "running" and not ghost.live
            last = ghost.attempt >= MOST and (ghost.phase == "waiting" or gone)
            last = last or (again == "0" and gone)
            self.require(node, code == 3 and (ghost.phase == "dead" or last), f"said to be dead: {code}")
            self.require(node, rest[2] == (ghost.phase != "dead"), "died now, or before?")
            if ghost.phase != "dead":
                ghost = dataclasses.replace(
                    ghost, phase="dead", live=False, owner=-1, failed=True, harmed=False
                )
        return ghost, node.actors

    def late_begin(self, node: Node) -> Any:
        """A request that was repeated, and whose first copy comes when nobody waits for it any more."""
        ghost, part, place = node.ghost, self.place.part, self.place
        token = node.actors[CALLER].token
        if node.ghost.owner != CALLER and not node.actors[CALLER].gone:
            return ghost, node.actors
        keys: Any = (place.record, part.due, part.names, part.dead, part.fence, part.gone + token)
        args: Any = (place.name, token, "late", "", "", LEASE, MOST, KEEP, "", "", "1")
        before = self.look()
        self.run("begin", keys, args)
        self.require(node, before == self.look(), "a late begin changed something")
        return ghost, node.actors

    def undo(self, node: Node) -> Any:
        self.wire.execute("DEL", *self.keys)
        return node.ghost, node.actors

    def claim(self, node: Node) -> Any:
        ghost, token = node.ghost, self.token()
        part = self.place.part
        self.wire.execute("DEL", self.memo)
        keys = (part.due, part.names, part.dead, part.done, part.fence, self.memo, part.records)
        args = (token, "host:2:", "slot", "life", LEASE, MOST, 10, 0, LEASE, KEEP)
        _, rest, taken, buried = self.twice(node, "claim", keys, args)
        due = (ghost.phase == "running" and not ghost.live) or (ghost.phase == "waiting" and ghost.rested)
        lost = ghost.harmed and self.is_lost(node)
        if lost:
            self.require(node, not taken and not buried, "taken, although the index does not know it")
            return ghost, node.actors
        ghost = dataclasses.replace(ghost, harmed=False)
        at = dataclasses.replace(node, ghost=ghost)
        if not due:
            self.require(node, not taken and not buried, "taken although it is not due")
            self.require(node, int(self.look()[0].get("until", 0)) < 1 << 49, "due in years")
            return ghost, node.actors
        if ghost.attempt >= MOST:
            self.require(node, not taken and len(buried) == 1, "it had all its attempts")
            ghost = dataclasses.replace(ghost, phase="dead", live=False, owner=-1, failed=True)
            return ghost, node.actors
        self.require(node, len(taken) == 1 and not buried, f"due, but not taken: {taken}, {buried}")
        name, fence, attempt, interrupted, fields = taken[0]
        self.require(node, name.decode() == self.place.name and b"data" in fields, "taken without its record")
        self.require(node, bool(interrupted) == (ghost.phase == "running"), "interrupted, or not?")
        self.require(node, rest > 0, "still due")
        self.require(node, int(self.look()[0]["until"]) < 1 << 49, "due in years")
        return self.granted(at, SWEEP, token, fence, attempt)

    def late_claim(self, node: Node) -> Any:
        """A claim that was repeated, and whose first copy comes when its operation may be settled."""
        ghost, part = node.ghost, self.place.part
        token = node.actors[SWEEP].token
        keys = (part.due, part.names, part.dead, part.done, part.fence, self.memo, part.records)
        args = (token, "host:2:", "slot", "life", LEASE, MOST, 10, 0, LEASE, KEEP)
        before = self.look()
        _, _, taken, _ = self.run("claim", keys, args)
        still = ghost.owner == SWEEP and ghost.phase == "running"
        self.require(node, len(taken) == int(still), f"a late claim was answered {taken}")
        self.require(node, before == self.look(), "a late claim changed something")
        return ghost, node.actors

    def granted(self, node: Node, who: int, token: str, fence: int, attempt: int) -> Any:
        ghost = node.ghost
        self.require(node, attempt == ghost.attempt + 1, f"attempt {attempt} follows {ghost.attempt}")
        failed = ghost.failed or ghost.phase == "running"
        ghost = dataclasses.replace(
            ghost, phase="running", live=True, owner=who, attempt=attempt, fences=(*ghost.fences, fence),
            harmed=False, failed=failed, rested=False,
        )  # fmt: skip
        actors = list(node.actors)
        actors[who] = Actor(fence, token)
        return ghost, tuple(actors)

    def write(self, node: Node, who: int, verb: str) -> Any:
        ghost, part, place = node.ghost, self.place.part, self.place
        actor = node.actors[who]
        ours = bool(ghost.fences) and actor.fence == ghost.fences[-1]
        at_it = ours and ghost.owner == who and ghost.phase == "running"
        actors = list(node.actors)
        if verb == "beat":
            keys: Any = (place.record, part.due, part.names)
            answer = self.twice(node, "beat", keys, (place.name, actor.fence, LEASE, KEEP))
            wanted = 1 if at_it else (-1 if ghost.phase != "none" else 0)
            self.require(node, answer == wanted, f"a heartbeat was answered {answer}, not {wanted}")
            if at_it:
                ghost = dataclasses.replace(ghost, live=True, harmed=False)
        elif verb.endswith("checkpoint"):
            number = 1 if verb.startswith("late") else 2
            args = (actor.fence, "c:step", f"{number:08d}", f"{who}{number}")
            answer = self.twice(node, "checkpoint", (place.record,), args)
            wanted = 1 if at_it else (-1 if ghost.phase != "none" else 0)
            self.require(node, answer == wanted, f"a checkpoint was answered {answer}, not {wanted}")
            had = node.actors[who].number
            actors[who] = dataclasses.replace(actor, number=max(had, number))
            if at_it:
                kept = self.look()[0]["c:step"]
                self.require(node, int(kept[:8]) >= max(number, had), f"a late checkpoint won: {kept!r}")
        elif verb == "complete":
            keys = (place.record, part.due, part.names, part.done)
            answer = self.twice(node, "complete", keys, (place.name, actor.fence, "result", KEEP))
            before = ours and ghost.owner == who and ghost.phase == "done"
            wanted = 1 if at_it or before else (-1 if ghost.phase != "none" else 0)
            self.require(node, answer == wanted, f"complete was answered {answer}, not {wanted}")
            if at_it:
                done = ghost.completed + 1
                ghost = dataclasses.replace(ghost, phase="done", live=False, completed=done, harmed=False)
        else:
            again = int(verb == "fail")
            keys = (place.record, part.due, part.names, part.dead)
            told: Any = (place.name, actor.fence, "failed", again, MOST, LEASE, LEASE, 1, KEEP)
            first, _ = self.run("fail", keys, told)
            seen = self.look()
            answer, _ = self.run("fail", keys, told)
            self.require(node, answer == first, f"fail was answered {first}, repeated {answer}")
            self.require(node, stable(seen) == stable(self.look()), "fail repeated changed something")
            if at_it:
                phase = "waiting" if again and ghost.attempt < MOST else "dead"
                self.require(node, answer == (1 if phase == "waiting" else 2), f"fail was answered {answer}")
                ghost = dataclasses.replace(
                    ghost, phase=phase, live=False, harmed=False, rested=False, failed=True
                )
            elif ours and ghost.owner == who and ghost.phase in ("waiting", "dead"):
                self.require(node, answer == (1 if ghost.phase == "waiting" else 2), "fail, told again")
            else:
                wanted = -1 if ghost.phase != "none" else 0
                self.require(node, answer == wanted, f"fail was answered {answer}, not {wanted}")
        return ghost, tuple(actors)

    def abandon(self, node: Node, who: int) -> Any:
        ghost, part, place = node.ghost, self.place.part, self.place
        token = node.actors[who].token
        keys = (place.record, part.due, part.names, part.gone + token)
        answer = self.twice(node, "abandon", keys, (place.name, token, LEASE))
        at_it = ghost.owner == who and ghost.phase == "running"
        self.require(node, answer == int(at_it), f"abandon was answered {answer}")
        if at_it:
            phase = "none" if ghost.attempt == 1 and not ghost.failed else "waiting"
            left = ghost.attempt - 1
            ghost = dataclasses.replace(
                ghost, phase=phase, attempt=left, live=False, owner=-1, harmed=False, rested=True
            )
            if phase == "waiting":
                self.require(node, int(self.look()[0]["until"]) < 1 << 50, "it rests")
                self.expire_now()
        actors = list(node.actors)
        actors[who] = dataclasses.replace(node.actors[who], gone=True)
        return ghost, tuple(actors)

    def retry(self, node: Node) -> Any:
        ghost, part, place = node.ghost, self.place.part, self.place
        keys = (place.record, part.due, part.names, part.dead)
        answer = self.twice(node, "retry", keys, (place.name, KEEP))
        self.require(node, answer == int(ghost.phase == "dead"), f"retry was answered {answer}")
        if ghost.phase == "dead":
            self.expire_now()
            ghost = dataclasses.replace(
                ghost, phase="waiting", attempt=0, rounds=1, owner=-1, harmed=False, rested=True
            )
        return ghost, node.actors

    def forget(self, node: Node) -> Any:
        ghost, part, place = node.ghost, self.place.part, self.place
        settled = ghost.phase in ("done", "dead")
        answer = self.twice(node, "forget", (place.record, part.dead, part.done), (place.name,))
        self.require(node, answer == int(settled), f"forget was answered {answer}")
        if settled:  # what comes after is another operation
            if ghost.harmed:
                self.wire.execute("DEL", *self.indexes)
            ghost = dataclasses.replace(
                ghost, phase="none", attempt=0, owner=-1, completed=0, rounds=1, harmed=False, failed=False
            )
        return ghost, node.actors

    def orphans(self, node: Node, slot: str, life: str) -> Any:
        part = self.place.part
        if node.ghost.harmed:
            return node.ghost, node.actors
        before = self.look()
        answer = self.run("orphans", (part.due, part.records), (slot, life))
        ours = slot == "slot" and life == "later" and node.ghost.phase == "running"
        self.require(node, answer == int(ours), f"{answer} orphans of {slot}, {life}")
        if not ours:
            self.require(node, self.look() == before, "not an orphan, and changed")
            return node.ghost, node.actors
        record, parts = self.look()
        seconds, _ = self.wire.execute("TIME")
        self.require(node, int(record["until"]) <= int(seconds) * 1000 + 1000, "its lease goes on")
        self.require(node, parts[0][self.place.name] == int(record["until"]), "the index goes on")
        return self.expire(node)

    # --- the world ------------------------------------------------------------------------------------------

    def expire(self, node: Node) -> Any:
        self.expire_now()
        waits = node.ghost.phase == "waiting"
        return dataclasses.replace(node.ghost, live=False, rested=waits), node.actors

    def repair(self, node: Node) -> Any:
        keys = (*self.indexes, self.place.record)
        wrong = self.run("repair", keys, (self.place.name,))
        self.require(node, wrong == int(wrong > 0), "counted")
        self.require(node, self.run("repair", keys, (self.place.name,)) == 0, "repaired twice")
        return dataclasses.replace(node.ghost, harmed=False), node.actors
