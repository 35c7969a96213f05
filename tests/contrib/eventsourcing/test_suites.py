"""The public test cases of the library `eventsourcing`, on our recorders.

Whoever changes a script finds out here whether the library's own authors would still call it a recorder.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from eventsourcing.application import Application
from eventsourcing.dcb import tests as dcb_suites
from eventsourcing.persistence import Tracking
from eventsourcing.tests import application as application_suites
from eventsourcing.tests import persistence as suites
from eventsourcing.tests import projection as projection_suites
from eventsourcing.utils import Environment, get_topic

from holdfast import Holdfast
from holdfast.contrib.eventsourcing import (
    HoldfastAggregateRecorder,
    HoldfastApplicationRecorder,
    HoldfastDatastore,
    HoldfastDCBRecorder,
    HoldfastFactory,
    HoldfastProcessRecorder,
    HoldfastTrackingRecorder,
)

MODULE = "holdfast.contrib.eventsourcing"


class OnOurs:
    """A datastore of its own for each test case."""

    @pytest.fixture(autouse=True)
    def _datastore(self, hf: Holdfast) -> None:
        self.datastore = HoldfastDatastore(hf, "app")


class FromEnvironment:
    """What the library's environment says, for each test case."""

    @pytest.fixture(autouse=True)
    def _environment(self, hf: Holdfast, place: Any, namespace: str, monkeypatch: Any) -> None:
        for name, value in _environment(place.url, namespace).items():
            monkeypatch.setenv(name, value)


def _environment(url: str, namespace: str) -> dict[str, str]:
    return {"PERSISTENCE_MODULE": MODULE, "HOLDFAST_URL": url, "HOLDFAST_NAMESPACE": namespace}


class TestAggregateRecorder(OnOurs, suites.AggregateRecorderTestCase):
    def create_recorder(self) -> HoldfastAggregateRecorder:
        return HoldfastAggregateRecorder(self.datastore)


class TestAggregateRecorderWithText(TestAggregateRecorder):
    def new_originator_id(self) -> str:
        return f"cart {{:}} é {uuid4()}"


class TestApplicationRecorder(OnOurs, suites.ApplicationRecorderTestCase):
    def create_recorder(self) -> HoldfastApplicationRecorder:
        return HoldfastApplicationRecorder(self.datastore)

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestApplicationRecorderWithText(TestApplicationRecorder):
    def new_originator_id(self) -> str:
        return f"cart-{uuid4()}"


class TestTrackingRecorder(OnOurs, suites.TrackingRecorderTestCase):
    def create_recorder(self) -> HoldfastTrackingRecorder:
        return HoldfastTrackingRecorder(self.datastore)


class TestProcessRecorder(OnOurs, suites.ProcessRecorderTestCase):
    def create_recorder(self) -> HoldfastProcessRecorder:
        return HoldfastProcessRecorder(self.datastore)


class TestNonInterleaving(OnOurs, suites.NonInterleavingNotificationIDsBaseCase):
    def create_recorder(self) -> HoldfastApplicationRecorder:
        return HoldfastApplicationRecorder(self.datastore)


class TestDCBRecorder(OnOurs, dcb_suites.DCBRecorderTestCase):
    def test_append_read(self) -> None:
        self._test_append_read(HoldfastDCBRecorder(self.datastore))

    def test_append_subscribe(self) -> None:
        self._test_append_subscribe(HoldfastDCBRecorder(self.datastore))


class Subclass(HoldfastTrackingRecorder):
    pass


class TestFactory(suites.InfrastructureFactoryTestCase):
    @pytest.fixture(autouse=True)
    def _env(self, hf: Holdfast, place: Any, namespace: str) -> None:
        self.env = Environment("app", _environment(place.url, namespace))
        suites.InfrastructureFactoryTestCase.setUp(self)

    def setUp(self) -> None:
        """Done by the fixture above: unittest would call this before it."""

    def expected_factory_class(self):
        return HoldfastFactory

    def expected_aggregate_recorder_class(self):
        return HoldfastAggregateRecorder

    def expected_application_recorder_class(self):
        return HoldfastApplicationRecorder

    def expected_tracking_recorder_class(self):
        return HoldfastTrackingRecorder

    def tracking_recorder_subclass(self):
        return Subclass

    def expected_process_recorder_class(self):
        return HoldfastProcessRecorder


class TestExampleApplication(FromEnvironment, application_suites.ExampleApplicationTestCase):
    expected_factory_topic = get_topic(HoldfastFactory)


@pytest.mark.filterwarnings("default:'log' is deprecated")
class TestApplication(FromEnvironment, application_suites.ApplicationTestCase):
    pass


class EventCounters(HoldfastTrackingRecorder, projection_suites.EventCountersView):
    """A read model: its counters and the position it has come to change in one script."""

    def get_created_event_counter(self) -> int:
        return int(self.datastore.ask("HGET", self.key("counters"), "created") or 0)

    def get_subsequent_event_counter(self) -> int:
        return int(self.datastore.ask("HGET", self.key("counters"), "subsequent") or 0)

    def incr_created_event_counter(self, tracking: Tracking) -> None:
        self.apply(tracking, [("HINCRBY", self.key("counters"), "created", 1)])

    def incr_subsequent_event_counter(self, tracking: Tracking) -> None:
        self.apply(tracking, [("HINCRBY", self.key("counters"), "subsequent", 1)])


class TestEventCountersView(OnOurs, projection_suites.EventCountersViewTestCase):
    def construct_event_counters_view(self) -> EventCounters:
        return EventCounters(self.datastore)


class TestAggregateProjection(FromEnvironment, projection_suites.AggregateEventCountersProjectionTestCase):
    view_class = EventCounters


class TestDecisionProjection(FromEnvironment, projection_suites.TaggedDecisionCountersProjectionTestCase):
    view_class = EventCounters
    env = {"MAPPER_TOPIC": "eventsourcing.dcb.msgpack:MessagePackMapper"}


class TestEventSourcedProjection(FromEnvironment, projection_suites.EventSourcedProjectionTestCase):
    def test_the_environment_is_ours(self) -> None:
        with Application[UUID]() as app:
            self.assertIsInstance(app.factory, HoldfastFactory)


class InCluster:
    """The same in a Cluster: every key of an application has to be in one slot, and declared."""

    @pytest.fixture
    def topology(self) -> str:
        return "cluster"


class TestApplicationRecorderInCluster(InCluster, TestApplicationRecorder):
    pass


class TestProcessRecorderInCluster(InCluster, TestProcessRecorder):
    pass


class TestDCBRecorderInCluster(InCluster, TestDCBRecorder):
    pass


class TestExampleApplicationInCluster(InCluster, TestExampleApplication):
    pass


class TestEventCountersViewInCluster(InCluster, TestEventCountersView):
    pass
