"""A popular entry ends: everybody who wants it loads it."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

CALLERS = 16


def get_front_page(r, load):
    cached = r.get("front-page")
    if cached is not None:
        return json.loads(cached)
    page = load()
    r.set("front-page", json.dumps(page), ex=60)
    return page


def test_each_caller_loads(r):
    together = threading.Barrier(CALLERS)  # opens when all of them are in the database at once

    def load():
        together.wait(timeout=30)
        return "page"

    with ThreadPoolExecutor(CALLERS) as pool:
        pages = list(pool.map(lambda _: get_front_page(r, load), range(CALLERS)))

    assert pages == ["page"] * CALLERS  # nobody got here before all sixteen queries ran


def test_with_holdfast_one_loads_and_the_others_wait(hf, other):
    loads = []
    everybody = threading.Barrier(CALLERS)
    caches = [hf.cache("pages", ttl="1m"), other.cache("pages", ttl="1m")]  # two processes of a service

    def load():
        loads.append(1)
        return "page"

    def visit(caller):
        everybody.wait(timeout=30)
        return caches[caller % 2].get_or_set("front", load)

    with ThreadPoolExecutor(CALLERS) as pool:
        pages = list(pool.map(visit, range(CALLERS)))

    assert pages == ["page"] * CALLERS
    assert len(loads) == 1
