"""`holdfast analytics`: which figures there are, and how they developed.

    arguments.py   how the command line is written
    find.py        which analytics and metrics there are, and one of them by its name
    drawing.py     sparklines and bars                                                     pure
    listing.py     list                            showing.py    show

What two commands of the line share (paper, walk, words, the client) is in cli/cache.
"""
