"""What the endpoint makes of news that come late, twice or not at all; driven by hand, no server answers."""

from typing import Any

import pytest

from holdfast._wire.connection import connect
from holdfast._wire.sentinel import endpoint as module
from holdfast._wire.sentinel.endpoint import SentinelEndpoint
from holdfast._wire.sentinel.rules import event
from holdfast._wire.transport import WireFailure
from holdfast._wire.url import parse, with_address

from .lab import Seen, timed

NOWHERE = "redis+sentinel://127.0.0.1:1,127.0.0.1:2/shop/0"


class Place:
    """An endpoint, and where it believes the primary to be."""

    def __init__(self):
        self.seen = Seen()
        self.endpoint = SentinelEndpoint(parse(NOWHERE), notify=self.seen.notify, connect_timeout=0.2)

    @property
    def port(self):
        target: Any = self.endpoint.target
        return target.port

    def told(self, port, epoch):
        """A survey came to this result."""
        self.endpoint._settle(epoch, ("h", port))
        return self.port

    def heard(self, old, new):
        """A sentinel published this switch."""
        said = event("+switch-master", f"shop h {old} h {new}")
        assert said is not None
        self.endpoint.heard("s:1", said)
        return self.port

    def later(self):
        """So long after the last move that everybody has heard of it."""
        self.endpoint._moved_at -= module.MEMORY + 1


@pytest.fixture
def place():
    made = Place()
    yield made
    made.endpoint.stop()


def test_a_switch_is_followed_once_however_many_sentinels_publish_it(place):
    place.told(1, 5)

    assert [place.heard(1, 2) for _ in range(3)] == [2, 2, 2]
    assert len(place.seen.named("PrimaryMoved")) == 1
    assert len(place.seen.named("SentinelEvent")) == 3


def test_who_has_not_heard_of_the_switch_is_not_believed(place):
    place.told(1, 5)
    place.heard(1, 2)

    assert place.told(1, 5) == 2
    assert place.told(2, 9) == 2
    assert place.told(1, 8) == 2
    assert place.told(3, 9) == 3
    assert place.told(1, 10) == 1


def test_an_epoch_that_is_lower_for_long_is_a_new_beginning(place):
    """Somebody has set the sentinels up anew, and they count from zero."""
    place.told(1, 50)
    place.told(2, 51)
    assert place.told(3, 0) == 2
    place.later()
    assert place.told(3, 0) == 3


def test_a_late_message_about_a_switch_that_was_reverted_is_not_followed(place):
    """1 -> 2 -> 1, and then one more sentinel tells of 1 -> 2."""
    place.told(1, 5)
    place.heard(1, 2)
    assert place.told(1, 7) == 1
    assert place.heard(1, 2) == 1
    place.later()
    assert place.heard(1, 2) == 2


def test_without_epochs_the_place_that_was_just_left_is_not_believed(place):
    place.told(1, None)
    place.heard(1, 2)
    assert place.told(1, None) == 2
    assert place.told(3, None) == 3
    place.later()
    assert place.told(1, None) == 1


def test_what_is_right_keeps_its_connections(place):
    """The target is the same object, for which connections ask."""
    place.told(1, 5)
    kept = place.endpoint.target
    place.endpoint.failed(kept)
    assert place.endpoint.target is None
    place.told(1, 6)
    assert place.endpoint.target is kept
    assert place.endpoint.is_current(kept)
    assert not place.seen.all


def test_events_about_the_primary_of_others_do_not_move_us(place):
    place.told(1, 5)
    assert place.heard(7, 8) == 1  # all sentinels are asked what that means


def test_nobody_answers_within_the_time_there_is(place):
    for patience in (0.05, 0.3):
        error, took = timed(lambda: place.endpoint.resolve(patience))
        assert isinstance(error, WireFailure)
        assert took < 1


def test_a_connection_that_was_doomed_before_use_leaves_no_doubt(lab):
    """Nothing was written, so nobody need wonder whether it was executed."""
    node = lab.primary
    made = connect(with_address(parse(lab.url), node.host, node.port), 5)
    made.doom("it moved")
    with pytest.raises(WireFailure) as said:
        made.ask(b"PING\r\n", 1, float("inf"))
    assert not said.value.sent
    made.close()
