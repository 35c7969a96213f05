"""A process of a storm: `python -m tests.streams.storm.worker '<plan and place, as JSON>'`.

A producer publishes until the file `over` is there, and begins anew whenever the number in the file `flushed`
has changed; the others handle messages until they get SIGTERM. What they do they write down first.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import itertools
import json
import logging
import os
import random
import signal
import sys
import time
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

from holdfast import AsyncHoldfast, Holdfast, HoldfastError, LockLost
from holdfast.streams import rules
from holdfast.streams._stream_async import AsyncStream
from holdfast.streams._stream_sync import Stream
from holdfast.streams.options import Outgoing
from holdfast.streams.rules import Reject
from tests.streams.storm.diary import Diary
from tests.streams.storm.plan import COURSES, RESULTS, Course, Plan, chosen

BATCHES = (1, 1, 3, 20)
TRIES = itertools.count()


class Failed(Exception):
    """What a handler of a storm raises on purpose."""


# --- producers ----------------------------------------------------------------------------------------------


def message(plan: Plan, producer: str, number: int) -> tuple[dict[str, Any], float | None, bool]:
    """A producer's message: its value, its delay, and whether it is published without an id. With one it is
    the same whenever it is made.
    """
    dice = random.Random(f"{plan.seed}/{producer}/{number}")
    course = COURSES[number % len(COURSES)]
    roll = dice.random()
    what = "ok"
    for kind, share in (("reject", 0.01), ("poison", 0.002), ("flaky", 0.02), ("slow", 0.01)):
        if roll < share:
            what = kind
            break
        roll -= share
    delay = dice.uniform(0.01, 1.0) if dice.random() < 0.03 else None
    key = f"k{dice.randrange(plan.keys)}"
    bare = f"b{os.getpid()}x{next(TRIES)}" if dice.random() < 0.1 else ""  # no id: each try is a new one
    value = {"id": f"{course.name}-{producer}-{number}{bare}", "key": key, "what": what, "number": number}
    return value, delay, bool(bare)


def resumed(folder: Path, name: str, generation: int) -> list[int]:
    """Where a producer goes on whose predecessors were killed: behind what they know to be published."""
    numbers, current = [0] * len(COURSES), -1
    for file in sorted(folder.glob(f"{name}-*"), key=lambda one: one.stat().st_ctime):
        for line in file.read_text().splitlines():
            word, *rest, _ = line.split(" ")
            if word == "generation":
                current = int(rest[0])
                if current == generation:
                    numbers = [0] * len(COURSES)
            elif word == "sent" and current == generation:
                number = int(rest[0].rpartition("-")[2].partition("b")[0])
                at, place = number % len(COURSES), number // len(COURSES)
                numbers[at] = max(numbers[at], place + 1)
    return numbers


def produce(told: dict[str, Any], plan: Plan, folder: Path) -> None:
    diary = Diary(folder, told["name"])
    generation = _generation(folder)
    numbers, goal = resumed(folder, told["name"], generation), 0
    diary.write(("generation", generation))
    dice = random.Random()
    with Holdfast(told["url"], namespace=told["namespace"], timeout=plan.timeout, require_server=False) as hf:
        streams = [hf.stream(course.name, **course.options) for course in COURSES]
        while not (folder / "over").exists() or min(numbers) < goal:
            if generation != _generation(folder):  # the server has been emptied: all again
                generation, goal = _generation(folder), max(goal, *numbers)
                numbers = [0] * len(COURSES)
                diary.write(("generation", generation))
            begun, total = time.monotonic(), 0
            for at, stream in enumerate(streams):
                size = dice.choice(BATCHES)
                made = [
                    message(plan, told["name"], at + len(COURSES) * (numbers[at] + one))
                    for one in range(size)
                ]
                publish(stream, made, diary)
                numbers[at] += size
                total += size
            left = begun + total / plan.rate - time.monotonic()
            if left > 0 and min(numbers) > goal:
                time.sleep(left)


def _generation(folder: Path) -> int:
    return int((folder / "flushed").read_text())


def publish(stream: Any, made: list[Any], diary: Diary) -> None:
    """Publish them, again and again until the server has said that it has them; without an id only once.
    Some are published once more although all was well.
    """
    diary.write(*(("ask", stream.name, one["id"], one["key"], one["what"]) for one, *_ in made))
    for value, delay, bare in made:
        if bare:
            try:
                found = stream.publish(value, key=value["key"], delay=delay)
            except HoldfastError as error:
                diary.write(("failed", type(error).__name__))
            else:
                diary.write(("sent", value["id"], found.id))
    known = [(value, delay) for value, delay, bare in made if not bare]
    items = [Outgoing(value, id=value["id"], key=value["key"], delay=delay) for value, delay in known]
    while items:
        try:
            all_found = stream.publish_many(items)
        except HoldfastError as error:
            diary.write(("failed", type(error).__name__))
            time.sleep(0.02)
        else:
            diary.write(
                *(("sent", one["id"], told.id) for (one, _), told in zip(known, all_found, strict=True))
            )
            if random.random() < 0.05:  # once more, as somebody who was not sure
                with contextlib.suppress(HoldfastError):
                    stream.publish_many(items)
            return


# --- workers ------------------------------------------------------------------------------------------------


def judge(value: dict[str, Any], deliveries: int, dice: random.Random) -> float:
    """Seconds that the handler takes. Raises: Reject, Failed."""
    match value["what"]:
        case "reject":
            raise Reject("no good")
        case "poison":
            raise Failed("never")
        case "flaky" if deliveries < 2:
            raise Failed("once")
        case "slow":
            return dice.uniform(0.02, 0.2)
    return 0.0


def line(course: Course, group: str, value: dict[str, Any], note: Any) -> tuple[Any, ...]:
    return course.name, group, value["id"], note.id, value["key"], note.deliveries


def result(course: Course, group: str, value: dict[str, Any], note: Any) -> dict[str, Any]:
    return {
        "stream": course.name, "group": group, "id": value["id"], "entry": note.id, "key": value["key"]
    }  # fmt: skip


def subscribe(hf: Any, plan: Plan, diary: Diary) -> None:
    results, dice = hf.stream("results", **RESULTS), random.Random()

    def declare(stream: Stream[Any], course: Course, group: str) -> None:
        @stream.subscriber(group, **chosen(plan, course.order))
        def handle(value: dict[str, Any], note: Any) -> None:
            words = line(course, group, value, note)
            diary.write(("began", *words))
            time.sleep(judge(value, note.deliveries, dice))
            if group == "billing":
                try:
                    with note.effects() as fx:
                        fx.publish(results, result(course, group, value, note), key=value["key"])
                        fx.hincrby(note.key("totals"), f"{group}/{value['id']}")
                        fx.incrby(note.key("sum"), value["number"])
                except LockLost as error:
                    diary.write(("lost", error.cause))
                    raise
            diary.write(("done", *words))

    for course in COURSES:
        stream = hf.stream(course.name, **course.options)
        for group in course.groups:
            declare(stream, course, group)


def asubscribe(hf: Any, plan: Plan, diary: Diary) -> None:
    results, dice = hf.stream("results", **RESULTS), random.Random()

    def declare(stream: AsyncStream[Any], course: Course, group: str) -> None:
        @stream.subscriber(group, **chosen(plan, course.order))
        async def handle(value: dict[str, Any], note: Any) -> None:
            words = line(course, group, value, note)
            diary.write(("began", *words))
            await asyncio.sleep(judge(value, note.deliveries, dice))
            if group == "billing":
                try:
                    async with note.effects() as fx:
                        fx.publish(results, result(course, group, value, note), key=value["key"])
                        fx.hincrby(note.key("totals"), f"{group}/{value['id']}")
                        fx.incrby(note.key("sum"), value["number"])
                except LockLost as error:
                    diary.write(("lost", error.cause))
                    raise
            diary.write(("done", *words))

    for course in COURSES:
        stream = hf.stream(course.name, **course.options)
        for group in course.groups:
            declare(stream, course, group)


def dump_on_signal(hf: Any, folder: Path, name: str) -> None:
    """Write the stacks of all threads when SIGUSR1 comes, and what every subscriber has, for SIGUSR2: where
    does it hang?
    """
    file = (folder / f"stacks {name}").open("a")
    faulthandler.register(signal.SIGUSR1, file)

    def tell(*_: Any) -> None:
        for stream in hf.streams():
            for one in stream.runnables():
                print(stream.name, one.group, "ready", one.lanes.ready, file=file)
                for lane in one.lanes._lanes.values():
                    print(" ", lane.name, lane.state, lane.asking, list(lane.queue)[:5], file=file)
                for berth in one._berths:
                    about = (berth.epoch, berth.is_in_doubt, berth.has_lost, berth.is_leaving, berth.suspect)
                    flight = [(told.id, told.deliveries, told.is_over) for told in berth.in_flight.values()]
                    print("  berth", berth.partition.number, about, flight[:5], berth.verdicts[:5], file=file)
        file.flush()

    signal.signal(signal.SIGUSR2, tell)


class Witness:
    """Writes down what the consumers tell."""

    def __init__(self, diary: Diary) -> None:
        self._diary = diary

    def notify(self, signal: Any) -> None:
        match signal:
            case rules.ConsumerStumbled():
                self._diary.write(("stumbled", signal.stream, signal.group, signal.cause.replace(" ", "_")))
            case rules.PartitionMoved() | rules.GroupHealed():
                about = getattr(signal, "cause", "healed") or "taken"
                about = about.replace(" ", "_")
                self._diary.write(("moved", signal.stream, signal.group, signal.partition, about))
            case rules.MessageLost():
                self._diary.write(("took", signal.stream, signal.group, signal.id, signal.cause))


def consume(told: dict[str, Any], plan: Plan, folder: Path) -> None:
    diary = Diary(folder, told["name"])
    more: dict[str, Any] = {
        "namespace": told["namespace"], "timeout": plan.timeout, "require_server": False
    }  # fmt: skip

    drain = random.choice(("20ms", "2s"))  # some handlers take longer than the first

    async def tasks() -> None:
        async with AsyncHoldfast(told["url"], **more) as ahf:
            dump_on_signal(ahf, folder, told["name"])
            ahf.observers.add(Witness(diary))
            asubscribe(ahf, plan, diary)
            await ahf.run(drain=drain)

    if told["flavour"] == "async":
        asyncio.run(tasks())
        return
    with Holdfast(told["url"], **more) as hf:
        dump_on_signal(hf, folder, told["name"])
        hf.observers.add(Witness(diary))
        subscribe(hf, plan, diary)
        hf.run(drain=drain)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # until `run` takes it over
    warnings.simplefilter("ignore")
    log = logging.getLogger("holdfast.streams")
    log.propagate = (
        False  # that handlers fail is not worth a traceback here; why readers rest is worth a line
    )
    log.setLevel(logging.DEBUG)
    teller = logging.StreamHandler()
    teller.addFilter(lambda record: record.levelno in {logging.DEBUG, logging.ERROR})
    teller.setFormatter(logging.Formatter("%(created).3f %(message)s"))
    log.addHandler(teller)
    words = json.loads(sys.argv[1])
    whole = Plan(**{one.name: words[one.name] for one in fields(Plan)})
    (produce if words["flavour"] == "producer" else consume)(words, whole, Path(words["folder"]))
    os._exit(0)
