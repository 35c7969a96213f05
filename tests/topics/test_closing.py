"""A subscription that is closed at any moment ends its loop, and leaves nothing behind."""

from __future__ import annotations

import random
import threading
from typing import Any

from holdfast import Holdfast
from holdfast._compat import Signal
from holdfast._wire.hub_ledger import State
from tests.topics.world import topic_of


def test_whenever_it_is_closed_the_loop_ends(hf: Holdfast):
    """found: looking whether it is closed, and only then clearing the signal that says so."""
    topic, rng = topic_of(hf), random.Random(11)
    for _ in range(150):
        messages = topic.subscribe()
        thread = threading.Thread(target=lambda subscription=messages: list(subscription), daemon=True)
        thread.start()
        threading.Event().wait(rng.random() * 0.003)
        messages.close()
        thread.join(20)
        assert not thread.is_alive()
    assert topic.stats().subscribers == 0


class Late(Signal):
    """A signal that is cleared just after somebody has closed the subscription."""

    def __init__(self, subscription: Any) -> None:
        super().__init__()
        self._subscription = subscription

    def clear(self) -> None:
        self._subscription.close()
        super().clear()


def test_closed_between_the_look_and_the_wait_it_ends_at_once(hf: Holdfast):
    """found: the same, at the one moment at which it matters."""
    messages = topic_of(hf).subscribe()
    while messages._watch is None or messages._watch.state is not State.ON:
        assert messages.get("10ms") is None
    messages._signal = Late(messages)
    thread = threading.Thread(target=lambda: list(messages), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
