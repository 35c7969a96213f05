"""Numbers for requests, so that a server recognises one that is repeated."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

from holdfast._coord.owner import token


class Requester:
    """Who asks, under a name that nobody else has, and counts what he asks, in a book for each memo."""

    __slots__ = ("_books", "_pid", "name")

    def __init__(self) -> None:
        self.name = token()
        self._pid = os.getpid()
        self._books: dict[str, Iterator[int]] = {}

    @property
    def is_ours(self) -> bool:
        """Or has this process been forked since?"""
        return self._pid == os.getpid()

    def number(self, book: str = "") -> int:
        """The next number in `book`, from 1."""
        return next(self._books.get(book) or self._books.setdefault(book, itertools.count(1)))


class Requests:
    """The requester of this process. Thread-safe; the child of a fork is another one.

    Name and numbers come from one object, taken once for each request: of two threads that come first, each
    may make one, and then there are two; what must not be is a number twice under one name, since the second
    request would be taken for a repetition of the first.
    """

    __slots__ = ("_requester",)

    def __init__(self) -> None:
        self._requester: Requester | None = None

    def requester(self) -> Requester:
        """Take it once for each request."""
        found = self._requester
        if found is None or not found.is_ours:
            found = self._requester = Requester()
        return found
