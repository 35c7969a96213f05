"""`holdfast limits`: who is limited, how far each is, and what to do about it.

    arguments.py   how the command line is written
    find.py        which limiters there are, and who of their subjects has used anything
    standing.py    how far a subject is with each of its limits
    listing.py     list                            peeking.py    peek
    changing.py    override, reset

What two commands of the line share (paper, walk, words, the client) is in cli/cache.
"""
