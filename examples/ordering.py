"""An order that is what happened to it, and two views that are made of all orders.

Run it: python examples/ordering.py
"""

from dataclasses import dataclass, replace
from typing import Any

from holdfast import ConflictError, Holdfast, ProjectionEffects, StoredEvent

Event = StoredEvent[Any]


@dataclass
class Placed:
    customer: str
    cents: int


@dataclass
class Paid:
    cents: int


@dataclass
class Shipped:
    parcel: str


@dataclass
class Order:
    due: int = 0
    shipped: bool = False


def apply(order: Order, event: Event) -> Order:
    """What an order is after one more event."""
    match event.value:
        case Placed(_, cents):
            return replace(order, due=cents)
        case Paid(cents):
            return replace(order, due=order.due - cents)
        case Shipped():
            return replace(order, shipped=True)


with Holdfast("embedded://", namespace="shop") as hf:
    orders = hf.events("orders", type=Placed | Paid | Shipped)

    def ship(order_id: str, parcel: str, seen: int | None = None) -> None:
        """Decide on what is known, and append only if that is still all there is."""
        order, version, _ = orders.load(order_id, apply, Order())
        if order.due or order.shipped:
            raise ValueError(f"{order_id} cannot be shipped: {order}")
        orders.append(order_id, [Shipped(parcel)], expected=version if seen is None else seen, id=parcel)

    orders.append("order-1", [Placed("ann", 500)], expected=0)
    try:
        ship("order-1", "parcel-7")
    except ValueError as error:
        print(error)
    orders.append("order-1", [Paid(500)], expected=1)
    try:
        ship("order-1", "parcel-7", seen=1)  # somebody who had read it before it was paid
    except ConflictError as error:
        print(f"expected version {error.expected}, but it is {error.actual}")
    ship("order-1", "parcel-7")
    orders.append("order-2", [Placed("ann", 300)], expected=0)
    for event in orders.read("order-1"):
        print(event.version, event.value)

    @orders.projection("customers")
    def customers(fx: ProjectionEffects, event: Event) -> None:
        if isinstance(event.value, Placed):
            fx.hincrby(fx.key("spent"), event.value.customer, event.value.cents)

    customers.start()  # or hf.run(), in every process
    customers.wait(orders.append("order-3", [Placed("bob", 200)], expected=0))
    print(customers.query("HGET", "spent", "ann"), customers.query("HGET", "spent", "bob"))

    @orders.projection("customers", version=2)  # built of all events, beside the first
    def customers_2(fx: ProjectionEffects, event: Event) -> None:
        if isinstance(event.value, Paid):
            fx.hincrby(fx.key("spent"), event.stream, event.value.cents)

    hf.run(until="idle")
    customers.close()
    print(customers.query("HGET", "spent", "order-1"), "by version 2")
    print(customers_2.drop(1), "key of version 1 deleted")
