"""A process that works on one operation, for a test that kills or freezes it: `actor.py URL NAMESPACE`.

It keeps a checkpoint, and stops itself. If it goes on after that, it tries to write, and its exit status says
what came of it: 42 all was refused, 7 something was taken.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from holdfast import Holdfast
from holdfast.operations.options import OperationLost, OperationsOptions

OPTIONS = OperationsOptions(lease="400ms", ttl="1m")
REFUSED, TAKEN = 42, 7


def main(url: str, namespace: str) -> int:
    from holdfast.operations._sync import Operations

    with Holdfast(url, namespace=namespace) as hf:
        ops: Any = Operations(hf._wire, "actors", OPTIONS)
        with ops.run("r", "1", "data") as op:
            op.checkpoint("half", op.attempt)
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(0.05)
            refused = 0
            for write in (
                lambda: op.checkpoint("late"),
                lambda: op.complete("late"),
                lambda: op.fail("late"),
            ):
                try:
                    write()
                except OperationLost:
                    refused += 1
            if refused == 3 and op.lost.wait(5):
                os._exit(REFUSED)
    return TAKEN


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
