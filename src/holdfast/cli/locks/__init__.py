"""`holdfast locks`: who holds what, since when, who waits for it, and how to get it back.

    arguments.py   how the command line is written
    rooms.py       which key is what of the family                                        pure
    find.py        a walk over the keys within bounds, and a look at what was found
    sight.py       one lock as it stands on the server (see.lua)                          pure
    hints.py       what to know or do about it                                            pure
    changes.py     what happened between two looks                                        pure
    live.py        how a watch looks: a table, lines, or JSON
    listing.py     list                            showing.py    show
    breaking.py    break                           watching.py   watch

What two commands of the line share (paper, walk, words, the client) is in cli/cache.
"""
