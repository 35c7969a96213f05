"""A process of the tests: appends, or runs a projection, until it is done or killed.

actor.py append URL NAMESPACE STREAM COUNT     append COUNT events with the version that was loaded
actor.py project URL NAMESPACE                 run the projection "totals"
"""

from __future__ import annotations

import sys
import time
from typing import Any

from holdfast import ConflictError, Holdfast
from holdfast.events._log_sync import EventLog
from holdfast.events.options import EventsOptions

LEASE = "500ms"


def log_of(hf: Holdfast) -> Any:
    return EventLog(hf._wire, "orders", EventsOptions())


def totals(log: Any, pause: float = 0.0) -> Any:
    def handle(fx: Any, event: Any) -> None:
        time.sleep(pause)
        fx.incrby(fx.key("sum"), event.value["n"])
        fx.hincrby(fx.key("by stream"), event.stream)

    return log.projection("totals", batch=3, lease=LEASE)(handle)


def append(log: Any, stream: str, count: int) -> int:
    """Append so many events, each decided on the version before it; how many conflicts there were."""
    conflicts = 0
    for number in range(count):
        while True:
            try:
                log.append(stream, [{"n": number}], expected=log.version(stream))
                break
            except ConflictError:
                conflicts += 1
    return conflicts


def main(what: str, url: str, namespace: str, *rest: str) -> None:
    with Holdfast(url, namespace=namespace) as hf:
        log = log_of(hf)
        if what == "append":
            print(append(log, rest[0], int(rest[1])))
            return
        projection = totals(log, pause=0.001)
        projection.start()
        print("ready", flush=True)
        sys.stdin.read()
        projection.close(5.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
