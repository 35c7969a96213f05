"""What Holdfast promises about speed, measured: one file per promise, run by `python -m benchmarks`.

harness.py    worker processes, rounds in random order, medians
report.py     figures as Markdown
limit.py      the least that Python can do, written by hand: what everything is held against
peers.py      the textbook's cache-aside, and the caches of others
tasks.py      asyncio: 1, 100 and 1,000 tasks, and sparse load
threads.py    1 and 8 threads
stampede.py   one cold key, four processes, two hundred callers
races.py      loads against invalidations
near.py       hits in the process         news.py   what the near cache costs besides: news, memory
hits.py       hits on the server, many keys at once, against the caches of others
tags.py       tags and clear() of many entries
startup.py    what `import holdfast` costs, and what its installation brings
cluster.py    tasks and threads against a Cluster
tls.py        tasks, threads and new clients over TLS
streams/      publishing and handling, against the raw client and the libraries of others
failover/     a primary that fails, behind Sentinels and in a Cluster; not part of "everything"
"""
