"""Where things are said: on a terminal, in plain lines, or nowhere."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import NamedTuple


class Part(NamedTuple):
    """A piece of a line, and how it looks where looks are to be had."""

    text: str
    style: str = ""


class Screen:
    """Says nothing: for --json, and for a command that speaks for itself."""

    def starting(self) -> AbstractContextManager[object]:
        """While this is entered, steps are shown."""
        return nullcontext()

    def step(self, text: str) -> None:
        """Something is being done. Called from any thread."""

    def say(self, *parts: Part | str) -> None:
        """A line."""

    def event(self, text: str) -> None:
        """Something happened, just now."""

    def prompt(self) -> None:
        """It is your turn to type."""

    def close(self) -> None:
        """Nothing more will be said."""


class Lines(Screen):
    """One plain line after the other."""

    def step(self, text: str) -> None:
        """Something is being done."""
        self.say(f"- {text}")

    def say(self, *parts: Part | str) -> None:
        """A line."""
        print("".join(_text(part) for part in parts).rstrip(), flush=True)

    def event(self, text: str) -> None:
        """Something happened, just now."""
        self.say(f"{_clock()}  {text}")


class Terminal(Lines):
    """A terminal, with what rich knows about it. Lines are as long as they are: a URL that we break could not
    be copied, one that the terminal breaks can.
    """

    _CLEAR = "\r\x1b[K"

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)
        self._status = self._console.status("")
        self._prompted = False

    def starting(self) -> AbstractContextManager[object]:
        """While this is entered, the latest step is shown beside a spinner, and then disappears."""
        return self._status

    def step(self, text: str) -> None:
        """Something is being done."""
        self._status.update(text)

    def say(self, *parts: Part | str) -> None:
        """A line; it takes the place of the prompt, if there is one."""
        from rich.text import Text

        self._unprompt()
        line = Text.assemble(*(part if isinstance(part, str) else (part.text, part.style) for part in parts))
        self._console.print(line, soft_wrap=True)

    def event(self, text: str) -> None:
        """Something happened, just now."""
        prompted = self._prompted
        self.say(
            "  ", Part(_clock(), "dim"), "  ", Part(text, "green" if text.startswith("all") else "yellow")
        )
        if prompted:
            self.prompt()

    def prompt(self) -> None:
        """It is your turn to type."""
        self._prompted = True
        print("> ", end="", flush=True)

    def close(self) -> None:
        """Nothing more will be said here; what others say begins a line."""
        self._unprompt()

    def _unprompt(self) -> None:
        if self._prompted:
            print(self._CLEAR, end="", flush=True)
            self._prompted = False


def for_people() -> Screen:
    """What suits the standard output."""
    beautiful = sys.stdout.isatty() and find_spec("rich") is not None
    return Terminal() if beautiful else Lines()


def _text(part: Part | str) -> str:
    return part if isinstance(part, str) else part.text


def _clock() -> str:
    return time.strftime("%H:%M:%S")
