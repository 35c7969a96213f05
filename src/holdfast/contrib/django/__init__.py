"""Invalidation that belongs to a Django transaction.

on_commit(cache)          collect keys and tags; invalidate them when the transaction commits
watch({...})              collect them by itself, from the models that are saved and deleted
Outbox                    writes them into a table too, in the same transaction
Relay                     delivers what stands in that table, whoever crashed
IdempotencyMiddleware     requests with an `Idempotency-Key` are done once, and their answer is replayed
RateLimitMiddleware       how many requests are let in, by address, by user, by route
limited(limiter)          the same for one view
fenced_update(...)        a holder of a lock that has been replaced cannot write any more

Needs: pip install "holdfast[django]". What is promised stands in pending.py, watching.py, outbox.py.
"""

from holdfast.contrib._extra import need

need("django")

from holdfast.contrib._pending_async import AsyncPending  # noqa: E402 (the line above explains its absence)
from holdfast.contrib._pending_sync import Pending  # noqa: E402
from holdfast.contrib.django.fences import fenced_update  # noqa: E402
from holdfast.contrib.django.idempotency import IdempotencyMiddleware  # noqa: E402
from holdfast.contrib.django.limits import RateLimitMiddleware, limited  # noqa: E402
from holdfast.contrib.django.outbox import Outbox, Relay  # noqa: E402
from holdfast.contrib.django.pending import on_commit  # noqa: E402
from holdfast.contrib.django.watching import Watch, watch  # noqa: E402

__all__ = [
    "on_commit",
    "Pending",
    "AsyncPending",
    "watch",
    "Watch",
    "Outbox",
    "Relay",
    "fenced_update",
    "IdempotencyMiddleware",
    "RateLimitMiddleware",
    "limited",
]
