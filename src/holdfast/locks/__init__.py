"""Locks and their family: what only one, or only so many, may do at a time, in the whole fleet.

rules.py      what a lock promises, and every decision it takes                      pure
options.py    what can be chosen                                                     pure
holder.py     who holds it, as it stands on the server                               pure
stats.py      what this process has seen of its locks                                pure
line.py       who of this process stands in the queue of a fair lock
*.lua         what must be atomic
_lock_async.py, _lease_async.py    the lock, and the right to it
_place_async.py                    what all locks of one client share
multilock/    several names at once       rwlock/   readers and a writer      semaphore/   permits
leader/       one of many that works      latch/    all have arrived          redlock/     several servers
register/     a value that only the newest holder can write
"""
