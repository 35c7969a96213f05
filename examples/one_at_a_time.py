"""A report that only one process may write, and a process that is frozen while it does.

Run it: python examples/one_at_a_time.py
"""

import asyncio

from holdfast import AsyncHoldfast, ConflictError, LockLost


async def main() -> None:
    async with AsyncHoldfast("embedded://", namespace="reports") as hf:
        report = hf.lock("report", ttl="10s", wait="5s", label="nightly")
        state = hf.fenced_register("report:state")

        async with report as lease:
            print("held by", (await report.inspect()).owner.split(":")[-1])
            print("somebody else gets", await hf.lock("report").try_acquire())
            await state.write("first", fence=lease.fence)

        try:
            async with report as lease:
                await asyncio.sleep(0.5)
                await hf.execute("DEL", report.key)  # an operator, a failover, a flush
                await asyncio.sleep(60)  # cancelled at once
        except LockLost as lost:
            print("stopped:", lost.cause)

        async with report as newer:
            await state.write("second", fence=newer.fence)
        try:
            await state.write("late", fence=lease.fence)  # as a frozen process would
        except ConflictError as refused:
            print("refused:", type(refused).__name__)
        print("it says", (await state.read()).value)


asyncio.run(main())
