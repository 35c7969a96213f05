"""No number twice under one name, whoever comes at the same time, and after a fork."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator

import pytest

from holdfast._coord.requests import Requests


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads that change at every opportunity."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_threads_that_come_first_at_the_same_time():
    """found: name and numbers in two attributes, of which another thread sees one new and one old."""
    for _ in range(200):
        requests, start = Requests(), threading.Barrier(4)
        taken: list[tuple[str, int]] = []

        def ask(
            requests: Requests = requests,
            taken: list[tuple[str, int]] = taken,
            start: threading.Barrier = start,
        ) -> None:
            start.wait()
            for _ in range(3):
                requester = requests.requester()
                taken.append((requester.name, requester.number("book")))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(taken)) == 12


def test_books_count_by_themselves():
    requester = Requests().requester()

    assert [requester.number(), requester.number("a"), requester.number(), requester.number("a")] == [
        1,
        1,
        2,
        2,
    ]


def test_the_child_of_a_fork_is_another_one():
    """found: a child that goes on with the numbers of its parent."""
    requests = Requests()
    ours = requests.requester()
    ours.number()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        theirs = requests.requester()
        os.write(writing, f"{theirs.name} {theirs.number()}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    name, number = os.read(reading, 100).decode().split()
    os.close(reading)
    os.close(writing)

    assert name != ours.name
    assert number == "1"
    assert requests.requester() is ours
