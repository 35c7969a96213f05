# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""A trace goes on where a message is handled."""

from opentelemetry import trace

from holdfast import AsyncHoldfast
from tests.streams.tracing_stage import SPANS


async def test_a_trace_goes_on_in_the_handler(ahf: AsyncHoldfast):
    """found: headers that were not sent; a span that began a trace of its own."""
    SPANS.clear()
    orders = ahf.stream("orders")
    seen = []

    @orders.subscriber("billing", max_deliveries=1)
    async def bill(order, message):
        seen.append((order, trace.get_current_span().get_span_context().trace_id, dict(message.headers)))
        if order == 2:
            raise ValueError("two")

    with trace.get_tracer("shop").start_as_current_span("checkout") as checkout:
        await orders.publish(1, headers={"tenant": "a"})
        await orders.publish_many([2])
    await orders.publish(3, headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    await ahf.run(until="idle")
    own = checkout.get_span_context().trace_id
    assert [(order, found) for order, found, _ in seen] == [(1, own), (2, own), (3, int("a" * 32, 16))]
    assert seen[0][2]["tenant"] == "a"
    handled = [one for one in SPANS.get_finished_spans() if one.name == "process orders"]
    failed = [one.status.status_code is trace.StatusCode.ERROR for one in handled]
    assert failed == [False, True, False]
    assert handled[1].events[0].name == "exception"
    assert dict(handled[0].attributes or {})["messaging.consumer.group.name"] == "billing"
