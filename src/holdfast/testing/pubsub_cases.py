"""PubSubCases: what every broker is asked, and what only those of a feature are."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

import pytest

from holdfast.testing.pubsub_broker import Broker, Delivery, Features, Handler, Note

T = TypeVar("T")


def needs(*names: str) -> Callable[[T], T]:
    """A case for brokers with these features only."""

    def mark(case: T) -> T:
        case.needs = names  # type: ignore[attr-defined]
        return case

    return mark


class Inbox:
    """Handlers that remember what they got, and tests that wait for it."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._told = threading.Condition()
        self.seen: list[Delivery] = []  # as they began
        self.done: list[str] = []  # texts, as they were handled

    def handler(self, work: Callable[[Delivery], object] = lambda _: None) -> Handler:
        """A handler that does `work`, which may raise."""

        def handle(delivery: Delivery) -> None:
            with self._told:
                self.seen.append(delivery)
                self._told.notify_all()
            work(delivery)
            with self._told:
                self.done.append(delivery.text)
                self._told.notify_all()

        return handle

    def wait(self, is_so: Callable[[], object], what: str) -> None:
        """Wait until something is so. Raises: AssertionError."""
        with self._told:
            assert self._told.wait_for(is_so, self._patience), f"{what}: handled so far: {self.done}"

    def wait_for(self, texts: Iterable[str]) -> None:
        """Wait until each of `texts` was handled."""
        wanted = set(texts)
        self.wait(lambda: wanted <= set(self.done), f"not all of {len(wanted)} arrive")

    def twice(self) -> list[str]:
        """What was handled more than once."""
        return [text for text, count in Counter(self.done).items() if count > 1]


def texts(count: int, name: str = "m") -> list[str]:
    """So many different texts."""
    return [f"{name}{number}" for number in range(count)]


def notes(found: Iterable[str], key: str | None = None) -> list[Note]:
    """Notes of these texts."""
    return [Note(text, key=key) for text in found]


class PubSubCases:
    """Subclass it with a fixture `broker`, an open Broker that nobody else uses, and with `features`."""

    features: ClassVar[Features] = Features()
    patience: ClassVar[float] = 15.0  # seconds until what has to happen must have happened
    quiet: ClassVar[float] = 0.3  # seconds in which what must not happen would have happened

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for name in dir(cls):
            wanted = getattr(getattr(cls, name), "needs", ())
            if not all(getattr(cls.features, feature) for feature in wanted):
                setattr(cls, name, None)  # not collected; a skipped test would look like one that ran

    @pytest.fixture
    def topic(self) -> str:
        """A topic that nobody else uses."""
        return f"topic-{uuid4().hex[:12]}"

    @pytest.fixture
    def inbox(self) -> Inbox:
        """For one group's deliveries."""
        return Inbox(self.patience)

    # --- publish and subscribe ------------------------------------------------------------------------------

    def test_a_subscriber_gets_what_is_published(self, broker: Broker, topic: str, inbox: Inbox) -> None:
        """All of it, with its text unharmed, and once if nothing fails."""
        odd = ["", "\x00\n\r", "ä€😀", "x" * 100_000, *texts(20)]
        broker.subscribe(topic, "a", inbox.handler())
        broker.publish(topic, notes(odd))
        inbox.wait_for(odd)
        time.sleep(self.quiet)
        assert sorted(inbox.done) == sorted(odd)

    def test_a_sleeping_subscriber_wakes_up(self, broker: Broker, topic: str, inbox: Inbox) -> None:
        """Also the second time: a wake-up that is used up would show then."""
        broker.subscribe(topic, "a", inbox.handler())
        for text in texts(3):
            time.sleep(self.quiet)
            broker.publish(topic, notes([text]))
            inbox.wait_for([text])

    def test_a_topic_gets_only_its_own(self, broker: Broker, topic: str, inbox: Inbox) -> None:
        """Nothing of another topic, though the group has the same name."""
        other = Inbox(self.patience)
        broker.subscribe(topic, "a", inbox.handler())
        broker.subscribe(f"{topic}-other", "a", other.handler())
        broker.publish(topic, notes(texts(10, "own")))
        broker.publish(f"{topic}-other", notes(texts(10, "other")))
        for box, name in ((inbox, "own"), (other, "other")):
            box.wait_for(texts(10, name))
            assert len(set(box.done)) == 10

    def test_publishers_side_by_side_lose_nothing(self, broker: Broker, topic: str, inbox: Inbox) -> None:
        """Several threads publish through one client."""
        broker.subscribe(topic, "a", inbox.handler())
        all_texts = texts(200)
        with ThreadPoolExecutor(4) as pool:
            for job in [pool.submit(broker.publish, topic, notes([one])) for one in all_texts]:
                job.result(self.patience)
        inbox.wait_for(all_texts)

    def test_several_topics_side_by_side(self, broker: Broker, topic: str) -> None:
        """They do not wait for each other, and do not mix."""
        boxes = {f"{topic}-{number}": Inbox(self.patience) for number in range(5)}
        for name, box in boxes.items():
            broker.subscribe(name, "a", box.handler())
        with ThreadPoolExecutor(len(boxes)) as pool:
            for job in [pool.submit(broker.publish, name, notes(texts(30, name))) for name in boxes]:
                job.result(self.patience)
        for name, box in boxes.items():
            box.wait_for(texts(30, name))
            assert len(set(box.done)) == 30

    # --- failures -------------------------------------------------------------------------------------------

    def test_what_fails_comes_again(self, broker: Broker, topic: str, inbox: Inbox) -> None:
        """A handler that raised has not handled it."""

        def work(delivery: Delivery) -> None:
            if sum(one.text == delivery.text for one in inbox.seen) < 2:
                raise RuntimeError("on purpose")

        broker.subscribe(topic, "a", inbox.handler(work))
        broker.publish(topic, notes(texts(5)))
        inbox.wait_for(texts(5))
        assert len(inbox.seen) >= 10

    def test_it_goes_on_after_many_errors(self, broker: Broker, topic: str, inbox: Inbox) -> None:
        """A subscriber must not give up because its handler does."""
        failed: Counter[str] = Counter()

        def work(delivery: Delivery) -> None:
            failed[delivery.text] += 1
            if failed[delivery.text] <= 2 and int(delivery.text[1:]) % 2:
                raise RuntimeError("on purpose")

        broker.subscribe(topic, "a", inbox.handler(work))
        broker.publish(topic, notes(texts(40)))
        inbox.wait_for(texts(40))

    @needs("abandons")
    def test_what_a_dead_subscriber_had_comes_again(self, broker: Broker, topic: str, inbox: Inbox) -> None:
        """It was delivered and never acknowledged."""
        stuck, released, dead = Inbox(self.patience), threading.Event(), broker.connect()
        try:
            gone = dead.subscribe(topic, "a", stuck.handler(lambda _: released.wait(self.patience)))
            broker.publish(topic, notes(texts(3)))
            stuck.wait(lambda: stuck.seen, "the first subscriber gets something")
            gone.abandon()
            broker.subscribe(topic, "a", inbox.handler())
            inbox.wait_for(texts(3))
        finally:
            released.set()
            dead.close()

    @needs("dead_letters")
    def test_what_fails_for_ever_becomes_a_dead_letter(
        self, broker: Broker, topic: str, inbox: Inbox
    ) -> None:
        """And the others are handled nevertheless."""

        def work(delivery: Delivery) -> None:
            if delivery.text == "poison":
                raise RuntimeError("on purpose")

        broker.subscribe(topic, "a", inbox.handler(work))
        broker.publish(topic, notes(["before", "poison", "after"]))
        inbox.wait_for(["before", "after"])
        give_up = time.monotonic() + self.patience
        while not broker.dead_letters(topic, "a"):
            assert time.monotonic() < give_up, f"no dead letter after {len(inbox.seen)} deliveries"
            time.sleep(0.02)
        assert list(broker.dead_letters(topic, "a")) == ["poison"]
        if self.features.attempts is not None:
            assert sum(one.text == "poison" for one in inbox.seen) == self.features.attempts
        time.sleep(self.quiet)
        assert "poison" not in inbox.done

    # --- what a handler is told -----------------------------------------------------------------------------

    @needs("counts")
    def test_a_handler_is_told_which_delivery_it_has(self, broker: Broker, topic: str, inbox: Inbox) -> None:
        """From 1, one more after each failure."""

        def work(delivery: Delivery) -> None:
            if delivery.deliveries is None or delivery.deliveries < 3:
                raise RuntimeError("on purpose")

        broker.subscribe(topic, "a", inbox.handler(work))
        broker.publish(topic, notes(["m"]))
        inbox.wait_for(["m"])
        assert [one.deliveries for one in inbox.seen] == [1, 2, 3]

    @needs("headers")
    def test_a_message_brings_its_headers_and_its_key(self, broker: Broker, topic: str, inbox: Inbox) -> None:
        """Unharmed, whatever letters are in them."""
        broker.subscribe(topic, "a", inbox.handler())
        broker.publish(topic, [Note("m", key="k", headers={"trace": "1", "é": ""})])
        inbox.wait_for(["m"])
        assert (inbox.seen[0].key, inbox.seen[0].headers) == ("k", {"trace": "1", "é": ""})

    @needs("ordered")
    def test_messages_of_a_key_come_in_order(self, broker: Broker, topic: str, inbox: Inbox) -> None:
        """Several subscribers, and a failure now and then, change nothing."""
        failed: set[str] = set()

        def work(delivery: Delivery) -> None:
            if delivery.text.endswith("7") and delivery.text not in failed:
                failed.add(delivery.text)
                raise RuntimeError("on purpose")

        for client in (broker, broker.connect()):
            client.subscribe(topic, "a", inbox.handler(work))
        keys = "xyz"
        for first in range(0, 60, 10):
            for key in keys:
                broker.publish(topic, notes((f"{key}{number}" for number in range(first, first + 10)), key))
        inbox.wait_for(f"{key}{number}" for key in keys for number in range(60))
        by_key: defaultdict[str, list[int]] = defaultdict(list)
        for text in dict.fromkeys(inbox.done):
            by_key[text[0]].append(int(text[1:]))
        assert by_key == {key: list(range(60)) for key in keys}

    @needs("delayed")
    def test_a_delayed_message_comes_late_and_once(self, broker: Broker, topic: str, inbox: Inbox) -> None:
        """Not before its time, and to one member only."""
        for client in (broker, broker.connect()):
            client.subscribe(topic, "a", inbox.handler())
        begun = time.monotonic()
        broker.publish(topic, [Note("late", delay=0.5), Note("soon")])
        inbox.wait_for(["soon"])
        assert "late" not in inbox.done or time.monotonic() - begun >= 0.5
        inbox.wait_for(["late"])
        assert time.monotonic() - begun >= 0.5
        time.sleep(self.quiet)
        assert inbox.twice() == []

    # --- groups ---------------------------------------------------------------------------------------------

    @needs("persistent")
    def test_a_new_group_gets_old_messages(self, broker: Broker, topic: str, inbox: Inbox) -> None:
        """Also what another group has handled long ago."""
        late = Inbox(self.patience)
        broker.subscribe(topic, "a", inbox.handler())
        broker.publish(topic, notes(texts(20)))
        inbox.wait_for(texts(20))
        broker.subscribe(topic, "b", late.handler())
        late.wait_for(texts(20))

    @needs("groups")
    def test_members_of_a_group_share_and_groups_do_not(
        self, broker: Broker, topic: str, inbox: Inbox
    ) -> None:
        """Without a failure nothing comes twice in a group."""
        other = Inbox(self.patience)
        for client in (broker, broker.connect(), broker.connect()):
            client.subscribe(topic, "a", inbox.handler())
        broker.subscribe(topic, "b", other.handler())
        for text in texts(100):
            broker.publish(topic, notes([text]))
        for box in (inbox, other):
            box.wait_for(texts(100))
        time.sleep(self.quiet)
        assert (inbox.twice(), other.twice()) == ([], [])

    # --- coming and going -----------------------------------------------------------------------------------

    @needs("persistent")
    def test_another_subscriber_goes_on_where_one_was_closed(
        self, broker: Broker, topic: str, inbox: Inbox
    ) -> None:
        """What was acknowledged does not come again, and nothing is lost in between."""
        first = broker.subscribe(topic, "a", inbox.handler(lambda _: time.sleep(0.005)))
        broker.publish(topic, notes(texts(100)))
        inbox.wait(lambda: len(inbox.done) >= 10, "the first subscriber handles some")
        first.close()
        assert len(inbox.done) < 100
        broker.connect().subscribe(topic, "a", inbox.handler())
        inbox.wait_for(texts(100))
        time.sleep(self.quiet)
        assert inbox.twice() == []

    def test_no_handler_runs_once_a_subscription_is_closed(
        self, broker: Broker, topic: str, inbox: Inbox
    ) -> None:
        """`close` waits for what runs, and begins nothing more."""
        found = broker.subscribe(topic, "a", inbox.handler(lambda _: time.sleep(0.2)))
        broker.publish(topic, notes(texts(10)))
        inbox.wait(lambda: inbox.seen, "a handler begins")
        found.close()
        begun = len(inbox.seen)
        time.sleep(self.quiet)
        assert len(inbox.done) == len(inbox.seen) == begun

    def test_closing_from_many_threads_at_once(self, broker: Broker, topic: str, inbox: Inbox) -> None:
        """Subscriptions and clients, in any order, twice, while messages arrive: nothing hangs or raises."""
        clients = [broker.connect() for _ in range(3)]
        found = [one.subscribe(topic, f"g{at}", inbox.handler()) for at, one in enumerate(clients)]
        broker.publish(topic, notes(texts(50)))
        closers = [*(one.close for one in found), *(one.close for one in clients)] * 2
        with ThreadPoolExecutor(len(closers)) as pool:
            for one in [pool.submit(close) for close in closers]:
                one.result(self.patience)

    def test_a_closed_publisher_says_so(self, broker: Broker, topic: str) -> None:
        """It must not swallow what nobody will ever get; closing twice is harmless."""
        client = broker.connect()
        client.publish(topic, notes(["m"]))
        for _ in range(2):
            client.close()
        with pytest.raises(Exception):  # noqa: B017, PT011 (which one is the broker's affair)
            client.publish(topic, notes(["lost"]))

    @needs("interrupts")
    def test_clients_find_back_when_their_connections_are_cut(
        self, broker: Broker, topic: str, inbox: Inbox
    ) -> None:
        """What a publisher was told to be published arrives."""
        listener = broker.connect()
        listener.subscribe(topic, "a", inbox.handler())
        for at, text in enumerate(texts(60)):
            if at % 20 == 10:
                broker.interrupt()
                listener.interrupt()
            give_up = time.monotonic() + self.patience
            while True:
                try:
                    broker.publish(topic, notes([text]))
                    break
                except Exception:  # noqa: BLE001 (which one is the broker's affair)
                    assert time.monotonic() < give_up, "it does not find back"
                    time.sleep(0.02)
        inbox.wait_for(texts(60))

    # --- all together ---------------------------------------------------------------------------------------

    def test_many_at_once(self, broker: Broker, topic: str) -> None:
        """Topics, publishers and members side by side, with failures."""
        count, members = 300, 3 if self.features.groups else 1
        boxes = {f"{topic}-{number}": Inbox(self.patience * 2) for number in range(3)}
        failed: set[str] = set()

        def work(delivery: Delivery) -> None:
            if hash(delivery.text) % 17 == 0 and delivery.text not in failed:
                failed.add(delivery.text)
                raise RuntimeError("on purpose")

        clients = [broker, *(broker.connect() for _ in range(members - 1))]
        for name, box in boxes.items():
            for client in clients:
                client.subscribe(name, "a", box.handler(work))
        with ThreadPoolExecutor(6) as pool:
            jobs = [
                pool.submit(broker.publish, name, notes(texts(10, f"{at}-"), key=str(at % 7)))
                for at in range(count // 10)
                for name in boxes
            ]
            for job in jobs:
                job.result(self.patience * 2)
        for box in boxes.values():
            box.wait_for(text for at in range(count // 10) for text in texts(10, f"{at}-"))
