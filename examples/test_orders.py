"""How a service tests what it caches: on a real server, with the fixtures that Holdfast brings.

Run it: pytest examples/test_orders.py
"""

from collections.abc import Callable

from holdfast import Cache, Holdfast
from holdfast.embedded import Server
from holdfast.testing import FaultProxy


class Orders:
    """The service under test."""

    def __init__(self, hf: Holdfast, load: Callable[[int], list[str]]) -> None:
        self.cache: Cache[list[str]] = hf.cache("orders", ttl="5m", timeout="200ms")
        self.load = load

    def of(self, user_id: int) -> list[str]:
        return self.cache.get_or_set(user_id, lambda: self.load(user_id))


def test_the_second_reader_does_not_ask_the_database(hf: Holdfast) -> None:
    asked = []

    def load(user_id: int) -> list[str]:
        asked.append(user_id)
        return ["tea"]

    orders = Orders(hf, load)

    assert orders.of(42) == orders.of(42) == ["tea"]

    assert asked == [42]


def test_readers_are_served_while_the_cache_is_away(faults: FaultProxy, namespace: str) -> None:
    with Holdfast(faults.url, namespace=namespace) as hf:
        orders = Orders(hf, lambda _: ["tea"])
        orders.of(42)

        faults.refuse()
        faults.cut()

        assert orders.of(42) == ["tea"]
        assert orders.cache.stats().bypassed == 1


def test_a_restarted_server_is_an_empty_cache(own_server: Server) -> None:
    with Holdfast(own_server.url) as hf:
        orders = Orders(hf, lambda _: ["tea"])
        orders.of(42)

        own_server.kill()
        own_server.restart()

        assert orders.of(42) == ["tea"]
        assert orders.cache.stats().loads == 2
