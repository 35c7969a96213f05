"""What the processes of a storm write down, a line at a time: whoever is killed leaves whole lines."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from holdfast.testing.histories_messages import Entry, Handled, Sent


class Diary:
    """The lines of one process."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = os.open(folder / f"{name}-{os.getpid()}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *lines: tuple[Any, ...]) -> None:
        """In one go, each with the time."""
        now = f"{time.time():.6f}"
        text = "".join(" ".join((*map(str, words), now)) + "\n" for words in lines)
        os.write(self._file, text.encode())


def entry_of(id: str) -> Entry:
    """The place in the order of a stream, by the id of its entry."""
    return tuple(int(part) for part in id.split("-"))


class Pages:
    """What all have written: of each stream what was sent, and how it was handled."""

    def __init__(self, folder: Path) -> None:
        self.sent: dict[str, list[Sent]] = {}
        self.handled: dict[str, list[Handled]] = {}
        self.stumbled: list[str] = []
        self.words: dict[str, int] = {}
        for file in sorted(folder.glob("[pw]*-*")):
            self._read(file.read_text().splitlines())

    def _read(self, lines: list[str]) -> None:
        asked: dict[str, tuple[float, bool, str]] = {}
        begun: dict[tuple[str, ...], list[Handled]] = {}
        for line in lines:
            word, *rest, at = line.split(" ")
            self.words[word] = self.words.get(word, 0) + 1
            when = float(at)
            if word == "ask":
                stream, id, _, what = rest
                asked[id] = (when, what in {"reject", "poison"}, stream)
            elif word == "sent":
                call, poison, stream = asked.pop(rest[0])
                self.sent.setdefault(stream, []).append(Sent(rest[0], call, when, poison))
            elif word == "stumbled":
                self.stumbled.append(" ".join(rest))
            elif word == "began":
                stream, group, id, entry, key = rest[:5]
                one = Handled(group, id, entry_of(entry), key, when)
                begun.setdefault((stream, group, id), []).append(one)
            elif word == "done":
                stream, group, id = rest[:3]
                one = begun[stream, group, id].pop()
                self.handled.setdefault(stream, []).append(one._replace(done=when))
        for id, (call, poison, stream) in asked.items():
            self.sent.setdefault(stream, []).append(Sent(id, call, poison=poison))
        for (stream, *_), left in begun.items():
            self.handled.setdefault(stream, []).extend(left)
