"""Invalidations and messages that belong to a SQLAlchemy transaction.

on_commit(session, cache)     collect keys and tags; invalidate them when the transaction commits
watch(sessions, {...})        collect them by itself, from the objects that are flushed
Outbox                        writes them into a table too, in the same transaction; and messages for streams
Relay, AsyncRelay             deliver what stands in that table, whoever crashed
StreamRelay, AsyncStreamRelay publish the messages that stand there, in order, each once
Inbox                         a message is handled once: its mark commits with what the handler wrote
TableSource, AsyncTableSource a table as the source of a cache: read-through, write-through, write-behind
Fences, fenced()              a holder of a lock that has been replaced cannot write any more

Needs: pip install "holdfast[sqlalchemy]". What is promised stands in session.py, watching.py, outbox.py,
_outbox_async.py and inbox.py.
"""

from holdfast.contrib._extra import need

need("sqlalchemy")

from holdfast.contrib._pending_async import AsyncPending  # noqa: E402 (the line above explains its absence)
from holdfast.contrib._pending_sync import Pending  # noqa: E402
from holdfast.contrib.sqlalchemy._outbox_async import AsyncStreamRelay  # noqa: E402
from holdfast.contrib.sqlalchemy._outbox_sync import StreamRelay  # noqa: E402
from holdfast.contrib.sqlalchemy._relay_async import AsyncRelay  # noqa: E402
from holdfast.contrib.sqlalchemy._relay_sync import Relay  # noqa: E402
from holdfast.contrib.sqlalchemy._source_async import AsyncTableSource  # noqa: E402
from holdfast.contrib.sqlalchemy._source_sync import TableSource  # noqa: E402
from holdfast.contrib.sqlalchemy.fences import Fences, fenced  # noqa: E402
from holdfast.contrib.sqlalchemy.inbox import Inbox  # noqa: E402
from holdfast.contrib.sqlalchemy.outbox import Outbox  # noqa: E402
from holdfast.contrib.sqlalchemy.session import on_commit  # noqa: E402
from holdfast.contrib.sqlalchemy.watching import Watch, watch  # noqa: E402

__all__ = [
    "on_commit",
    "Pending",
    "AsyncPending",
    "watch",
    "Watch",
    "Outbox",
    "Relay",
    "AsyncRelay",
    "StreamRelay",
    "AsyncStreamRelay",
    "Inbox",
    "TableSource",
    "AsyncTableSource",
    "Fences",
    "fenced",
]
