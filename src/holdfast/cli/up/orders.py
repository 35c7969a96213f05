"""What may be typed while the servers run."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.cli.up.screen import Part, Screen
from holdfast.cli.up.topology import Topology
from holdfast.cli.up.watch import Watch
from holdfast.embedded import Node
from holdfast.errors import HoldfastError

HELP: list[tuple[str, str]] = [
    ("kill N", "end node N without warning (SIGKILL)"),
    ("freeze N", "stop it in its tracks (SIGSTOP): connections stay, no answer comes"),
    ("resume N", "let it go on (SIGCONT)"),
    ("restart N", "start it again at the same address"),
    ("list", "show all nodes"),
    ("quit", "end everything; so does Ctrl-C"),
]


class Orders:
    """Does what is typed. `show`: prints the table of nodes."""

    def __init__(self, topology: Topology, watch: Watch, screen: Screen, show: Callable[[], None]) -> None:
        self._nodes = topology.nodes
        self._watch = watch
        self._screen = screen
        self._show = show

    def obey(self, line: str) -> bool:
        """Do what `line` says; is it to go on after that?"""
        verb, _, who = line.strip().lower().partition(" ")
        if verb in {"quit", "exit", "q"}:
            return False
        if verb in {"list", "ls", "l"}:
            self._show()
        elif verb in {"help", "h", "?"}:
            self._help()
        elif verb in _VERBS:
            self._to_node(verb, who.strip())
        elif verb:
            self._complain(f"{verb!r} is nothing I know; `help` shows what is")
        return True

    def _to_node(self, verb: str, who: str) -> None:
        node = self._find(who)
        if node is None:
            self._complain(f"{verb} which one? 1 to {len(self._nodes)}, as in: {verb} 1")
            return
        if verb in {"freeze", "resume"} and not node.running:
            self._complain(f"{node.name} does not run; restart it first")
            return
        try:
            _VERBS[verb](node)
        except HoldfastError as error:
            self._complain(str(error))
            return
        if verb == "freeze":
            self._watch.frozen.add(node.name)
        else:
            self._watch.frozen.discard(node.name)

    def _find(self, who: str) -> Node | None:
        for number, node in enumerate(self._nodes, 1):
            if who in {str(number), node.name}:
                return node
        return None

    def _help(self) -> None:
        width = max(len(order) for order, _ in HELP)
        for order, meaning in HELP:
            self._screen.say(f"  {order:<{width}}  ", Part(meaning, "dim"))

    def _complain(self, text: str) -> None:
        self._screen.say("  ", Part(text, "red"))


_VERBS: dict[str, Callable[[Node], None]] = {
    "kill": Node.kill,
    "freeze": Node.freeze,
    "resume": Node.resume,
    "restart": lambda node: node.restart(),
}
