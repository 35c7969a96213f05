"""What is said when all is ready: the table of nodes, and the lines to copy. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.cli.up.screen import Part
from holdfast.cli.up.sights import WORDS, Sight
from holdfast.cli.up.topology import Topology

Line = list[Part | str]

_HEADS = ("#", "name", "role", "address", "pid", "")
_RIGHT = (0, 4)  # columns of numbers
_LOOKS = {"primary": "bold green", "replica": "green", "sentinel": "cyan"}  # by the first word of a role


def table(sights: Mapping[str, Sight]) -> list[Line]:
    """A row for each node, in aligned columns."""
    rows = [
        (str(number), name, one.role, one.where, str(one.pid or "-"), WORDS[one.state])
        for number, (name, one) in enumerate(sights.items(), 1)
    ]
    widths = [max(len(row[column]) for row in (_HEADS, *rows)) for column in range(len(_HEADS))]
    lines = [_row(_HEADS, widths, ["dim"] * len(_HEADS))]
    for row, one in zip(rows, sights.values(), strict=True):
        look = _LOOKS.get(one.role.partition(" ")[0], "")
        lines.append(_row(row, widths, ["bold", "", look, "", "dim", "bold red"]))
    return lines


def _row(cells: tuple[str, ...], widths: list[int], looks: list[str]) -> Line:
    line: Line = []
    for column, (cell, width, look) in enumerate(zip(cells, widths, looks, strict=True)):
        line += ["  ", Part(cell.rjust(width) if column in _RIGHT else cell.ljust(width), look)]
    return line


def to_copy(topology: Topology, which: Callable[[str], str | None]) -> list[Line]:
    """The URL in every shape that somebody may want. What is to be copied begins in the first column and
    has a line of its own. `which` finds programs.
    """
    urls = list(topology.urls)
    export = f"export HOLDFAST_URL={shlex.quote(topology.url)}"
    if len(urls) > 1:
        return [
            *_block("their URLs, one client each", *topology.config.splitlines()),
            *_block("in a shell: the first one's", export),
            *_by_hand(topology, which),
        ]
    return [
        *_block("the URL", *urls),
        *_block("in a shell", export),
        *_block("in holdfast.yaml", *topology.config.splitlines()),
        *_by_hand(topology, which),
    ]


def _block(title: str, *lines: str) -> list[Line]:
    block: list[Line] = [[Part(f"# {title}", "dim")]]
    block.extend([line] for line in lines)
    return [*block, []]


def _by_hand(topology: Topology, which: Callable[[str], str | None]) -> list[Line]:
    """The line that opens a command line to the first node; nothing if there is no program for it."""
    node = topology.nodes[0]
    first = "valkey-cli" if node.server.kind == "valkey" else "redis-cli"
    program = next(filter(which, (first, "redis-cli", "valkey-cli")), None)
    if program is None:
        return []
    words = [program, "-p", str(node.port)]
    if node.server.tls:
        words += ["--tls", "--cacert", node.server.query["tls_ca"]]
    if topology.name == "cluster":
        words.append("-c")
    # Not in an option: there it would be warned of, and everybody could see it in the list of processes.
    secret = f"REDISCLI_AUTH={shlex.quote(node.password)} " if node.password else ""
    return _block("by hand", secret + shlex.join(words))


def as_data(topology: Topology, sights: Mapping[str, Sight], took: float) -> dict[str, Any]:
    """The same for programs."""
    return {
        "topology": topology.name,
        "program": topology.nodes[0].server.binary,
        "kind": topology.nodes[0].server.kind,
        "version": topology.nodes[0].server.version,
        "ready_in": round(took, 3),
        "url": topology.url,
        "urls": list(topology.urls),
        "config": topology.config,
        "nodes": [
            {
                "name": node.name,
                "role": sights[node.name].role,
                "host": node.host,
                "port": node.port,
                "pid": sights[node.name].pid,
                "url": node.url,
            }
            for node in topology.nodes
        ],
        "pids": [sight.pid for sight in sights.values()],
    }
