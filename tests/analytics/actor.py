"""A process that counts until it is killed: after each flush it says how much is written, and goes on."""

from __future__ import annotations

import sys

from holdfast import Holdfast
from holdfast.analytics._analytics_sync import Analytics
from holdfast.analytics.options import AnalyticsOptions


def main(url: str, namespace: str) -> None:
    hits = Analytics(Holdfast(url, namespace=namespace)._wire, "shop", AnalyticsOptions(flush="10ms"))
    counted = 0
    while True:
        for _ in range(1000):
            hits.count("x", tags={"plan": "pro"})
        counted += 1000
        hits.flush()
        for _ in range(500):
            hits.count("x", tags={"plan": "pro"})
        counted += 500
        sys.stdout.write(f"{counted}\n")
        sys.stdout.flush()


main(*sys.argv[1:])
