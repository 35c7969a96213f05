# Generated from _fill_many_async.py by tools/unasync.py. Do not edit.
"""Storing what was loaded for many keys, in one write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from holdfast._values.envelope import STAMP
from holdfast._wire._batch_sync import Call, run_many
from holdfast.cache import rules
from holdfast.cache._store_sync import Store
from holdfast.cache.answers import STORED, why_not_stored
from holdfast.cache.lookup import Lookup
from holdfast.cache.rules import Draft
from holdfast.errors import Closed, Refused, Unavailable


class Fill(NamedTuple):
    """What was loaded for one `look`, under the lease that holds `token`."""

    look: Lookup
    token: str
    draft: Draft
    value: Any
    target: str
    expected: bytes

    @staticmethod
    def of(look: Lookup, token: str, draft: Draft, value: Any) -> Fill:
        """With where it is to be stored: at the entry, or beside one of another schema."""
        if look.other and look.raw is not None:
            return Fill(look, token, draft, value, look.entry + look.shape.variant, look.raw[STAMP])
        return Fill(look, token, draft, value, look.entry, b"")


def fill_many(store: Store, fills: Sequence[Fill]) -> None:
    """Store all `fills`; whether they can be stored is no concern of the reader.

    Raises: CodecError (unencodable) before anything is stored; Closed.
    """
    bodies = [rules.payload(one.value, one.look.shape, one.target) for one in fills]
    sent: list[Fill] = []
    calls: list[Call] = []
    with store.changing([one.look.tag for one in fills]):
        try:
            for one, (flags, body) in zip(fills, bodies, strict=True):
                entry = one.look.entry
                if store.is_held_back(entry, one.draft):
                    store.abandon(one.look.lease, one.token)
                    store.refused(one.look.tag, "invalidated")
                    continue
                data = store.packed(one.target, one.draft, flags, body, one.look.shape)
                keys = (entry, one.look.lease, one.target, f"{entry}:v")
                calls.append((keys, (one.token, data, one.draft.lives, one.expected)))
                sent.append(one)
            answers = run_many(store.wire, rules.FILL, calls, store.patience()) if calls else []
            store.tell([one.look.entry for one in sent])
        except Closed:
            answers = ["closed"] * len(sent)
        except Unavailable as error:
            store.failed(error)
            answers = ["unavailable"] * len(sent)
        except Refused as error:
            for one in sent:
                store.abandon(one.look.lease, one.token)
            answers = [rules.why_refused(error) or error.code.lower() or "refused"] * len(sent)
    for one, answer in zip(sent, answers, strict=True):
        if answer == STORED:
            store.counts.fills += 1
        else:
            store.refused(one.look.tag, answer if isinstance(answer, str) else why_not_stored(answer))
