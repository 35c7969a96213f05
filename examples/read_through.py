"""Read-through and write-through: the cache knows its source. Run it: python examples/read_through.py"""

import sqlite3
from collections.abc import Iterable, Mapping

from holdfast import Holdfast


class PriceTable:
    """A source: the three methods that a cache needs to read and write by itself."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:")
        self.db.execute("CREATE TABLE prices (item TEXT PRIMARY KEY, price REAL)")

    def load_many(self, items: Iterable[str]) -> Mapping[str, float]:
        """The prices of `items`; one that is left out has none."""
        wanted = list(items)
        marks = ",".join("?" * len(wanted))
        return dict(self.db.execute(f"SELECT item, price FROM prices WHERE item IN ({marks})", wanted))  # noqa: S608

    def save_many(self, prices: Mapping[str, float]) -> None:
        """Commit before returning."""
        with self.db:
            self.db.executemany("INSERT OR REPLACE INTO prices VALUES (?, ?)", prices.items())

    def delete_many(self, items: Iterable[str]) -> None:
        """Commit before returning; an item that is not there is no error."""
        with self.db:
            self.db.executemany("DELETE FROM prices WHERE item = ?", [(item,) for item in items])


def main() -> None:
    with Holdfast("embedded://") as hf:
        prices = hf.cache(
            "prices", ttl="5m", negative_ttl="30s", type=float, source=PriceTable(), write="through"
        )

        print(prices.get("tea", default="no price"))  # asked, and remembered for 30 seconds
        prices.put("tea", 3.5)  # to the table first, then to the cache
        print(prices.get("tea"))  # from the cache
        prices.remove("tea")
        print(prices.get("tea", default="no price"))


if __name__ == "__main__":
    main()
