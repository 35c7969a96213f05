"""`holdfast locks list` and `show`, through the command line's main function."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast._coord.owner import owner
from holdfast.cli.__main__ import main
from holdfast.cli.locks import find
from holdfast.errors import LockError
from holdfast.locks.rwlock._sync import RwLock
from holdfast.locks.rwlock.options import RwLockOptions
from holdfast.locks.semaphore._sync import Semaphore
from holdfast.locks.semaphore.options import SemaphoreOptions
from tests.cli.locks_stage import Run, everywhere_once, until, waiter

# --- list ---------------------------------------------------------------------------------------------------


@everywhere_once
def test_list_shows_who_holds_what_the_longest_first(hf: Holdfast, locks: Run, hold: Run):
    """Without it an operator could not see who is in the way."""
    first = hold("order:2", label="check out", ttl="40s")
    time.sleep(0.01)
    hold("order:1")
    hf.lock("free").acquire().release()
    found = locks("list")
    assert found["complete"] is True
    assert [one["name"] for one in found["locks"]] == ["order:2", "order:1"]
    one = found["locks"][0]
    assert (one["room"], one["pid"], one["label"], one["fence"]) == (
        "lock",
        os.getpid(),
        "check out",
        first.fence,
    )
    assert 30 < one["ttl"] <= 40 and 0 <= one["held_for"] < 30
    assert one["owner"] == f"{one['host']}:{one['pid']}:check out"
    assert not one["foreign"] and one["wanted"] is None
    shown = locks("list", text=True)
    assert shown.index("order:2") < shown.index("order:1") and "2 locks held" in shown


@everywhere_once
def test_list_counts_who_waits_and_how_often_it_was_found_held(hf: Holdfast, locks: Run, hold: Run):
    """Without it nobody would see which of the locks hurts."""
    hold("busy")
    hold("idle")
    with waiter(hf, "busy"), waiter(hf, "busy", fair=True):
        found = until(
            lambda: {one["name"]: one for one in locks("list")["locks"]},
            lambda all_: all_["busy"]["waiting"] == 2,
        )
        assert (found["busy"]["waiting_processes"], found["busy"]["tickets"]) == (1, 1)
        assert found["busy"]["contended"] == 2
        assert (found["idle"]["waiting"], found["idle"]["contended"]) == (0, 0)
        assert "2 waiting" in locks("list", text=True)


def test_list_shows_what_other_programs_hold(hf: Holdfast, locks: Run, namespace: str):
    """Without it what keeps us out would be invisible because it is not ours."""
    hf.execute("SET", hf.lock("a").key, "their token", "PX", 60_000)
    hf.execute("SET", hf.lock("b").key, b"\xff\x00")
    hf.execute("HSET", hf.lock("c").key, "field", 1)
    found = {one["name"]: one for one in locks("list")["locks"]}
    assert [found[name]["owner"] for name in "abc"] == [
        "another program",
        "another program",
        "a key of type hash",
    ]
    assert [found[name]["foreign"] for name in "abc"] == [True] * 3
    assert 50 < found["a"]["ttl"] <= 60 and found["b"]["ttl"] is None
    shown = locks("list", text=True)
    assert "2 without an end" in shown and "a key of type hash" in shown


@everywhere_once
def test_list_finds_a_lock_that_is_called_by_its_key(hf: Holdfast, locks: Run, namespace: str, hold: Run):
    """Without it a lock that is shared with another program could not be seen."""
    key = f"{namespace}:jobs:{{7}}:a%b"
    lease = hold("job", key=key)
    (one,) = locks("list")["locks"]
    assert (one["name"], one["by_key"], one["key"]) == (key, True, key)
    lease.release()
    assert locks("list")["locks"] == []


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("order", ["order", "order:1", "order:2"]), ("order:*", ["order:1", "order:2"]), ("*2", ["order:2"]),
     ("order:[13]", ["order:1"]), ("ord", []), ("{a b}", ["{a b}"])],
)  # fmt: skip
def test_list_takes_a_glob_or_a_family(hf: Holdfast, locks: Run, pattern: str, names: list[str], hold: Run):
    """Without it nobody could look for the locks of one kind."""
    for name in ("order", "order:1", "order:2", "orders", "{a b}"):
        hold(name)
    assert sorted(one["name"] for one in locks("list", pattern)["locks"]) == names
    if not names:
        assert "no lock that fits ord is held" in locks("list", pattern, text=True)


def test_list_is_bounded_and_says_so(hf: Holdfast, locks: Run):
    """Without it `list` could keep a large server busy for as long as it likes."""
    for number in range(1500):
        hf.execute("SET", hf.lock(f"n{number}").key, "x", "PX", 60_000)
    found = locks("list", "--limit", "100")
    assert found["complete"] is False and 100 <= len(found["locks"]) < 1500
    assert "--limit goes further" in locks("list", "--limit", "100", text=True)


def test_only_bounded_commands_are_sent(hf: Holdfast, locks: Run, hold: Run):
    """Without it a KEYS could slip in, which stops a server for as long as it has keys."""
    hold("a")
    hf.execute("CONFIG", "RESETSTAT")
    locks("list")
    locks("show", "nope", code=1)
    told = hf.execute("INFO", "commandstats").decode()
    assert "cmdstat_scan:" in told and "cmdstat_keys:" not in told


def test_keys_of_other_rooms_are_not_taken_for_locks(hf: Holdfast, locks: Run, namespace: str):
    """Without it a cache called `lock` would show up as locks."""
    hf.cache("lock", ttl="1m").set("a", 1)
    hf.execute("SET", hf.key("lock"), 1)
    hf.execute("SET", f"{namespace}:1:lock", 1)
    assert locks("list")["locks"] == []


# --- the rest of the family ---------------------------------------------------------------------------------


@everywhere_once
def test_readers_writers_and_permits_are_shown_too(hf: Holdfast, locks: Run):
    """Without it half of what can keep a service waiting could not be seen."""
    readers = RwLock(hf._locks, "report", RwLockOptions(label="r")).read()
    held = [readers.acquire(), readers.acquire()]
    held.append(RwLock(hf._locks, "index", RwLockOptions()).write().acquire())
    semaphore = Semaphore(hf._locks, "report", SemaphoreOptions(permits=3))
    held += [semaphore.acquire(), semaphore.acquire()]
    found = {(one["room"], one["name"]): one for one in locks("list")["locks"]}
    assert {key: (one["part"], one["count"], one["limit"]) for key, one in found.items()} == {
        ("rwlock", "report"): ("reader", 2, None),
        ("rwlock", "index"): ("writer", 1, None),
        ("semaphore", "report"): ("holder", 2, 3),
    }
    assert len(found["rwlock", "report"]["holders"]) == 2
    one = locks("show", "report")
    assert (one["room"], [also["room"] for also in one["also"]]) == ("rwlock", ["semaphore"])
    shown = locks("show", "report", text=True)
    assert "2 readers" in shown and "2 of 3 are out" in shown
    assert "--room semaphore" in locks("break", "report", "--yes", code=1, text=True)
    assert locks("break", "report", "--room", "semaphore", "--yes")["done"] is True
    assert locks("break", "report", "--room", "rwlock", "--yes")["done"] is True
    assert [one["name"] for one in locks("list")["locks"]] == ["index"]
    for lease in held:
        with contextlib.suppress(LockError):
            lease.release()


def test_a_redlock_is_shown_as_what_one_of_its_servers_knows(hf: Holdfast, locks: Run, namespace: str):
    """Without it who looks at one of five servers would take what it says for the truth."""
    value = f"{'a' * 32}:0:{int(time.time() * 1000)}:web-1:7:%"
    hf.execute("SET", f"{namespace}:1:redlock:{{pay}}", value, "PX", 60_000)
    (one,) = locks("list")["locks"]
    assert (one["room"], one["name"], one["owner"]) == ("redlock", "pay", "web-1:7")
    assert "a majority of them decides" in locks("show", "pay")["hints"][0]
    assert "cannot be asked" in locks("break", "pay", "--room", "redlock", "--ask", "x", code=2, text=True)
    assert "this server alone" in locks("break", "pay", "--room", "redlock", "--yes", text=True)


def test_a_leader_is_shown_and_steps_down_when_it_is_asked_to(hf: Holdfast, locks: Run):
    """Without it an operator could not move the leadership away from a machine."""
    leader, ended = hf.leader("report", ttl="10s", label="l"), threading.Event()
    terms: list[Any] = []

    def lead(term: Any) -> None:
        terms.append(term)
        term.lost.wait(60)
        ended.set()

    thread = threading.Thread(target=lambda: leader.run(lead), daemon=True)
    thread.start()
    (one,) = until(lambda: locks("list")["locks"], bool)
    assert (one["room"], one["name"], one["label"]) == ("leader", "report", "l")
    assert "leader" in locks("show", "report", text=True)
    assert locks("break", "report", "--room", "leader", "--ask", "drain", "--wait", "30s")["done"] is True
    assert ended.wait(20)
    leader.stop()
    thread.join(30)
    assert not thread.is_alive()


# --- show ---------------------------------------------------------------------------------------------------


@everywhere_once
def test_show_tells_everything_about_a_lock(hf: Holdfast, locks: Run, hold: Run):
    """Without it an operator could not tell a lock that works from one that hangs."""
    lease = hold("order:1", label="import")
    assert hf.lock("order:1").request_release("deploy of 7")
    with waiter(hf, "order:1", fair=True), waiter(hf, "order:1", fair=True):
        one = until(lambda: locks("show", "order:1"), lambda found: found["tickets"] == 2)
        assert (one["held"], one["fence"], one["wanted"]) == (True, lease.fence, "deploy of 7")
        assert [ticket["alive"] for ticket in one["queue"]] == [True, True]
        assert all(0 < ticket["age"] < 20 for ticket in one["queue"])
        shown = locks("show", "order:1", text=True)
        for word in ("held for", ":import", "fair queue", "2. for", "alive", "asks for it back: deploy of 7"):
            assert word in shown
        assert one["hints"] and "lease.wanted" in one["hints"][0]


def test_show_of_a_free_lock_ends_with_one_and_knows_its_last_fence(hf: Holdfast, locks: Run, hold: Run):
    """Without it a script could not tell a lock that is held from one that is not."""
    lease = hold("order:1")
    assert locks("show", "order:1")["held"] is True
    lease.release()
    one = locks("show", "order:1", code=1)
    assert (one["held"], one["last_fence"]) == (False, lease.fence)
    assert "held within the last day" in locks("show", "order:1", code=1, text=True)


def test_show_of_an_unknown_name_says_what_is_like_it(hf: Holdfast, locks: Run, namespace: str, hold: Run):
    """Without it a typing error would look like a lock that is free."""
    assert "nothing of this name was seen" in locks("show", "order:1025", code=1, text=True)
    hold("order:1024")
    assert locks("show", "order:1025", code=1)["alike"] == ["order:1024"]
    assert "like it: order:1024" in locks("show", "order:1025", code=1, text=True)
    hold("j", key=f"{namespace}:job")
    assert "with --key" in locks("show", f"{namespace}:job", code=1, text=True)
    assert locks("show", f"{namespace}:job", "--key")["by_key"] is True


def test_show_says_if_the_holder_s_process_is_gone(hf: Holdfast, locks: Run, hold: Run):
    """Without it one would wait for a process that crashed."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    host, _, _ = owner().partition(":")
    value = f"{'a' * 32}:7:{int(time.time() * 1000)}:{host}:{child.pid}:%"
    hf.execute("SET", hf.lock("a").key, value, "PX", 60_000)
    assert "its holder seems to be gone" in locks("show", "a")["hints"][0]
    hold("mine")
    assert locks("show", "mine")["hints"] == []


def test_show_says_what_to_do_about_what_is_no_lock(hf: Holdfast, locks: Run):
    """Without it a lock of another library would look like an error."""
    hf.execute("HSET", hf.lock("a").key, "field", 1)
    shown = locks("show", "a", text=True)
    assert "not a lock" in shown and f"UNLINK {hf.lock('a').key}" in shown
    hf.execute("SET", hf.lock("b").key, "x")
    assert "no end: it stays for ever" in locks("show", "b", text=True)


def test_names_cannot_move_the_cursor(hf: Holdfast, locks: Run, hold: Run):
    """Without it whoever names a lock could paint on an operator's terminal."""
    hold("a\x1b[2Jb", label="\x1b[1m")
    hf.lock("a\x1b[2Jb").request_release("\x1b[31m")
    for words in (["list"], ["show", "a\x1b[2Jb"]):
        assert "\x1b" not in locks(*words, text=True)


def test_what_people_get_fits_eighty_columns(
    hf: Holdfast, locks: Run, monkeypatch: pytest.MonkeyPatch, hold: Run
):
    """Without it a table would be a heap of broken lines."""
    monkeypatch.setenv("COLUMNS", "80")
    hold("order:1024", label="checkout")
    hf.execute("SET", hf.lock("legacy").key, "x")
    hf.lock("order:1024").request_release("deploy")
    for words in (["list"], ["show", "order:1024"], ["show", "legacy"]):
        lines = locks(*words, text=True).splitlines()
        assert [line for line in lines if len(line) > 80] == []


def test_who_may_not_see_everything_sees_the_rest(
    hf: Holdfast, place: Any, namespace: str, capsys: pytest.CaptureFixture[str], hold: Run
):
    """Without it a server that forbids PUBSUB would show no locks at all."""
    hold("a")
    rights = ("~*", "&*", "+@all", "-pubsub", "-dbsize")
    hf.execute("ACL", "SETUSER", namespace, "on", ">secret", *rights)
    url = re.sub(r"//[^@/]*@", f"//{namespace}:secret@", place.url)
    try:
        for words in (["list"], ["show", "a"]):
            assert main(["locks", *words, "--url", url, "--namespace", namespace]) == 0
    finally:
        hf.execute("ACL", "DELUSER", namespace)
    assert "PUBSUB is not allowed" in capsys.readouterr().out


def test_a_server_that_is_away_is_said(capsys: pytest.CaptureFixture[str]):
    """Without it a script could take silence for a lock that is free."""
    assert main(["locks", "show", "a", "--url", "redis://127.0.0.1:1"]) == 1
    assert "Unavailable" in capsys.readouterr().err


def test_each_command_works_as_a_process_of_its_own(hf: Holdfast, place: Any, namespace: str, hold: Run):
    """Without it something that only the tests import could be missing."""
    hold("a")
    told = ["--url", place.url, "--namespace", namespace]
    for words in (["list"], ["show", "a"], ["break", "a", "--yes"]):
        command = [sys.executable, "-m", "holdfast.cli", "locks", *words, *told]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, ""), words
        assert "a" in done.stdout


def test_a_walk_asks_for_the_keys_of_all_rooms_at_once(
    hf: Holdfast, monkeypatch: pytest.MonkeyPatch, hold: Run
):
    """Without it the server would be walked once for each kind of lock."""
    hold("a")
    asked: list[Any] = []
    real = type(hf._wire).execute_many

    def listen(self: Any, commands: Any, *args: Any, **more: Any) -> Any:
        asked.extend(one for one in commands if one[0] == "SCAN" and str(one[1]) == "0")
        return real(self, commands, *args, **more)

    monkeypatch.setattr(type(hf._wire), "execute_many", listen)
    assert [one.name for one in find.find(hf, None, 100).named] == ["a"]
    assert len(asked) == 1
