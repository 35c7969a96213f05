"""The libraries that are compared."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from benchmarks.streams import peers
from benchmarks.streams.stations import Open, holdfast, holdfast_tasks, raw, raw_tasks


@dataclass(frozen=True)
class Library:
    """One way to work on a stream. `tasks`: asyncio, else threads; `package`: where it comes from;
    `if_killed`: what becomes of what a killed worker had; `trips`: round trips for each message handled, as
    read in its source; `text`: payloads are str, else bytes; `batch`: the handler gets a list; `peer`:
    somebody else's.
    """

    name: str
    tasks: bool
    package: str
    open: Open
    if_killed: str
    trips: str
    text: bool = False
    batch: bool = False
    peer: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (self.name,)  # to a worker travels its name


def _named(name: str) -> Library:
    return next(one for one in _ALL if one.name == name)


# --- all of them --------------------------------------------------------------------------------------------

OURS, OURS_TASKS = "Holdfast", "Holdfast, asyncio"
LIMIT, LIMIT_TASKS = "redis-py by hand", "redis-py by hand, asyncio"
_AGAIN, _NEVER = "handled again", "stays pending"

_ALL = (
    Library(LIMIT, False, "redis", raw(), _NEVER, "1/50"),
    Library("redis-py, XACK each", False, "redis", raw(each=True), _NEVER, "1"),
    Library("redis-py, XACK and XDEL", False, "redis", raw(delete=True), _NEVER, "1/50"),
    Library(OURS, False, "holdfast", holdfast(), _AGAIN, "1/250"),
    Library("Holdfast, work queue", False, "holdfast", holdfast(work_queue=True), _AGAIN, "1/250"),
    Library("Holdfast, batch=100", False, "holdfast", holdfast(batch=100), _AGAIN, "1/250", batch=True),
    Library("walrus", False, "walrus", peers.walrus, _NEVER, "1/50"),
    Library(LIMIT_TASKS, True, "redis", raw_tasks(), _NEVER, "1/50"),
    Library("redis-py, XACK each, asyncio", True, "redis", raw_tasks(each=True), _NEVER, "1"),
    Library("redis-py, XACK and XDEL, asyncio", True, "redis", raw_tasks(delete=True), _NEVER, "1/50"),
    Library(OURS_TASKS, True, "holdfast", holdfast_tasks(), _AGAIN, "1/250"),
    Library("Holdfast, work queue, asyncio", True, "holdfast", holdfast_tasks(work_queue=True), _AGAIN,
            "1/250"),
    Library("Holdfast, batch=100, asyncio", True, "holdfast", holdfast_tasks(batch=100), _AGAIN, "1/250",
            batch=True),
    Library("FastStream", True, "faststream", peers.faststream(), _AGAIN, "1", peer=True),
    Library("FastStream, batch", True, "faststream", peers.faststream(batch=True), _AGAIN, "1/50",
            batch=True, peer=True),
    Library("taskiq-redis", True, "taskiq-redis", peers.taskiq, _AGAIN, "1", text=True, peer=True),
    Library("arq", True, "arq", peers.arq, _AGAIN, "6", peer=True),
    Library("streaq", True, "streaq", peers.streaq, _AGAIN, "2", peer=True),
)  # fmt: skip
_MODULES = {"taskiq-redis": "taskiq_redis"}


def there(*names: str) -> list[Library]:
    """Those of `names`, or all, that are installed."""
    return [one for one in _ALL if one.name in (names or (one.name,)) and _installed(one.package)]


def _installed(package: str) -> bool:
    return find_spec(_MODULES.get(package, package)) is not None


def describe() -> str:
    """What the tables need to say about the candidates."""
    return (
        "By hand: XREADGROUP with COUNT 100 and one XACK for what it brought, or what the line says. "
        "FastStream has two subscribers, the second for what others left; arq does 100 jobs at a time and "
        "asks every 10 ms (by itself 10, and every 500 ms); streaq does 100 tasks at a time (by itself 16); "
        f"all others are as they come, without results. {versions()}."
    )


def versions() -> str:
    """What is installed of the others."""
    packages = dict.fromkeys(one.package for one in _ALL if one.package != "holdfast")
    return ", ".join(f"{one} {version(one)}" for one in packages if _installed(one))
