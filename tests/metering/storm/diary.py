"""What the hands of a storm write down: a word and its facts, a line each."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.streams.storm.diary import Diary

Fact = dict[str, Any]


def note(diary: Diary, word: str, **facts: Any) -> None:
    diary.write((word, json.dumps(facts, separators=(",", ":"))))


def pages(folder: Path) -> dict[str, list[Fact]]:
    """What all have written, by the word. Each fact has `who`: a process. `at`: when it was asked for and
    answered.
    """
    found: dict[str, list[Fact]] = defaultdict(list)
    for file in sorted(folder.glob("w*-*")):
        for line in file.read_text().splitlines():
            word, _, rest = line.partition(" ")
            found[word].append({"who": file.name} | json.loads(rest.rpartition(" ")[0]))
    return found
