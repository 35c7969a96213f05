"""The rights that docs/operations.md gives to a service with streams are enough."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path
from typing import Any

from holdfast import Backoff, Holdfast
from holdfast.cli.__main__ import main
from holdfast.streams import books
from holdfast.streams.options import Retention

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def test_the_rights_on_the_page_are_enough_for_streams(own_server: Any, monkeypatch: Any, capsys: Any):
    """Without it somebody who follows the page would find out in production which right is missing."""
    monkeypatch.setattr(books, "SELDOM", 1.0)
    monkeypatch.setattr(books, "OFTEN", 1.0)
    (told,) = re.findall(
        r"redis-cli (ACL SETUSER streamer .*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    with Holdfast(own_server.url) as admin:
        admin.execute(*shlex.split(told.replace("\\\n", "")))
        url = f"redis://streamer:secret@127.0.0.1:{own_server.port}/0"
        with Holdfast(url, namespace="shop") as hf:
            use(hf)
        assert admin.execute("ACL", "LOG") == []
        admin.execute("ACL", "SETUSER", "streamer", "+scan", "+dbsize", "+unlink", "+type", "+incrby")
        with Holdfast(url, namespace="shop") as hf:
            effects(hf)
        for words in (["list"], ["lag"], ["tail", "orders", "--once"], ["dead", "orders", "billing"]):
            assert main(["streams", *words, "--url", url, "--namespace", "shop"]) == 0
        with Holdfast(url, namespace="shop") as hf:
            hf.stream("orders", partitions=2).group("report").delete()
        assert admin.execute("ACL", "LOG") == []
    capsys.readouterr()


def use(hf: Holdfast) -> None:
    """What a service does that publishes and consumes."""
    limits = Retention.limits(max_entries=1, max_bytes="1MB", max_age="1h")
    orders = hf.stream("orders", partitions=2, key=lambda value: value, retention=limits)
    mails = hf.stream("mails", retention=Retention.work_queue())

    @orders.subscriber(group="billing", max_deliveries=2, retry=Backoff("1ms"))
    def bill(value: int) -> None:
        raise ValueError

    @orders.subscriber(group="report", order="none", retry=Backoff("1ms"))
    def report(value: int, message: Any) -> None:
        if message.deliveries == 1:
            raise ValueError

    @mails.subscriber(group="send")
    def send(value: int) -> None: ...

    orders.publish_many(range(10))
    orders.publish(1, id="a", delay="1ms")
    mails.publish(1)
    assert orders.cancel(orders.publish(1, delay="1h").id)
    hf.run(until="idle")
    time.sleep(1.3)
    hf.run(until="idle")  # and now it tidies up
    books_of_billing = orders.group("billing")
    assert books_of_billing.lag().exact and books_of_billing.members() == []
    dead = orders.dead_letters("billing")
    letters = dead.list()
    assert len(letters) == 11 and dead.replay(letters[0]) == 1 and dead.purge() == 10
    books_of_billing.seek("first")
    assert orders.read(limit=1) and orders.info().bytes
    orders.publish_many([1] * 1100)


def effects(hf: Holdfast) -> None:
    """What a handler writes in one step with its acknowledgement."""
    bills = hf.stream("bills")

    @bills.subscriber(group="add", max_deliveries=1)
    def add(value: int, message: Any) -> None:
        with message.effects() as fx:
            fx.incrby(message.key("total"), value)

    bills.publish(1)
    hf.run(until="idle")
    assert bills.stats()["add"].handled == 1
