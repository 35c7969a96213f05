"""Does a message broker keep its word? Test cases for any broker, to be run with pytest.

    from holdfast.testing.pubsub import Features, PubSubCases

    class TestMyBroker(PubSubCases):
        features = Features(ordered=True, groups=True)

        @pytest.fixture
        def broker(self):
            with MyAdapter() as broker:      # an adapter of yours: the Protocol Broker
                yield broker

What every broker has to do is asked in any case; what only some do, if `features` names it: cases of other
features are not collected. Nothing here knows Holdfast: adapt Kafka, or your own code. A broker of asyncio is
adapted with `LoopThread`. The cases are those that collections of this kind agree on, Watermill's for one.

pubsub.py           this: what a user imports
pubsub_broker.py    what an adapter has to offer: Broker, Subscription, Note, Delivery, Features; LoopThread
pubsub_cases.py     PubSubCases
"""

from __future__ import annotations

from holdfast.testing.pubsub_broker import (
    Broker,
    Delivery,
    Features,
    Handler,
    LoopThread,
    Note,
    Subscription,
)
from holdfast.testing.pubsub_cases import Inbox, PubSubCases

__all__ = [
    "Broker", "Delivery", "Features", "Handler", "Inbox", "LoopThread", "Note", "PubSubCases", "Subscription",
]  # fmt: skip
