"""A storm over operations: processes that are killed and frozen at random while they work.

    python -m tests.operations.storm --operations 10000 --workers 8 --calm 0.4

Each worker runs operations, and watches for those of others; half of them use threads, half asyncio. What an
attempt does is written to a file, in one write per line. At the end: is every operation done, by one attempt
only; did none begin after that; were those that were frozen refused; and how late was recovery?

The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from holdfast import AsyncHoldfast, Holdfast, HoldfastError, OperationError
from holdfast.operations._async import AsyncOperations
from holdfast.operations._sync import Operations
from holdfast.operations.options import OperationLost, OperationsOptions

ROOT = Path(__file__).parents[2]
HANDS = 4  # of one worker
BODY = 0.03  # seconds of each of its three parts, at most; set by --body
NAME = "storm"


def options(lease: float) -> OperationsOptions:
    return OperationsOptions(
        lease=lease, ttl="1h", max_attempts=1000, partitions=4, retry=(0.01, 0.1), accept_loss=True
    )


# --- a worker -----------------------------------------------------------------------------------------------


class Diary:
    """Lines of a file that several processes write to."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())

    def ready(self) -> None:
        """This process watches from now on."""
        Path(f"{self._path}-{os.getpid()}").touch()


def work(op: Any, diary: Diary) -> None:
    """One attempt, in a thread."""
    diary.write("began", op.id, op.fence, op.attempt)
    try:
        for step in ("a", "b"):
            if step not in op.checkpoints:
                time.sleep(random.uniform(0, BODY))
                op.checkpoint(step, op.fence)
        time.sleep(random.uniform(0, BODY))
        op.complete(op.fence)
    except OperationLost as error:
        diary.write("refused", op.id, op.fence, error.cause)
        raise
    diary.write("done", op.id, op.fence)


async def awork(op: Any, diary: Diary) -> None:
    """One attempt, in a task."""
    diary.write("began", op.id, op.fence, op.attempt)
    try:
        for step in ("a", "b"):
            if step not in op.checkpoints:
                await asyncio.sleep(random.uniform(0, BODY))
                await op.checkpoint(step, op.fence)
        await asyncio.sleep(random.uniform(0, BODY))
        await op.complete(op.fence)
    except OperationLost as error:
        diary.write("refused", op.id, op.fence, error.cause)
        raise
    diary.write("done", op.id, op.fence)


def resource(id: int) -> str:
    return f"account:{id % 97}"


def threads(url: str, namespace: str, lease: float, diary: Diary) -> None:
    with Holdfast(url, namespace=namespace) as hf:
        ops: Any = Operations(hf._wire, NAME, options(lease))

        def hand() -> None:
            while True:
                try:
                    found = hf.execute("LPOP", hf.key("todo"))
                    if found is None:
                        time.sleep(0.2)
                        continue
                    with ops.run(resource(int(found)), int(found)) as op:
                        work(op, diary)
                except OperationLost as error:
                    diary.write("lost", error.cause)
                except (OperationError, HoldfastError):
                    continue

        with ops.watch(lambda op: work(op, diary), concurrency=HANDS):
            diary.ready()
            for _ in range(HANDS - 1):
                threading.Thread(target=hand, daemon=True).start()
            hand()


async def tasks(url: str, namespace: str, lease: float, diary: Diary) -> None:
    async with AsyncHoldfast(url, namespace=namespace) as ahf:
        ops: Any = AsyncOperations(ahf._wire, NAME, options(lease))

        async def handler(op: Any) -> None:
            await awork(op, diary)

        async def hand() -> None:
            while True:
                try:
                    found = await ahf.execute("LPOP", ahf.key("todo"))
                    if found is None:
                        await asyncio.sleep(0.2)
                        continue
                    async with ops.run(resource(int(found)), int(found)) as op:
                        await awork(op, diary)
                except OperationLost as error:
                    diary.write("lost", error.cause)
                except (OperationError, HoldfastError):
                    continue

        async with ops.watch(handler, concurrency=HANDS):
            diary.ready()
            await asyncio.gather(*(hand() for _ in range(HANDS)))


# --- the storm ----------------------------------------------------------------------------------------------


class Storm:
    """Starts workers, and kills and freezes them."""

    def __init__(self, url: str, namespace: str, lease: float, place: Path, seed: int) -> None:
        self._command = [sys.executable, "-m", "tests.operations.storm", "--worker", url, namespace]
        self._command += [str(place / "diary"), "--lease", str(lease), "--body", str(BODY)]
        self._diary = place / "diary"
        self._lease = lease
        self._dice = random.Random(seed)
        self._workers: list[subprocess.Popen[bytes]] = []
        self._frozen: dict[subprocess.Popen[bytes], float] = {}
        self.kills = self.stops = self.crashes = 0

    def start(self, count: int) -> None:
        for _ in range(count):
            kind = "threads" if len(self._workers) % 2 else "tasks"
            self._workers.append(self._hire(kind))

    def _hire(self, kind: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            "PYTHONWARNINGS": "ignore",
        }
        errors = subprocess.DEVNULL
        return subprocess.Popen([*self._command, "--kind", kind], cwd=ROOT, env=environment, stderr=errors)

    def strike(self) -> None:
        """Kill one, or freeze one, and thaw those that have been frozen for long enough.

        At least half of them are to be at work: how late recovery is would else say how long Python takes to
        start on a busy machine.
        """
        self.thaw()
        self.replace()
        at_work = [one for one in self._workers if one not in self._frozen and self._is_ready(one)]
        if len(at_work) <= len(self._workers) / 2:
            return
        at = self._dice.randrange(len(self._workers))
        worker = self._workers[at]
        if worker in self._frozen:
            return
        if self._dice.random() < 0.5:
            worker.kill()
            worker.wait()
            self._workers[at] = self._hire("threads" if at % 2 else "tasks")
            self.kills += 1
        else:
            worker.send_signal(signal.SIGSTOP)
            self._frozen[worker] = time.monotonic() + self._lease * self._dice.uniform(0.5, 3)
            self.stops += 1

    def replace(self) -> None:
        """Hire somebody for whoever has ended by himself."""
        for at, worker in enumerate(self._workers):
            if worker.poll() is not None:
                self._workers[at] = self._hire("threads" if at % 2 else "tasks")
                self.crashes += 1

    def _is_ready(self, worker: subprocess.Popen[bytes]) -> bool:
        return Path(f"{self._diary}-{worker.pid}").exists()

    def thaw(self, *, all: bool = False) -> None:
        for worker, until in list(self._frozen.items()):
            if all or time.monotonic() >= until:
                worker.send_signal(signal.SIGCONT)
                del self._frozen[worker]

    def end(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.wait()


def blow(
    url: str, count: int, workers: int, lease: float, calm: float, seed: int, longest: float
) -> dict[str, Any]:
    namespace = f"storm{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder, Holdfast(url, namespace=namespace) as hf:
        ops: Any = Operations(hf._wire, NAME, options(lease))
        storm = Storm(url, namespace, lease, Path(folder), seed)
        began = time.monotonic()
        submit(hf, range(count))
        storm.start(workers)
        try:
            while time.monotonic() < began + longest and hf.execute("LLEN", hf.key("todo")):
                time.sleep(random.uniform(0.5, 1.5) * calm)
                storm.strike()
            storm.thaw(all=True)
            while (left := remaining(hf, ops, count)) and time.monotonic() < began + 2 * longest:
                storm.replace()
                if not hf.execute("LLEN", hf.key("todo")) and not ops.backlog().pending:
                    submit(hf, unknown(ops, count))  # popped by a worker that died before it began them
                time.sleep(0.1)
            took = time.monotonic() - began
            time.sleep(3 * lease)  # whoever was frozen has found out
        finally:
            storm.end()
        lines = (Path(folder) / "diary").read_text().splitlines()
        struck = {"killed": storm.kills, "frozen": storm.stops, "crashed": storm.crashes}
        told = {"operations": count, "left": left, "seconds": round(took, 1), "lease": lease}
        return {**told, **struck, **judge(ops, count, lines)}


def submit(hf: Holdfast, ids: Any) -> None:
    for id in ids:
        hf.execute("RPUSH", hf.key("todo"), id)


def remaining(hf: Holdfast, ops: Any, count: int) -> int:
    return count - ops.backlog().done


def unknown(ops: Any, count: int) -> list[int]:
    return [id for id in range(count) if ops.inspect(resource(id), id) is None]


_AGO = re.compile(r"ended (\d+) ms ago")


def judge(ops: Any, count: int, lines: list[str]) -> dict[str, Any]:
    """What the diary and the records say."""
    began: dict[int, list[int]] = defaultdict(list)
    done: dict[int, set[int]] = defaultdict(set)
    words: Counter[str] = Counter()
    for line in lines:
        word, *rest = line.split()
        words[word] += 1
        if word == "began":
            began[int(rest[0])].append(int(rest[1]))
        if word == "done":
            done[int(rest[0])].add(int(rest[1]))
    twice = late = unordered = missing = attempts = 0
    lateness: list[int] = []
    for id in range(count):
        status = ops.inspect(resource(id), id)
        if status is None or status.state != "done":
            missing += 1
            continue
        winners = done[id] | {status.result}
        twice += len(winners) > 1
        late += any(fence > status.result for fence in began[id])
        unordered += began[id] != sorted(began[id]) and not frozen_between(began[id])
        attempts += status.attempt
        lateness += [int(found[1]) for one in status.failures if (found := _AGO.search(one.error))]
    lateness.sort()
    backlog = ops.backlog()
    return {
        "done": count - missing, "done_twice": twice, "begun_after_done": late, "attempts": attempts,
        "interrupted": len(lateness), "refused": words["refused"], "lost": words["lost"],
        "late_p50_ms": at(lateness, 0.5), "late_p99_ms": at(lateness, 0.99), "late_max_ms": at(lateness, 1.0),
        "pending": backlog.pending, "dead": backlog.dead, "out_of_order": unordered,
    }  # fmt: skip


def frozen_between(fences: list[int]) -> bool:
    """An attempt that was frozen between its grant and its line in the diary writes that line late."""
    return len(set(fences)) == len(fences)


def at(values: list[int], part: float) -> int | None:
    return values[min(len(values) - 1, int(len(values) * part))] if values else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--lease", type=float, default=0.8, help="seconds")
    parser.add_argument("--calm", type=float, default=0.4, help="seconds between two strikes, about")
    parser.add_argument("--longest", type=float, default=600, help="seconds of storm")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--url", help="a server; by default one is started")
    parser.add_argument("--worker", nargs=3, metavar=("URL", "NAMESPACE", "DIARY"), help=argparse.SUPPRESS)
    parser.add_argument("--kind", default="threads", help=argparse.SUPPRESS)
    parser.add_argument("--body", type=float, default=BODY, help="seconds of each part of it, at most")
    chosen = parser.parse_args()
    globals()["BODY"] = chosen.body
    if chosen.worker:
        url, namespace, path = chosen.worker
        if chosen.kind == "threads":
            threads(url, namespace, chosen.lease, Diary(path))
        else:
            asyncio.run(tasks(url, namespace, chosen.lease, Diary(path)))
        return
    with contextlib.ExitStack() as stack:
        url = chosen.url
        if url is None:
            from holdfast.testing.servers import start, wanted

            url = stack.enter_context(start(wanted()[0])).url
        found = blow(
            url, chosen.operations, chosen.workers, chosen.lease, chosen.calm, chosen.seed, chosen.longest
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
