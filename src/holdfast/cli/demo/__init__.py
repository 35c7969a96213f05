"""`holdfast demo`: several processes serve real data from PostgreSQL, three times, while an auditor watches.

    options.py            what the command line asked for
    data.py               the airports, and the sequence of requests and updates that every phase replays
    postgres.py           a PostgreSQL that surely ends; postgres_guardian.py owns it
    pages.py              the page that is served, and the SQL behind it
    textbook.py           cache-aside as articles teach it
    with_holdfast.py      the same with Holdfast: the lines shown at the end are these
    ways.py               the three ways side by side
    messages.py           what the processes tell each other
    worker.py             one process: readers.py or writer.py
    fleet.py              all processes, as the demo sees them
    auditor.py            which reads were stale                                          pure
    figures.py            percentiles, stampedes, and the report                          pure
    server.py             the cache server: ours, which is killed once, or the user's
    phase.py              one phase, live, from "go" to its result
    judge.py              from all logs to that result                                    pure
    picture.py            what you see while it runs: lines; terminal.py: a live picture
    ending.py             what you have seen: the table, the lies, the lines of code
    run.py                the demo from beginning to end

Every process reads the same clock (time.monotonic is the system's), so moments can be compared between them.
"""
