# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""A connection to a Cluster, lent to one caller: it leads to the node that serves the keys he talks about.

It is opened with the first command, since only that says where to. A redirection is followed as long as
nothing depends on the connection (nothing was watched or answered on it) and nothing of what was sent has
been executed; after that the answer is "try again", which means to begin anew.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from holdfast._compat import aoff_loop, monotonic
from holdfast._wire import verdict
from holdfast._wire.cluster import slots
from holdfast._wire.cluster.atlas import Atlas
from holdfast._wire.cluster.layout import Address
from holdfast._wire.cluster.plan import unserved
from holdfast._wire.transport import (
    Arg,
    AsyncConversation,
    AsyncNodeTransport,
    Command,
    Reply,
    ReplyError,
)
from holdfast._wire.verdict import word
from holdfast.errors import ConfigurationError

HOPS = 5  # redirections followed in a row
ASKING: Command = ("ASKING",)

# In the server's own words for "ask again in a moment"; nothing was executed.
AGAIN = "TRYAGAIN Multiple keys request during rehashing of slot"


class AsyncClusterConversation:
    """See the file's docstring. All of it must be in one slot."""

    def __init__(self, node: Callable[[Address], AsyncNodeTransport], atlas: Atlas, deadline: float) -> None:
        self._node = node
        self._atlas = atlas
        self._deadline = deadline
        self._held: AbstractAsyncContextManager[AsyncConversation] | None = None
        self._conversation: AsyncConversation | None = None
        self._slot: int | None = None
        self._key: Arg | None = None
        self._address: Address = ("", 0)
        self._is_asking = False  # at a node that is taking the slot over, and wants to hear ASKING each time
        self._is_used = False  # something may be watched on it: it cannot go elsewhere any more

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held, self._held, self._conversation = self._held, None, None
        if held is not None:
            await held.__aexit__(kind, error, trace)

    async def execute(self, command: Command, deadline: float) -> Reply:
        """The reply to `command`. Raises: WireFailure, ConfigurationError."""
        return (await self.execute_many([command], deadline))[0]

    async def execute_many(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """The replies to `commands`, sent in one write. Raises: WireFailure, ConfigurationError."""
        self._check(commands)
        begun = monotonic()
        conversation = self._conversation or await self._open(self._deadline)
        replies: list[Reply] = []
        for _ in range(HOPS):
            replies = await self._ask(conversation, commands, deadline)
            found = next((one for one in map(self._redirection, replies) if one is not None), None)
            if found is None:
                self._is_used = True
                return replies
            moved, slot, to = found
            if moved:
                self._atlas.moved(slot, to)
            if self._is_used or not self._may_go(commands, replies, moved=moved):
                break
            await self.__aexit__(None, None, None)
            conversation = await self._open(max(self._deadline, min(deadline, monotonic() + 1.0)), to)
            self._is_asking = not moved
            now = monotonic()  # who blocks has done so for a while already
            commands = [verdict.shortened(command, now - begun) for command in commands]
            begun = now
        return self._refused(commands, replies)

    async def _ask(
        self, conversation: AsyncConversation, commands: Sequence[Command], deadline: float
    ) -> list[Reply]:
        if not self._is_asking:
            return await conversation.execute_many(commands, deadline)
        questions: list[Command] = []
        wanted: list[int] = []
        for place, command in enumerate(commands):
            # Within MULTI it holds until EXEC.
            if word(commands[0][0]) != "MULTI" or place == 0:
                questions.append(ASKING)
            wanted.append(len(questions))
            questions.append(command)
        told = await conversation.execute_many(questions, deadline)
        return [told[place] for place in wanted]

    def _redirection(self, reply: Reply) -> tuple[bool, int, Address] | None:
        return slots.redirection(str(reply), self._address) if type(reply) is ReplyError else None

    def _may_go(self, commands: Sequence[Command], replies: Sequence[Reply], *, moved: bool) -> bool:
        """May all of it be asked elsewhere?"""
        keyed = [
            self._redirection(reply)
            for command, reply in zip(commands, replies, strict=True)
            if slots.first_key(command) is not None
        ]
        if None not in keyed:
            return True
        if word(commands[0][0]) != "MULTI":
            return False
        # A transaction of which one command was refused is not executed. But in a slot on its way out, what
        # was not refused has its key still here, and would be made twice over there; unless it is EXEC that
        # is refused: then the node has looked at all of them.
        ends = (
            self._redirection(reply)
            for command, reply in zip(commands, replies, strict=True)
            if word(command[0]) == "EXEC"
        )
        return moved or any(one is not None for one in ends)

    def _refused(self, commands: Sequence[Command], replies: Sequence[Reply]) -> list[Reply]:
        if word(commands[0][0]) == "MULTI":
            return [ReplyError(AGAIN)] * len(commands)
        return [reply if self._redirection(reply) is None else ReplyError(AGAIN) for reply in replies]

    def _check(self, commands: Sequence[Command]) -> None:
        for command in commands:
            key = slots.first_key(command)
            if key is None:
                if word(command[0]) == "SCAN" or slots.everywhere(command) is not None:
                    raise ConfigurationError(
                        f"{word(command[0])} is about all nodes of a Cluster, this is a conversation with "
                        "one of them; use execute()"
                    )
                continue
            slot = slots.slot_of(key)
            if self._slot is None:
                self._slot, self._key = slot, key
            elif slot != self._slot:
                assert self._key is not None
                raise ConfigurationError(
                    f"in a Cluster, all of this must be in one slot: {_shown(key)} and {_shown(self._key)} "
                    "are not; give their keys the same {tag}"
                )

    async def _open(self, deadline: float, address: Address | None = None) -> AsyncConversation:
        layout = self._atlas.layout
        if layout is None:
            layout = await aoff_loop(lambda: self._atlas.read(deadline))
        if address is None:
            address = random.choice(layout.primaries) if self._slot is None else layout.table[self._slot]
        if address is None:
            self._atlas.doubt()
            raise unserved(self._slot or 0)
        self._address = address
        held = self._node(address).conversation(deadline)
        self._conversation = await held.__aenter__()
        self._held = held
        return self._conversation


def _shown(key: Arg) -> str:
    return repr(key.decode("utf-8", "replace") if isinstance(key, bytes) else key)
