"""`holdfast locks break`, through the command line's main function."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast.cli.locks import breaking
from tests.cli.locks_stage import Run, everywhere_once

# --- break --------------------------------------------------------------------------------------------------


@everywhere_once
def test_break_takes_a_lock_away_and_its_holder_is_told(hf: Holdfast, locks: Run, hold: Run):
    """Without it a lock whose holder hangs would need redis-cli and courage."""
    lease = hold("order:1")
    told = locks("break", "order:1", "--yes")
    assert told["done"] is True and told["fence"] == lease.fence
    assert lease.lost.wait(20)
    hold("order:1")
    assert "taken away" in locks("break", "order:1", "--yes", text=True)
    assert "free; nothing was changed" in locks("break", "order:1", "--yes", code=1, text=True)


def test_break_takes_it_only_from_the_holder_that_was_shown(
    hf: Holdfast, locks: Run, monkeypatch: pytest.MonkeyPatch, hold: Run
):
    """Without it whoever came while the question was being read would be hit."""
    old = hold("order:1")
    new: list[Any] = []

    def hand_over(*_: object) -> None:
        old.release()
        new.append(hold("order:1"))

    monkeypatch.setattr(breaking, "_be_sure", hand_over)
    assert locks("break", "order:1", code=1)["done"] is False
    time.sleep(0.05)
    new[0].ensure()
    held = hf.lock("order:1").inspect()
    assert held is not None and held.fence == new[0].fence


def test_break_asks_first(hf: Holdfast, locks: Run, monkeypatch: pytest.MonkeyPatch, hold: Run):
    """Without it a slip of the hand would take a lock away."""
    hold("order:1", label="import")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    assert "say --yes" in locks("break", "order:1", code=2, text=True)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert ":import, who has had it" in locks("break", "order:1", code=2, text=True)

    def hang_up(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", hang_up)
    locks("break", "order:1", code=2, text=True)
    assert hf.lock("order:1").inspect() is not None
    monkeypatch.setattr("builtins.input", lambda _: "Yes")
    locks("break", "order:1", text=True)
    assert hf.lock("order:1").inspect() is None


def test_break_takes_what_another_program_holds_whatever_it_wrote(
    hf: Holdfast, locks: Run, namespace: str, hold: Run
):
    """Without it a value that is no text could never be broken: it would not compare."""
    hf.execute("SET", hf.lock("a").key, b"\xff\x00:1")
    assert locks("break", "a", "--yes")["done"] is True
    hf.execute("HSET", hf.lock("c").key, "field", 1)
    assert "UNLINK" in locks("break", "c", "--yes", code=2, text=True)
    assert hf.execute("EXISTS", hf.lock("c").key) == 1
    hold("j", key=f"{namespace}:job")
    assert locks("break", f"{namespace}:job", "--yes", code=1)["done"] is False
    assert locks("break", f"{namespace}:job", "--key", "--yes")["done"] is True


@everywhere_once
def test_ask_waits_until_it_is_given_back(hf: Holdfast, locks: Run, hold: Run):
    """Without it a holder that would let go gladly could only be robbed."""
    heard: list[Any] = []

    def let_go(lease: Any) -> None:
        heard.append(lease)
        threading.Thread(target=lease.release, daemon=True).start()

    hold("order:1", ttl="3s", on_wanted=let_go)
    told = locks("break", "order:1", "--ask", "deploy", "--wait", "30s")
    assert (told["asked"], told["done"]) == (True, True)
    assert 0 <= told["took"] < 30 and len(heard) == 1
    assert hf.lock("order:1").inspect() is None


def test_ask_ends_after_the_wait_and_the_request_stays(hf: Holdfast, locks: Run, hold: Run):
    """Without it `--ask` would hang with a holder that does not listen."""
    lease = hold("order:1")
    begun = time.monotonic()
    told = locks("break", "order:1", "--ask", "deploy", "--wait", "200ms", code=1)
    assert 0.2 <= time.monotonic() - begun < 20
    assert (told["asked"], told["done"]) == (True, False)
    lease.ensure()
    assert locks("show", "order:1")["wanted"] == "deploy"
    assert "still held" in locks("break", "order:1", "--ask", "", "--wait", "0s", code=1, text=True)


def test_who_cannot_be_asked_is_not_asked(hf: Holdfast, locks: Run):
    """Without it a request to another program would look as if somebody had heard it."""
    hf.execute("SET", hf.lock("a").key, "theirs", "PX", 60_000)
    assert "cannot be asked" in locks("break", "a", "--ask", "deploy", code=2, text=True)
    assert "free" in locks("break", "nope", "--ask", "deploy", code=1, text=True)
