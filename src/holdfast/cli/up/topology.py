"""What was started, whatever it is: its nodes, how to reach them, who is who, and its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast import embedded
from holdfast.cli.up.options import Options
from holdfast.embedded import ClusterLab, IndependentLab, Lab, Node, SentinelLab
from holdfast.errors import Unavailable

Progress = Callable[[str], object]
Roles = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """`about`: what it consists of. `nodes`: all of them, sentinels too. `urls`: one for each client.

    `config`: lines for a `holdfast.yaml`. `roles`: who is who now, by the name of the node; raises
    Unavailable. `lacks`: what keeps it from being whole, "" if nothing does; raises Unavailable. `stop`: end
    all of it.
    """

    name: str
    about: str
    nodes: list[Node]
    urls: list[str]
    config: str
    roles: Callable[[], Roles]
    lacks: Callable[[], str]
    stop: Callable[[], object]

    @property
    def url(self) -> str:
        """What to give a client; of redlock's, the first one's."""
        return self.urls[0]

    @property
    def program(self) -> str:
        """What the nodes run, in words."""
        server = self.nodes[0].server
        return f"{server.kind} {server.version}"


def start(options: Options, progress: Progress) -> Topology:
    """Start what was asked for and return when it is whole.

    Raises: ConfigurationError for what cannot work; Unavailable if it does not become whole.
    """
    return _STARTS[options.topology](options, progress)


def _single(options: Options, progress: Progress) -> Topology:
    progress("starting a server")
    server = embedded.start(
        options.keep, port=True, password=options.password, binary=options.binary, tls=options.tls
    )
    node = Node("server", server, server.port, 0, None)

    def lacks() -> str:
        node.ask("PING")
        return ""

    return Topology(
        name="single",
        about="one server" if options.keep is None else f"one server, data in {server.path}",
        nodes=[node],
        urls=[server.url],
        config=f'url: "{server.url}"\n',
        roles=lambda: {node.name: "primary"},
        lacks=lacks,
        stop=lambda: server.__exit__(None, None, None),
    )


def _sentinel(options: Options, progress: Progress) -> Topology:
    lab = embedded.sentinel(
        **_wanted(options, progress), sentinel_password=options.password, home=options.keep
    )
    about = ", ".join(
        ("1 primary", _many(len(lab.nodes) - 1, "replica"), _many(len(lab.sentinels), "sentinel"))
    )
    return _of(lab, "sentinel", about, lambda: _roles_by_sentinels(lab), lab.sentinels)


def _cluster(options: Options, progress: Progress) -> Topology:
    lab = embedded.cluster(**_wanted(options, progress))
    primaries = len(lab.primaries)
    replicas = len(lab.nodes) // primaries - 1
    about = f"{_many(primaries, 'primary')}, each with {_many(replicas, 'replica')}"
    return _of(lab, "cluster", about, lambda: _roles_in_cluster(lab))


def _redlock(options: Options, progress: Progress) -> Topology:
    lab = embedded.independent(**_wanted(options, progress))
    about = f"{_many(len(lab.nodes), 'server')} that know nothing of each other"
    return _of(lab, "redlock", about, lambda: {node.name: "primary" for node in lab.nodes})


_STARTS: dict[str, Callable[[Options, Progress], Topology]] = {
    "single": _single,
    "sentinel": _sentinel,
    "cluster": _cluster,
    "redlock": _redlock,
}


def _wanted(options: Options, progress: Progress) -> dict[str, Any]:
    """What all labs understand, and the sizes that were asked for."""
    return {
        "password": options.password,
        "tls": options.tls,
        "binary": options.binary,
        "progress": progress,
        **options.sizes(),
    }


def _of(
    lab: Lab, name: str, about: str, roles: Callable[[], Roles], sentinels: list[Node] | None = None
) -> Topology:
    return Topology(
        name=name,
        about=about,
        nodes=[*lab.nodes, *(sentinels or [])],
        urls=lab.urls if isinstance(lab, IndependentLab) else [lab.url],
        config=lab.config,
        roles=roles,
        lacks=lab.lacks,
        stop=lab.stop,
    )


def _roles_by_sentinels(lab: SentinelLab) -> Roles:
    """What most sentinels say; a primary that was deposed while it was frozen may still say otherwise."""
    primary = lab.primary
    data = {node.name: "primary" if node is primary else "replica" for node in lab.nodes}
    return data | {node.name: "sentinel" for node in lab.sentinels}


def _roles_in_cluster(lab: ClusterLab) -> Roles:
    """What the node says that knows of the latest election."""
    view = lab.view()
    names = {node.port: node.name for node in lab.nodes}
    ids = {one.id: names.get(one.port, "") for one in view}
    roles: dict[str, str] = {}
    for one in view:
        slots = ", ".join(
            f"{part.start}-{part[-1]}" if len(part) > 1 else f"{part.start}" for part in one.slots
        )
        if "slave" in one.flags:
            role = f"replica of {ids.get(one.primary) or 'nobody'}"
        else:
            role = f"primary of slots {slots}" if slots else "primary without slots"
        roles[ids[one.id]] = role
    if not roles:
        raise Unavailable("no node of the cluster answers")
    return roles


def _many(count: int, what: str) -> str:
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count} {what if count == 1 else plural}" if count else f"no {what}"
