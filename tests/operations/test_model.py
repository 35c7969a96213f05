"""The scripts keep their promises in every order of steps, and the search notices every guard that is taken
out."""

from __future__ import annotations

import pytest

from holdfast import Holdfast, HoldfastError
from holdfast._wire.script import Script
from holdfast.operations import rules
from tests.operations.bench import Wrong
from tests.operations.model import Model

THEMES = ("fences", "burials", "damage", "checkpoints")


@pytest.mark.parametrize("theme", THEMES)
def test_no_order_of_steps_breaks_a_promise(hf: Holdfast, theme: str):
    model = Model(hf, theme)
    model.search()
    assert theme == "fences" or model.states > 100


# What is taken out of a script, and what it is replaced by; "" removes it.
MUTANTS = [
    ("begin", "if state and ARGV[9] ~= '' and known[6] ~= ARGV[9] then return {4, known[6] or ''} end", ""),
    ("begin", "  if known[5] == ARGV[2] then", "  if false then"),
    ("begin", "if state == 'waiting' and known[5] == ARGV[2] then", "if false then"),
    ("begin", "if redis.call('EXISTS', KEYS[6]) == 1 then", "if false then"),
    ("abandon", "redis.call('SET', KEYS[4], '1', 'PX', ARGV[3])", ""),
    ("begin", "if left > lease then", "if false then"),
    ("begin", "if left > 0 then return {0, left, known[7]} end", ""),
    ("begin", "elseif state == 'done' then\n  return {2, redis.call('HGET', KEYS[1], 'result')}\n", ""),
    ("begin", "elseif state == 'dead' then\n", "elseif state == 'none' then\n"),
    ("begin", "tonumber(redis.call('GET', KEYS[5]) or 0) + 1, ", ""),
    ("begin", "tonumber(known[2] or 0) + 1, micros)", "micros)"),
    ("begin", "tonumber(known[2] or 0) + 1, micros)", "tonumber(known[2] or 0) + 1)"),
    ("begin", "redis.call('SET', KEYS[5], written)", ""),
    ("begin", "attempt >= tonumber(ARGV[7])", "false"),
    ("begin", "(interrupted ~= '' and ARGV[11] == '0')", "false"),
    ("begin", "'state', 'dead', 'fence', written,", "'state', 'dead',"),
    ("begin", "  redis.call('ZREM', KEYS[2], name)\n", ""),
    ("begin", "  redis.call('ZREM', KEYS[3], name)\n", ""),
    ("begin", "  redis.call('ZADD', KEYS[4], ms, name)\n", ""),
    ("begin", "attempt = attempt + 1\n", ""),
    (
        "begin",
        "redis.call('ZADD', KEYS[2], ends, name)\nredis.call('ZADD', KEYS[3]",
        "redis.call('ZADD', KEYS[3]",
    ),
    ("begin", "redis.call('ZADD', KEYS[3], 0, name)", ""),
    ("beat", "known[1] ~= 'running' or ", ""),
    ("beat", " or known[2] ~= ARGV[2] then", " then"),
    ("beat", "redis.call('HSET', KEYS[1], 'until', ends, 'lease', ARGV[3])", ""),
    ("beat", "redis.call('ZADD', KEYS[2], ends, ARGV[1])", ""),
    ("beat", "redis.call('ZADD', KEYS[3], 0, ARGV[1])", ""),
    ("checkpoint", "known[1] ~= 'running' or ", ""),
    ("checkpoint", " or known[2] ~= ARGV[1] then", " then"),
    ("checkpoint", "if not known[3] or string.sub(known[3], 1, 8) < ARGV[3] then", "if true then"),
    ("complete", "if known[2] ~= ARGV[2] then return -1 end\n", ""),
    ("complete", "if known[1] == 'done' then return 1 end\n", ""),
    ("complete", "if known[1] ~= 'running' then return -1 end\n", ""),
    ("complete", "redis.call('ZREM', KEYS[2], ARGV[1])", ""),
    ("complete", "redis.call('ZREM', KEYS[3], ARGV[1])", ""),
    ("complete", "redis.call('ZADD', KEYS[4], ms, ARGV[1])", ""),
    ("fail", "known[2] ~= ARGV[2] or ", ""),
    ("fail", " or known[1] == 'done' then", " then"),
    ("fail", "if known[1] == 'waiting' then return {1, 0} end\n", ""),
    ("fail", "if known[1] == 'dead' then return {2, 0} end\n", ""),
    ("fail", "ARGV[4] == '1' and ", ""),
    ("fail", " and attempt < tonumber(ARGV[5]) then", " then"),
    ("fail", "  redis.call('ZADD', KEYS[2], at, ARGV[1])\n", ""),
    ("fail", "  redis.call('ZADD', KEYS[3], 0, ARGV[1])\n", ""),
    ("fail", "redis.call('ZREM', KEYS[2], ARGV[1])\n", ""),
    ("fail", "redis.call('ZREM', KEYS[3], ARGV[1])\n", ""),
    ("fail", "redis.call('ZADD', KEYS[4], ms, ARGV[1])\n", ""),
    ("claim", "if memo then", "if false then"),
    ("claim", "if known[1] == 'running' and known[2] == ARGV[1] then", "if true then"),
    ("claim", "if redis.call('ZCARD', KEYS[1]) ~= redis.call('ZCARD', KEYS[2]) then", "if false then"),
    ("claim", "{{KEYS[1], KEYS[2]}, {KEYS[2], KEYS[1]}}", "{{KEYS[1], KEYS[2]}}"),
    ("claim", "{{KEYS[1], KEYS[2]}, {KEYS[2], KEYS[1]}}", "{{KEYS[2], KEYS[1]}}"),
    ("claim", "if known[1] and tonumber(known[2]) > now + most_ahead then", "if false then"),
    ("claim", "not state or state == 'done' or state == 'dead' or ", ""),
    ("claim", " or tonumber(known[2]) > now then", " then"),
    ("claim", "last + 1, tonumber(known[4]) + 1, micros)", "tonumber(known[4]) + 1, micros)"),
    ("claim", "last + 1, tonumber(known[4]) + 1, micros)", "last + 1, micros)"),
    ("claim", "last + 1, tonumber(known[4]) + 1, micros)", "last + 1, tonumber(known[4]) + 1)"),
    ("claim", "redis.call('SET', KEYS[5], string.format('%.0f', last))", ""),
    ("claim", "if attempt >= most then", "if false then"),
    ("claim", "'state', 'dead', 'fence', fence,", "'state', 'dead',"),
    ("claim", "attempt = attempt + 1\n", ""),
    ("claim", "      place(name, {'running', ends})\n", ""),
    ("claim", "      place(name, {'dead', '', ms})\n", ""),
    ("claim", "interrupted = known[6]\n", ""),
    ("claim", "    redis.call('ZADD', KEYS[1], at, name)\n", ""),
    ("claim", "    redis.call('ZADD', KEYS[2], 0, name)\n", ""),
    ("claim", "  redis.call('ZREM', KEYS[1], name)\n", ""),
    ("claim", "  redis.call('ZREM', KEYS[2], name)\n", ""),
    ("claim", "if state == 'dead' then redis.call('ZADD', KEYS[3], 'NX', known[3], name) end", ""),
    ("claim", "if state == 'done' then redis.call('ZADD', KEYS[4], 'NX', known[3], name) end", ""),
    ("orphans", "known[1] == 'running' and ", ""),
    ("orphans", "known[2] == ARGV[1] and ", ""),
    ("orphans", " and known[3] ~= ARGV[2] then", " then"),
    ("orphans", "    redis.call('HSET', key, 'until', ms)\n", ""),
    ("orphans", "    redis.call('ZADD', KEYS[1], ms, name)\n", ""),
    ("abandon", "known[1] ~= 'running' or ", ""),
    ("abandon", " or known[2] ~= ARGV[2] then", " then"),
    ("abandon", " and not known[4] then", " then"),
    ("abandon", "if known[3] == '1' and not known[4] then", "if true then"),
    ("abandon", "  redis.call('ZREM', KEYS[2], ARGV[1])\n", ""),
    ("abandon", "  redis.call('ZREM', KEYS[3], ARGV[1])\n", ""),
    ("abandon", "  redis.call('ZADD', KEYS[2], ms, ARGV[1])\n", ""),
    ("abandon", "known[3] - 1", "known[3]"),
    ("abandon", ",\n    'fence', string.format('%.0f', known[5] + 1))", ")"),
    ("retry", "if known[1] ~= 'dead' then return 0 end\n", ""),
    ("retry", "'attempt', 0, ", ""),
    ("retry", ",\n  'fence', string.format('%.0f', known[2] + 1))", ")"),
    ("retry", "redis.call('ZREM', KEYS[4], ARGV[1])\n", ""),
    ("retry", "redis.call('ZADD', KEYS[2], ms, ARGV[1])\n", ""),
    ("retry", "redis.call('ZADD', KEYS[3], 0, ARGV[1])\n", ""),
    ("forget", "if state ~= 'done' and state ~= 'dead' then return 0 end\n", ""),
    ("forget", "redis.call('UNLINK', KEYS[1])\n", ""),
    ("forget", "redis.call('ZREM', KEYS[2], ARGV[1])\n", ""),
    ("forget", "redis.call('ZREM', KEYS[3], ARGV[1])\n", ""),
    ("repair", "      redis.call('ZADD', index, wanted, name)\n", ""),
    ("repair", "      redis.call('ZREM', index, name)\n", ""),
]


def mutant(name: str, old: str, new: str) -> Script:
    text = getattr(rules, name.upper()).text
    assert text.count(old) == 1, f"{name}.lua has {text.count(old)} times {old!r}"
    return Script.parse(name, text.replace(old, new))


@pytest.mark.parametrize(("name", "old", "new"), MUTANTS[::8])
def test_a_guard_is_missed_when_it_is_taken_out(hf: Holdfast, name: str, old: str, new: str):
    look_for(hf, name, old, new)


@pytest.mark.soak
@pytest.mark.parametrize(("name", "old", "new"), MUTANTS)
def test_every_guard_is_missed_when_it_is_taken_out(hf: Holdfast, name: str, old: str, new: str):
    look_for(hf, name, old, new)


def look_for(hf: Holdfast, name: str, old: str, new: str) -> None:
    script = mutant(name, old, new)
    for theme in THEMES:
        try:
            Model(hf, theme, {name: script}).search()
        except (Wrong, KeyError, ValueError, IndexError, HoldfastError):
            return
    pytest.fail(f"nobody missed {old!r} in {name}.lua", pytrace=False)
