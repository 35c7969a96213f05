"""The check of the check: tools/lua_headers.py finds what a header can be wrong about."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import lua_headers

ARRIVE = """\
-- latches/arrive: count one party in, once.
--
-- KEYS[1]  latch    set of party ids that have arrived
-- KEYS[2]  channel  told when the last one arrives
-- ARGV[1]  count    parties awaited
-- ARGV[2]  ttl      milliseconds the latch outlives its last arrival
-- ARGV[3..] party   ids of these arrivals; the same id twice counts once
-- returns  parties still missing,
--          0 when open
-- retry:   safe (a repeated arrival changes nothing)
-- cost:    O(1)
local function add(first)
  for i = first, #ARGV do redis.call('SADD', KEYS[1], ARGV[i]) end
end

add(3) -- not KEYS[9]
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local missing, options = math.max(0, ARGV[1] - redis.call('SCARD', KEYS[1])), { text = 'KEYS[8] = 1' }
missing = missing + 0
options.text = options.text == 'x'
if missing == 0 then redis.call('PUBLISH', KEYS[2], 'open') end
return missing
"""


def test_a_good_script_passes() -> None:
    assert lua_headers.problems("latches/arrive", ARRIVE) == []
    assert lua_headers.problems("latches/arrive", "#!lua flags=allow-oom\n" + ARRIVE) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("-- latches/arrive:", "-- latches/leave:", "first line must be"),
        ("count one party in, once.", "", "first line must be"),
        ("-- retry:   safe", "-- retry:   perhaps", "retry:"),
        ("-- retry:   safe (a repeated arrival changes nothing)\n", "", "retry:"),
        ("-- cost:    O(1)", "-- cost:    little", "cost:"),
        ("-- returns  parties", "-- gives  parties", "returns"),
        ("-- KEYS[2]", "-- KEYS[3]", "numbered 1, 2, 3"),
        ("-- KEYS[2]  channel  told", "-- KEYS 2   channel  told", "write '-- KEYS[1]  name"),
        ("milliseconds the latch", "the latch", "say milliseconds"),
        ("'PUBLISH', KEYS[2]", "'PUBLISH', 'x'", "KEYS[2] is declared but not used"),
        ("'SCARD', KEYS[1]", "'SCARD', KEYS[3]", "KEYS[3] is used but not declared"),
        ("ARGV[3..] party ", "ARGV[3]  party  ", "without a number"),
        (
            "#ARGV do redis.call('SADD', KEYS[1], ARGV[i])",
            "4 do redis.call('SADD', KEYS[1], ARGV[3])",
            "no open number",
        ),
        ("redis.call('PEXPIRE', KEYS[1]", "redis.call('KEYS', KEYS[1]", "walks the whole server"),
        ("redis.call('PEXPIRE', KEYS[1]", 'redis.pcall("scan", KEYS[1]', "walks the whole server"),
        ("missing = missing + 0", "mising = missing + 0", "mising is a global variable"),
        ("local function add(first)", "function add(first)", "add is a global variable"),
    ],
)
def test_a_wrong_header_is_found(old: str, new: str, complaint: str) -> None:
    assert old in ARRIVE
    found = lua_headers.problems("latches/arrive", ARRIVE.replace(old, new, 1))
    assert any(complaint in sentence for sentence in found), found


def test_the_command_line_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lua_headers.main(["--root", str(tmp_path)]) == 1  # an empty list is no success
    room = tmp_path / "src" / "latches"
    room.mkdir(parents=True)
    (room / "arrive.lua").write_text(ARRIVE)
    assert lua_headers.main(["--root", str(tmp_path)]) == 0
    (room / "arrive.lua").write_text("return 1\n")
    assert lua_headers.main(["--root", str(tmp_path)]) == 1
    assert "arrive.lua: the first line must be" in capsys.readouterr().err


def test_every_script_of_this_repository_passes() -> None:
    assert lua_headers.main([]) == 0
