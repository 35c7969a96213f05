"""Recorders for the PyPI library `eventsourcing`, on Redis or Valkey.

    PERSISTENCE_MODULE=holdfast.contrib.eventsourcing
    HOLDFAST_URL=redis://localhost:6379

Needs: pip install "holdfast[eventsourcing]". What is promised stands in recorders.py and dcb.py; what the
environment may say, in HoldfastFactory.
"""

from holdfast.contrib._extra import need

need("eventsourcing")

from holdfast.contrib.eventsourcing.datastore import (  # noqa: E402 (the line above explains its absence)
    HoldfastDatastore,
)
from holdfast.contrib.eventsourcing.dcb import HoldfastDCBRecorder  # noqa: E402
from holdfast.contrib.eventsourcing.factory import HoldfastFactory  # noqa: E402
from holdfast.contrib.eventsourcing.recorders import (  # noqa: E402
    HoldfastAggregateRecorder,
    HoldfastApplicationRecorder,
    HoldfastProcessRecorder,
    HoldfastTrackingRecorder,
)
from holdfast.contrib.eventsourcing.subscription import HoldfastSubscription  # noqa: E402

__all__ = [
    "HoldfastFactory",
    "HoldfastDatastore",
    "HoldfastAggregateRecorder",
    "HoldfastApplicationRecorder",
    "HoldfastTrackingRecorder",
    "HoldfastProcessRecorder",
    "HoldfastDCBRecorder",
    "HoldfastSubscription",
]
