"""`holdfast up`: a real topology on this machine, until Ctrl-C.

    arguments.py   how the command line is written
    options.py     what it asked for, checked                                           pure
    topology.py    what was started, whatever it is: nodes, URLs, who is who, the end
    sights.py      how nodes are seen at a moment, and what changed since               pure
    watch.py       the thread that looks several times a second
    orders.py      what may be typed: kill 2, restart 2, quit
    pages.py       what is said when all is ready: the table, the lines to copy         pure
    screen.py      where it is said: on a terminal, in plain lines, or nowhere
    signals.py     SIGTERM and a closed terminal, as exceptions
    command.py     the command behind `--`
    run.py         from the beginning to the end

Promise: however this process ends, no server stays. That is kept by the guardians of holdfast.embedded, not
here: here is only the polite way. Not promised: that a command behind `--` ends when this process is killed
with -9; it then finds no server any more.
"""
