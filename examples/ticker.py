"""A ticker whose subscriber loses its connection and its patience, and is told what it has missed.

Run it: python examples/ticker.py
"""

import asyncio

from holdfast import AsyncHoldfast, Gap, TopicMessage


def shown(message: TopicMessage[int] | Gap | None) -> object:
    """The price; or what is missing, so that whoever needs all of them loads them anew."""
    if isinstance(message, TopicMessage):
        return message.value
    return f"{message.missed} missed ({message.reason})" if message else "nothing"


async def main() -> None:
    async with AsyncHoldfast("embedded://", namespace="shop") as hf:
        prices = hf.topic("prices", type=int, history=3)

        async with prices.subscribe() as messages:
            await prices.publish(100)
            await hf.execute("CLIENT", "KILL", "TYPE", "pubsub")  # a firewall, a failover, a bad day
            await prices.publish(101)
            print("in order:", shown(await messages.get()), shown(await messages.get()))
            position = messages.position  # what a browser keeps as Last-Event-ID

        await prices.publish(102)
        async with prices.subscribe(after=position) as messages:
            print("while away:", shown(await messages.get()))
            position = messages.position

        for price in range(103, 110):  # more than the history keeps
            await prices.publish(price)
        async with prices.subscribe(after=position) as messages:
            async for message in messages:
                print("then:", shown(message))
                if shown(message) == 109:
                    break


asyncio.run(main())
