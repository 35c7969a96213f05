"""What a multilock is, without any I/O: several names at once, without deadlock.

Promised, beside what a lock promises (`holdfast.locks.rules`):

* It excludes, and is excluded by, every `lock` and `multilock` that has one of its names: it is the very same
  keys that it holds.
* No deadlock, whoever asks for which names in whatever order. On one server, or with Sentinel, all names are
  taken in one step, or none. In a Cluster that holds for the names of one slot; the slots are taken in
  ascending order, so no circle of waiters can form.
* Who waits on a single server holds nothing. In a Cluster what was taken of lower slots is kept, and renewed,
  while a higher one is waited for, and given back if the wait ends in vain. Should some of it be lost
  meanwhile, it begins again from the start, within the same deadline.
* It is lost as a whole as soon as one of its names is. The others stay ours, and are renewed, until the body
  has ended (but not beyond `max_hold`), for it may still be at work; then they are given back.
* All names of one slot have one fence, greater than every earlier one of any of them; so on one server, and
  with Sentinel, `lease.fence` grows with every grant of any of the names.

Not promised:

* In a Cluster, that `lease.fence`, the largest of them, grows for a name that another holder takes alone: the
  clocks of two nodes may differ. It grows from one grant of the same names to the next. What belongs to one
  name is checked against `lease.fences[name]`.
* A turn in order: who needs many names waits until all of one slot are free at the same moment, and others
  may come between. Nor is a place in the queue of a fair lock of one of the names taken, or respected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from holdfast._wire.cluster.slots import slot_of
from holdfast._wire.script import Script
from holdfast.errors import ConfigurationError
from holdfast.locks.options import check_name
from holdfast.locks.rules import Names

ACQUIRE = Script.load(__package__, "acquire")
RELEASE = Script.load(__package__, "release")
KEEP = Script.load(__package__, "keep")

RELEASE_AGAIN: Final = Script(RELEASE.name, RELEASE.text, RELEASE.digest, "safe")
"""The same, for who knows that the first time may have been executed; and for who undoes an acquire."""

MOST = 1000  # names; the server does nothing else while it goes through them


@dataclass(frozen=True, slots=True)
class Group:
    """The names that are taken in one step, in ascending order of their keys."""

    place: int  # among the groups
    names: tuple[str, ...]
    locks: tuple[Names, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the locks themselves, which are also the channels of those who wait."""
        return tuple(one.key for one in self.locks)

    def acquire(self, token: str) -> tuple[str, ...]:
        """What ACQUIRE is told."""
        return self._tomb(token), *(key for one in self.locks for key in (one.key, one.fence, one.count))

    def keep(self) -> tuple[str, ...]:
        """What KEEP is told."""
        return *self.keys, *(one.wanted for one in self.locks)

    def release(self, token: str) -> tuple[str, ...]:
        """What RELEASE is told."""
        return self._tomb(token), *(key for one in self.locks for key in (one.key, one.wanted, one.queue))

    def _tomb(self, token: str) -> str:
        # One for all of them: an acquire takes all, so one that is forbidden forbids it.
        return self.locks[0].tomb(token)


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """`names`, each once.

    Raises: ConfigurationError where there are none, too many, or one cannot be a name.
    """
    if isinstance(names, str | bytes) or not isinstance(names, Sequence) or not names:
        raise ConfigurationError(f'multilock({names!r}): give a list of names, as in ["stock:1", "stock:2"]')
    for name in names:
        check_name(name, "multilock")
    if len(set(names)) > MOST:
        raise ConfigurationError(
            f"multilock of {len(set(names))} names: {MOST} is the most, since the server does nothing else "
            f"while it takes them; lock something coarser"
        )
    return tuple(dict.fromkeys(names))


def in_order(locks: dict[str, Names]) -> list[str]:
    """The names in the order that everybody takes them in: by slot, then by key."""
    return sorted(locks, key=lambda name: (slot_of(locks[name].key), locks[name].key))


def groups(locks: dict[str, Names], *, spread: bool) -> tuple[Group, ...]:
    """What is taken in one step each, in order. `spread`: only keys of one slot can be (it is a Cluster)."""
    names = in_order(locks)
    together = [names]
    if spread:
        together = [list(some) for _, some in groupby(names, lambda name: slot_of(locks[name].key))]
    return tuple(
        Group(place, tuple(some), tuple(locks[name] for name in some)) for place, some in enumerate(together)
    )


def granted(reply: Any) -> int | None:
    """The fence, if the reply to ACQUIRE is a grant."""
    return int(reply[1]) if reply[0] == 1 else None
