"""The decisions of events, without a server."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import CodecError, ConfigurationError
from holdfast.events import rules
from holdfast.events.effects import Batch, ProjectionEffects
from holdfast.events.kinds import Kinds, NewEvent
from holdfast.events.options import (
    Appended,
    EventsOptions,
    PositionTrimmed,
    ProjectionBehind,
    ProjectionFailed,
    ProjectionOptions,
)
from tests.events.world import Paid, Placed


class Tagged(msgspec.Struct, tag="tagged/1"):
    n: int


class Note(TypedDict):
    text: str


class Point(NamedTuple):
    x: int


@dataclass
class PlacedAgain(Placed):
    more: int = 0


# --- names of types ----------------------------------------------------------------------------------------


def test_the_names_of_types_are_stable_texts():
    """A Python path would be lost with the next move of a module."""
    kinds = Kinds(Placed | Tagged | Point)
    assert kinds.encode(Placed("tea"))[0] == "Placed"
    assert kinds.encode(Tagged(1))[0] == "tagged/1"
    assert kinds.encode(Point(1))[0] == "Point"
    assert Kinds(Placed).encode(Placed("tea"))[0] == "Placed"
    assert Kinds(dict[str, int]).encode({"a": 1})[0] == ""
    assert Kinds().encode(5)[0] == ""
    assert Kinds({"note": Note, "paid": Paid}).encode(NewEvent({"text": "x"}, type="note"))[0] == "note"


def test_each_event_comes_back_as_what_it_was():
    kinds = Kinds({"a": Placed, "b": Tagged, "c": Point, "d": dict[str, int], "e": int})
    for value in (Placed("tea", 2), Tagged(5), Point(7), {"x": 1}, 9):
        name, payload, version, _ = kinds.encode(value)
        assert kinds.decode(name, payload, version) == value


def test_a_subclass_is_another_type():
    """Its further fields would be lost in silence."""
    with pytest.raises(ConfigurationError, match="PlacedAgain is none of them"):
        Kinds(Placed | Paid).encode(PlacedAgain("tea"))


@pytest.mark.parametrize(
    "declared",
    [
        {"type": {}},
        {"type": {"": Placed}},
        {"type": {5: Placed}},
        {"type": {"x" * 300: Placed}},
        {"type": Placed | list[int]},
        {"type": Placed | Paid, "version": 2},
        {"type": Placed | Paid, "version": {"Payed": 2}},
        {"type": Placed | Paid, "version": {"Paid": 2}, "upcast": {1: len}},
        {"type": Placed | Paid, "upcast": {"Paid": {1: len}}},
        {"type": Placed, "upcast": 5},
        {"type": object()},
        {"partitions": 0},
        {"snapshot_every": 0},
        {"state_upcast": {1: len}},
        {"state": object()},
    ],
)
def test_what_is_declared_wrongly_is_refused_at_once(declared: Any):
    with pytest.raises(ConfigurationError):
        EventsOptions(**declared)


def test_the_versions_of_an_only_type_need_no_name():
    kinds = Kinds(Paid, 2, {1: lambda plain: {"cents": plain["euros"] * 100}})
    assert kinds.decode("Paid", msgspec.msgpack.encode({"euros": 3}), 1) == Paid(300)
    by_name = Kinds(Paid, {"Paid": 2}, {"Paid": {1: lambda plain: Paid(plain["euros"])}})
    assert by_name.decode("Paid", msgspec.msgpack.encode({"euros": 3}), 1) == Paid(3)
    with pytest.raises(CodecError):
        Kinds(Paid).decode("Other", b"", 1)


def test_the_same_options_are_told_from_others():
    one = EventsOptions(type={"a": Placed}, partitions=2)
    assert one.difference(EventsOptions(type={"a": Placed}, partitions=2)) == ""
    assert "partitions=2, not 3" in one.difference(EventsOptions(type={"a": Placed}, partitions=3))


# --- effects -----------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["p:a", "p:b"])
FIELDS = st.sampled_from([b"x", b"y"])
AMOUNTS = st.integers(-5, 5)
WRITES = st.one_of(
    st.tuples(st.just("SET"), KEYS, st.tuples(st.sampled_from([b"7", b"-3"]))),
    st.tuples(st.just("DEL"), KEYS, st.just(())),
    st.tuples(st.just("INCRBY"), KEYS, st.tuples(AMOUNTS)),
    st.tuples(st.just("HSET"), KEYS, st.tuples(FIELDS, st.sampled_from([b"4", b"9"]))),
    st.tuples(st.just("HINCRBY"), KEYS, st.tuples(FIELDS, AMOUNTS)),
    st.tuples(st.just("HDEL"), KEYS, st.tuples(FIELDS)),
    st.tuples(st.just("SADD"), KEYS, st.tuples(FIELDS)),
    st.tuples(st.just("SREM"), KEYS, st.tuples(FIELDS)),
    st.tuples(st.just("ZADD"), KEYS, st.tuples(FIELDS, AMOUNTS)),
    st.tuples(st.just("ZINCRBY"), KEYS, st.tuples(FIELDS, AMOUNTS)),
    st.tuples(st.just("ZREM"), KEYS, st.tuples(FIELDS)),
)


class Unfit(Exception):
    """What a server would refuse."""


def server(state: dict[str, Any], command: str, key: str, args: tuple[Any, ...]) -> None:
    """What a server makes of a command: strings are bytes, hashes dicts, sets sets, sorted sets lists."""
    kinds: dict[str, Any] = {"H": dict, "S": set, "Z": list}
    if command == "DEL":
        state.pop(key, None)
    elif command == "SET":
        state[key] = args[0]
    elif command == "INCRBY":
        if not isinstance(state.get(key, b"0"), bytes):
            raise Unfit
        state[key] = b"%d" % (int(state.get(key, b"0")) + args[0])
    else:
        kind = kinds[command[0]]
        held = state.get(key, kind())
        if not isinstance(held, kind):
            raise Unfit
        now: Any = dict(held) if kind is list else held
        if command == "SADD":
            now = now | set(args)
        elif command == "SREM":
            now = now - set(args)
        elif command in ("HDEL", "ZREM"):
            now = {name: one for name, one in now.items() if name not in args}
        elif command in ("HSET", "ZADD"):
            pairs = args if command == "HSET" else [args[at ^ 1] for at in range(len(args))]
            now = {**now, **dict(zip(pairs[::2], pairs[1::2], strict=True))}
        elif command == "HINCRBY":
            now = {**now, args[0]: b"%d" % (int(now.get(args[0], b"0")) + args[1])}
        else:
            now = {**now, args[1]: now.get(args[1], 0) + args[0]}
        if now:
            state[key] = sorted(now.items()) if kind is list else now
        else:
            state.pop(key, None)


def asked(write: tuple[str, str, tuple[Any, ...]]) -> tuple[str, str, tuple[Any, ...]]:
    """A recorded write as the server is asked for it: scores come first there."""
    command, key, args = write
    return (command, key, args[::-1]) if command in ("ZADD", "ZINCRBY") else write


@settings(max_examples=600, deadline=None, database=None)
@given(before=st.lists(WRITES, max_size=6), writes=st.lists(WRITES, max_size=8))
def test_what_is_put_together_does_the_same(before: Any, writes: Any):
    """And it is refused only if the server would have refused it one by one, or if a key is taken for two
    kinds, which may be right by chance: what was deleted was not there.
    """
    begun: dict[str, Any] = {}
    for write in before:
        try:
            server(begun, *asked(write))
        except Unfit:
            continue
    one_by_one, together = dict(begun), dict(begun)
    fits = True
    try:
        for write in writes:
            server(one_by_one, *asked(write))
    except Unfit:
        fits = False
    effects = ProjectionEffects("p:", replaying=False)
    effects._writes = list(writes)
    try:
        commands = Batch.of([effects]).commands()
        for command in commands:
            server(together, *command)
    except (Unfit, ConfigurationError):
        assert not fits or _of_two_kinds(writes)
        return
    places = [(key, name) for command, key, args in commands for name in _places(command, args)]
    assert len(places) == len(set(places)), "two commands write the same place"
    if fits:
        assert _plain(together) == _plain(one_by_one)


def _of_two_kinds(writes: Any) -> bool:
    kinds: dict[str, str] = {}
    for command, key, _ in writes:
        kind = {"SET": "I", "DEL": ""}.get(command, command[0])
        if command not in ("SET", "DEL") and kinds.get(key, "") not in ("", kind):
            return True
        kinds[key] = kind
    return False


def _places(command: str, args: tuple[Any, ...]) -> list[Any]:
    if command in ("SET", "INCRBY", "DEL"):
        return [command]
    if command in ("HSET", "HINCRBY"):
        return list(args[::2])
    return list(args[1::2]) if command in ("ZADD", "ZINCRBY") else list(args)


def _plain(state: dict[str, Any]) -> Any:
    return {key: [(name, float(one)) for name, one in held] if isinstance(held, list) else held
            for key, held in state.items()}  # fmt: skip


def test_a_number_that_lua_cannot_count_is_refused():
    fx = ProjectionEffects("p:", replaying=False)
    fx.incrby(fx.key("a"), 2**53)
    fx.incrby(fx.key("a"), 1)
    with pytest.raises(ConfigurationError, match="whole number"):
        Batch.of([fx])
    with pytest.raises(ConfigurationError):
        fx.incrby(fx.key("a"), 2**53 + 1)
    with pytest.raises(ConfigurationError, match="10000 times"):
        fx.sadd(fx.key("s"), *map(str, range(10_001)))


def test_a_thousand_members_leave_in_commands_that_lua_can_unpack():
    fx = ProjectionEffects("p:", replaying=False)
    fx.hset(fx.key("h"), {str(one): one for one in range(5_000)})
    commands = Batch.of([fx]).commands()
    assert len(commands) == 5 and all(len(args) <= 2_000 for _, _, args in commands)


# --- the rest ----------------------------------------------------------------------------------------------


def test_rests_double_up_to_the_longest():
    options = ProjectionOptions(retry=("100ms", "1s"))
    assert [options.rest(one) for one in (1, 2, 3, 4, 5, 99)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_what_can_be_waited_for():
    appended = Appended("a", 1, 2, 17, 3)
    assert rules.position_of(appended, None) == (17, 3)
    assert rules.position_of(17, 1) == (17, 1)
    for wrong in (-1, "x", True, None):
        with pytest.raises(ConfigurationError):
            rules.position_of(wrong, None)


def test_errors_survive_pickling():
    for error in (
        PositionTrimmed("gone", after=3, first=7, stream="a"),
        ProjectionBehind("late", position=5, reached=3),
        ProjectionFailed("stopped", partition=1, position=9),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (str(again), vars(again)) == (str(error), vars(error))


def test_every_script_says_how_it_may_be_repeated():
    for name in dir(rules):
        script = getattr(rules, name)
        if name.isupper() and hasattr(script, "retry"):
            assert script.retry != "never", name
            assert re.match(r"#!lua", script.text), f"{name} would go on in the middle when memory is out"
