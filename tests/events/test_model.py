"""The machines of model.py break no promise, and notice every guard that is taken out of a script."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from holdfast import Holdfast, HoldfastError
from holdfast._wire.script import Script
from holdfast.events import rules
from tests.events.model import Wrong, appender, versions


def run(machine: Any, examples: int) -> None:
    chosen = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),  # to make it smaller takes minutes: do it by hand
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)


def test_a_log_is_what_a_list_would_be(hf: Holdfast):
    run(appender(hf, {}), 40)


def test_two_versions_of_a_projection_share_the_events_out(hf: Holdfast):
    run(versions(hf, {}), 30)


@pytest.mark.soak
def test_a_log_is_what_a_list_would_be_for_long(hf: Holdfast):
    run(appender(hf, {}), 1000)


@pytest.mark.soak
def test_two_versions_of_a_projection_share_the_events_out_for_long(hf: Holdfast):
    run(versions(hf, {}), 1000)


# What is taken out of a script, and what it is replaced by; "" removes it.
MUTANTS = [
    (appender, "append", "if ARGV[2] == '1' then\n  local known", "if false then\n  local known"),
    (appender, "append", "elseif ARGV[3] ~= '0' then", "elseif false then"),
    (appender, "append", "(wanted == 'exists' and one.version > 0)", "wanted == 'exists'"),
    (appender, "append", "tonumber(wanted) == one.version", "tonumber(wanted) ~= nil"),
    (appender, "append", "if mine and ARGV[2] == '0' then", "if false then"),
    (appender, "append", "mine = found[2][field + 1] == ARGV[1]", "mine = true"),
    (appender, "append", "position + one.count - 1}})", "position}})"),
    (appender, "append", "wanted + one.count, position", "wanted + 1, position"),
    (appender, "append", "redis.call('HSET', one.batches, ARGV[1], cmsgpack.pack(answer))", ""),
    (appender, "append", "redis.call('SET', KEYS[4], cmsgpack.pack(answers), 'PX', ARGV[3])", ""),
    (appender, "append", "redis.call('HSET', KEYS[1], 'last',", "redis.call('HSET', KEYS[1], 'first',"),
    (appender, "snapshot", "if tonumber(ARGV[2]) > version then return {0, version} end\n", ""),
    (appender, "snapshot", "tonumber(known[1]) < tonumber(ARGV[2])", "true"),
    (appender, "load", "at + 1)", "at)"),
    (appender, "page", "have[version] or false}", "have[version] or refs[1][2]}"),
    (appender, "page", "and refs[at + size][2][2] == name", ""),
    (versions, "turn", "if holder and holder ~= ARGV[3] then", "if false then"),
    (versions, "turn", "if held > now then", "if false then"),
    (versions, "turn", "and not idle then\n    redis.call", "and false then\n    redis.call"),
    (versions, "turn", "if not idle and not waits then", "if false then"),
    (versions, "turn", "local idle = redis.call('EXISTS', KEYS[5] .. active) == 0", "local idle = true"),
    (versions, "turn", "if left > 0 then return", "if false then return"),
    (versions, "turn", "(active and version < active)", "false"),
    (versions, "turn", "string.format('%.0f', live)", "'0'"),
    (versions, "turn", "if active then live = math.max", "if false then live = math.max"),
    (versions, "commit", "if known[1] == ARGV[6] and known[2] == ARGV[3] then", "if false then"),
    (versions, "commit", "known[1] ~= ARGV[5] or ", ""),
    (versions, "commit", "'by:' .. own, ARGV[3])", "'by:' .. own, 'x')"),
]


def look_for(hf: Holdfast, machine: Any, name: str, old: str, new: str) -> None:
    text = getattr(rules, name.upper()).text
    assert text.count(old) == 1, f"{name}.lua has {text.count(old)} times {old!r}"
    mutant = Script.parse(name, text.replace(old, new))
    try:
        run(machine(hf, {name: mutant}), 300)
    except (Wrong, HoldfastError, ExceptionGroup, KeyError, TypeError):
        return
    pytest.fail(f"nobody missed {old!r} in {name}.lua", pytrace=False)


@pytest.mark.parametrize(("machine", "name", "old", "new"), MUTANTS[::6])
def test_a_guard_is_missed_when_it_is_taken_out(hf: Holdfast, machine: Any, name: str, old: str, new: str):
    look_for(hf, machine, name, old, new)


@pytest.mark.soak
@pytest.mark.parametrize(("machine", "name", "old", "new"), MUTANTS)
def test_every_guard_is_missed_when_it_is_taken_out(
    hf: Holdfast, machine: Any, name: str, old: str, new: str
):
    look_for(hf, machine, name, old, new)
