"""Workers that are killed in the middle of their work: nothing is lost, nothing is done twice.

Run it: python examples/orders.py
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from holdfast import Holdfast, Message, Retention
from holdfast.embedded import start

ORDERS = 2_000


@dataclass
class Order:
    number: int
    customer: str
    cents: int


def shop(url: str) -> Holdfast:
    hf = Holdfast(url, namespace="shop")
    orders = hf.stream(
        "orders",
        type=Order,
        partitions=4,
        key=lambda order: order.customer,
        retention=Retention.work_queue(),
    )

    @orders.subscriber("billing", lease="1s")
    def bill(order: Order, message: Message) -> None:
        time.sleep(0.001)  # some work
        with message.effects() as fx:
            fx.incrby(message.key("cents"), order.cents)
            fx.incrby(message.key("bills"))

    return hf


def main() -> None:
    with start() as server, shop(server.url) as hf:
        orders = hf.stream("orders")
        orders.publish_many(Order(number, f"customer {number % 50}", 100) for number in range(ORDERS))
        workers = [subprocess.Popen([sys.executable, __file__, server.url]) for _ in range(3)]
        billing, killed = orders.group("billing"), 0
        while (lag := billing.lag()).entries or lag.pending:
            print(f"to be read {lag.entries:5}   being handled {lag.pending:4}   killed {killed}")
            time.sleep(0.5)
            if killed < 3 and lag.pending:  # in the middle of its work
                victim = workers.pop(0)
                os.kill(victim.pid, signal.SIGKILL)
                victim.wait()
                killed += 1
                workers.append(subprocess.Popen([sys.executable, __file__, server.url]))
        for worker in workers:
            worker.terminate()
            worker.wait()
        totals = {"bills": 0, "cents": 0}
        for number in range(4):
            for name in totals:
                totals[name] += int(hf.execute("GET", orders.key(name, partition=number)) or 0)
        print(f"{ORDERS} orders, {totals['bills']} bills, {totals['cents']} cents; {killed} workers killed")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with shop(sys.argv[1]) as worker:
            worker.run()
    else:
        main()
