# Source of truth. The _sync twin of this file is generated: run tools/unasync.py.
"""AsyncAttempt: one try to get a Redlock: claim everywhere, confirm the fence, or give everything back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from holdfast._compat import boottime
from holdfast._coord.owner import token as new_token
from holdfast._wire.hub_keeping import certain
from holdfast.errors import ConfigurationError
from holdfast.locks.redlock import rules
from holdfast.locks.redlock._node_async import AsyncNode
from holdfast.locks.redlock.fan import AsyncFan
from holdfast.locks.redlock.options import RedlockOptions
from holdfast.locks.redlock.rules import NO_ANSWER, Answer, Said


class AsyncAttempt:
    """One try, under a token of its own: so what undoes it late cannot touch the next one.

    Afterwards `fence` is the one of the grant, `asked` the boottime from which the ttl counts, and `claims`
    what the nodes answered.
    """

    def __init__(
        self,
        nodes: Sequence[AsyncNode],
        fan: AsyncFan,
        names: rules.Names,
        options: RedlockOptions,
        owner: str,
    ) -> None:
        self.token = new_token()
        self.fence = 0
        self.asked = 0.0
        self.claims: list[Answer] = [NO_ANSWER] * len(nodes)
        self._nodes = nodes
        self._fan = fan
        self._names = names
        self._options = options
        self._owner = owner
        self._needed = rules.quorum(len(nodes))

    async def make(self) -> rules.Verdict | None:
        """None if the lock is ours now; else why not, and what we had is given back.

        Raises: ConfigurationError if two nodes are one server. Whatever is raised, `undo` is to follow.
        """
        verdict = await self._make()
        if verdict is not None:
            await self.release()
        return verdict

    async def _make(self) -> rules.Verdict | None:
        self.asked = boottime()
        names, token = self._names, self.token
        claims = await self._fan.ask(
            [partial(node.claim, names, token, self._owner) for node in self._nodes],
            partial(rules.decided, asked=len(self._nodes), needed=self._needed),
        )
        self.claims = [answer or NO_ANSWER for answer in claims]
        twins = rules.same_server(self.claims, [node.name for node in self._nodes])
        if twins is not None:
            raise ConfigurationError(
                f"{twins[0]} and {twins[1]} are one server: in this Redlock it would have two votes"
            )
        if rules.count(self.claims) < self._needed:
            return self._verdict(self.claims)
        self.fence = rules.fence(self.claims)
        confirmed = await self._confirm()
        self.claims = [
            second if second is not None and second.said is Said.NO else first
            for first, second in zip(self.claims, confirmed, strict=True)
        ]
        if certain(self.asked, self._options.ttl_s) <= boottime():
            return self._verdict(self.claims, too_late=True)
        if rules.count(confirmed) < self._needed:
            return self._verdict(rules.merged(self.claims, confirmed))
        return None

    async def _confirm(self) -> list[Answer | None]:
        """Have the fence written where the lock is ours."""
        calls = [
            partial(node.confirm, self._names, self.token, self.fence) if claim.said is Said.YES else None
            for node, claim in zip(self._nodes, self.claims, strict=True)
        ]
        asked = sum(1 for call in calls if call is not None)
        return await self._fan.ask(calls, partial(rules.decided, asked=asked, needed=self._needed))

    def _verdict(self, answers: Sequence[Answer], *, too_late: bool = False) -> rules.Verdict:
        names = [node.name for node in self._nodes]
        return rules.Verdict(answers, names, self._options.longest_s, too_late)

    # --- giving it back ------------------------------------------------------------------------------------

    async def release(self) -> bool:
        """Give back what we have or may have, everywhere; what does not answer, in the background. False if
        it is certain that a quorum was not ours any more.
        """
        calls = [
            partial(node.release, self._names, self.token) if self.may_have(place) else None
            for place, node in enumerate(self._nodes)
        ]
        asked = sum(1 for call in calls if call is not None)
        try:
            found = await self._fan.ask(calls, partial(rules.decided, asked=asked, needed=self._needed))
        except BaseException:
            self.undo()
            raise
        for place, answer in enumerate(found):
            if calls[place] is not None and (answer is None or answer.said not in rules.TOLD):
                self._nodes[place].undo(self._names, self.token)
        missing = sum(call is None or rules.says_no(one) for call, one in zip(calls, found, strict=True))
        return len(self._nodes) - missing >= self._needed

    def undo(self) -> None:
        """Have it given back everywhere, in the background."""
        for place, node in enumerate(self._nodes):
            if self.may_have(place):
                node.undo(self._names, self.token)

    def may_have(self, place: int) -> bool:
        """Can the node have given the lock to us, or still do so?"""
        claim = self.claims[place]
        return claim.stray or claim.said is Said.YES
