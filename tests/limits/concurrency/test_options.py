"""What a concurrency limiter refuses, and what it says then."""

from typing import Any

import pytest

from holdfast.errors import ConfigurationError
from holdfast.limits.concurrency.options import ConcurrencyDecision, ConcurrencyOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit=0 must be a whole number from 1"),
        ({"limit": 2.5}, "limit=2.5 must be a whole number from 1"),
        ({"limit": True}, "limit=True must be a whole number from 1"),
        ({"plans": {"pro": 0}}, r"plans\['pro'\]=0 must be a whole number from 1"),
        ({"plans": {"a b": 1}}, "plan='a b' must be"),
        ({"ttl": "1ms"}, "ttl=0.001 must be at least 0.05 s"),
        ({"ttl": None}, "ttl=None is no duration"),
        ({"wait": "-1s"}, "wait='-1s' is no duration"),
        ({"wait": None}, "wait=None is no duration"),
        ({"max_queue": -1}, "max_queue=-1 must be a whole number from 0"),
        ({"on_error": "raise"}, 'on_error=\'raise\' must be one of "allow", "deny", "local"'),
        ({"deadline": 0}, "deadline=0: a duration must be more than 0"),
        ({"local_share": 0}, "local_share=0 must be more than 0 and at most 1"),
        ({"local_share": 1.5}, "local_share=1.5 must be more than 0 and at most 1"),
        ({"breaker": 0}, "breaker=0 must be a whole number from 1"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ConcurrencyOptions(**{"limit": 10, **options})


def test_difference_says_what_is_wanted_otherwise() -> None:
    one = ConcurrencyOptions(limit=10, ttl="1m", plans={"pro": 5})
    assert one.difference(ConcurrencyOptions(limit=10, ttl=60.0, plans={"pro": 5})) == ""
    assert (
        one.difference(ConcurrencyOptions(limit=9, plans={})) == "limit=10, not 9, plans={'pro': 5}, not {}"
    )


def test_a_decision_reads_like_that_of_a_rate_limit() -> None:
    assert ConcurrencyDecision(True, 1, 0.0, 2.0)
    assert not ConcurrencyDecision(False, 0, 1.0, 2.0, ("exports",))
