"""One lock for all rare bookkeeping of the process, which a fork cannot leave locked.

A lock that another thread holds at the moment of a fork stays held in the child for ever, and what it guards
is half-written there. So the forking thread takes this one first, and the child gets a fresh one. It is
re-entrant because the garbage collector may close something forgotten in the middle of a guarded section.
Such a section is a few lines without I/O and without calls into a user's code; hot paths do without it.

It is the bare lock of the interpreter: with a method of ours around it, a signal handler that raises between
taking it and the `with` block would leave it locked for ever.
"""

from __future__ import annotations

import os
import threading

MUTEX = threading.RLock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=MUTEX.acquire,
        after_in_parent=MUTEX.release,
        after_in_child=MUTEX._at_fork_reinit,  # type: ignore[attr-defined]
    )
