"""A map of bounded size for the near cache, which keeps what is read again and lets go of what was read once.

Promise: when `put` returns, both bounds hold. What was discarded or cleared is in no part of the shelf, and
no cycle of references keeps its value alive. Not promised: which nodes stay.

What goes wrong without a policy: LRU moves a node at every hit, so that each hit takes a lock; and a scan (a
nightly report, a crawler) flushes all that was popular with keys that nobody asks for again.

The policy is S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP '23). A hit adds 1
to `node.uses` and moves nothing; all else happens when a node has to go:

* New nodes enter the small queue, a fifth of the shelf. One that was used there goes on to the main queue;
  one that was not is evicted, and the hash of its key is remembered in the ghost queue.
* Whose hash is remembered comes back into the main queue: it is wanted time and again, only not so soon.
* The main queue goes round: a node that was used pays for another round with one use, of which three count.

What differs from the paper, each for a figure below or a reason:

* The small queue has a fifth and not a tenth. Readers of a database come back within moments, and a tenth is
  too short to see that: with it, orm-busy at 1 % loses against LRU (.769 to .770).
* To come back from the ghost queue, or to be put again while still here, is a use of its own. That makes .773
  of .772 there, and costs .002 of web12.
* An eviction looks at `PATIENCE` nodes, then takes the next one whatever its uses, and remembers it. Where
  all is hot, the hand would go round up to three times first, with the lock held. Costs .0001 at most.
* Bytes count as well. A newcomer heavier than a fifth of `max_bytes` does not fit into the small queue, so
  it is refused and remembered, and kept when it comes back. Otherwise one read of one huge entry would flush
  the shelf; like this, what is new can never take more than its fifth from what is popular.
* What is invalidated in the main queue is remembered too: it changed, and is as popular as before.

Chosen by trial on the two traces of `benchmarks/hit_ratio.py`, at a capacity of 1 % and 10 % of their keys:

    policy                                             orm-busy       web12
    LRU                                                .770  .880     .397  .685
    SIEVE (Zhang et al., NSDI '24)                     .706  .880     .398  .717
    CLOCK, 3 rounds                                    .762  .879     .411  .705
    ARC (Megiddo, Modha, FAST '03)                     .768  .880     .407  .709
    2Q (Johnson, Shasha, VLDB '94), a quarter          .765  .891     .416  .715
    S3-FIFO as published                               .769  .887     .412  .719
    frequency duel at the door, as in TinyLFU          .739  .885     .393  .712
      (Einziger et al., ACM ToS '17), with ghosts' counts
    learnt hit density, as in LHD                      .774  .880     .406  .698
      (Beckmann et al., NSDI '18), which needs times
    this                                               .773  .885     .422  .716
    Belady's optimum, which knows the future           .828  .933     .585  .800

At 1 % of orm-busy nothing gains much on LRU; SIEVE and frequencies lose most, as they hold on to what was
popular a while ago. No row is the best everywhere; this one is ahead of LRU everywhere. Two traces of one
origin are little to choose by, so its numbers are round ones in the middle of a plateau.

Threads and tasks of any event loop use one shelf. Reading needs no lock, also on a Python without the GIL:
`nodes` is a plain dict that stays the same object for ever, and two hits at once may count as one. All else
takes `MUTEX`, which a fork cannot leave locked. A node enters a queue before it enters `nodes`, and leaves
`nodes` first. So an exception out of a signal handler, wherever it strikes, may leave a node in a queue,
which is evicted in its time, or count some bytes twice; it leaves none in `nodes` that no eviction finds.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from holdfast._wire.mutex import MUTEX

SHARE = 5  # the small queue is one part in so many
MOST = 3  # uses that count
PATIENCE = 32  # nodes that an eviction looks at


class Node:
    """What lies on a shelf. A hit is `node.uses += 1`; `weight` is in bytes and must not change there."""

    __slots__ = ("key", "uses", "weight")

    def __init__(self, key: str, weight: int) -> None:
        self.key = key
        self.weight = weight
        self.uses = 0


N = TypeVar("N", bound=Node)


class Shelf(Generic[N]):
    """At most `max_entries` nodes of at most `max_bytes` together; see the file's docstring.

    `nodes` is there to be read, by any thread, without a lock; only the shelf changes it. `evictions` counts
    the nodes that had to go for others.
    """

    def __init__(self, max_entries: int, max_bytes: int | None = None) -> None:
        self.nodes: dict[str, N] = {}
        self.evictions = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._small: _Queue[N] = _Queue()
        self._main: _Queue[N] = _Queue()
        self._ghosts: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def weight(self) -> int:
        """Bytes held."""
        return self._small.weight + self._main.weight

    def put(self, node: N) -> None:
        """Keep `node`, instead of one of the same key, and evict until both bounds hold.

        Not kept is a node heavier than `max_bytes`; nor, the first time, one heavier than a fifth of it. An
        older node of its key is gone all the same. Cost: O(1), and O(1) for each node evicted.
        """
        gone: list[N] = []  # outlives the lock: to free a user's value may take long, and call anything
        with MUTEX:
            queue = self._place(node, gone)
            if queue is None:
                return
            while self._is_full(node.weight):
                self._evict(node.weight, gone)
            queue.add(node)
            self.nodes[node.key] = node

    def discard(self, key: str) -> N | None:
        """Take the node of `key` off, and return it if there was one. Cost: O(1)."""
        if key not in self.nodes:  # most of what is invalidated is not here, and need not wait for the lock
            return None
        with MUTEX:
            node = self.nodes.pop(key, None)
            if node is not None and self._small.take(key) is None and self._main.take(key) is not None:
                self._remember(key)
            return node

    def clear(self) -> object:
        """Take everything off. Cost: some 10 ns per node with the lock held.

        Returns a box with the nodes, for those who call this with a lock of their own held: let it go after
        that lock. To free them takes longer than to take them off.
        """
        with MUTEX:
            box = (self._small, self._main, self._ghosts)  # holds the nodes, so that this frees none:
            self.nodes.clear()
            self._small, self._main, self._ghosts = _Queue(), _Queue(), OrderedDict()
        return box

    # --- with the lock held ---------------------------------------------------------------------------------

    def _place(self, node: N, gone: list[N]) -> _Queue[N] | None:
        """Take an older node of the same key off, and choose the queue for `node`; None: do not keep it."""
        self.nodes.pop(node.key, None)
        queue, older = self._small, self._small.take(node.key)
        if older is None:
            older = self._main.take(node.key)
            if older is not None or self._is_remembered(node.key):
                queue = self._main
        if older is not None:
            gone.append(older)
        node.uses = older.uses + 1 if older is not None else int(queue is self._main)
        if self._max_bytes is None or node.weight * SHARE <= self._max_bytes:
            return queue
        if node.weight > self._max_bytes:
            return None
        if node.uses == 0:
            self._remember(node.key)
            return None
        return self._main

    def _is_full(self, more: int) -> bool:
        """Must something go before a node of `more` bytes can come?"""
        if len(self.nodes) >= self._max_entries:
            return True
        if self._max_bytes is None or self.weight + more <= self._max_bytes:
            return False
        return bool(self._small.nodes or self._main.nodes)

    def _is_small_due(self, more: int) -> bool:
        """Has the small queue more than its share, so that its oldest is to go?"""
        small = self._small
        if not small.nodes or not self._main.nodes:
            return bool(small.nodes)
        if len(small.nodes) * SHARE > self._max_entries - SHARE:
            return True
        return self._max_bytes is not None and (small.weight + more) * SHARE > self._max_bytes

    def _evict(self, more: int, gone: list[N]) -> None:
        """Take one node off, to make room for `more` bytes."""
        patience = PATIENCE
        while True:
            small = self._is_small_due(more)
            queue = self._small if small else self._main
            node = queue.oldest()
            if node.uses == 0 or patience == 0:
                break
            patience -= 1
            node.uses = 0 if small else min(node.uses, MOST) - 1
            if small:
                self._main.add(node)
                queue.take(node.key)
            else:
                queue.nodes.move_to_end(node.key)
        if small or node.uses:
            self._remember(node.key)
        self.nodes.pop(node.key, None)
        queue.take(node.key)
        self.evictions += 1
        gone.append(node)

    def _remember(self, key: str) -> None:
        """Know `key` again, until as many others have been remembered as nodes are here.

        A hash will do: when two keys share one, a node gets into the wrong queue.
        """
        self._ghosts[hash(key)] = None
        while len(self._ghosts) > max(1, len(self.nodes)):
            self._ghosts.popitem(last=False)

    def _is_remembered(self, key: str) -> bool:
        """Is `key` known? If so, no longer."""
        return bool(self._ghosts) and self._ghosts.pop(hash(key), self) is None


class _Queue(Generic[N]):
    """Nodes, the oldest first, and their weight.

    OrderedDict, because the first key of a plain dict is found by a walk over all that were deleted before
    it, and because links between nodes would be cycles for the garbage collector to find.
    """

    __slots__ = ("nodes", "weight")

    def __init__(self) -> None:
        self.nodes: OrderedDict[str, N] = OrderedDict()
        self.weight = 0

    def add(self, node: N) -> None:
        """Put `node` last."""
        self.weight += node.weight
        self.nodes[node.key] = node

    def take(self, key: str) -> N | None:
        """Take the node of `key` out."""
        node = self.nodes.pop(key, None)
        if node is not None:
            self.weight -= node.weight
        return node

    def oldest(self) -> N:
        """The first node, which stays where it is."""
        return next(iter(self.nodes.values()))
