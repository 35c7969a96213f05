"""What a client makes of a primary that fails, measured on real Sentinels and Clusters of this machine.

    python -m benchmarks failover                                   everything, about forty minutes
    python -m benchmarks failover --topology sentinel --fault cut   only these
    python -m benchmarks failover --show FILE                       the tables of an earlier run

plan.py      what is to be tried, and the words in which it is told to the clients' processes (pure)
clients.py   redis-py and Holdfast, each as a service would use it
load.py      what each client does all the time, in a process of its own
stage.py     the servers: what is done to them, and what they have in the end
outcome.py   what a round came to, for one client (pure)
tables.py    many rounds as Markdown (pure)
run.py       rounds, and the command line
"""
