"""A Cluster as one server: which node to ask, and what to do when it is not that one any more.

slots.py      which slot a key is in, which arguments of a command are keys                       pure
layout.py     which node serves which slot, as one node told it                                   pure
atlas.py      the layout as this client knows it, kept true by the nodes' own words
_async.py     the transport: a command to its node, many commands to many nodes at once; _sync.py is its twin
hub.py        a hub for each node
"""
