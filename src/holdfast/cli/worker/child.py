"""One process of several: `python -P -m holdfast.cli.worker.child JSON`, started by the supervisor."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from typing import Any

from holdfast.cli.worker import logs, rules
from holdfast.cli.worker.line import Line, Message
from holdfast.cli.worker.options import Options
from holdfast.cli.worker.work import Work
from holdfast.errors import ConfigurationError, HoldfastError


class Child:
    """Does its work, and what the supervisor says; ends when that is gone."""

    def __init__(self, options: Options, number: int, sock: socket.socket) -> None:
        self._options = options
        self._number = number
        self._work: Work | None = None
        self._line = Line(sock, self._hear, self._orphaned)

    def run(self) -> int:
        """The exit code."""
        try:
            self._work = work = Work(self._options, self._number)
            work.run(lambda: self._line.tell(ready=work.rows(), server=work.server))
        except ConfigurationError as error:
            self._line.tell(failed=str(error))
            return rules.WRONG_USAGE
        except HoldfastError as error:
            self._line.tell(failed=f"{type(error).__name__}: {error}")
            return rules.FAILED
        return rules.OK

    # --- in the thread of the line -----------------------------------------------------------------------

    def _hear(self, message: Message) -> None:
        if "ask" in message:  # aside: the server may be away, and a stop must not wait for it
            threading.Thread(target=self._answer, args=(message,), daemon=True).start()
        else:
            self._stop(at_once=message["stop"] == "at once")

    def _answer(self, message: Message) -> None:
        work, answer = self._work, None
        if work is not None:
            answer = work.processes()[0] if message["ask"] == "health" else work.metrics()
        self._line.tell(answer=answer, number=message["number"])

    def _stop(self, *, at_once: bool) -> None:
        if self._work is None:  # it imports still: nothing is in work
            os._exit(rules.OK)
        self._work.stop(at_once=at_once)

    def _orphaned(self) -> None:
        """The supervisor is dead: nobody would end us."""
        end = threading.Timer(self._options.patience + rules.GRACE, os._exit, (rules.FAILED,))
        end.daemon = True
        end.start()
        self._stop(at_once=False)


def main() -> int:
    """The exit code."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    sock = socket.socket(fileno=told["line"])
    sock.set_inheritable(False)  # what the user's code starts must not keep the line open
    groups = told["options"]["groups"]
    options = Options(**{**told["options"], "groups": None if groups is None else tuple(groups)})
    logs.begin(options.log, told["number"])
    return Child(options, told["number"], sock).run()


if __name__ == "__main__":
    sys.exit(main())
