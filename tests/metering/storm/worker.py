"""A process of a storm: `python -m tests.metering.storm.worker '<plan and place, as JSON>'`."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

from holdfast import AsyncHoldfast, Holdfast
from tests.metering.storm.hands import Stage, work
from tests.metering.storm.plan import Plan
from tests.streams.storm.diary import Diary


async def live(told: dict[str, Any], plan: Plan) -> None:
    folder = Path(told["folder"])
    more: dict[str, Any] = {
        "namespace": told["namespace"], "timeout": plan.timeout, "require_server": False
    }  # fmt: skip
    threads = told["flavour"] == "sync"
    hf: Any = (Holdfast if threads else AsyncHoldfast)(told["url"], **more)
    diary = Diary(folder, told["name"])
    stage = Stage(hf, plan, diary, told["name"], folder, threads=threads)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stage.over.set)
    try:
        await work(stage)
    finally:
        await stage.call(hf.close)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the loop takes it over
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    words = json.loads(sys.argv[1])
    asyncio.run(live(words, Plan(**{one.name: words[one.name] for one in fields(Plan)})))
