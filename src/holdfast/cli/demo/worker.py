"""One process of the demo: `python -m holdfast.cli.demo.worker FD`. It ends when the demo does."""

from __future__ import annotations

import os
import sys
import traceback

from holdfast.cli.demo.messages import Failed, Line, Phase, Setup
from holdfast.cli.demo.readers import Reader
from holdfast.cli.demo.writer import Writer


def main(fd: int) -> None:
    """Take orders until the demo is gone."""
    line = Line(fd)
    try:
        setup = line.order()
        assert isinstance(setup, Setup)
        worker = (Reader if setup.role == "reader" else Writer)(setup, line)
        while True:
            phase = line.order()
            assert isinstance(phase, Phase)
            worker.phase(phase)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except Exception:  # noqa: BLE001 (told to the demo, which shows it)
        line.send(Failed(traceback.format_exc()))
    finally:
        sys.stderr.flush()
        os._exit(0)  # at once: threads that still wait for a server must not keep us


if __name__ == "__main__":
    main(int(sys.argv[1]))
