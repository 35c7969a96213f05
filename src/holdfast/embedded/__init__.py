"""Real servers, started in a moment and surely ended: what stands behind `embedded://`.

    binary.py     which program to start
    settings.py   its configuration file, as text (pure)
    guardian.py   the process that owns a server and ends it when nobody needs it any more
    line.py       the connection from an owner to the guardian
    greeting.py   the first words with a server
    launch.py     start(): a new server, or the one that runs already
    server.py     the Server it returns

`embedded.start()` gives a private server without persistence. `embedded.start("/path")` gives the server of
that directory: the first process starts it, later ones join, it ends after the last has gone, and its data
stays.
"""

from holdfast.embedded.binary import Binary, find, identify
from holdfast.embedded.launch import start
from holdfast.embedded.server import Server

__all__ = ["Binary", "Server", "find", "identify", "start"]
