"""What happens inside Holdfast, made visible: structured logs and Prometheus metrics. Imported lazily.

structured_logs(hf)        one log line for each signal, with its fields in `extra`
JsonFormatter              writes such lines as JSON, if your logging does not do so already
prometheus(hf)             counters and gauges, read when they are scraped (pip install
"holdfast[prometheus]")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.observe.logs import JsonFormatter, structured_logs
    from holdfast.observe.metrics import prometheus

__all__ = ["JsonFormatter", "prometheus", "structured_logs"]

_HOME = {"structured_logs": "logs", "JsonFormatter": "logs", "prometheus": "metrics"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
