"""What all labs have in common: several servers, started at once, watched until they agree, surely ended."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from holdfast.durations import Duration, seconds
from holdfast.embedded import certificates
from holdfast.embedded import line as lines
from holdfast.embedded.addresses import HOST, options
from holdfast.embedded.binary import find, find_tls
from holdfast.embedded.launch import draw, free_port, private_directory
from holdfast.embedded.node import Node
from holdfast.embedded.relay import Relay, address
from holdfast.embedded.server import Server
from holdfast.embedded.settings import quote, settings
from holdfast.errors import ConfigurationError, Unavailable

Progress = Callable[[str], object]

POLL = 0.01  # seconds between two looks at a lab that forms
_PORT_TRIES = 5
_MOST = 200  # nodes; each has a loopback address of its own

# What a replica waits for before it gets its data is of use only where many come at once.
_SOFT = {"repl-diskless-sync-delay": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for, as far as all labs share it."""

    binary: str
    password: str
    config: Mapping[str, str]
    papers: certificates.Papers | None
    cuttable: bool
    progress: Progress
    patience: float


def wish(
    *,
    password: str | None,
    tls: bool,
    cuttable: bool,
    binary: str | os.PathLike[str] | None,
    config: Mapping[str, str] | None,
    progress: Progress | None,
    timeout: Duration,
) -> Wish:
    """The arguments of a lab, checked and completed. Raises: ConfigurationError."""
    patience = seconds(timeout, "timeout")
    if cuttable and not os.path.exists("/proc/self"):
        raise ConfigurationError(
            "cuttable=True works on Linux only: elsewhere there is just one loopback address"
        )
    return Wish(
        binary=find_tls(binary) if tls else find(binary),
        password=secret(password),
        config=config or {},
        papers=certificates.issue() if tls else None,
        cuttable=cuttable,
        progress=progress or (lambda _: None),
        patience=patience,
    )


def secret(password: str | None) -> str:
    """`password`, or a random one for None."""
    return secrets.token_urlsafe(18) if password is None else password


def count(value: int, name: str, least: int) -> int:
    """`value`, if a lab may have that many. Raises: ConfigurationError."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST:
        raise ConfigurationError(f"{name}={value!r} must be a number from {least} to {_MOST}")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where a node is to be: the ports it listens at (`port`, `bus`), and those that others shall use."""

    name: str
    index: int
    port: int
    door: int
    bus: int = 0
    bus_door: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a node is to be: its settings, in addition to those that all nodes of the lab have."""

    seat: Seat
    password: str
    conf: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    more: str = ""
    home: str | None = None
    also: Mapping[str, Any] = field(default_factory=dict)


class Lab:
    """Several servers that belong together, on the loopback interface. A context manager.

    They live until `stop()`, the end of the process (however it ends), or the last reference to the lab.
    """

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self._everyone: list[Node] = []
        self._relay = Relay() if wish.cuttable else None
        if self._relay is not None:
            weakref.finalize(self, self._relay.close)

    @property
    def nodes(self) -> list[Node]:
        """The data nodes, in the order in which they were started."""
        return [node for node in self._everyone if not node.name.startswith("sentinel")]

    @property
    def binary(self) -> str:
        """The program that all of them run."""
        return self.wish.binary

    @property
    def kind(self) -> str:
        """What the nodes are: "valkey" or "redis"."""
        return self._everyone[0].server.kind

    @property
    def password(self) -> str:
        """The password of all data nodes, "" if they have none."""
        return self.wish.password

    @property
    def url(self) -> str:
        """What to give a client, passwords included."""
        raise NotImplementedError

    @property
    def config(self) -> str:
        """The lines for a `holdfast.yaml`."""
        return f'url: "{self.url}"\n'

    def lacks(self) -> str:
        """What keeps the lab from being whole, in words; "" if nothing does. Raises: Unavailable."""
        cut = (f"{node.name} is cut off" for node in self._everyone if node.is_cut_off)
        return next(cut, "") or self.amiss()

    def amiss(self) -> str:
        """What is wrong with the nodes or with what they know of each other; "" if nothing is."""
        raise NotImplementedError

    @property
    def healthy(self) -> bool:
        """Is it whole: every node there, in its part, and known to the others?"""
        try:
            return not self.lacks()
        except Unavailable:
            return False

    def await_ready(self, timeout: Duration | None = None) -> None:
        """Return when the lab is whole; the deadline is the one it was started with, unless another is given.

        Raises: Unavailable, which says what is amiss and what the nodes wrote.
        """
        patience = self.wish.patience if timeout is None else seconds(timeout, "timeout")
        self.until(self.lacks, time.monotonic() + patience)

    def until(self, lacks: Callable[[], str], give_up: float) -> None:
        """Return when nothing lacks any more. `give_up`: monotonic time. Raises: Unavailable."""
        while True:
            try:
                missing = lacks()
            except Unavailable as error:
                missing = str(error)
            if not missing:
                return
            if time.monotonic() > give_up:
                logs = (f"{node.name}: {line}" for node in self._everyone for line in node.log_tail(4))
                raise Unavailable("\n  ".join([f"the lab is not whole in time: {missing}", *logs]))
            time.sleep(POLL)

    def stop(self) -> None:
        """End all servers and return when they are gone, with their files."""

        def end(node: Node) -> None:
            with contextlib.suppress(Unavailable):  # its guardian is gone, and the server with it
                node.server.stop()

        together(end, self._everyone)
        if self._relay is not None:
            self._relay.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- for those who make one ---

    def form(self, give_up: float) -> None:
        """Start the nodes, and make them what they are to be."""
        raise NotImplementedError

    def seats(self, names: Iterable[str], *, bus: bool = False) -> list[Seat]:
        """Free ports, and doors in front of them, for nodes of these names."""
        made: list[Seat] = []
        taken: set[int] = set()
        for name in names:
            index = len(self._everyone) + len(made)
            port, other = _fresh(taken), _fresh(taken) if bus else 0
            doors = [self._relay.open(index, one) if self._relay and one else one for one in (port, other)]
            made.append(Seat(name=name, index=index, port=port, door=doors[0], bus=other, bus_door=doors[1]))
        return made

    def boot(self, parts: Sequence[Part], give_up: float) -> list[Node]:
        """Start servers side by side and return when all of them answer."""
        started: list[Server] = []

        def one(part: Part) -> Node:
            server = self._found(part)
            started.append(server)
            server.await_ready(give_up)
            return self._node(part, server)

        try:
            nodes = together(one, parts)
        except BaseException:
            together(_stop, started)
            raise
        self._everyone += nodes
        for node in nodes:
            version = f"{node.server.kind} {node.server.version}"
            self.wish.progress(f"{node.name}: {version} answers at {node.host}:{node.port}")
        return nodes

    def _found(self, part: Part) -> Server:
        seat, run = part.seat, private_directory()
        lab = self._lines(seat, run) | dict(part.conf)
        for name in part.config:
            if name.lower() in lab:
                raise ConfigurationError(f"config[{name!r}] is decided by the lab; use its arguments")
        user = settings(
            kept=part.home is not None,
            port=seat.port,
            password=part.password,
            extra=_SOFT | dict(part.config),
        )
        plan = draw(
            user | lab,
            binary=self.wish.binary,
            run=run,
            home=part.home,
            port=seat.port,
            password=part.password,
            more=part.more,
            **part.also,
        )
        if self.wish.papers is not None:
            plan |= {"files": self.wish.papers.files, "tls": True}
        line = lines.found(plan)
        return Server(line, line.ask("status"))

    def _lines(self, seat: Seat, run: str) -> dict[str, str]:
        conf: dict[str, str] = {}
        if self.wish.papers is not None:
            conf |= self.wish.papers.settings(run, seat.port)
            conf |= {"tls-replication": "yes"}
        if self._relay is not None:
            conf["bind-source-addr"] = address(seat.index)
        return conf

    def _node(self, part: Part, server: Server) -> Node:
        return Node(part.seat.name, server, part.seat.door, part.seat.index, self._relay)

    def query(self, **more: str) -> str:
        """The options of the lab's URL: `more`, and where the certificates are."""
        said = {name: value for name, value in more.items() if value}
        return options(said | self._everyone[0].server.query)

    def scheme(self, kind: str = "") -> str:
        """The scheme of the lab's URL."""
        return ("rediss" if self.wish.papers else "redis") + (f"+{kind}" if kind else "")


AnyLab = TypeVar("AnyLab", bound=Lab)
Item = TypeVar("Item")
Result = TypeVar("Result")


def begin(make: Callable[[], AnyLab], patience: float) -> AnyLab:
    """A lab that is whole; should others take its ports just now, another one.

    Raises: Unavailable; ConfigurationError if the servers refuse their settings.
    """
    give_up = time.monotonic() + patience
    tries = _PORT_TRIES
    while True:
        lab = make()
        try:
            lab.form(give_up)
            lab.until(lab.lacks, give_up)
            return lab
        except Unavailable as error:
            lab.stop()
            if "CONFIG FILE ERROR" in str(error):
                raise ConfigurationError(str(error)) from error
            if "already in use" not in str(error) or not (tries := tries - 1):
                raise
        except BaseException:
            lab.stop()
            raise


def together(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`work` done on every item at once. All have ended when this returns or raises what one of them
    raised.
    """
    if not items:
        return []
    with ThreadPoolExecutor(len(items), "holdfast-lab") as pool:
        return [one.result() for one in [pool.submit(work, item) for item in items]]


def _stop(server: Server) -> None:
    with contextlib.suppress(Unavailable):
        server.stop()


def _fresh(taken: set[int]) -> int:
    while (port := free_port()) in taken:
        pass
    taken.add(port)
    return port


def announce(seat: Seat) -> dict[str, str]:
    """The settings by which a data node tells others to come through its relay."""
    return {"replica-announce-ip": HOST, "replica-announce-port": str(seat.door)}


def secured(password: str) -> dict[str, str]:
    """The settings by which a data node introduces itself to its primary."""
    return {"masterauth": quote(password)} if password else {}
