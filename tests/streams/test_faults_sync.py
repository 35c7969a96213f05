# Generated from test_faults_async.py by tools/unasync.py. Do not edit.
"""What a stream does when replies are lost, links are cut, and the server forgets: nothing is lost, and what
`effects()` wrote is never doubled.

Each guard was removed by hand; "Without it" says what was seen then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast._compat import sleep
from holdfast.streams import rules
from holdfast.streams.options import Backoff
from tests.cache.crowd import Crowd, Observer

AT_ONCE = Backoff(0)
TRIES = 20  # of one request, at most


def watched(hf: Holdfast) -> Observer:
    """Everything that this client tells from now on."""
    observer = hf._wire.observer = Observer()  # type: ignore[assignment]
    return observer


def told(observer: Observer, kind: type) -> list[Any]:
    """The signals of `kind`."""
    return [one for one in list(observer.seen) if isinstance(one, kind)]


def base(hf: Holdfast, name: str = "numbers") -> Any:
    """The keys of the only partition of a stream."""
    return hf.stream(name)._desk.layout.parts[0]


class Shop:
    """A consumer of `numbers` that remembers what it handled, and counts it by effects."""

    def __init__(self, hf: Holdfast, *, effects: bool = False, **options: Any) -> None:
        self.hf = hf
        self.seen: list[tuple[int, int]] = []
        self.fail: set[int] = set()
        self.at: dict[int, Callable[[], Any]] = {}  # what happens when a number is handled
        self.numbers = hf.stream("numbers")
        self._effects = effects

        def handle(number: int, message: Any) -> None:
            self.seen.append((number, message.deliveries))
            if number in self.at:
                self.at.pop(number)()
            if number in self.fail:
                self.fail.discard(number)
                raise ValueError(number)
            if self._effects:
                with message.effects() as fx:
                    fx.hincrby(message.key("sums"), str(number))

        chosen: dict[str, Any] = {"retry": AT_ONCE, "lease": "2s", **options}
        self.numbers.subscriber("g", **chosen)(handle)

    @property
    def handled(self) -> list[int]:
        """The numbers, as they came."""
        return [number for number, _ in self.seen]

    def counted(self, ask: Holdfast) -> dict[int, int]:
        """What the effects have written."""
        flat = ask.execute("HGETALL", base(self.hf).user("sums"))
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        return {int(name): int(count) for name, count in pairs}


# --- lost replies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [1, 2])
def test_a_publish_whose_reply_is_lost_adds_one_entry(
    hf: Holdfast, faults: Any, namespace: str, lost: int
):
    """Without the client's request numbers it was there twice."""
    with Holdfast(faults.url, namespace=namespace) as mine:
        numbers = mine.stream("numbers")
        numbers.publish(0)
        faults.drop_replies(lost, match=rules.PUBLISH.digest.encode())
        one = numbers.publish(1)
        faults.drop_replies(lost, match=rules.PUBLISH.digest.encode())
        many = numbers.publish_many([2, 3])
        faults.drop_replies(lost, match=rules.PUBLISH.digest.encode())
        late = numbers.publish(4, delay="1h")
    entries = hf.execute("XRANGE", base(hf).stream, "-", "+")
    assert [id.decode() for id, _ in entries[1:]] == [one.id, *(each.id for each in many)]
    assert hf.execute("ZRANGE", base(hf).at, 0, -1) == [late.id[1:].encode()]
    assert not any(each.duplicate for each in (one, late, *many))


@pytest.mark.parametrize("order", ["none", "key"])
@pytest.mark.parametrize("script", ["TURN", "SETTLE", "EFFECTS", "LEAVE", "MINE"])
def test_a_lost_reply_loses_and_doubles_nothing(
    hf: Holdfast, faults: Any, namespace: str, script: str, order: Any
):
    """Without mine.lua what a turn had taken was not handled before the worker's end; without request ids
    effects were doubled, and settled messages counted as lost.
    """
    with Holdfast(faults.url, namespace=namespace) as mine:
        observer = watched(mine)
        shop = Shop(mine, effects=script == "EFFECTS", order=order)
        hf.stream("numbers").publish_many(range(12))
        shop.fail = {3, 5}
        faults.drop_replies(1, match=getattr(rules, script).digest.encode())
        if script == "MINE":
            faults.drop_replies(1, match=rules.TURN.digest.encode())
        with Crowd() as crowd:
            running = crowd.start(mine.run)
            crowd.until(
                lambda: {*range(12)} <= {*shop.handled} and not shop.fail and len(shop.seen) > 13
            )
            shop.at[15] = lambda: faults.drop_replies(2, match=getattr(rules, script).digest.encode())
            hf.stream("numbers").publish_many(range(12, 24))
            crowd.until(lambda: {*range(24)} <= {*shop.handled})
            crowd.until(lambda: shop.numbers.stats()["g"].in_flight, 0)
            mine.stop()
            running.result()
        assert [one.id for one in told(observer, rules.MessageLost)] == []
        assert mine.stream("numbers").stats()["g"].handled == 24
        assert len(shop.seen) == 26 or script in {"TURN", "MINE"}
        if script == "EFFECTS":
            assert shop.counted(hf) == dict.fromkeys(range(24), 1)
    assert (hf.execute("XPENDING", base(hf).stream, "g"))[0] == 0
    assert hf.execute("EXISTS", base(hf).group("g").dead) == 0


@pytest.mark.parametrize("script", ["SETTLE", "EFFECTS", "TURN"])
def test_a_request_that_is_given_up_though_it_was_executed_is_made_good(
    hf: Holdfast, faults: Any, namespace: str, script: str
):
    """Every answer is lost for longer than the client asks; the order of the key holds all the same."""
    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as mine:
        shop = Shop(mine, effects=script == "EFFECTS", order="partition", retry=Backoff("50ms"))
        hf.stream("numbers").publish_many(range(8))
        shop.fail = {2}
        faults.drop_replies(TRIES, match=getattr(rules, script).digest.encode())
        with Crowd() as crowd:
            running = crowd.start(mine.run)
            sleep(1.0)
            faults.drop_replies(0)
            crowd.until(lambda: {*range(8)} <= {*shop.handled} and not shop.fail)
            crowd.until(lambda: hf.execute("XPENDING", base(hf).stream, "g", "-", "+", 9), [])
            mine.stop()
            running.result()
        first = list(dict.fromkeys(number for number, _ in shop.seen))
        assert first == list(range(8))
        assert shop.handled == sorted(shop.handled), shop.seen
        if script == "EFFECTS":
            assert shop.counted(hf) == dict.fromkeys(range(8), 1)


@pytest.mark.parametrize("order", ["none", "key"])
def test_cut_links_lose_and_double_nothing(hf: Holdfast, faults: Any, namespace: str, order: Any):
    with Holdfast(faults.url, namespace=namespace) as mine:
        shop = Shop(mine, effects=True, order=order, concurrency=3)
        with Crowd() as crowd:
            running = crowd.start(mine.run)
            for number in range(30):
                hf.stream("numbers").publish(number)
                if number % 3 == 0:
                    faults.cut()
                sleep(0.005)
            crowd.until(lambda: shop.counted(hf), dict.fromkeys(range(30), 1))
            mine.stop()
            running.result()
        assert (hf.execute("XPENDING", base(hf).stream, "g"))[0] == 0


def test_a_server_that_is_away_longer_than_the_lease_loses_nothing(
    hf: Holdfast, faults: Any, namespace: str
):
    """The membership ends meanwhile; whoever has the messages afterwards handles them."""
    with Holdfast(faults.url, namespace=namespace, timeout="300ms") as mine:
        shop = Shop(mine, effects=True, lease="400ms", retry=Backoff("50ms"))
        with Crowd() as crowd:
            running = crowd.start(mine.run)
            hf.stream("numbers").publish_many(range(5))
            crowd.until(lambda: len(shop.seen) >= 5)
            faults.blackhole()
            hf.stream("numbers").publish_many(range(5, 10))
            sleep(0.9)
            faults.heal()
            crowd.until(lambda: shop.counted(hf), dict.fromkeys(range(10), 1))
            mine.stop()
            running.result()


# --- requests that arrive late ------------------------------------------------------------------------------


def test_a_turn_that_arrives_late_does_nothing(hf: Holdfast, namespace: str):
    """Without the number of the turn, messages went to somebody who does not know of it."""
    shop = Shop(hf)
    with Crowd() as crowd:
        running = crowd.start(hf.run)
        shop.numbers.publish(1)
        crowd.until(lambda: len(shop.seen), 1)
        (consumer,) = shop.numbers.runnables()
        (berth,) = consumer._berths
        hf.execute("XADD", berth.partition.stream, "*", "data", b"\x02")
        late = shop.numbers._desk.turn(
            berth.partition, berth.keys, (*berth._seat.args(10), "", 1), (), read=False
        )
        assert (late.taken, late.fresh, late.epoch) == ([], [], 0)
        crowd.until(lambda: len(shop.seen), 2)
        hf.stop()
        running.result()


@pytest.mark.parametrize("what", ["free", "later", "wait", "again", "dead"])
def test_a_verdict_that_arrives_late_does_nothing(hf: Holdfast, what: str):
    """Without its number, what was given back and taken again was taken away from its handler."""
    shop = Shop(hf)
    gate: list[int] = []

    with Crowd() as crowd:

        def hold(number: int, message: Any) -> None:
            gate.append(number)
            crowd.until(lambda: len(gate) > 1)

        consumer = shop.numbers.runnables()[0]
        consumer.handler = hold
        running = crowd.start(hf.run)
        published = shop.numbers.publish(1)
        crowd.until(lambda: len(gate), 1)
        (berth,) = consumer._berths
        items = (what, published.id, 1, 0, "late")
        who = (berth.group, berth.member)
        assert shop.numbers._desk.settle(berth.partition, berth.keys, who, 1, items) == [0]
        gate.append(0)
        crowd.until(lambda: shop.numbers.stats()["g"].handled, 1)
        hf.stop()
        running.result()


# --- what the server forgets --------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["none", "key"])
@pytest.mark.parametrize("loss", ["flush", "stream", "group", "members", "turns", "retries", "errors"])
def test_whatever_the_server_forgets_the_work_goes_on(
    hf: Holdfast, place: Any, namespace: str, order: Any, loss: str
):
    """Without it a worker would wait for ever for a group that is not there, or for messages that it has."""
    with Holdfast(place.url, namespace=namespace) as mine:
        observer = watched(mine)
        shop = Shop(mine, order=order, retry=Backoff("200ms"), lease="600ms")
        part = base(hf)
        keys = part.group("g")
        with Crowd() as crowd:
            running = crowd.start(mine.run)
            hf.stream("numbers").publish_many(range(5))
            crowd.until(lambda: len(shop.seen) >= 5)
            shop.fail = {5}
            hf.stream("numbers").publish(5)
            crowd.until(lambda: shop.fail, set())
            if loss in {"retries", "errors"}:  # it rests now
                crowd.until(lambda: hf.execute("EXISTS", keys.retries), 1)
            if loss == "flush":
                found = hf.execute("KEYS", f"{namespace}:*")
                hf.execute("DEL", *found)
            elif loss == "group":
                hf.execute("XGROUP", "DESTROY", part.stream, "g")
            else:
                gone = {"stream": part.stream, "members": keys.members, "turns": keys.turns}
                hf.execute("DEL", gone.get(loss) or getattr(keys, loss))
            hf.stream("numbers").publish_many(range(6, 12))
            wanted = {*range(12)} if loss not in {"flush", "stream"} else {*range(6, 12)}
            crowd.until(lambda: wanted <= {*shop.handled})
            if loss not in {"flush", "stream"}:
                crowd.until(lambda: shop.handled.count(5) >= 2)
            crowd.until(lambda: hf.execute("XPENDING", part.stream, "g", "-", "+", 9), [])
            crowd.until(lambda: shop.numbers.stats()["g"].in_flight, 0)
            mine.stop()
            running.result()
        healed = told(observer, rules.GroupHealed)
        assert len(healed) == (loss in {"flush", "stream", "group"}), healed
        assert not told(observer, rules.ConsumerStumbled)


@pytest.mark.parametrize("start", ["first", "new"])
def test_a_group_that_is_lost_while_messages_wait_loses_none(hf: Holdfast, start: Any):
    """Without it a group that began with what is "new" skipped what nobody had read."""
    shop = Shop(hf, start=start)
    with Crowd() as crowd:
        running = crowd.start(hf.run)
        crowd.until(lambda: hf.execute("EXISTS", base(hf).group("g").members), 1)
        shop.numbers.publish(1)
        crowd.until(lambda: len(shop.seen), 1)
        text = (
            "redis.call('XGROUP', 'DESTROY', KEYS[1], 'g') redis.call('XADD', KEYS[1], '*', 'data', '\x02')"
        )
        hf.execute("EVAL", text, 1, base(hf).stream)
        crowd.until(lambda: 2 in shop.handled)
        hf.stop()
        running.result()


@pytest.mark.parametrize("order", ["none", "key", "partition"])
def test_a_message_that_is_deleted_while_it_rests_frees_its_lane(hf: Holdfast, order: Any):
    """Without it the key was blocked for ever."""
    letters = hf.stream("letters", key=lambda letter: "k")
    seen: list[str] = []

    @letters.subscriber("g", order=order, retry=Backoff("300ms"))
    def handle(letter: str, message: Any) -> None:
        seen.append(letter)
        if letter == "a":
            raise ValueError

    a = letters.publish("a")
    letters.publish("b")
    with Crowd() as crowd:
        running = crowd.start(hf.run)
        crowd.until(lambda: letters.stats()["g"].failed, 1)
        hf.execute("XDEL", base(hf, "letters").stream, a.id)
        crowd.until(lambda: seen, ["a", "b"])
        crowd.until(lambda: letters.stats()["g"].in_flight, 0)
        hf.stop()
        running.result()


@pytest.mark.parametrize("how", ["acknowledged", "stream"])
def test_effects_on_a_message_that_is_nobody_s_are_refused_and_it_is_forgotten(
    hf: Holdfast, how: str
):
    """Without it they happened for a message that somebody else had done; or it was in flight for ever."""
    shop = Shop(hf, effects=True)
    part = base(hf)
    published = shop.numbers.publish(1)
    gone = ("XACK", part.stream, "g", published.id) if how == "acknowledged" else ("DEL", part.stream)

    def handle(number: int, message: Any) -> None:
        hf.execute(*gone)
        with message.effects() as fx:
            fx.incrby(message.key("x"))

    shop.numbers.runnables()[0].handler = handle
    hf.run(until="idle")
    assert hf.execute("EXISTS", part.user("x")) == 0
    assert shop.numbers.stats()["g"].in_flight == 0


def test_the_server_keeps_nothing_of_what_is_done(hf: Holdfast):
    """Without it each message, retry, member or request would leave something behind for ever."""
    numbers = hf.stream("numbers", key=lambda number: number % 3, partitions=2)

    @numbers.subscriber("keyed", batch=3, retry=AT_ONCE)
    def keyed(values: list[int], messages: list[Any]) -> None:
        if messages[0].deliveries == 1 and 7 in values:
            raise ValueError

    @numbers.subscriber("any", order="none", retry=AT_ONCE)
    def plain(value: int, message: Any) -> None:
        if message.deliveries == 1:
            raise ValueError
        with message.effects() as fx:
            fx.incrby(message.key("x"))

    for _ in range(3):
        numbers.publish_many(range(30))
        hf.run(until="idle")
    for part in numbers._desk.layout.parts:
        for group in ("keyed", "any"):
            keys = part.group(group)
            for name in ("members", "retries", "errors", "turns", "dead"):
                assert hf.execute("EXISTS", getattr(keys, name)) == 0, f"{name} of {group}"
            rows = hf.execute("XPENDING", part.stream, group)
            found = hf.execute("XINFO", "CONSUMERS", part.stream, group)
            assert {one[b"name"] for one in found} <= {b"~later"} and rows[0] == 0
        assert hf.execute("EXISTS", part.at, part.later, part.outbox) == 0
        requests = part.requests(numbers._desk.requester().name)
        assert hf.execute("EXISTS", requests) == 0 or hf.execute("PTTL", requests) > 0
    shared = [numbers._desk.layout.consumers(group) for group in ("keyed", "any")]
    assert [hf.execute("EXISTS", key) for key in shared] == [0, 0]
    assert all(one.in_flight == 0 for one in numbers.stats().values())
    lanes = [one.lanes for one in numbers.runnables()]
    assert not any(one._lanes or one._ready or one._resting for one in lanes)
