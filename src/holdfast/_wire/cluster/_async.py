# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""A Cluster as one transport: a command goes to the node that serves its key, many to many nodes at once.

Below it is one transport for each node, opened with the first need. MOVED and ASK are followed here, because
they only say where to ask: nothing was executed. Everything else a node says, "not now" included, is passed
up, where it is decided for every kind of server what may be repeated. What goes where is told in plan.py.

Commands in one `execute_many` keep their order for each slot, not between slots.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from holdfast._compat import aoff_loop
from holdfast._wire.cluster import slots
from holdfast._wire.cluster._conversation_async import AsyncClusterConversation
from holdfast._wire.cluster.atlas import Atlas, NodeEndpoint
from holdfast._wire.cluster.layout import Address, Layout
from holdfast._wire.cluster.plan import Plan, unserved
from holdfast._wire.mutex import MUTEX
from holdfast._wire.transport import (
    AsyncAsked,
    AsyncNodeTransport,
    Command,
    HandshakeRefused,
    Reply,
    ReplyError,
    WireFailure,
)

HOPS = 5  # redirections followed for one command
ASKING: Command = ("ASKING",)

_Node = tuple[NodeEndpoint, AsyncNodeTransport]


class AsyncClusterTransport:
    """See the file's docstring. `open_node` makes the transport of one node."""

    def __init__(self, atlas: Atlas, open_node: Callable[[NodeEndpoint], AsyncNodeTransport]) -> None:
        self._atlas = atlas
        self._open_node = open_node
        self._nodes: dict[Address, _Node] = {}
        self._closed = False
        atlas.on_change(self.forget_retired)

    async def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`. Raises: WireFailure."""
        if slots.may_be_apart(command) or (key := slots.first_key(command)) is None:
            return (await self.execute_many([command], deadline))[0]
        layout = self._atlas.layout or await self._read(deadline)
        slot = slots.slot_of(key)
        address = layout.table[slot]
        if address is None:
            self._atlas.doubt()
            raise unserved(slot)
        try:
            reply = await self.node(address).execute(command, deadline)
        except WireFailure as failure:
            raise _at(address, failure) from failure
        if type(reply) is ReplyError:
            return (await self._follow([command], [reply], [address], deadline))[0]
        return reply

    async def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, sent to each node in one write. Raises: WireFailure."""
        if not commands:
            return []
        layout = self._atlas.layout or await self._read(deadline)
        try:
            plan = Plan(commands, layout, random.choice(layout.primaries))
        except WireFailure:
            self._atlas.doubt()
            raise
        told = await self._scatter(plan.questions, plan.addresses, deadline)
        if ReplyError in map(type, told):
            told = await self._follow(plan.questions, told, plan.addresses, deadline)
        return plan.replies(told)

    def conversation(self, deadline: float) -> AsyncClusterConversation:
        """Lend a connection of its own, to the node of the first key that is talked about. Raises:
        WireFailure.
        """
        return AsyncClusterConversation(self.node, self._atlas, deadline)

    def doubt(self) -> bool:
        """An answer came that only the wrong server gives: read the layout again. Never waits."""
        self._atlas.doubt()
        return True

    async def aclose(self) -> None:
        """Close every connection; unanswered requests fail."""
        self._atlas.stop()
        with MUTEX:
            self._closed = True
            nodes = list(self._nodes.values())
        for _, node in nodes:
            await node.aclose()

    # --- nodes -------------------------------------------------------------------------------------------

    def node(self, address: Address) -> AsyncNodeTransport:
        """The transport of the node at `address`. Raises: WireFailure once the client is closed."""
        known = self._nodes.get(address)
        if known is None or known[0].is_retired:
            with MUTEX:  # of two, one would be forgotten with its connections
                known = self._nodes.get(address)
                if known is None or known[0].is_retired:
                    if self._closed:
                        raise WireFailure("the client is closed", sent=False)
                    endpoint = self._atlas.endpoint(address)
                    known = self._nodes[address] = (endpoint, self._open_node(endpoint))
        return known[1]

    def forget_retired(self) -> None:
        """Let go of nodes that serve nothing any more; their connections are dropped already."""
        with MUTEX:
            for address, (endpoint, _) in list(self._nodes.items()):
                if endpoint.is_retired:
                    del self._nodes[address]

    async def _read(self, deadline: float) -> Layout:
        return await aoff_loop(lambda: self._atlas.read(deadline))

    # --- several at once ---------------------------------------------------------------------------------

    async def _scatter(
        self, commands: Sequence[Command], addresses: Sequence[Address], deadline: float
    ) -> list[Reply]:
        """The replies to `commands`, each asked at its address; all nodes work at the same time."""
        places: dict[Address, list[int]] = {}
        for place, address in enumerate(addresses):
            places.setdefault(address, []).append(place)
        asked: list[tuple[Address, AsyncAsked]] = []
        replies: list[Reply] = [None] * len(commands)
        failure: WireFailure | None = None
        try:
            # In the same order for everybody: whoever holds a connection and waits for one of another node
            # must not wait for somebody who does the reverse.
            for address in sorted(places):
                group = [commands[place] for place in places[address]]
                try:
                    asked.append((address, await self.node(address).begin(group, deadline)))
                except WireFailure as trouble:
                    failure = failure or _at(address, trouble)
            for address, one in asked:
                try:
                    for place, reply in zip(places[address], await one.replies(), strict=True):
                        replies[place] = reply
                except WireFailure as trouble:
                    failure = _at(address, trouble) if failure is None or trouble.sent else failure
        except BaseException:  # interrupted, or a command that cannot be sent
            for _, one in asked:
                await one.abandon()
            raise
        if failure is not None:
            # What the other nodes were asked has happened.
            raise WireFailure(str(failure), sent=True) if asked and not failure.sent else failure
        return replies

    # --- redirections ------------------------------------------------------------------------------------

    async def _follow(
        self, commands: Sequence[Command], replies: list[Reply], addresses: Sequence[Address], deadline: float
    ) -> list[Reply]:
        """`replies`, with every redirection among them replaced by what the right node says."""
        asked = dict(enumerate(addresses))
        for _ in range(HOPS):
            again: list[tuple[int, bool, Address]] = []
            for place, address in asked.items():
                if type(replies[place]) is not ReplyError:
                    continue
                found = slots.redirection(str(replies[place]), address)
                if found is not None:
                    moved, slot, to = found
                    again.append((place, moved, to))
                    if moved:
                        self._atlas.moved(slot, to)
            if not again:
                return replies
            try:
                told = await self._ask_again(commands, again, deadline)
            except WireFailure as failure:
                if failure.sent or len(again) == len(commands):
                    raise
                raise WireFailure(str(failure), sent=True) from failure  # the others have been executed
            asked = {place: to for place, _, to in again}
            for place, answer in zip(asked, told, strict=True):
                replies[place] = answer
        for place in asked:
            if slots.redirection(str(replies[place]), ("", 0)) is not None:
                replies[place] = ReplyError(f"CLUSTERDOWN the slot keeps moving: {replies[place]}")
        return replies

    async def _ask_again(
        self, commands: Sequence[Command], again: Sequence[tuple[int, bool, Address]], deadline: float
    ) -> list[Reply]:
        """The replies to the commands at the places in `again`, each asked where it says."""
        questions: list[Command] = []
        nodes: list[Address] = []
        answers: list[int] = []  # where among them stand the answers that are wanted
        for place, moved, to in again:
            if not moved:
                questions.append(ASKING)
                nodes.append(to)
            answers.append(len(questions))
            questions.append(commands[place])
            nodes.append(to)
        told = await self._scatter(questions, nodes, deadline)
        return [told[place] for place in answers]


def _at(address: Address, failure: WireFailure) -> WireFailure:
    """`failure`, naming the node where it happened."""
    if isinstance(failure, HandshakeRefused):
        return failure  # a matter of rights, which are the same everywhere
    text, where = str(failure), f"{address[0]}:{address[1]}"
    cannot, is_first, why = text.partition("cannot connect: ")
    text = f"{cannot}{is_first}{where}: {why}" if is_first and not cannot else f"{text} (node {where})"
    return WireFailure(text, sent=failure.sent, hung_up=failure.hung_up)
