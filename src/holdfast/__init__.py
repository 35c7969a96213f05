"""Holdfast: what a team needs that runs several instances of a service against one database.

Every public name is here, and is loaded when it is first used: `import holdfast` alone costs next to nothing.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as in typing, whose import would cost more than all the rest
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "holdfast._client_async": ("AsyncHoldfast", "AsyncBoundScript"),
    "holdfast._client_sync": ("Holdfast", "BoundScript"),
    "holdfast._transaction_async": ("AsyncTransaction",),
    "holdfast._transaction_sync": ("Transaction",),
    "holdfast._wire.durability": ("Durability",),
    "holdfast._wire.url": ("Tls",),
    "holdfast._values.wrapping": ("Cipher",),
    "holdfast.cache._async": ("AsyncCache",),
    "holdfast.cache._decorate_async": ("AsyncCachedFunction",),
    "holdfast.cache._decorate_sync": ("CachedFunction",),
    "holdfast.cache._sync": ("Cache",),
    "holdfast.cache.behind.options": ("Backlog", "Behind", "DeadLetter", "NotFlushed"),
    "holdfast.cache.entry": ("Entry", "MISSING", "Missing"),
    "holdfast.cache.loading": ("Load", "current_load"),
    "holdfast.cache.options": ("AsyncSource", "L1", "Source"),
    "holdfast.cache.stats": ("CacheStats",),
    "holdfast.locks._lock_async": ("AsyncLock",),
    "holdfast.locks._lock_sync": ("Lock",),
    "holdfast.locks._lease_async": ("AsyncLease",),
    "holdfast.locks._lease_sync": ("Lease",),
    "holdfast.locks.holder": ("Holder",),
    "holdfast.locks.stats": ("LockStats",),
    "holdfast.locks.register._async": ("AsyncFencedRegister",),
    "holdfast.locks.register._sync": ("FencedRegister",),
    "holdfast.locks.register.rules": ("Fenced",),
    "holdfast.operations._async": ("AsyncOperations",),
    "holdfast.operations._sync": ("Operations",),
    "holdfast.operations._operation_async": ("AsyncOperation",),
    "holdfast.operations._operation_sync": ("Operation",),
    "holdfast.operations._decorate_async": ("AsyncIdempotentFunction",),
    "holdfast.operations._decorate_sync": ("IdempotentFunction",),
    "holdfast.operations.options": (
        "OperationLost",
        "OperationStatus",
        "OperationsBacklog",
        "OperationsStats",
    ),
    "holdfast.operations.current": ("current_operation",),
    "holdfast.locks.multilock._async": ("AsyncMultiLock",),
    "holdfast.locks.multilock._sync": ("MultiLock",),
    "holdfast.locks.multilock._lease_async": ("AsyncMultiLease",),
    "holdfast.locks.multilock._lease_sync": ("MultiLease",),
    "holdfast.locks.leader._async": ("AsyncLeader",),
    "holdfast.locks.leader._sync": ("Leader",),
    "holdfast.locks.leader._term_async": ("AsyncTerm",),
    "holdfast.locks.leader._term_sync": ("Term",),
    "holdfast.locks.leader._observe_async": ("AsyncObservation",),
    "holdfast.locks.leader._observe_sync": ("Observation",),
    "holdfast.locks.rwlock._async": (
        "AsyncRwLock",
        "AsyncRwSide",
    ),
    "holdfast.locks.rwlock._sync": (
        "RwLock",
        "RwSide",
    ),
    "holdfast.locks.rwlock.rules": ("Occupancy",),
    "holdfast.locks.semaphore._async": ("AsyncSemaphore",),
    "holdfast.locks.semaphore._sync": ("Semaphore",),
    "holdfast.locks.semaphore.rules": ("Permits",),
    "holdfast.locks.latch._async": ("AsyncLatch",),
    "holdfast.locks.latch._sync": ("Latch",),
    "holdfast.locks.latch.rules": ("LatchState",),
    "holdfast.locks.redlock._async": ("AsyncRedlock",),
    "holdfast.locks.redlock._sync": ("Redlock",),
    "holdfast.locks.redlock._lease_async": ("AsyncRedlockLease",),
    "holdfast.locks.redlock._lease_sync": ("RedlockLease",),
    "holdfast.locks.redlock.options": ("RedlockNode",),
    "holdfast.operations._sweep_async": ("AsyncWatcher",),
    "holdfast.operations._sweep_sync": ("Watcher",),
    "holdfast.streams._stream_async": ("AsyncStream",),
    "holdfast.streams._stream_sync": ("Stream",),
    "holdfast.streams._message_async": ("AsyncMessage",),
    "holdfast.streams._message_sync": ("Message",),
    "holdfast.streams._effects_async": ("AsyncEffects",),
    "holdfast.streams._effects_sync": ("Effects",),
    "holdfast.streams._books_async": ("AsyncGroup",),
    "holdfast.streams._books_sync": ("Group",),
    "holdfast.streams._dead_async": ("AsyncDeadLetters",),
    "holdfast.streams._dead_sync": ("DeadLetters",),
    "holdfast.streams.options": (
        "Backoff",
        "DeadMessage",
        "Lag",
        "Outgoing",
        "Published",
        "Retention",
    ),
    "holdfast.streams.counters": ("SubscriberStats",),
    "holdfast.streams.rules": (
        "Reject",
        "Retry",
    ),
    "holdfast.streams.books": (
        "GroupMember",
        "StreamEntry",
        "StreamInfo",
        "StreamPart",
    ),
    "holdfast.events._log_async": ("AsyncEventLog",),
    "holdfast.events._log_sync": ("EventLog",),
    "holdfast.events._projection_async": ("AsyncProjection",),
    "holdfast.events._projection_sync": ("Projection",),
    "holdfast.events.kinds": ("NewEvent",),
    "holdfast.events.options": (
        "Appended",
        "Loaded",
        "NewBatch",
        "Parked",
        "PositionTrimmed",
        "ProjectionBehind",
        "ProjectionFailed",
        "ProjectionStatus",
        "StoredEvent",
    ),
    "holdfast.topics._topic_async": ("AsyncTopic",),
    "holdfast.topics._topic_sync": ("Topic",),
    "holdfast.topics._subscription_async": ("AsyncSubscription",),
    "holdfast.topics._subscription_sync": ("Subscription",),
    "holdfast.topics.options": (
        "Gap",
        "SlowSubscriber",
        "TopicMessage",
        "TopicPublished",
        "TopicStats",
    ),
    "holdfast.events.effects": ("ProjectionEffects",),
    "holdfast.limits._limiter_async": ("AsyncLimiter",),
    "holdfast.limits._limiter_sync": ("Limiter",),
    "holdfast.limits._limited_async": ("AsyncLimitedFunction",),
    "holdfast.limits._limited_sync": ("LimitedFunction",),
    "holdfast.limits._reserve_async": ("AsyncReservation",),
    "holdfast.limits._reserve_sync": ("Reservation",),
    "holdfast.limits.options": ("Limit",),
    "holdfast.limits.decision": (
        "Decision",
        "LimitState",
        "Together",
    ),
    "holdfast.limits.counters": ("LimiterStats",),
    "holdfast.limits.concurrency._concurrency_async": ("AsyncConcurrencyLimiter",),
    "holdfast.limits.concurrency._concurrency_sync": ("ConcurrencyLimiter",),
    "holdfast.limits.concurrency._slot_async": ("AsyncSlot",),
    "holdfast.limits.concurrency._slot_sync": ("Slot",),
    "holdfast.limits.concurrency.counters": ("ConcurrencyStats",),
    "holdfast.limits.concurrency.options": ("ConcurrencyDecision",),
    "holdfast.sessions._sessions_async": ("AsyncSessions",),
    "holdfast.sessions._sessions_sync": ("Sessions",),
    "holdfast.sessions.session": ("Session",),
    "holdfast.sessions.options": (
        "SessionInfo",
        "SessionsStats",
    ),
    "holdfast.leaderboards._leaderboard_async": ("AsyncLeaderboard",),
    "holdfast.leaderboards._leaderboard_sync": ("Leaderboard",),
    "holdfast.leaderboards.options": (
        "LeaderboardStats",
        "Row",
        "Season",
        "Standing",
        "Submission",
    ),
    "holdfast.analytics._analytics_async": ("AsyncAnalytics",),
    "holdfast.analytics._analytics_sync": ("Analytics",),
    "holdfast.analytics.options": (
        "AnalyticsStats",
        "Comparison",
        "MetricInfo",
        "Point",
    ),
    "holdfast.analytics.tops": ("TopItem",),
    "holdfast.analytics.quantiles": ("Distribution",),
    "holdfast.analytics.actives": (
        "Cohort",
        "Retained",
    ),
    "holdfast.errors": (
        "AlreadyDone",
        "Closed",
        "CodecError",
        "ConfigurationError",
        "ConflictError",
        "FenceHistoryLost",
        "HoldfastError",
        "LoadTimeout",
        "LockError",
        "LockLost",
        "LockTimeout",
        "NoPermission",
        "NoQuorum",
        "NotDurable",
        "NotSettled",
        "OperationBusy",
        "OperationDead",
        "OperationError",
        "OutOfMemory",
        "Overloaded",
        "RateLimited",
        "ReadOnly",
        "Refused",
        "SessionGone",
        "TooSlow",
        "Unavailable",
        "Unconfirmed",
        "UnsafeServer",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "__version__",
    "AlreadyDone",
    "Analytics",
    "AnalyticsStats",
    "Appended",
    "AsyncAnalytics",
    "AsyncBoundScript",
    "AsyncCache",
    "AsyncCachedFunction",
    "AsyncConcurrencyLimiter",
    "AsyncDeadLetters",
    "AsyncEffects",
    "AsyncEventLog",
    "AsyncFencedRegister",
    "AsyncGroup",
    "AsyncHoldfast",
    "AsyncIdempotentFunction",
    "AsyncLatch",
    "AsyncLeader",
    "AsyncLeaderboard",
    "AsyncLease",
    "AsyncLimitedFunction",
    "AsyncLimiter",
    "AsyncLock",
    "AsyncMessage",
    "AsyncMultiLease",
    "AsyncMultiLock",
    "AsyncObservation",
    "AsyncOperation",
    "AsyncOperations",
    "AsyncProjection",
    "AsyncRedlock",
    "AsyncRedlockLease",
    "AsyncReservation",
    "AsyncRwLock",
    "AsyncRwSide",
    "AsyncSemaphore",
    "AsyncSessions",
    "AsyncSlot",
    "AsyncSource",
    "AsyncStream",
    "AsyncSubscription",
    "AsyncTerm",
    "AsyncTopic",
    "AsyncTransaction",
    "AsyncWatcher",
    "Backlog",
    "Backoff",
    "Behind",
    "BoundScript",
    "Cache",
    "CachedFunction",
    "CacheStats",
    "Cipher",
    "Closed",
    "CodecError",
    "Cohort",
    "Comparison",
    "ConcurrencyDecision",
    "ConcurrencyLimiter",
    "ConcurrencyStats",
    "ConfigurationError",
    "ConflictError",
    "current_load",
    "current_operation",
    "DeadLetter",
    "DeadLetters",
    "DeadMessage",
    "Decision",
    "Distribution",
    "Durability",
    "Effects",
    "Entry",
    "EventLog",
    "Fenced",
    "FencedRegister",
    "FenceHistoryLost",
    "Gap",
    "Group",
    "GroupMember",
    "Holder",
    "Holdfast",
    "HoldfastError",
    "IdempotentFunction",
    "L1",
    "Lag",
    "Latch",
    "LatchState",
    "Leader",
    "Leaderboard",
    "LeaderboardStats",
    "Lease",
    "Limit",
    "LimitedFunction",
    "Limiter",
    "LimiterStats",
    "LimitState",
    "Load",
    "Loaded",
    "LoadTimeout",
    "Lock",
    "LockError",
    "LockLost",
    "LockStats",
    "LockTimeout",
    "Message",
    "MetricInfo",
    "Missing",
    "MISSING",
    "MultiLease",
    "MultiLock",
    "NewBatch",
    "NewEvent",
    "NoPermission",
    "NoQuorum",
    "NotDurable",
    "NotFlushed",
    "NotSettled",
    "Observation",
    "Occupancy",
    "Operation",
    "OperationBusy",
    "OperationDead",
    "OperationError",
    "OperationLost",
    "Operations",
    "OperationsBacklog",
    "OperationsStats",
    "OperationStatus",
    "Outgoing",
    "OutOfMemory",
    "Overloaded",
    "Parked",
    "Permits",
    "Point",
    "PositionTrimmed",
    "Projection",
    "ProjectionBehind",
    "ProjectionEffects",
    "ProjectionFailed",
    "ProjectionStatus",
    "Published",
    "RateLimited",
    "ReadOnly",
    "Redlock",
    "RedlockLease",
    "RedlockNode",
    "Refused",
    "Reject",
    "Reservation",
    "Retained",
    "Retention",
    "Retry",
    "Row",
    "RwLock",
    "RwSide",
    "Season",
    "Semaphore",
    "Session",
    "SessionGone",
    "SessionInfo",
    "Sessions",
    "SessionsStats",
    "Slot",
    "SlowSubscriber",
    "Source",
    "Standing",
    "StoredEvent",
    "Stream",
    "StreamEntry",
    "StreamInfo",
    "StreamPart",
    "Submission",
    "SubscriberStats",
    "Subscription",
    "Term",
    "Tls",
    "Together",
    "TooSlow",
    "Topic",
    "TopicMessage",
    "TopicPublished",
    "TopicStats",
    "TopItem",
    "Transaction",
    "Unavailable",
    "Unconfirmed",
    "UnsafeServer",
    "Watcher",
]

if TYPE_CHECKING:
    from holdfast._client_async import AsyncBoundScript as AsyncBoundScript
    from holdfast._client_async import AsyncHoldfast as AsyncHoldfast
    from holdfast._client_sync import BoundScript as BoundScript
    from holdfast._client_sync import Holdfast as Holdfast
    from holdfast._transaction_async import AsyncTransaction as AsyncTransaction
    from holdfast._transaction_sync import Transaction as Transaction
    from holdfast._values.wrapping import Cipher as Cipher
    from holdfast._wire.durability import Durability as Durability
    from holdfast._wire.url import Tls as Tls
    from holdfast.analytics._analytics_async import AsyncAnalytics as AsyncAnalytics
    from holdfast.analytics._analytics_sync import Analytics as Analytics
    from holdfast.analytics.actives import Cohort as Cohort
    from holdfast.analytics.actives import Retained as Retained
    from holdfast.analytics.options import AnalyticsStats as AnalyticsStats
    from holdfast.analytics.options import Comparison as Comparison
    from holdfast.analytics.options import MetricInfo as MetricInfo
    from holdfast.analytics.options import Point as Point
    from holdfast.analytics.quantiles import Distribution as Distribution
    from holdfast.analytics.tops import TopItem as TopItem
    from holdfast.cache._async import AsyncCache as AsyncCache
    from holdfast.cache._decorate_async import AsyncCachedFunction as AsyncCachedFunction
    from holdfast.cache._decorate_sync import CachedFunction as CachedFunction
    from holdfast.cache._sync import Cache as Cache
    from holdfast.cache.behind.options import Backlog as Backlog
    from holdfast.cache.behind.options import Behind as Behind
    from holdfast.cache.behind.options import DeadLetter as DeadLetter
    from holdfast.cache.behind.options import NotFlushed as NotFlushed
    from holdfast.cache.entry import MISSING as MISSING
    from holdfast.cache.entry import Entry as Entry
    from holdfast.cache.entry import Missing as Missing
    from holdfast.cache.loading import Load as Load
    from holdfast.cache.loading import current_load as current_load
    from holdfast.cache.options import L1 as L1
    from holdfast.cache.options import AsyncSource as AsyncSource
    from holdfast.cache.options import Source as Source
    from holdfast.cache.stats import CacheStats as CacheStats
    from holdfast.errors import AlreadyDone as AlreadyDone
    from holdfast.errors import Closed as Closed
    from holdfast.errors import CodecError as CodecError
    from holdfast.errors import ConfigurationError as ConfigurationError
    from holdfast.errors import ConflictError as ConflictError
    from holdfast.errors import FenceHistoryLost as FenceHistoryLost
    from holdfast.errors import HoldfastError as HoldfastError
    from holdfast.errors import LoadTimeout as LoadTimeout
    from holdfast.errors import LockError as LockError
    from holdfast.errors import LockLost as LockLost
    from holdfast.errors import LockTimeout as LockTimeout
    from holdfast.errors import NoPermission as NoPermission
    from holdfast.errors import NoQuorum as NoQuorum
    from holdfast.errors import NotDurable as NotDurable
    from holdfast.errors import NotSettled as NotSettled
    from holdfast.errors import OperationBusy as OperationBusy
    from holdfast.errors import OperationDead as OperationDead
    from holdfast.errors import OperationError as OperationError
    from holdfast.errors import OutOfMemory as OutOfMemory
    from holdfast.errors import Overloaded as Overloaded
    from holdfast.errors import RateLimited as RateLimited
    from holdfast.errors import ReadOnly as ReadOnly
    from holdfast.errors import Refused as Refused
    from holdfast.errors import SessionGone as SessionGone
    from holdfast.errors import TooSlow as TooSlow
    from holdfast.errors import Unavailable as Unavailable
    from holdfast.errors import Unconfirmed as Unconfirmed
    from holdfast.errors import UnsafeServer as UnsafeServer
    from holdfast.events._log_async import AsyncEventLog as AsyncEventLog
    from holdfast.events._log_sync import EventLog as EventLog
    from holdfast.events._projection_async import AsyncProjection as AsyncProjection
    from holdfast.events._projection_sync import Projection as Projection
    from holdfast.events.effects import ProjectionEffects as ProjectionEffects
    from holdfast.events.kinds import NewEvent as NewEvent
    from holdfast.events.options import Appended as Appended
    from holdfast.events.options import Loaded as Loaded
    from holdfast.events.options import NewBatch as NewBatch
    from holdfast.events.options import Parked as Parked
    from holdfast.events.options import PositionTrimmed as PositionTrimmed
    from holdfast.events.options import ProjectionBehind as ProjectionBehind
    from holdfast.events.options import ProjectionFailed as ProjectionFailed
    from holdfast.events.options import ProjectionStatus as ProjectionStatus
    from holdfast.events.options import StoredEvent as StoredEvent
    from holdfast.leaderboards._leaderboard_async import AsyncLeaderboard as AsyncLeaderboard
    from holdfast.leaderboards._leaderboard_sync import Leaderboard as Leaderboard
    from holdfast.leaderboards.options import LeaderboardStats as LeaderboardStats
    from holdfast.leaderboards.options import Row as Row
    from holdfast.leaderboards.options import Season as Season
    from holdfast.leaderboards.options import Standing as Standing
    from holdfast.leaderboards.options import Submission as Submission
    from holdfast.limits._limited_async import AsyncLimitedFunction as AsyncLimitedFunction
    from holdfast.limits._limited_sync import LimitedFunction as LimitedFunction
    from holdfast.limits._limiter_async import AsyncLimiter as AsyncLimiter
    from holdfast.limits._limiter_sync import Limiter as Limiter
    from holdfast.limits._reserve_async import AsyncReservation as AsyncReservation
    from holdfast.limits._reserve_sync import Reservation as Reservation
    from holdfast.limits.concurrency._concurrency_async import (
        AsyncConcurrencyLimiter as AsyncConcurrencyLimiter,
    )
    from holdfast.limits.concurrency._concurrency_sync import ConcurrencyLimiter as ConcurrencyLimiter
    from holdfast.limits.concurrency._slot_async import AsyncSlot as AsyncSlot
    from holdfast.limits.concurrency._slot_sync import Slot as Slot
    from holdfast.limits.concurrency.counters import ConcurrencyStats as ConcurrencyStats
    from holdfast.limits.concurrency.options import ConcurrencyDecision as ConcurrencyDecision
    from holdfast.limits.counters import LimiterStats as LimiterStats
    from holdfast.limits.decision import Decision as Decision
    from holdfast.limits.decision import LimitState as LimitState
    from holdfast.limits.decision import Together as Together
    from holdfast.limits.options import Limit as Limit
    from holdfast.locks._lease_async import AsyncLease as AsyncLease
    from holdfast.locks._lease_sync import Lease as Lease
    from holdfast.locks._lock_async import AsyncLock as AsyncLock
    from holdfast.locks._lock_sync import Lock as Lock
    from holdfast.locks.holder import Holder as Holder
    from holdfast.locks.latch._async import AsyncLatch as AsyncLatch
    from holdfast.locks.latch._sync import Latch as Latch
    from holdfast.locks.latch.rules import LatchState as LatchState
    from holdfast.locks.leader._async import AsyncLeader as AsyncLeader
    from holdfast.locks.leader._observe_async import AsyncObservation as AsyncObservation
    from holdfast.locks.leader._observe_sync import Observation as Observation
    from holdfast.locks.leader._sync import Leader as Leader
    from holdfast.locks.leader._term_async import AsyncTerm as AsyncTerm
    from holdfast.locks.leader._term_sync import Term as Term
    from holdfast.locks.multilock._async import AsyncMultiLock as AsyncMultiLock
    from holdfast.locks.multilock._lease_async import AsyncMultiLease as AsyncMultiLease
    from holdfast.locks.multilock._lease_sync import MultiLease as MultiLease
    from holdfast.locks.multilock._sync import MultiLock as MultiLock
    from holdfast.locks.redlock._async import AsyncRedlock as AsyncRedlock
    from holdfast.locks.redlock._lease_async import AsyncRedlockLease as AsyncRedlockLease
    from holdfast.locks.redlock._lease_sync import RedlockLease as RedlockLease
    from holdfast.locks.redlock._sync import Redlock as Redlock
    from holdfast.locks.redlock.options import RedlockNode as RedlockNode
    from holdfast.locks.register._async import AsyncFencedRegister as AsyncFencedRegister
    from holdfast.locks.register._sync import FencedRegister as FencedRegister
    from holdfast.locks.register.rules import Fenced as Fenced
    from holdfast.locks.rwlock._async import AsyncRwLock as AsyncRwLock
    from holdfast.locks.rwlock._async import AsyncRwSide as AsyncRwSide
    from holdfast.locks.rwlock._sync import RwLock as RwLock
    from holdfast.locks.rwlock._sync import RwSide as RwSide
    from holdfast.locks.rwlock.rules import Occupancy as Occupancy
    from holdfast.locks.semaphore._async import AsyncSemaphore as AsyncSemaphore
    from holdfast.locks.semaphore._sync import Semaphore as Semaphore
    from holdfast.locks.semaphore.rules import Permits as Permits
    from holdfast.locks.stats import LockStats as LockStats
    from holdfast.operations._async import AsyncOperations as AsyncOperations
    from holdfast.operations._decorate_async import AsyncIdempotentFunction as AsyncIdempotentFunction
    from holdfast.operations._decorate_sync import IdempotentFunction as IdempotentFunction
    from holdfast.operations._operation_async import AsyncOperation as AsyncOperation
    from holdfast.operations._operation_sync import Operation as Operation
    from holdfast.operations._sweep_async import AsyncWatcher as AsyncWatcher
    from holdfast.operations._sweep_sync import Watcher as Watcher
    from holdfast.operations._sync import Operations as Operations
    from holdfast.operations.current import current_operation as current_operation
    from holdfast.operations.options import OperationLost as OperationLost
    from holdfast.operations.options import OperationsBacklog as OperationsBacklog
    from holdfast.operations.options import OperationsStats as OperationsStats
    from holdfast.operations.options import OperationStatus as OperationStatus
    from holdfast.sessions._sessions_async import AsyncSessions as AsyncSessions
    from holdfast.sessions._sessions_sync import Sessions as Sessions
    from holdfast.sessions.options import SessionInfo as SessionInfo
    from holdfast.sessions.options import SessionsStats as SessionsStats
    from holdfast.sessions.session import Session as Session
    from holdfast.streams._books_async import AsyncGroup as AsyncGroup
    from holdfast.streams._books_sync import Group as Group
    from holdfast.streams._dead_async import AsyncDeadLetters as AsyncDeadLetters
    from holdfast.streams._dead_sync import DeadLetters as DeadLetters
    from holdfast.streams._effects_async import AsyncEffects as AsyncEffects
    from holdfast.streams._effects_sync import Effects as Effects
    from holdfast.streams._message_async import AsyncMessage as AsyncMessage
    from holdfast.streams._message_sync import Message as Message
    from holdfast.streams._stream_async import AsyncStream as AsyncStream
    from holdfast.streams._stream_sync import Stream as Stream
    from holdfast.streams.books import GroupMember as GroupMember
    from holdfast.streams.books import StreamEntry as StreamEntry
    from holdfast.streams.books import StreamInfo as StreamInfo
    from holdfast.streams.books import StreamPart as StreamPart
    from holdfast.streams.counters import SubscriberStats as SubscriberStats
    from holdfast.streams.options import Backoff as Backoff
    from holdfast.streams.options import DeadMessage as DeadMessage
    from holdfast.streams.options import Lag as Lag
    from holdfast.streams.options import Outgoing as Outgoing
    from holdfast.streams.options import Published as Published
    from holdfast.streams.options import Retention as Retention
    from holdfast.streams.rules import Reject as Reject
    from holdfast.streams.rules import Retry as Retry
    from holdfast.topics._subscription_async import AsyncSubscription as AsyncSubscription
    from holdfast.topics._subscription_sync import Subscription as Subscription
    from holdfast.topics._topic_async import AsyncTopic as AsyncTopic
    from holdfast.topics._topic_sync import Topic as Topic
    from holdfast.topics.options import Gap as Gap
    from holdfast.topics.options import SlowSubscriber as SlowSubscriber
    from holdfast.topics.options import TopicMessage as TopicMessage
    from holdfast.topics.options import TopicPublished as TopicPublished
    from holdfast.topics.options import TopicStats as TopicStats


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return list(__all__)
