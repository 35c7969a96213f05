"""A process that serves an application of web_apps.py, with several workers, until its standard input ends.

python web_stage.py uvicorn|gunicorn|gunicorn-uvicorn FRAMEWORK      (in a process group of its own)

It tells its port. When whoever started it dies, however that happens, the kernel closes the standard input:
then it kills its whole group, so no worker is left.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WORKERS = 2


def watch() -> None:
    """End with whoever started this."""
    while os.read(0, 4096):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(server: str, framework: str) -> None:
    """Serve."""
    door = socket.create_server(("127.0.0.1", 0), backlog=128)
    door.set_inheritable(True)
    threading.Thread(target=watch, daemon=True).start()
    os.write(1, f"{door.getsockname()[1]}\n".encode())
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    os.environ["WEB_FRAMEWORK"] = framework
    app = "tests.contrib.limits.web_apps:app"
    if server == "uvicorn":
        import uvicorn

        uvicorn.run(
            app, fd=door.fileno(), workers=WORKERS, log_level="error", proxy_headers=False, lifespan="off"
        )
        return
    warnings.simplefilter("ignore")
    from gunicorn.app.wsgiapp import WSGIApplication  # type: ignore[import-untyped]

    worker = "uvicorn.workers.UvicornWorker" if server == "gunicorn-uvicorn" else "sync"
    sys.argv = [
        "gunicorn",
        app,
        "--bind",
        f"fd://{door.fileno()}",
        "--workers",
        str(WORKERS),
        "--worker-class",
        worker,
        "--log-level",
        "error",
        "--graceful-timeout",
        "1",
        "--no-control-socket",
    ]
    WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]").run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
