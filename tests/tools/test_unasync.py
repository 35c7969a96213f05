"""The check of the check: tools/unasync.py finds each kind of drift that it promises to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import unasync

THING = (
    unasync.SOURCE
    + '''"""A thing; `await thing.aclose()` in a task."""

from redis.asyncio import Redis  # for asyncio

from holdfast._client_async import AsyncHoldfast
from holdfast._compat import asleep, is_async


class _AsyncThing:
    async def use(self, hf: AsyncHoldfast) -> str:
        async with hf as inner:  # tasks share it
            async for item in inner:
                await asleep(1)
        found = [await one async for one in Redis(
            task="await")]
        return f"{await_(found)} needs async def, not {is_async!r} {{AsyncThing}}"
'''
)

TWIN = '''# Generated from _async.py by tools/unasync.py. Do not edit.
"""A thing; `thing.close()` in a thread."""

from redis import Redis  # for threads

from holdfast._client_sync import Holdfast
from holdfast._compat import sleep, is_async


class _Thing:
    def use(self, hf: Holdfast) -> str:
        with hf as inner:  # threads share it
            for item in inner:
                sleep(1)
        found = [one for one in Redis(
            task="await")]
        return f"{await_(found)} needs def, not {is_async!r} {{Thing}}"
'''

WAIT = unasync.SOURCE + "async def wait():\n    await asleep(1)\n"


def _rules() -> unasync.Rules:
    return unasync.Rules(names={"asleep": "sleep"}, words={})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one source and its twin."""
    room = tmp_path / "src" / "room"
    room.mkdir(parents=True)
    (room / "_async.py").write_text(WAIT)
    (room / "_client_async.py").write_text(WAIT)
    assert unasync.main(["--root", str(tmp_path)], _rules()) == 0
    assert _check(tmp_path) == 0
    return tmp_path


def _check(root: Path, rules: unasync.Rules | None = None) -> int:
    return unasync.main(["--check", "--root", str(root)], rules or _rules())


def test_a_twin_keeps_lines_comments_and_meaning() -> None:
    assert unasync.convert(THING, "_async.py", unasync.Rules()) == TWIN


def test_a_hand_edited_twin_is_found(root: Path) -> None:
    twin = root / "src" / "room" / "_sync.py"
    twin.write_text(twin.read_text().replace("sleep(1)", "sleep(2)"))
    assert _check(root) == 1


def test_a_changed_source_is_found(root: Path) -> None:
    (root / "src" / "room" / "_client_async.py").write_text(WAIT.replace("1", "2"))
    assert _check(root) == 1


def test_a_missing_twin_is_found(root: Path) -> None:
    (root / "src" / "room" / "_client_sync.py").unlink()
    assert _check(root) == 1


def test_a_twin_without_source_is_found(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "src" / "room" / "_client_async.py").unlink()
    assert _check(root) == 1
    assert "_client_sync.py has no source" in capsys.readouterr().err


def test_a_twin_written_by_hand_is_found(root: Path) -> None:
    (root / "src" / "room" / "_worker_sync.py").write_text("def work(): ...\n")
    assert _check(root) == 1


def test_a_rule_that_serves_nobody_is_found(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = unasync.Rules(names={"asleep": "sleep", "asnore": "snore"}, words={"zzz": "z"})
    assert _check(root, rules) == 1
    assert "'asnore'" in capsys.readouterr().err
    assert rules.unused() == ["asnore", "zzz"]


def test_a_repository_without_sources_is_found(tmp_path: Path) -> None:
    assert _check(tmp_path) == 1


def test_a_source_without_banner_is_found(root: Path) -> None:
    (root / "src" / "room" / "_async.py").write_text("async def wait(): ...\n")
    assert _check(root) == 1


def test_tests_have_twins_where_they_say_so(root: Path) -> None:
    tests = root / "tests" / "room"
    tests.mkdir(parents=True)
    (tests / "test_wait_async.py").write_text(WAIT)
    (tests / "test_race_async.py").write_text("async def test_race(): ...\n")
    assert _check(root) == 1
    assert unasync.main(["--root", str(root)], _rules()) == 0
    assert _check(root) == 0
    assert (tests / "test_wait_sync.py").exists()
    assert not (tests / "test_race_sync.py").exists()
    (tests / "test_wait_async.py").unlink()
    assert _check(root) == 1


@pytest.mark.parametrize("name", sorted(unasync.REFUSED))
def test_what_has_no_meaning_in_threads_is_refused(
    root: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "src" / "room" / "_async.py").write_text(f"{WAIT}x: {name}[int]\n")
    assert _check(root) == 1
    assert f"_async.py:4: {name} has no twin" in capsys.readouterr().err


def test_a_twin_that_is_no_python_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "src" / "room" / "_async.py").write_text(WAIT.replace("asleep(1)", "asleep(1"))
    assert _check(root) == 1
    assert "_async.py: " in capsys.readouterr().err


def test_every_twin_of_this_repository_has_the_lines_of_its_source() -> None:
    root = Path(unasync.__file__).parents[1]
    assert unasync.check(root, unasync.Rules(), write=False) == []
    for source in unasync.sources(root):
        twin = unasync.twin_of(source)
        assert len(twin.read_text().splitlines()) == len(source.read_text().splitlines())
