"""A primary, its replicas, and the sentinels that watch them and promote a replica when the primary fails."""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from holdfast.durations import Duration, seconds
from holdfast.embedded import admin
from holdfast.embedded.addresses import HOST, credentials
from holdfast.embedded.lab import (
    Lab,
    Part,
    Progress,
    Seat,
    Wish,
    announce,
    begin,
    count,
    secret,
    secured,
    wish,
)
from holdfast.embedded.launch import directory
from holdfast.embedded.node import Node
from holdfast.embedded.settings import quote
from holdfast.errors import ConfigurationError, Refused, Unavailable

_ASIDE = 0.3  # seconds for one sentinel's answer; the others are asked anyway
_FAILOVER = 3000  # milliseconds; the least time between two attempts is twice that


def sentinel(
    *,
    replicas: int = 2,
    sentinels: int = 3,
    down_after: Duration = "1200ms",
    password: str | None = None,
    sentinel_password: str | None = None,
    tls: bool = False,
    cuttable: bool = False,
    binary: str | os.PathLike[str] | None = None,
    config: Mapping[str, str] | None = None,
    home: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    timeout: Duration = "30s",
) -> SentinelLab:
    """Start a primary, `replicas` and `sentinels`, and return when all of them agree who is who.

    `down_after`: silence after which a sentinel believes a node is down. `password`, `sentinel_password`: of
    the data nodes and of the sentinels; None for random ones, "" for none. `tls`: talk TLS only, with
    certificates made for the lab. `cuttable`: put relays in front of the nodes, so that they can be cut off.
    `binary`: the program, see `find`. `config`: more settings of the data nodes. `home`: an empty directory
    in which the data nodes keep their data and logs, and leave them. `progress`: told of each step.
    `timeout`: seconds until all agree.

    Raises: ConfigurationError for what cannot work; Unavailable if they do not agree within `timeout`.
    """
    shared = wish(
        password=password,
        tls=tls,
        cuttable=cuttable,
        binary=binary,
        config=config,
        progress=progress,
        timeout=timeout,
    )
    wanted = (count(replicas, "replicas", 0), count(sentinels, "sentinels", 1))
    secret_of_sentinels = secret(sentinel_password)
    for name, value in (("password", shared.password), ("sentinel_password", secret_of_sentinels)):
        if set(value) & set(" \t\r\n\"'\\"):  # a sentinel rewrites its file, and does not quote there
            raise ConfigurationError(f"{name}: sentinels cannot keep blanks, quotes and backslashes")
    down = max(1, round(1000 * seconds(down_after, "down_after")))
    folder = None if home is None else _empty(home)
    return begin(
        lambda: SentinelLab(
            shared, *wanted, down_after_ms=down, sentinel_password=secret_of_sentinels, home=folder
        ),
        shared.patience,
    )


class SentinelLab(Lab):
    """A primary, its replicas, and their sentinels. Made by `sentinel`.

    The primary's `name` is random: sentinels of an earlier lab that still run on a port used again would
    otherwise join this one.

    A failover closes the sentinels' connections to the new primary, and they come back within a second. So
    with a `down_after` below 1.2 s some sentinels then see it down for a moment; far below (300 ms was tried)
    they depose it, and its successors, one after the other. A node that has come back is accepted by all
    after up to 20 s only, because sentinels ask for its part every 10 s.
    """

    def __init__(
        self,
        wish: Wish,
        replicas: int,
        sentinels: int,
        *,
        down_after_ms: int,
        sentinel_password: str,
        home: str | None,
    ) -> None:
        super().__init__(wish)
        self.name = f"lab-{secrets.token_hex(4)}"
        self.sentinel_password = sentinel_password
        self._counts = (replicas, sentinels)
        self._down_after = down_after_ms
        self._home = home

    @property
    def sentinels(self) -> list[Node]:
        """The sentinels, in the order in which clients are told of them."""
        return [node for node in self._everyone if node.name.startswith("sentinel")]

    @property
    def url(self) -> str:
        """What to give a client: the sentinels, the primary's name, the passwords."""
        where = ",".join(f"{node.host}:{node.port}" for node in self.sentinels)
        who = credentials(self.password)
        more = self.query(sentinel_password=self.sentinel_password)
        return f"{self.scheme('sentinel')}://{who}{where}/{self.name}/0{more}"

    # --- who is who ---

    @property
    def primary(self) -> Node:
        """The node that most sentinels name as the primary, now.

        Raises: Unavailable if no sentinel answers.
        """
        named: Counter[int] = Counter()
        for node in self.sentinels:
            port = self._named_by(node)
            if port:
                named[port] += 1
        for port, _ in named.most_common():
            for node in self.nodes:
                if node.port == port:
                    return node
        raise Unavailable("no sentinel of the lab names a primary")

    @property
    def replicas(self) -> list[Node]:
        """All data nodes but the primary, whether they are up or not."""
        primary = self.primary
        return [node for node in self.nodes if node is not primary]

    def _named_by(self, node: Node) -> int:
        try:
            answer = node.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name, wait=_ASIDE)
        except (Unavailable, Refused):
            return 0
        return int(answer[1]) if answer else 0

    # --- what can happen ---

    def failover(self) -> None:
        """Ask a sentinel for a failover (SENTINEL FAILOVER) and return when it has begun.

        Writes that the old primary acknowledges meanwhile may be lost, as in production.

        Raises: Refused if no replica is good enough; Unavailable if no sentinel answers.
        """
        for node in self.sentinels:
            try:
                node.ask("SENTINEL", "FAILOVER", self.name, wait=_ASIDE)
            except Unavailable:
                continue
            return
        raise Unavailable("no sentinel of the lab answers")

    def await_failover(self, old: Node, timeout: Duration = "30s") -> Node:
        """The primary after `old`: named by most of all sentinels, and itself sure of its part.

        Raises: Unavailable if there is none within `timeout`.
        """

        def lacks() -> str:
            new = self.primary
            if new is old:
                return f"the sentinels still name {old.name}"
            agreed = sum(self._named_by(node) == new.port for node in self.sentinels)
            if 2 * agreed <= len(self.sentinels):
                return f"only {agreed} sentinels name {new.name}"
            return "" if new.ask("ROLE", wait=_ASIDE)[0] == "master" else f"{new.name} is no primary yet"

        self.until(lacks, time.monotonic() + seconds(timeout, "timeout"))
        return self.primary

    def amiss(self) -> str:
        """What is wrong with the nodes or with what they know of each other; "" if nothing is."""
        primary = self.primary
        for node in self.nodes:
            missing = self._not_leading(node) if node is primary else _not_following(node, primary)
            if missing:
                return missing
        return next(filter(None, (self._not_watching(node, primary) for node in self.sentinels)), "")

    def _not_leading(self, node: Node) -> str:
        info = node.info("replication")
        online = sum(
            "state=online" in value for name, value in info.items() if name.removeprefix("slave").isdigit()
        )
        if info["role"] != "master" or online < self._counts[0]:
            return f"{node.name} is {info['role']}, with {online} of {self._counts[0]} replicas"
        return ""

    def _not_watching(self, node: Node, primary: Node) -> str:
        about = admin.pairs(node.ask("SENTINEL", "MASTER", self.name))
        wanted = {"flags": "master", "port": str(primary.port), "num-slaves": str(self._counts[0])}
        wanted["num-other-sentinels"] = str(self._counts[1] - 1)
        for name, value in wanted.items():
            if about.get(name) != value:
                return f"{node.name} sees {name}={about.get(name)}, not {value}"
        for one in map(admin.pairs, node.ask("SENTINEL", "REPLICAS", self.name)):
            if not _is_up(one["flags"]) or one["master-link-status"] != "ok":
                return f"{node.name} sees a replica {one['flags']}, link {one['master-link-status']}"
        for one in map(admin.pairs, node.ask("SENTINEL", "SENTINELS", self.name)):
            if not _is_up(one["flags"]):
                return f"{node.name} sees a sentinel {one['flags']}"
        try:
            node.ask("SENTINEL", "CKQUORUM", self.name)
        except Refused as refusal:
            return f"{node.name} says {refusal}"
        return ""

    # --- forming ---

    def form(self, give_up: float) -> None:
        """Start the data nodes, make replicas of all but one, then start the sentinels.

        A sentinel that sees a node too early sees no primary, or a replica that is none yet: it then looks
        again after 10 s only, or begins a failover. They need not find each other: their files tell.
        """
        replicas, sentinels = self._counts
        seats = self.seats(
            [f"node-{i + 1}" for i in range(1 + replicas)] + [f"sentinel-{i + 1}" for i in range(sentinels)]
        )
        data, watchers = seats[: 1 + replicas], seats[1 + replicas :]
        self.wish.progress(f"starting a primary, {replicas} replicas and {sentinels} sentinels")
        primary, *others = self.boot([self._data(seat) for seat in data], give_up)
        for node in others:
            node.ask("REPLICAOF", primary.host, primary.port)
            node.ask("CONFIG", "REWRITE")  # so that it comes back as a replica
        self.wish.progress(f"{replicas} replicas follow {primary.name}")
        self.boot(self._watchers(watchers, data), give_up)
        self.wish.progress("the sentinels take stock")

    def _data(self, seat: Seat) -> Part:
        return Part(
            seat=seat,
            password=self.wish.password,
            conf=announce(seat) | secured(self.wish.password),
            config=self.wish.config,
            home=None if self._home is None else directory(f"{self._home}/{seat.name}"),
        )

    def _watchers(self, seats: list[Seat], data: list[Seat]) -> list[Part]:
        ids = [secrets.token_hex(20) for _ in seats]
        parts: list[Part] = []
        for seat, own in zip(seats, ids, strict=True):
            peers = [(other, one) for other, one in zip(seats, ids, strict=True) if one != own]
            lines = [
                f"myid {own}",
                f"announce-ip {HOST}",
                f"announce-port {seat.door}",
                *self._watched(data[0]),
            ]
            lines += [f"known-replica {self.name} {HOST} {one.door}" for one in data[1:]]
            lines += [f"known-sentinel {self.name} {HOST} {other.door} {one}" for other, one in peers]
            parts.append(
                Part(
                    seat=seat,
                    password=self.sentinel_password,
                    more="".join(f"sentinel {line}\n" for line in lines),
                    also={"arguments": ["--sentinel"], "wipe": ["server.conf"]},
                )
            )
        return parts

    def _watched(self, primary: Seat) -> list[str]:
        name, quorum = self.name, self._counts[1] // 2 + 1
        lines = [
            f"monitor {name} {HOST} {primary.door} {quorum}",
            f"down-after-milliseconds {name} {self._down_after}",
            f"failover-timeout {name} {max(_FAILOVER, self._down_after)}",
            f"parallel-syncs {name} 1",
        ]
        if self.wish.password:
            lines.append(f"auth-pass {name} {quote(self.wish.password)}")
        return lines


def _is_up(flags: str) -> bool:
    # Only these count: what it once said of the primary ("master_down") stays for ever.
    return set(flags.split(",")).isdisjoint({"s_down", "o_down", "disconnected"})


def _not_following(node: Node, primary: Node) -> str:
    info = node.info("replication")
    if info["role"] != "slave" or info["master_port"] != str(primary.port):
        return f"{node.name} does not follow {primary.name}"
    return "" if info["master_link_status"] == "up" else f"{node.name} has no link to {primary.name}"


def _empty(home: str | os.PathLike[str]) -> str:
    folder = Path(home).absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigurationError(
                f"home={str(folder)!r} is not empty; a lab starts without data, so name a new directory"
            )
    except OSError as error:
        raise ConfigurationError(f"home={str(folder)!r} cannot be used: {error.strerror}") from error
    return str(folder)
