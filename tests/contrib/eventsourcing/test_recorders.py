"""What our recorders promise beyond the library's own test cases."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    StoredEvent,
    Tracking,
    WaitInterruptedError,
)
from eventsourcing.popo import POPOApplicationRecorder
from eventsourcing.utils import Environment

from holdfast import Durability, Holdfast, UnsafeServer
from holdfast.contrib.eventsourcing import (
    HoldfastAggregateRecorder,
    HoldfastApplicationRecorder,
    HoldfastDatastore,
    HoldfastFactory,
    HoldfastProcessRecorder,
    HoldfastTrackingRecorder,
    recorders,
)
from holdfast.contrib.eventsourcing import subscription as subscription_module
from holdfast.errors import ConfigurationError

A, B = UUID(int=1), "text: {of} an id"


def event(originator: UUID | str = A, version: int = 1, topic: str = "t", state: bytes = b"s") -> StoredEvent:
    return StoredEvent(originator, version, topic, state)


@pytest.fixture
def datastore(hf: Holdfast) -> HoldfastDatastore:
    return HoldfastDatastore(hf, "app")


@pytest.fixture
def recorder(datastore: HoldfastDatastore) -> HoldfastProcessRecorder:
    return HoldfastProcessRecorder(datastore)


@pytest.fixture
def behind(faults: Any, namespace: str) -> Iterator[HoldfastProcessRecorder]:
    """A recorder whose replies can be lost."""
    with Holdfast(faults.url, namespace=namespace) as hf:
        recorder = HoldfastProcessRecorder(HoldfastDatastore(hf, "app"))
        recorder.insert_events([event(uuid4())])  # what is asked once has been asked
        yield recorder


@pytest.mark.everywhere
def test_events_positions_and_effects_are_recorded_everywhere(hf: Holdfast, topology, transport, server_kind):
    recorder = HoldfastProcessRecorder(HoldfastDatastore(hf, "app: {1}"))

    assert recorder.insert_events([event(A, 1), event(B, 7), event(A, 2)]) == [1, 2, 3]
    assert recorder.insert_events([event(B, 8)], tracking=Tracking("up: {2}", 5)) == [4]
    with pytest.raises(IntegrityError):
        recorder.insert_events([event(A, 3), event(B, 8)])
    recorder.apply(
        Tracking("up: {2}", 6), [("HINCRBY", recorder.key("sums"), "x", 2), ("SET", recorder.key("y"), 1)]
    )

    assert [one.originator_version for one in recorder.select_events(A)] == [1, 2]
    assert [(one.id, one.originator_id) for one in recorder.select_notifications(2, 9)] == [
        (2, B),
        (3, A),
        (4, B),
    ]
    assert recorder.max_tracking_id("up: {2}") == 6
    assert hf.execute("HGET", recorder.key("sums"), "x") == b"2"


def test_a_lost_reply_is_no_conflict_with_oneself(behind, faults):
    """Else an application gives up a command that was executed."""
    for tracking in (None, Tracking("up", 1)):
        faults.drop_replies(match=recorders.APPEND.digest.encode())
        originator = uuid4()

        ids = behind.insert_events([event(originator, 1), event(originator, 2)], tracking=tracking)

        assert not faults.heal()
        assert ids == [behind.max_notification_id() - 1, behind.max_notification_id()]
        assert len(behind.select_events(originator)) == 2


def test_a_lost_reply_doubles_no_effect(behind, faults):
    behind.apply(Tracking("up", 1), [("INCR", behind.key("n"))])
    faults.drop_replies(match=recorders.TRACK.digest.encode())

    behind.apply(Tracking("up", 2), [("INCR", behind.key("n"))])

    assert not faults.heal()
    assert behind.datastore.ask("GET", behind.key("n")) == b"2"


def test_a_repeated_position_has_no_effect(recorder):
    """Two runners of one projection, or one that was started again: each event counts once."""
    recorder.apply(Tracking("up", 5), [("INCR", recorder.key("n"))])

    for position in (5, 4):
        with pytest.raises(IntegrityError, match="not greater"):
            recorder.apply(Tracking("up", position), [("INCR", recorder.key("n"))])
        with pytest.raises(IntegrityError, match="not greater"):
            recorder.insert_events([event()], tracking=Tracking("up", position))

    assert recorder.datastore.ask("GET", recorder.key("n")) == b"1"
    assert recorder.max_notification_id() is None


def test_positions_have_no_holes_and_nobody_overtakes(recorder):
    """A follower that has seen n never finds anything new below it, however many write."""
    writers, each = 6, 40
    seen: list[int] = []

    def write(_: int) -> None:
        originator = uuid4()
        for version in range(each):
            recorder.insert_events([event(originator, version)])
            if version % 3 == 0:
                with pytest.raises(IntegrityError):
                    recorder.insert_events([event(uuid4()), event(originator, version)])

    with recorder.subscribe() as subscription, ThreadPoolExecutor(writers) as pool:
        done = [pool.submit(write, number) for number in range(writers)]
        for notification in subscription:
            seen.append(notification.id)
            if len(seen) == writers * each:
                break
        for one in done:
            one.result()

    assert seen == list(range(1, writers * each + 1))


def test_one_of_many_writers_of_a_version_wins(recorder):
    originator = uuid4()

    def write(number: int) -> int:
        try:
            recorder.insert_events([event(originator, 1, state=b"%d" % number), event(uuid4())])
        except IntegrityError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(16))) == 1
    assert recorder.max_notification_id() == 2


def test_what_is_too_much_at_once_is_refused_whole(recorder):
    """In pieces it would not be all or none."""
    events = [event(A, version) for version in range(recorders.MOST_EVENTS + 1)]

    with pytest.raises(ProgrammingError, match="10001 events"):
        recorder.insert_events(events)
    assert recorder.max_notification_id() is None

    assert recorder.insert_events(events[1:]) == list(range(1, recorders.MOST_EVENTS + 1))
    assert len(recorder.select_events(A)) == len(recorder.select_notifications(None, 20_000)) == 10_000


def test_a_version_that_cannot_be_counted_is_refused(recorder):
    """Sorted sets count to 2**53; beyond, two versions would be one."""
    for wrong in (1 << 53, -(1 << 53)):
        with pytest.raises(DataError, match="2\\*\\*53"):
            recorder.insert_events([event(A, wrong)])
    recorder.insert_events([event(A, (1 << 53) - 1), event(A, (1 << 53) - 2)])

    assert [one.originator_version for one in recorder.select_events(A)] == [(1 << 53) - 2, (1 << 53) - 1]


@pytest.mark.parametrize("size", [1, 50_000], ids=["small", "large"])
def test_it_selects_what_the_model_selects(recorder, size: int):
    """In pages, too: a page that ends in the wrong place loses or doubles events."""
    model, dice = POPOApplicationRecorder(), random.Random(size)
    anybody: list[UUID | str] = [A, A, B]
    versions: dict[UUID | str, int] = {A: 0, B: 0}
    many = 2500 if size == 1 else 60
    events: list[StoredEvent] = []
    for _ in range(many):
        originator = dice.choice(anybody)
        versions[originator] += 1 + (dice.random() < 0.1)
        state = b"%d" % dice.randrange(1000) * size
        events.append(event(originator, versions[originator], dice.choice("tuv"), state))
    assert recorder.insert_events(events) == model.insert_events(events)

    for _ in range(40):
        low, high = sorted(dice.sample(range(many), 2))
        gt, lte = dice.choice([None, low]), dice.choice([None, high])
        asked: dict[str, Any] = {"desc": dice.random() < 0.5, "limit": dice.choice([None, 1, 7, 1500])}
        asked |= {"gt": gt, "lte": lte}
        assert recorder.select_events(A, **asked) == model.select_events(A, **asked), asked

        start, stop = dice.choice([None, 0, low]), dice.choice([None, high])
        topics = dice.sample("tuvw", dice.randrange(4))
        told: dict[str, Any] = {
            "start": start,
            "limit": dice.choice([1, 10, 5000]),
            "stop": stop,
            "topics": topics,
        }
        told["inclusive_of_start"] = dice.random() < 0.5
        assert recorder.select_notifications(**told) == model.select_notifications(**told), told


def test_a_topic_that_is_rare_is_found_behind_ten_thousand_others(recorder):
    """The script looks at so many at once; stopping there would end a subscription's backlog."""
    for start in range(0, 12_000, 6000):
        recorder.insert_events([event(A, start + n) for n in range(6000)])
    recorder.insert_events([event(B, 1, "rare")])

    assert [one.id for one in recorder.select_notifications(None, 5, topics=["rare"])] == [12_001]
    with recorder.subscribe(topics=["rare"]) as subscription:
        assert next(subscription).id == 12_001


def test_an_entry_that_somebody_deleted_is_not_passed_over(recorder):
    """An aggregate without one of its events is another aggregate."""
    recorder.insert_events([event(A, 1), event(A, 2), event(A, 3)])
    recorder.datastore._wire.execute("XDEL", recorder.datastore.key("events"), "0-2")

    with pytest.raises(DatabaseError, match="event 2 of"):
        recorder.select_events(A)
    assert recorder.insert_events([event(B, 1)]) == [4]


def test_purposes_and_applications_are_apart(hf, datastore):
    events, snapshots = (
        HoldfastAggregateRecorder(datastore),
        HoldfastAggregateRecorder(datastore, "snapshots"),
    )
    other = HoldfastAggregateRecorder(HoldfastDatastore(hf, "other"))
    events.insert_events([event(A, 1)])
    snapshots.insert_events([event(A, 3)])
    snapshots.insert_events([event(A, 1)])  # a snapshot of an older version, made later

    assert [one.originator_version for one in snapshots.select_events(A, desc=True)] == [3, 1]
    assert len(events.select_events(A)) == 1 and not other.select_events(A)
    assert HoldfastApplicationRecorder(datastore).max_notification_id() == 1


# --- waiting ------------------------------------------------------------------------------------------------


def test_a_waiter_is_told(recorder, monkeypatch):
    """It asks once, and once more when told."""
    monkeypatch.setattr(recorders, "_SAFETY", 300.0)
    begun = time.monotonic()
    threading.Timer(0.15, lambda: recorder.insert_tracking(Tracking("up", 3))).start()
    asked: list[int] = []
    has = recorder.has_tracking_id

    def counted(*told: Any) -> bool:
        asked.append(1)
        return has(*told)

    recorder.has_tracking_id = counted

    recorder.wait("up", 3, timeout=40)

    assert len(asked) <= 4 and time.monotonic() - begun < 30


def test_a_wait_can_be_interrupted(recorder):
    interrupt = threading.Event()
    threading.Timer(0.1, interrupt.set).start()
    begun = time.monotonic()

    with pytest.raises(WaitInterruptedError):
        recorder.wait("up", 3, timeout=60, interrupt=interrupt)
    assert time.monotonic() - begun < 30


def test_a_subscription_is_told_and_ends(recorder, monkeypatch):
    """Without the push it would look every few seconds only; without `stop` heard, it would never end."""
    monkeypatch.setattr(subscription_module, "_SAFETY", 300.0)
    got: list[int] = []
    looks: list[int] = []
    subscription = recorder.subscribe()
    look = subscription._look

    def counted() -> Any:
        looks.append(1)
        return look()

    subscription._items = subscription._follower.follow(counted)
    reader = threading.Thread(target=lambda: got.extend(one.id for one in subscription), daemon=True)
    with subscription:
        reader.start()
        for number in range(1, 6):
            recorder.insert_events([event(A, number)])
            _until(lambda number=number: len(got) == number)
    reader.join(30)

    assert not reader.is_alive() and got == [1, 2, 3, 4, 5]
    assert len(looks) < 20


def test_a_subscription_outlives_an_outage(faults, server, namespace):
    """A failover takes seconds: a projection that ends then has to be started by hand."""
    with (
        Holdfast(faults.url, namespace=namespace, timeout="300ms") as hf,
        Holdfast(server.url, namespace=namespace) as other,
    ):
        recorder = HoldfastApplicationRecorder(HoldfastDatastore(other, "app"))
        recorder.insert_events([event(A, 1)])
        got: list[int] = []
        failed: list[int] = []
        with HoldfastApplicationRecorder(HoldfastDatastore(hf, "app")).subscribe() as subscription:
            look = subscription._look

            def watched() -> Any:
                try:
                    return look()
                except OperationalError:
                    failed.append(1)
                    raise

            subscription._items = subscription._follower.follow(watched)
            reader = threading.Thread(target=lambda: got.extend(one.id for one in subscription), daemon=True)
            reader.start()
            _until(lambda: got == [1])
            faults.refuse()
            faults.cut()
            _until(lambda: failed)
            recorder.insert_events([event(A, 2)])
            faults.accept()
            _until(lambda: got == [1, 2])
        reader.join(30)
        assert not reader.is_alive()


def _until(what: Any) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- what the server and the environment say ----------------------------------------------------------------


def test_a_server_that_evicts_is_refused(own_server, namespace):
    with Holdfast(own_server.url, namespace=namespace) as hf:
        hf.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")

        with pytest.raises(UnsafeServer, match="event store of 'app'"):
            HoldfastApplicationRecorder(HoldfastDatastore(hf, "app")).insert_events([event()])
        accepting = HoldfastDatastore(hf, "app", accept_loss=True)
        assert HoldfastApplicationRecorder(accepting).insert_events([event()]) == [1]


def test_what_no_replica_has_is_not_durable(hf):
    store = HoldfastDatastore(hf, "app", durability=Durability(replicas=1, within="50ms"))

    with pytest.raises(OperationalError, match="0 of 1 replicas"):
        HoldfastApplicationRecorder(store).insert_events([event()])


def test_a_closed_client_and_a_refusal_are_errors_of_the_library(server, namespace):
    with Holdfast(server.url, namespace=namespace) as hf:
        recorder = HoldfastProcessRecorder(HoldfastDatastore(hf, "app"))
        hf.execute("SET", recorder.key("text"), "x")
        with pytest.raises(DatabaseError, match="WRONGTYPE"):
            recorder.apply(Tracking("up", 1), [("HINCRBY", recorder.key("text"), "f", 1)])
        assert recorder.max_tracking_id("up") is None
        with pytest.raises(ProgrammingError, match="has 1 words"):
            recorder.apply(Tracking("up", 1), [("PING",)])

    with pytest.raises(InterfaceError):
        recorder.insert_events([event()])
    with pytest.raises(InterfaceError):
        recorder.subscribe()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOLDFAST_DISK", "perhaps"),
        ("HOLDFAST_REPLICAS", "-1"),
        ("HOLDFAST_WITHIN", "soon"),
        ("APPLICATION_RECORDER_TOPIC", "eventsourcing.popo:POPOApplicationRecorder"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(server, name: str, value: str):
    environment = {"HOLDFAST_URL": server.url, "HOLDFAST_REPLICAS": "1", name: value}

    with pytest.raises(ConfigurationError, match=f"{name.rpartition('_')[2].lower()}|{name}"):
        HoldfastFactory(Environment("app", environment)).application_recorder()


def test_an_application_may_have_variables_of_its_own(server, namespace):
    environment = {"HOLDFAST_URL": "redis://127.0.0.1:1", "APP_HOLDFAST_URL": server.url}
    environment |= {"HOLDFAST_NAMESPACE": namespace, "HOLDFAST_DISK": "no", "HOLDFAST_REPLICAS": "1"}
    factory = HoldfastFactory(Environment("app", environment))
    try:
        with pytest.raises(OperationalError, match="0 of 1 replicas"):
            factory.application_recorder().insert_events([event()])
        assert factory.application_recorder().max_notification_id() == 1
        assert isinstance(factory.tracking_recorder(), HoldfastTrackingRecorder)
    finally:
        factory.close()
