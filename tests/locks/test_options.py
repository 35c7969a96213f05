"""What can be chosen about a lock, and what is refused, with a sentence that names the value."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import ConfigurationError, Durability, Holdfast
from holdfast._wire.keys import Keys
from holdfast.locks import holder, rules
from holdfast.locks.options import LockOptions

WRONG: list[dict[str, Any]] = [
    {"ttl": 0},
    {"ttl": -1},
    {"ttl": "soon"},
    {"ttl": True},
    {"ttl": None},
    {"ttl": float("inf")},
    {"ttl": float("nan")},
    {"ttl": "49ms"},
    {"wait": -1},
    {"wait": "later"},
    {"renew": "no"},
    {"renew": 1},
    {"max_hold": 0},
    {"max_hold": "10m", "renew": False},
    {"fair": "yes"},
    {"key": 5},
    {"key": b"k"},
    {"key": ""},
    {"key": "a b"},
    {"key": "{}"},
    {"key": "{"},
    {"key": "a%b"},
    {"key": "{a b}c"},
    {"key": "a\n"},
    {"label": 5},
    {"label": None},
    {"replicas": -1},
    {"replicas": True},
    {"replicas": 1.5},
    {"replicas": "2"},
    {"durability": "all"},
    {"fence": "loose"},
    {"fence": None},
    {"on_lost": 3},
    {"on_danger": "x"},
    {"on_wanted": []},
]


@pytest.fixture
def hf() -> Holdfast:
    """A client that never connects."""
    return Holdfast("redis://127.0.0.1:1", namespace="shop")


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_nonsense_is_refused_by_name_and_value(hf: Holdfast, wrong: dict[str, Any]):
    """Found: key=5 and durability="all" were an AttributeError, the latter at the first acquire."""
    name, value = next(iter(wrong.items()))
    with pytest.raises(ConfigurationError) as caught:
        hf.lock("order:1", **wrong)
    assert f"{name}={value!r}" in str(caught.value)


def test_what_says_the_same_twice_or_is_unknown_is_refused(hf: Holdfast):
    with pytest.raises(ConfigurationError, match=r"replicas= and durability="):
        hf.lock("x", replicas=1, durability=Durability(replicas=2))
    with pytest.raises(ConfigurationError, match="lock 'x': .*'tll'"):
        hf.lock("x", tll="3s")  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["", None, 5, b"x", ("a",)], ids=str)
def test_a_name_is_a_text(hf: Holdfast, name: Any):
    with pytest.raises(ConfigurationError, match="non-empty str"):
        hf.lock(name)


def test_a_wait_is_looked_at_when_it_is_given(hf: Holdfast):
    with pytest.raises(ConfigurationError, match="wait=-1"):
        hf.lock("x").acquire(wait=-1)
    with pytest.raises(ConfigurationError, match="wait='x'"):
        hf.lock("x").acquire(wait="x")


def test_what_can_be_chosen(hf: Holdfast):
    lock = hf.lock("x", ttl="50ms", wait=None, max_hold=1.5, replicas=2)
    assert (lock.options.ttl_s, lock.options.wait_s, lock.options.max_hold_s) == (0.05, None, 1.5)
    assert lock.options.policy == Durability(replicas=2)
    assert hf.lock("x").options == LockOptions() == hf.lock("y").options
    assert hf.lock("x").options.policy is None
    assert repr(hf.lock("x")) == "Lock('x')"


# --- keys ---------------------------------------------------------------------------------------------------

NASTY = ["a", "a:b", "{a}", "a}b", "%", "a b", ":x", "x:f", "x:f:", "ä", "\n", "{}", "a{b}c", "a}:f"]


def every_key(names: rules.Names) -> list[str]:
    return [*names.acquire("t"), *names.terms("t").abandon_keys, names.wanted, names.history]


def test_no_key_of_one_lock_is_a_key_of_another():
    """found: parts that stand in the tag unescaped, so that lock 'a}:f' had the fence of 'a' as its key."""
    keys = Keys("shop")
    seen: dict[str, str] = {}
    for name in NASTY:
        for key in set(every_key(rules.Names(keys, name))):
            assert seen.setdefault(key, name) == name, key
            assert key.startswith("shop:1:lock:{")


def test_all_keys_of_a_lock_are_in_one_slot():
    from holdfast._wire.cluster.slots import slot_of

    keys = Keys("shop")
    for name in NASTY:
        names = rules.Names(keys, name)
        assert {slot_of(key) for key in every_key(names)} == {slot_of(names.key)}
        assert slot_of(names.channel("t")) == slot_of(names.key)
        assert slot_of(keys.user("mine", names.tag)) == slot_of(names.key)
    for foreign in ["a", "a:b", "job:{7}:lock", "{x}", "a{b}c{d}"]:
        names = rules.Names(keys, "any", foreign)
        assert names.key == foreign
        assert {slot_of(key) for key in every_key(names)} == {slot_of(foreign)}


def test_two_keys_of_other_programs_that_share_a_tag_share_nothing_else():
    """found: a fence counter by tag alone: two locks of one slot then had one queue."""
    keys = Keys("shop")
    one, two = rules.Names(keys, "any", "{t}:a"), rules.Names(keys, "any", "{t}:b")
    three = rules.Names(keys, "t")
    assert not set(every_key(one)) & set(every_key(two))
    assert not set(every_key(one)) & set(every_key(three))


# --- who holds it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["", "%", "a", "a:b", "{x}", "ä ö", "a\nb", "%3A", "x" * 128])
def test_a_label_comes_back_as_it_was(label: str):
    from holdfast._coord.owner import owner

    value = f"{'0' * 32}:12:1700000000000:{owner(label)}".encode()
    told = holder.read(value)
    assert (told["label"], told["fence"]) == (label, 12)
    assert holder.owner(value) == (told["owner"], True)


@pytest.mark.parametrize(
    "value", [b"", b"x", b"0" * 32, b"0" * 32 + b":1", b"\xff\xfe", b"a" * 32 + b":x:1:h:1:"]
)
def test_what_another_program_wrote_is_no_holder_of_ours(value: bytes):
    found = holder.of("x", [value, 1500, None, None, 0, 3, 0])
    assert found is not None and (found.owner, found.fence, found.pid) == (holder.FOREIGN, None, None)
    assert found.ttl == 1.5 and found.contended == 3


def test_a_request_to_another_holder_is_not_shown():
    value = f"{'0' * 32}:12:1700000000000:h:1:".encode()
    for wanted, shown in [(b"0" * 32 + b":why:so", "why:so"), (b"1" * 32 + b":why", None), (None, None)]:
        found = holder.of("x", [value, -1, b"12", wanted, 2, 0, 0])
        assert found is not None and (found.wanted, found.ttl, found.waiting) == (shown, None, 2)
