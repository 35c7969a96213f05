# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""Events and projections as a client makes and runs them."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import AsyncHoldfast, ConfigurationError, ConflictError, ProjectionFailed
from tests.events.crew import AsyncCrew
from tests.events.world import Paid, Placed, ns


@pytest.mark.everywhere
async def test_the_words_of_the_design_hold(ahf: AsyncHoldfast):
    log = ahf.events("orders")
    for number in range(3):
        await log.append("order-1", [{"n": number}], expected=number)
    assert (await log.append("order-1", ns(3, 4), expected=3)).last == 5
    with pytest.raises(ConflictError) as told:
        await log.append("order-1", ns(9), expected=3)
    assert (told.value.expected, told.value.actual) == (3, 5)
    events = await log.read("order-1", after=0)
    assert [one.version for one in events] == [1, 2, 3, 4, 5]
    assert events[0].value == {"n": 0} and events[0].id and events[0].recorded_at.tzinfo is not None


async def test_a_name_is_one_log(ahf: AsyncHoldfast):
    log = ahf.events("orders", type=Placed | Paid, partitions=2)
    assert ahf.events("orders", type=Placed | Paid, partitions=2) is log
    assert ahf.events("orders") is log and ahf.events("others") is not log
    with pytest.raises(ConfigurationError, match="partitions=2, not 3"):
        ahf.events("orders", type=Placed | Paid, partitions=3)
    wrong: Any = {"color": "red"}
    with pytest.raises(ConfigurationError, match="color"):
        ahf.events("x", **wrong)
    for name in ("", None, 5):
        with pytest.raises(ConfigurationError):
            ahf.events(name)  # type: ignore[arg-type]


async def test_run_runs_projections_until_nothing_is_left(ahf: AsyncHoldfast):
    log = ahf.events("orders", partitions=2)

    async def count(fx: Any, event: Any) -> None:
        fx.incrby(fx.key("sum"), event.value["n"])

    one = log.projection("sums", version=1)(count)
    for number in range(10):
        await log.append(f"s{number}", ns(1))
    await ahf.run(until="idle")
    assert not one.alive
    assert sum([int(await one.query("GET", "sum", partition=part) or 0) for part in (0, 1)]) == 10
    two = log.projection("sums", version=2)(count)
    await log.append("s0", ns(5))
    await ahf.run(until="idle")
    assert sum([int(await two.query("GET", "sum", partition=part) or 0) for part in (0, 1)]) == 15
    assert all(status.active == (status.version == 2) for status in await one.status())


async def test_run_ends_with_the_failure_of_a_projection(ahf: AsyncHoldfast):
    log = ahf.events("orders")

    async def fail(fx: Any, event: Any) -> None:
        raise ZeroDivisionError("by zero")

    log.projection("p", max_attempts=2, retry=(0, 0))(fail)
    await log.append("a", ns(1))
    with pytest.raises(ProjectionFailed, match="by zero"):
        await ahf.run()


async def test_closing_the_client_ends_what_was_started(server, namespace: str):
    ahf = AsyncHoldfast(server.url, namespace=namespace)
    log = ahf.events("orders")

    async def count(fx: Any, event: Any) -> None:
        fx.incrby(fx.key("sum"))

    projection = log.projection("p")(count)
    projection.start()
    await projection.wait(await log.append("a", ns(1)))
    await ahf.close(5.0)
    assert not projection.alive
    await AsyncCrew.rest(0)
