"""Bugs to plant, each of which a storm must find; `test_planted.py` says which storm finds which."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from holdfast._compat import boottime
from holdfast._wire import hub_keeper, hub_keeping
from holdfast._wire.script import Script
from holdfast.locks import _lock_async, _lock_sync, rules

Bug = Callable[[], AbstractContextManager[Any]]


def _script(name: str, *changes: tuple[str, str]) -> Bug:
    """A script of locks with changes to its text."""

    @contextmanager
    def bug() -> Iterator[None]:
        true: Script = getattr(rules, name)
        text = true.text
        for old, new in changes:
            assert old in text, f"{name} has changed: {old!r} is not in it"
            text = text.replace(old, new)
        with patch.object(rules, name, Script.parse(true.name, text)):
            yield

    return bug


@contextmanager
def _deadline_from_reply() -> Iterator[None]:
    """A lease is believed from when the grant was heard of, not from when it was asked for."""
    with ExitStack() as stack:
        for module in (_lock_async, _lock_sync):
            true: Any = getattr(module, "AsyncLease", None) or module.Lease  # type: ignore[attr-defined]

            def late(*args: Any, true: Any = true, **more: Any) -> Any:
                return true(*args, **(more | {"asked": boottime()}))

            stack.enter_context(patch.object(module, true.__name__, late))
            stack.enter_context(patch.object(module, "DANGER", -1e9))
        yield


@contextmanager
def _renewed_from_reply() -> Iterator[None]:
    """A renewal is believed from when its answer was heard."""
    true = hub_keeper.Keeper._renewed

    def late(self: Any, one: Any, asked: Any, **more: Any) -> None:
        asked.at = boottime()
        true(self, one, asked, **more)

    with patch.object(hub_keeper.Keeper, "_renewed", late):
        yield


@contextmanager
def _never_over() -> Iterator[None]:
    """A lease that cannot be renewed is believed for ever."""
    with patch.object(hub_keeping.Keeping, "end", property(lambda _: boottime() + 30)):
        yield


COMPARE = "if string.sub(held, 1, 33) ~= ARGV[1] .. ':' then return -1 end\n"
OWN = "if string.sub(held, 1, 33) == ARGV[1] .. ':' then"

BUGS: dict[str, Bug] = {
    "abandon writes no tombstone": _script(
        "ABANDON", ("redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])\n", "")
    ),
    "acquire looks for no tombstone": _script(
        "ACQUIRE", ("if redis.call('EXISTS', KEYS[3]) == 1", "if false")
    ),
    "release compares no token": _script(
        "RELEASE", ("if not held or string.sub(held, 1, 33) ~= ARGV[1] .. ':'", "if not held")
    ),
    "renewal compares no token": _script("KEEP", (COMPARE, "")),
    "renewal makes it anew": _script(
        "KEEP",
        (
            "if not held then return 0 end",
            "if not held then held = ARGV[1] .. ':1:1:x' redis.call('SET', KEYS[1], held, 'PX', ARGV[2]) end",
        ),
    ),
    "renewal renews nothing": _script("KEEP", ("redis.call('PEXPIRE', KEYS[1], ARGV[2])\n", "")),
    "fence is counted": _script(
        "ACQUIRE", ("math.max(tonumber(last or 0) + 1, now)", "tonumber(last or 0) + 1")
    ),
    "acquire does not know its owner": _script("ACQUIRE", (OWN, "if false then")),
    "acquire overwrites at the end of a ttl": _script(
        "ACQUIRE", ("if held then", "if held and redis.call('PTTL', KEYS[1]) > 150 then")
    ),
    "deadline is counted from the reply": _deadline_from_reply,
    "renewal is counted from the reply": _renewed_from_reply,
    "an unreachable lease never ends": _never_over,
}

FOUND_BY = {  # the kind of storm that finds it soonest
    "abandon writes no tombstone": "stick",
    "acquire looks for no tombstone": "stick",
    "acquire does not know its owner": "lost",
    "release compares no token": "flush",
    "renewal compares no token": "wild",
    "renewal makes it anew": "flush",
    "renewal renews nothing": "calm",
    "fence is counted": "flush",
    "acquire overwrites at the end of a ttl": "late",
    "deadline is counted from the reply": "late",
    "renewal is counted from the reply": "stop",
    "an unreachable lease never ends": "blackhole",
}
