"""`holdfast streams`: what is in which stream, how far its groups are behind, and what they could not handle.

    arguments.py   how the command line is written
    find.py        which streams there are, and one by its name
    values.py      values and entries, as they are shown                                   pure
    listing.py     list                            lagging.py    lag
    grouping.py    groups                          tailing.py    tail
    burying.py     dead, replay, purge

What two commands of the line share (paper, walk, words, the client) is in cli/cache.
"""
