"""Redlock: a lock that a majority of independent servers grants.

rules.py      what it promises, what it assumes, and every decision it takes          pure
quorum.py     until when a lease is ours that several nodes have granted              pure
options.py    what can be chosen, and how a node stands                               pure
*.lua         what must be atomic on one node
_async.py     the lock     _attempt_async.py  one try     _lease_async.py  the right to it
_node_async.py   one server, asked once and within its time
clients.py    which clients a Redlock may have nodes of
fan.py        asking all of them side by side, with threads or with tasks
"""
