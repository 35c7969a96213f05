"""Traces that go on where a message is handled: W3C trace context in its headers, if OpenTelemetry is loaded.

Nothing is imported here: a program that traces has OpenTelemetry loaded before it publishes, and one that
does not shall pay nothing. After the semantic conventions for messaging spans.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

SILENT: AbstractContextManager[object] = nullcontext()


def is_on() -> bool:
    """Has this program loaded OpenTelemetry?"""
    return "opentelemetry.propagate" in sys.modules and "opentelemetry.trace" in sys.modules


def carried(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """`headers`, and those of the current trace (traceparent, tracestate), unless they are there already."""
    if not is_on() or (headers and "traceparent" in headers):
        return headers
    own: dict[str, str] = {}
    sys.modules["opentelemetry.propagate"].inject(own)
    return {**own, **(headers or {})} if own else headers


def handling(stream: str, group: str, id: str, headers: Mapping[str, str]) -> AbstractContextManager[Any]:
    """A span around a handler, the child of the one in which the message was published."""
    trace, propagate = sys.modules["opentelemetry.trace"], sys.modules["opentelemetry.propagate"]
    span: AbstractContextManager[Any] = trace.get_tracer("holdfast").start_as_current_span(
        f"process {stream}",
        context=propagate.extract(dict(headers)),
        kind=trace.SpanKind.CONSUMER,
        attributes={
            "messaging.system": "redis",
            "messaging.operation.type": "process",
            "messaging.destination.name": stream,
            "messaging.consumer.group.name": group,
            "messaging.message.id": id,
        },
    )
    return span
