"""What makes the recorders of an application, as its environment says."""

from __future__ import annotations

from typing import Any, TypeVar

from eventsourcing.dcb.api import DCBRecorder
from eventsourcing.dcb.persistence import DCBInfrastructureFactory
from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.utils import Environment, EnvType, resolve_topic, strtobool

from holdfast import Durability, Holdfast
from holdfast.contrib.eventsourcing.datastore import HoldfastDatastore
from holdfast.contrib.eventsourcing.dcb import HoldfastDCBRecorder
from holdfast.contrib.eventsourcing.recorders import (
    HoldfastAggregateRecorder,
    HoldfastApplicationRecorder,
    HoldfastProcessRecorder,
    HoldfastTrackingRecorder,
)
from holdfast.errors import ConfigurationError

T = TypeVar("T")


class HoldfastFactory(
    InfrastructureFactory[HoldfastTrackingRecorder], DCBInfrastructureFactory[HoldfastTrackingRecorder]
):
    """Makes recorders for the application that the environment is for; `close` closes their client.

    HOLDFAST_URL           the server: redis://, valkey://, redis+sentinel://, redis+cluster://, ...
    HOLDFAST_NAMESPACE     what all keys start with; "holdfast" if it is not set
    HOLDFAST_TIMEOUT       the deadline of one call: "2s"
    HOLDFAST_REPLICAS      replicas that must have an event before it counts as recorded
    HOLDFAST_DISK          yes: it must be on disk, too
    HOLDFAST_WITHIN        how long that may take: "1s"
    HOLDFAST_ACCEPT_LOSS   yes: record also on a server that may evict events

    As with every variable of the library, one for a single application is preceded by its name:
    BANKACCOUNTS_HOLDFAST_URL. Raises: ConfigurationError that names the variable.
    """

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        durability = self._durability()
        self._hf = Holdfast(
            self.env.get("HOLDFAST_URL"),
            namespace=self.env.get("HOLDFAST_NAMESPACE") or "holdfast",
            timeout=self.env.get("HOLDFAST_TIMEOUT") or "2s",
        )
        self.datastore = HoldfastDatastore(
            self._hf, self.env.name, durability=durability, accept_loss=self._flag("HOLDFAST_ACCEPT_LOSS")
        )

    def aggregate_recorder(self, purpose: str = "events") -> HoldfastAggregateRecorder:
        """A recorder of events, or of what else `purpose` says: snapshots."""
        return HoldfastAggregateRecorder(self.datastore, purpose)

    def application_recorder(self) -> HoldfastApplicationRecorder:
        """The recorder that APPLICATION_RECORDER_TOPIC names, or ours."""
        return self._chosen(self.APPLICATION_RECORDER_TOPIC, HoldfastApplicationRecorder)(self.datastore)

    def tracking_recorder(
        self, tracking_recorder_class: type[HoldfastTrackingRecorder] | None = None
    ) -> HoldfastTrackingRecorder:
        """`tracking_recorder_class`, or the one that TRACKING_RECORDER_TOPIC names, or ours."""
        if tracking_recorder_class is None:
            tracking_recorder_class = self._chosen(self.TRACKING_RECORDER_TOPIC, HoldfastTrackingRecorder)
        return tracking_recorder_class(self.datastore)

    def process_recorder(self) -> HoldfastProcessRecorder:
        """The recorder that PROCESS_RECORDER_TOPIC names, or ours."""
        return self._chosen(self.PROCESS_RECORDER_TOPIC, HoldfastProcessRecorder)(self.datastore)

    def dcb_recorder(self) -> DCBRecorder:
        """A recorder of events with tags, for dynamic consistency boundaries."""
        return HoldfastDCBRecorder(self.datastore)

    def close(self) -> None:
        """Close the client; may be called again."""
        self._hf.close()

    def _chosen(self, variable: str, ours: type[T]) -> type[T]:
        topic = self.env.get(variable)
        chosen: Any = resolve_topic(topic) if topic else ours
        if not (isinstance(chosen, type) and issubclass(chosen, ours)):
            raise ConfigurationError(f"{variable}={topic!r} must name a subclass of {ours.__name__}")
        return chosen

    def _flag(self, variable: str) -> bool:
        value = self.env.get(variable) or "no"
        try:
            return strtobool(value)
        except ValueError:
            raise ConfigurationError(f"{variable}={value!r} must be yes or no") from None

    def _durability(self) -> Durability | None:
        replicas, disk = self.env.get("HOLDFAST_REPLICAS") or "0", self._flag("HOLDFAST_DISK")
        if not replicas.isdecimal():
            raise ConfigurationError(f"HOLDFAST_REPLICAS={replicas!r} must be a whole number, 0 or more")
        if not int(replicas) and not disk:
            return None
        return Durability(replicas=int(replicas), disk=disk, within=self.env.get("HOLDFAST_WITHIN") or "1s")
