"""A storm for write-behind: processes that put, and processes that write, are killed again and again.

    python -m benchmarks.write_behind_storm --rounds 200 [--server] [--seed N]

Two kinds of process share one cache: two that put (and may write), one that only may write. In every round
some of them are killed with SIGKILL, and started again; with `--server`, every tenth round the server is as
well, and comes back with its AOF. The source is a file to which each call appends its rows, so that the order
in which they arrived can be read afterwards; it checks no fence. Each key has one process that puts it, with
versions that grow.

Judged at the end, when everything is applied:
    lost        keys whose row is older than what was acknowledged last
    reordered   rows that arrived after a newer one of the same key
It prints what it found as JSON; the exit code is 1 if that is anything.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from holdfast import Behind, Holdfast, HoldfastError, embedded

APPS, KEYS = 2, 20  # processes that put, and keys of each
LEASE = "300ms"
REMOVED = "-"


class Journal:
    """A source: rows are appended to a file, one write for each call."""

    def __init__(self, path: str) -> None:
        self._path = path

    def load_many(self, keys: Iterable[str]) -> dict[str, int]:
        """The rows of `keys`."""
        rows = last(Path(self._path))
        return {key: int(rows[key]) for key in keys if rows.get(key, REMOVED) != REMOVED}

    def save_many(self, mapping: dict[str, int]) -> None:
        """Append rows."""
        append(self._path, "".join(f"{key} {version}\n" for key, version in mapping.items()))

    def delete_many(self, keys: Iterable[str]) -> None:
        """Append that they are gone."""
        append(self._path, "".join(f"{key} {REMOVED}\n" for key in keys))


def append(path: str, text: str) -> None:
    """Add `text` to a file, in one piece: whoever is killed has written all of it or nothing."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def last(path: Path) -> dict[str, str]:
    """The last word about each key."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return dict(line.split(" ", 1) for line in lines)


@dataclass(frozen=True)
class Verdict:
    """What became of it."""

    rounds: int
    killed: int
    servers_killed: int
    acknowledged: int
    saved: int
    lost: int
    reordered: int
    seconds: float


class Storm:
    """Where it happens. `home` is a directory of its own."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home = home
        self.dice = random.Random(seed)
        self.source = str(home / "source")
        self.told = str(home / "told")
        self.version = 0
        self.running: dict[int, int] = {}  # process id by place; places from APPS on only write
        self.killed = 0

    def start(self, place: int, url: str) -> None:
        """Fork the process of `place`."""
        self.version += 1_000_000
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                self._work(place, url)
            os._exit(1)
        self.running[place] = child

    def kill(self, place: int) -> None:
        """End the process of `place` in the middle of whatever it does."""
        child = self.running.pop(place)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        self.killed += 1

    def _work(self, place: int, url: str) -> None:
        with Holdfast(url, namespace="storm", timeout="1s", require_server=False) as hf:
            cache = self.cache(hf)
            cache.backlog() if place >= APPS else self._put(place, cache)
            while True:  # a writer: asking keeps it in the background
                time.sleep(0.2)
                with contextlib.suppress(HoldfastError):
                    cache.flush(wait=0.01)

    def cache(self, hf: Holdfast) -> Any:
        """The cache that all of them share."""
        behind = Behind(delay="5ms", lease=LEASE, partitions=4, retry=("5ms", "50ms"))
        return hf.cache("rows", ttl="1h", source=Journal(self.source), write=behind)

    def _put(self, place: int, cache: Any) -> None:
        """Put, and say what was tried and what was acknowledged, until killed."""
        dice = random.Random(self.version)
        for version in range(self.version, self.version + 1_000_000):
            key = f"{place}-{dice.randrange(KEYS)}"
            word = REMOVED if dice.random() < 0.1 else str(version)
            append(self.told, f"tried {key} {version} {word}\n")
            try:
                cache.remove(key) if word == REMOVED else cache.put(key, version)
            except HoldfastError:
                time.sleep(0.01)
                continue
            append(self.told, f"acked {key} {version} {word}\n")

    # --- judgement ------------------------------------------------------------------------------------------

    def lost(self) -> list[str]:
        """Keys whose row is neither what was acknowledged last nor what was tried after that."""
        allowed: dict[str, dict[int, str]] = defaultdict(dict)
        for line in Path(self.told).read_text("utf-8").splitlines():
            how, key, version, word = line.split(" ")
            if how == "acked":
                allowed[key] = {int(version): word}
            else:
                allowed[key][int(version)] = word
        rows = last(Path(self.source))
        acked = {line.split(" ")[1] for line in self.acknowledged()}
        return [key for key in sorted(acked) if rows.get(key, REMOVED) not in allowed[key].values()]

    def acknowledged(self) -> list[str]:
        """What was said to be acknowledged."""
        lines = Path(self.told).read_text("utf-8").splitlines()
        return [line for line in lines if line.startswith("acked")]

    def arrivals(self) -> list[tuple[str, int]]:
        """The rows in the order in which the source got them."""
        lines = Path(self.source).read_text("utf-8").splitlines()
        return [(key, int(word)) for key, word in (line.split(" ") for line in lines) if word != REMOVED]

    def reordered(self) -> list[tuple[str, int]]:
        """The rows that came after a newer one."""
        newest: dict[str, int] = {}
        found = []
        for key, version in self.arrivals():
            if version < newest.get(key, 0):
                found.append((key, version))
            newest[key] = max(version, newest.get(key, 0))
        return found


def run(
    rounds: int, *, server: bool = False, seed: int = 1, calm: float = 0.25, say: bool = False
) -> Verdict:
    """Have a storm of so many rounds, `calm` seconds apart. The caller must have no threads: it forks."""
    begun = time.monotonic()
    servers_killed = 0
    with tempfile.TemporaryDirectory() as home, embedded.start(str(Path(home, "server"))) as place:
        storm = Storm(Path(home), seed)
        url = place.url
        places = range(APPS + 1)
        for one in places:
            storm.start(one, url)
        for number in range(rounds):
            time.sleep(calm * storm.dice.uniform(0.5, 1.5))
            victims = storm.dice.sample(list(places), storm.dice.randint(1, APPS + 1))
            for one in victims:
                storm.kill(one)
            if server and number % 10 == 5:
                place.kill()
                place.restart()
                servers_killed += 1
            for one in victims:
                storm.start(one, url)
            if say and number % 20 == 19:
                print(f"... {number + 1} rounds, {storm.killed} killed", file=sys.stderr, flush=True)
        for one in places:
            storm.kill(one)
        with Holdfast(url, namespace="storm") as hf:
            storm.cache(hf).flush(wait=30)
        return Verdict(
            rounds,
            storm.killed,
            servers_killed,
            len(storm.acknowledged()),
            len(storm.arrivals()),
            len(storm.lost()),
            len(storm.reordered()),
            round(time.monotonic() - begun, 1),
        )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--server", action="store_true", help="kill the server as well, every tenth round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calm", type=float, default=0.25, help="seconds between two rounds, about")
    given = parser.parse_args()
    verdict = run(given.rounds, server=given.server, seed=given.seed, calm=given.calm, say=True)
    print(json.dumps(asdict(verdict)))
    return 1 if verdict.lost or verdict.reordered or not verdict.acknowledged else 0


if __name__ == "__main__":
    sys.exit(main())
