"""What one process does: import the client, run its subscribers, say how they are."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from typing import Any

from holdfast import AsyncHoldfast
from holdfast.cli.worker import found, rules
from holdfast.cli.worker.health import PATIENCE, has_prometheus
from holdfast.cli.worker.options import Options
from holdfast.errors import ConfigurationError, HoldfastError
from holdfast.observe import prometheus, structured_logs


class Work:
    """The subscribers of one client, in this process."""

    def __init__(self, options: Options, number: int) -> None:
        """Import the client. Raises: ConfigurationError."""
        self._options = options
        self._number = number
        self._over = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hf = hf = found.client(options.target)
        target = hf._settings.target
        if options.processes > 1 and target.kind == "embedded" and not target.path:
            raise ConfigurationError(
                "embedded:// is a server of its own in each process; write embedded:///path, which they share"
            )
        self._runnables: list[Any] = [*hf._runnables(options.groups)]
        structured_logs(hf)
        if options.health_port is not None and has_prometheus():
            prometheus(hf)

    @property
    def server(self) -> str:
        """The name of the server."""
        return self._hf._wire.name

    def rows(self) -> list[rules.Row]:
        """What runs here."""
        return [
            rules.Row(_name(one), one.group or "", getattr(one, "order", ""), _concurrency(one))
            for one in self._runnables
        ]

    # --- in the main thread ------------------------------------------------------------------------------

    def run(self, ready: Callable[[], object]) -> None:
        """Run until it is stopped; `ready` is called once the server has answered.

        Raises: ConfigurationError, Unavailable, and what a subscriber failed of.
        """
        hf = self._hf
        if isinstance(hf, AsyncHoldfast):
            asyncio.run(self._run_async(hf, ready))
        else:
            with hf:
                ready()
                hf._running.run(self._runnables, drain=self._options.drain)
                self._over = True

    async def _run_async(self, hf: AsyncHoldfast, ready: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        async with hf:
            ready()
            await hf._running.run(self._runnables, drain=self._options.drain)
            self._over = True

    # --- from any thread ---------------------------------------------------------------------------------

    def stop(self, *, at_once: bool = False) -> None:
        """End it, as a signal would."""
        self._hf._running.stop(at_once=at_once)

    def processes(self) -> list[Mapping[str, Any]]:
        """How it is: the status in a word, the server, and each subscriber."""
        server = self._server()
        subscribers = [_about(one) for one in self._runnables]
        phase = self._hf._running.phase
        if phase == "none":
            phase = "stopping" if self._over else "starting"
        told = {
            "process": self._number,
            "pid": os.getpid(),
            "status": rules.health(phase, server, subscribers),
        }
        return [{**told, "server": server, "subscribers": subscribers}]

    def _server(self) -> Mapping[str, Any]:
        hf, loop = self._hf, self._loop
        try:
            if not isinstance(hf, AsyncHoldfast):
                return hf.health()
            if loop is None or loop.is_closed():
                return {"ok": False}
            asked = asyncio.run_coroutine_threadsafe(hf.health(), loop)
            try:
                return asked.result(PATIENCE)
            finally:
                asked.cancel()
        except (TimeoutError, CancelledError):
            return {"ok": False, "error": "the event loop does not answer: does a handler block it?"}
        except HoldfastError as error:  # it was closed
            return {"ok": False, "error": str(error)}

    def metrics(self) -> str | None:
        """In Prometheus' text format."""
        if not has_prometheus():
            return None
        from prometheus_client import generate_latest

        return generate_latest().decode()


def _name(one: Any) -> str:
    return str(one.name.removesuffix(f"/{one.group}"))


def _concurrency(one: Any) -> str:
    return str(getattr(getattr(one, "options", None), "concurrency", ""))  # projections have none


def _about(one: Any) -> Mapping[str, Any]:
    return {
        "name": _name(one),
        "group": one.group,
        "alive": one.alive,
        "in_flight": getattr(one, "in_flight", None),
    }
