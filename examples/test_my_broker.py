"""A broker of one's own, in memory, and the cases that hold it to its word: pytest test_my_broker.py"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence

import pytest

from holdfast.testing.pubsub import Delivery, Features, Handler, Note, PubSubCases

ATTEMPTS = 5


class Shelf:
    """What all clients share."""

    def __init__(self) -> None:
        self.told = threading.Condition()
        self.log: defaultdict[str, list[Note]] = defaultdict(list)
        self.queues: dict[tuple[str, str], deque[tuple[Note, int]]] = {}  # of each group: note, deliveries
        self.dead: defaultdict[tuple[str, str], list[str]] = defaultdict(list)


class Subscriber:
    """A thread that handles one message after the other."""

    def __init__(self, shelf: Shelf, topic: str, group: str, handler: Handler) -> None:
        self._shelf, self._group, self._handler = shelf, (topic, group), handler
        self._closed = False
        with shelf.told:
            if self._group not in shelf.queues:
                shelf.queues[self._group] = deque((note, 1) for note in shelf.log[topic])
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        shelf, queue = self._shelf, self._shelf.queues[self._group]
        while True:
            with shelf.told:
                shelf.told.wait_for(lambda: queue or self._closed)
                if self._closed:
                    return
                note, deliveries = queue.popleft()
            try:
                self._handler(
                    Delivery(text=note.text, key=note.key, headers=note.headers, deliveries=deliveries)
                )
            except Exception:  # noqa: BLE001 (whatever it raises: it comes again)
                with shelf.told:
                    if deliveries < ATTEMPTS:
                        queue.append((note, deliveries + 1))
                    else:
                        shelf.dead[self._group].append(note.text)

    def close(self) -> None:
        with self._shelf.told:
            self._closed = True
            self._shelf.told.notify_all()
        self._thread.join()

    abandon = close


class MemoryBroker:
    """A client of a shelf."""

    def __init__(self, shelf: Shelf | None = None) -> None:
        self.shelf = shelf or Shelf()
        self._mine: list[Subscriber | MemoryBroker] = []
        self._closed = False

    def publish(self, topic: str, notes: Sequence[Note]) -> None:
        if self._closed:
            raise RuntimeError("closed")
        with self.shelf.told:
            self.shelf.log[topic] += notes
            for (name, _), queue in self.shelf.queues.items():
                if name == topic:
                    queue.extend((note, 1) for note in notes)
            self.shelf.told.notify_all()

    def subscribe(self, topic: str, group: str, handler: Handler) -> Subscriber:
        subscriber = Subscriber(self.shelf, topic, group, handler)
        self._mine.append(subscriber)
        return subscriber

    def connect(self) -> MemoryBroker:
        client = type(self)(self.shelf)
        self._mine.append(client)
        return client

    def interrupt(self) -> None:
        raise NotImplementedError("there is no connection")

    def dead_letters(self, topic: str, group: str) -> Sequence[str]:
        return self.shelf.dead[topic, group]

    def close(self) -> None:
        self._closed = True
        for one in self._mine:
            one.close()


class TestMemoryBroker(PubSubCases):
    features = Features(
        persistent=True, groups=True, counts=True, headers=True, dead_letters=True, attempts=ATTEMPTS
    )

    @pytest.fixture
    def broker(self) -> Iterator[MemoryBroker]:
        broker = MemoryBroker()
        yield broker
        broker.close()
