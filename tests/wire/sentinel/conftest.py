"""Labs: one for all tests that leave it as it was, and a fresh one for each that breaks it.

Most of the time that a lab takes to form is waiting, so the next fresh one forms while a test runs.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from .lab import make_lab


@pytest.fixture(scope="session")
def lab():
    """A lab that every test leaves as it found it; its sentinels are slow to make up their minds."""
    with make_lab(down_after="60s") as shared:
        yield shared


@pytest.fixture(scope="session")
def _stock():
    """Gives a fresh lab, and begins the next."""
    with ThreadPoolExecutor(1, "stock") as pool:
        ahead = [pool.submit(make_lab)]

        def take():
            ahead.append(pool.submit(make_lab))
            return ahead.pop(0).result()

        yield take
        for one in ahead:
            one.result().stop()


@pytest.fixture
def own_lab(_stock):
    """A lab for this test alone, whose nodes can be killed, frozen and cut off."""
    with _stock() as fresh:
        yield fresh
