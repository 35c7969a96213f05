"""A primary that the sentinels name, and that may be another one tomorrow.

rules.py      what sentinels say, and whom to believe                                             pure
endpoint.py   the place where the primary is, asked of all sentinels at once
watch.py      listens to every sentinel, so that a change is known the moment it is decided
"""
