# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""The methods of a client that make locks and their family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from holdfast.durations import Duration
from holdfast.locks._lock_async import AsyncLock
from holdfast.locks._place_async import AsyncPlace
from holdfast.locks.latch._async import AsyncLatch
from holdfast.locks.latch.rules import LatchOptions
from holdfast.locks.leader._async import AsyncLeader
from holdfast.locks.leader.options import LeaderKeywords, LeaderOptions
from holdfast.locks.multilock._async import AsyncMultiLock
from holdfast.locks.multilock.options import MultiLockKeywords, MultiLockOptions
from holdfast.locks.options import HoldKeywords, LockKeywords, LockOptions, chosen
from holdfast.locks.register._async import AsyncFencedRegister
from holdfast.locks.rwlock._async import AsyncRwLock
from holdfast.locks.rwlock.options import RwLockOptions
from holdfast.locks.semaphore._async import AsyncSemaphore
from holdfast.locks.semaphore.options import SemaphoreOptions
from holdfast.locks.stats import LockStats

if TYPE_CHECKING:
    from holdfast._wire._async import AsyncWire


class AsyncCoordination:
    """What a client offers to those who must not do something at the same time."""

    _wire: AsyncWire
    _locks: AsyncPlace

    def lock(self, name: str, **options: Unpack[LockKeywords]) -> AsyncLock:
        """The lock `name`: only one may hold it at a time, in the whole fleet.

        `ttl`: how long a holder that says nothing has it. `wait`: how long an acquire waits (None: for ever).
        `renew`, `max_hold`: whether, and for how long at most, the ttl is renewed. `fair`: first come, first
        served. `key`: the key on the server, as another program knows it. `label`: who we are, for whoever
        looks. `replicas`, `durability`: when a grant counts. `fence`: "hybrid" or "strict". `on_lost`,
        `on_danger`, `on_wanted`: called with the lease. Each is told in LockOptions.

        Raises: ConfigurationError that names the option and its value.
        """
        return AsyncLock(self._locks, name, chosen(LockOptions, f"lock {name!r}", options))

    def multilock(self, names: Sequence[str], **options: Unpack[MultiLockKeywords]) -> AsyncMultiLock:
        """The locks `names` together: all of them or none, and never a deadlock, in whatever order they come.

        It excludes every `lock` of these names. `ttl`, `wait`, `renew`, `max_hold`, `label`, `on_lost`,
        `on_danger`, `on_wanted`: as of a lock, for all names alike; told in MultiLockOptions.

        Raises: ConfigurationError that names the option and its value.
        """
        return AsyncMultiLock(self._locks, names, chosen(MultiLockOptions, f"multilock {names!r}", options))

    def rwlock(self, name: str, **options: Unpack[HoldKeywords]) -> AsyncRwLock:
        """The lock `name` for readers and writers: `.read()` together with other readers, `.write()` alone.

        `ttl`, `wait`, `renew`, `max_hold`, `label`, `on_lost`, `on_danger`: as of a lock, see HoldOptions.

        Raises: ConfigurationError that names the option and its value.
        """
        return AsyncRwLock(self._locks, name, chosen(RwLockOptions, f"rwlock {name!r}", options))

    def semaphore(self, name: str, permits: int = 1, **options: Unpack[HoldKeywords]) -> AsyncSemaphore:
        """The semaphore `name`: at most `permits` at a time, in the whole fleet, each under its own lease.

        `ttl`, `wait`, `renew`, `max_hold`, `label`, `on_lost`, `on_danger`: as of a lock, see HoldOptions.

        Raises: ConfigurationError that names the option and its value.
        """
        told = {"permits": permits, **options}
        return AsyncSemaphore(self._locks, name, chosen(SemaphoreOptions, f"semaphore {name!r}", told))

    def latch(
        self, name: str, count: int, *, ttl: Duration = "1h", wait: Duration | None = "30s"
    ) -> AsyncLatch:
        """The latch `name`: opens once `count` different parties have arrived.

        `ttl`: how long it outlives the last of them. `wait`: how long a wait waits at most (None: for ever).

        Raises: ConfigurationError that names the option and its value.
        """
        return AsyncLatch(self._locks, name, LatchOptions(count=count, ttl=ttl, wait=wait))

    def fenced_register(
        self, name: str, *, type: Any = Any, ttl: Duration | None = None
    ) -> AsyncFencedRegister[Any]:
        """The register `name`: a value that only the newest holder of a right can write, by its fence.

        `type`: what values are (default: plain msgpack types). `ttl`: how long it outlives its last write.
        """
        return AsyncFencedRegister(self._wire, name, type, ttl)

    def leader(self, name: str, **options: Unpack[LeaderKeywords]) -> AsyncLeader:
        """The leadership `name`: of all that `run` it, one at a time works.

        `ttl`: after so long a leader that says nothing is succeeded; it is told to stop after two thirds of
        that. `label`: for whoever looks who leads. `replicas`, `durability`: when an election counts. Each is
        told in LeaderOptions.

        Raises: ConfigurationError that names the option and its value.
        """
        return AsyncLeader(self._locks, name, chosen(LeaderOptions, f"leader {name!r}", options))

    def lock_stats(self) -> Mapping[str, LockStats]:
        """What this process has seen of its locks, by family (the name up to the first colon)."""
        return self._locks.tallies.stats()
