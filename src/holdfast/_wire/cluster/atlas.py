"""The Cluster's layout as this client knows it, kept true by the nodes' own words.

Promise
* A slot that a node says has moved is asked for at its new place from the next command on; the whole layout
  is then read again in the background, from several nodes at once, so that one that is frozen costs nothing.
* A node that fails, or owes an answer for a while, is a reason to read the layout too. Once it serves no slot
  any more, every connection to it is dropped: whoever waits on it is told at once instead of at the deadline.
* Commands for healthy nodes never wait for any of this.

Not promised: to notice a change that neither a node nor a failure tells of. A layout that nobody complains
about is not read again.
"""

from __future__ import annotations

import os
import random
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any

from holdfast import _signals
from holdfast._wire.cluster import layout
from holdfast._wire.cluster.layout import Address, Layout
from holdfast._wire.endpoint import Endpoint
from holdfast._wire.mutex import MUTEX
from holdfast._wire.survey import Answer, Errand, survey
from holdfast._wire.transport import Command, HandshakeRefused, Reply, ReplyError, WireFailure
from holdfast._wire.url import Target, with_address
from holdfast.errors import ConfigurationError, HoldfastError

GRACE = 0.03  # seconds for which others may follow the first good answer: a stale one may be the fastest
ASKED = 4  # nodes asked at first: in a large Cluster nobody needs the opinion of all
HURRY = 0.25  # seconds after which all are asked, because those were frozen or far away
MEMORY = 10.0  # seconds for which a layout of an older epoch is not believed
GAP = 0.1  # seconds between two readings, however many have reason to ask
QUESTIONS: list[Command] = [("CLUSTER", "SLOTS"), ("CLUSTER", "INFO")]

Notify = Callable[[_signals.Signal], None]


class NodeEndpoint(Endpoint):
    """One node of a Cluster. Every sign that it is in trouble is a reason to read the layout again."""

    suspicious_after = 0.3

    def __init__(self, target: Target, atlas: Atlas) -> None:
        super().__init__(f"{target.host}:{target.port}", target)
        self._atlas = atlas
        self.is_retired = False  # it serves nothing any more

    def is_current(self, target: Target | None) -> bool:  # noqa: ARG002 (it is one node, for ever)
        """May connections to it be used?"""
        return not self.is_retired

    def failed(self, target: Target) -> None:  # noqa: ARG002 (as above)
        """A connection could not be made, or was lost."""
        self._atlas.doubt()

    def quiet(self) -> None:
        """Something is owed, and nothing came for a while."""
        self._atlas.doubt()

    def doubt(self) -> bool:
        """It gave an answer that only the wrong node gives."""
        self._atlas.doubt()
        return True


class Atlas:
    """See the file's docstring."""

    def __init__(self, target: Target, *, notify: Notify, connect_timeout: float) -> None:
        self.name = str(target)
        self._spec = target
        self._notify = notify
        self._patience = connect_timeout
        self._layout: Layout | None = None
        self._reported: Layout | None = None
        self._listeners: list[weakref.WeakMethod[Callable[[], None]]] = []
        self._endpoints: weakref.WeakValueDictionary[tuple[Address, bool], NodeEndpoint] = (
            weakref.WeakValueDictionary()
        )
        self._closed = False
        self._read_at = float("-inf")
        self._trouble = ""  # why the last reading failed, if it did
        self._awaited: Future[Layout] | None = None  # the next reading, for those who need it now
        self._errand = Errand("holdfast-layout", self._look_again, gap=GAP)
        _ATLASES.add(self)

    # --- looking up --------------------------------------------------------------------------------------

    @property
    def layout(self) -> Layout | None:
        """The layout as far as it is known; None: nobody has asked yet."""
        return self._layout

    def read(self, deadline: float) -> Layout:
        """The layout, read first if need be; blocks. Raises: WireFailure, ConfigurationError."""
        with MUTEX:
            if self._layout is not None:
                return self._layout
            awaited = self._awaited
            if awaited is None:
                awaited = self._awaited = Future()
        if self._closed:
            raise WireFailure("the client is closed", sent=False)
        # Read by a thread of its own, so that nobody's deadline or interruption holds up the others.
        self._errand.ask_for()
        try:
            return awaited.result(max(0.0, deadline - monotonic()))
        except TimeoutError:
            trouble = self._trouble or f"cannot connect: nothing heard yet from {self._shown_candidates()}"
            raise WireFailure(trouble, sent=False) from None

    def endpoint(self, address: Address, *, readonly: bool = False) -> NodeEndpoint:
        """The node at `address`; with `readonly` for reads that a replica may answer."""
        with MUTEX:
            known = self._endpoints.get((address, readonly))
            if known is None or known.is_retired:
                target = with_address(self._spec, *address, role="replica" if readonly else "")
                known = self._endpoints[address, readonly] = NodeEndpoint(target, self)
            return known

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` (a bound method, referred to weakly) whenever a slot has moved."""
        self._listeners.append(weakref.WeakMethod(listener))

    # --- learning ----------------------------------------------------------------------------------------

    def moved(self, slot: int, address: Address) -> None:
        """A node said that `slot` is served at `address` now."""
        with MUTEX:
            known = self._layout
            if known is None or known.table[slot] == address:
                return
            self._layout = known.with_slot(slot, address)
            new = self._layout
        self._tell(known, new)
        self.doubt()  # one slot seldom moves alone

    def doubt(self) -> None:
        """Something is wrong with a node: read the layout again, in the background."""
        if not self._closed:
            self._errand.ask_for()

    def about(self) -> dict[str, Any]:
        """The primaries, how many replicas they have, and whether every slot is served."""
        known = self._layout
        if known is None:
            return {"primaries": [], "replicas": 0, "complete": False}
        return {
            "primaries": [f"{host}:{port}" for host, port in known.primaries],
            "replicas": sum(map(len, known.replicas.values())),
            "complete": known.is_complete,
        }

    def stop(self) -> None:
        """The client is closed: read no more."""
        self._closed = True

    def _look_again(self) -> None:
        with MUTEX:
            awaited, self._awaited = self._awaited, None
        try:
            if not self._closed:
                self._read(monotonic() + self._patience)
            if awaited is not None:
                known = self._layout
                if known is None:
                    raise WireFailure("the client is closed", sent=False)
                awaited.set_result(known)
        except (WireFailure, HoldfastError) as trouble:
            self._trouble = str(trouble)
            if awaited is not None:
                awaited.set_exception(trouble)
            # Else nobody answers just now: whoever asks hears it from the node itself.

    def _read(self, give_up: float) -> None:
        """Read the layout from some nodes. Raises: WireFailure, NoPermission, ConfigurationError."""
        candidates = self._candidates()
        first, everybody = candidates[:ASKED], candidates[: 4 * ASKED]
        shrugs: list[Answer] = []
        for addresses in (first, everybody) if len(everybody) > len(first) else (first,):
            found: list[Layout] = []
            shrugs = []
            left = max(0.001, give_up - monotonic())
            timeout = left if addresses is everybody or len(everybody) == len(first) else min(HURRY, left)
            targets = [with_address(self._spec, *address) for address in addresses]
            for answer in survey(targets, QUESTIONS, timeout=timeout, grace=GRACE, is_good=_is_layout):
                one = _understood(answer)
                if one is not None:
                    found.append(one)
                else:
                    shrugs.append(answer)
            if found:
                self._adopt(layout.newest(found))
                return
        raise self._nobody(shrugs)

    def _nobody(self, shrugs: list[Answer]) -> Exception:
        """Why no node told the layout. If all of them refused, trying again is vain."""
        refusals = [_refusal(answer) for answer in shrugs]
        if shrugs and self._layout is None and None not in refusals:
            return next(one for one in refusals if one is not None)
        trouble = [f"{_name(answer.target)}: {_why(answer)}" for answer in shrugs]
        said = "; ".join(trouble)
        return WireFailure(f"cannot connect: no node tells who serves which slot ({said})", sent=False)

    def _shown_candidates(self) -> str:
        return ", ".join(f"{host}:{port}" for host, port in self._candidates())

    def _candidates(self) -> list[Address]:
        """Whom to ask, in this order: known nodes at random, and those the URL names."""
        known = self._layout
        addresses: dict[Address, None] = {}
        if known is not None:
            nodes = [*known.primaries, *(one for group in known.replicas.values() for one in group)]
            addresses.update(dict.fromkeys(random.sample(nodes, len(nodes))))
        addresses.update(dict.fromkeys(self._spec.nodes))
        return list(addresses)

    def _adopt(self, new: Layout) -> None:
        with MUTEX:
            old = self._layout
            if old is not None and new.epoch < old.epoch and monotonic() - self._read_at < MEMORY:
                return  # from a node that was cut off from the others
            self._layout = new
            self._read_at = monotonic()
        if old is None or old.table != new.table:
            self._tell(old, new)
        self._report(new)

    def _tell(self, old: Layout | None, new: Layout) -> None:
        """Retire the nodes that serve nothing any more, and let others know that slots have moved."""
        for address in set(old.primaries if old else ()) - set(new.primaries):
            endpoint = self._endpoints.get((address, False))
            if endpoint is not None:
                endpoint.is_retired = True
                endpoint.tell_moved(f"{endpoint.name} serves no slot any more")
        for reference in self._listeners:
            if (listener := reference()) is not None:
                listener()

    def _report(self, new: Layout) -> None:
        """Signal what has changed since the last reading: once, however many slots a move had."""
        old, self._reported = self._reported, new
        slots = sum(one != other for one, other in zip(old.table, new.table, strict=True)) if old else 0
        if old is None or not slots:
            return
        gone, come = (set(one.primaries) - set(other.primaries) for one, other in ((old, new), (new, old)))
        was, now = (", ".join(f"{host}:{port}" for host, port in sorted(nodes)) for nodes in (gone, come))
        if was or now:
            self._notify(_signals.PrimaryMoved(server=self.name, old=was, new=now))
        else:
            self._notify(_signals.SlotsMoved(server=self.name, slots=slots))

    def after_fork(self) -> None:
        """In the child: the threads are in the parent."""
        self._awaited = None
        self._errand.after_fork()
        for endpoint in list(self._endpoints.values()):
            endpoint._making.clear()  # the parent's: to end one here would end it there


def _is_layout(answer: Answer) -> bool:
    return _understood(answer) is not None


def _understood(answer: Answer) -> Layout | None:
    if answer.failure is not None:
        return None
    slots, info = answer.replies
    if isinstance(slots, ReplyError):
        return None
    asked = (answer.target.host, answer.target.port)
    return layout.read(slots, None if isinstance(info, ReplyError) else info, asked)


def _name(target: Target) -> str:
    return f"{target.host}:{target.port}"


def _why(answer: Answer) -> str:
    if answer.failure is not None:
        return str(answer.failure).removeprefix("cannot connect: ")
    slots: Reply = answer.replies[0]
    return str(slots) if isinstance(slots, ReplyError) else "it serves no slot and knows nobody who does"


def _refusal(answer: Answer) -> Exception | None:
    """What `answer` says if asking again is vain: a wrong password, a missing right, no Cluster at all."""
    if isinstance(answer.failure, HandshakeRefused | HoldfastError):
        return answer.failure
    if answer.failure is None and isinstance(answer.replies[0], ReplyError):
        message = str(answer.replies[0])
        if "cluster support disabled" in message:
            where = _name(answer.target)
            return ConfigurationError(
                f"{where} is no node of a Cluster ({message}); connect with redis://{where}"
            )
        return HandshakeRefused("CLUSTER SLOTS", message)
    return None


_ATLASES: weakref.WeakSet[Atlas] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for atlas in list(_ATLASES):
        atlas.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
