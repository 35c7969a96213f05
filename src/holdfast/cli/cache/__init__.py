"""`holdfast cache`: what is in a cache, whether it is right, and what to do when it is not.

    arguments.py   how the command line is written
    place.py       the client, the cache by its name, its keys
    walk.py        SCAN, within bounds, and which key is what                            pure
    sight.py       one entry as it stands on the server, and what it is for a reader     pure
    value.py       what is in an entry, as far as it can be told without its type        pure
    inverse.py     from the text of a key back to the key, and to a call's arguments     pure
    words.py       durations, sizes and counts as people read them                       pure
    paper.py       where it is said: a terminal, plain lines, or one JSON object
    switch.py      off, on                          sample.py    what stats and tags look at
    listing.py     list                             inspecting.py  inspect
    stats.py       stats                            invalidating.py  invalidate
    tags.py        tags                             audit.py, subject.py  audit

No command asks for all keys at once or without a bound: a server that others depend on is walked with SCAN,
and what was not looked at is said.
"""
