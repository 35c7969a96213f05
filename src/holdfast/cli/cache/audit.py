"""`holdfast cache audit MODULE:ATTRIBUTE`. What counts as stale stands in cache/auditing.py."""

from __future__ import annotations

import argparse
import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from holdfast.cache._audit_async import AsyncAuditor
from holdfast.cache._audit_sync import Auditor
from holdfast.cache.auditing import Finding, Outcome, difference
from holdfast.cli.cache import walk, words
from holdfast.cli.cache.inverse import shown
from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.subject import Call, Subject, lines_of
from holdfast.cli.up.screen import Part
from holdfast.durations import seconds
from holdfast.errors import ConfigurationError

_SHOWN = 40

Calls = Mapping[str, Call]


class _Sampled(NamedTuple):
    """`calls`: the entries to audit, by tag. `opaque`: sampled entries that nobody could load again."""

    calls: Calls
    opaque: list[str]
    complete: bool


def run(asked: argparse.Namespace) -> int:
    """Audit; 1 if something stale is served. Raises: ConfigurationError, Unavailable, Refused."""
    paper = Paper(json=asked.json)
    delay = seconds(asked.delay, "--delay", zero=True)
    subject = Subject(asked.target)
    known = None if asked.args is None else subject.calls(lines_of(asked.args))
    if known is None and subject.obstacle:
        raise ConfigurationError(subject.obstacle)
    plan = partial(_questions, subject, asked.limit, asked.sample, known)
    paper.say("comparing ", Part(words.safe(subject.cache.name), "bold"), " with its source")
    if subject.is_async:
        sampled, findings = asyncio.run(_audited_async(subject, plan, delay))
    else:
        sampled, findings = _audited(subject, plan, delay)
    return _report(paper, subject, sampled, findings)


def _audited(subject: Subject, plan: Any, delay: float) -> tuple[_Sampled, list[Finding]]:
    cache: Any = subject.cache
    wire = cache._store.wire
    sampled = walk.drive(partial(wire.execute_many, retry="safe"), plan())
    auditor = Auditor(cache._store, cache._loads.near_hit, delay=delay)
    load = partial(subject.load, auditor, sampled.calls)
    return sampled, auditor.audit(list(sampled.calls), subject.shape, load)


async def _audited_async(subject: Subject, plan: Any, delay: float) -> tuple[_Sampled, list[Finding]]:
    cache: Any = subject.cache
    wire = cache._store.wire
    try:
        sampled = await walk.adrive(partial(wire.execute_many, retry="safe"), plan())
        auditor = AsyncAuditor(cache._store, cache._loads.near_hit, delay=delay)
        load = partial(subject.aload, auditor, sampled.calls)
        return sampled, await auditor.audit(list(sampled.calls), subject.shape, load)
    finally:
        await wire.aclose()  # its connections belong to this event loop, which ends here


def _questions(subject: Subject, limit: int, sample: int, known: Calls | None) -> walk.Questions[_Sampled]:
    """Entries at random, and how each is loaded."""
    if known is not None:
        tags = random.sample(sorted(known), min(sample, len(known)))
        return _Sampled({tag: known[tag] for tag in tags}, [], complete=len(tags) == len(known))
    prefix = subject.cache._store.prefix
    calls: walk.Sample[tuple[str, Call]] = walk.Sample(sample, random.Random())
    opaque: dict[str, None] = {}
    seen: set[str] = set()

    def take(key: str) -> bool:
        one = walk.named(key, prefix)
        if one.kind != "entry" or key in seen:
            return False
        seen.add(key)
        call = subject.call(one.label)
        if call is None:
            opaque[one.label] = None
        else:
            calls.add((one.label, call))
        return True

    walked = yield from walk.walk(walk.pattern(prefix), limit, take, lambda _: None)
    return _Sampled(dict(calls.items), list(opaque), complete=walked.complete)


# --- in words -----------------------------------------------------------------------------------------------


def _report(paper: Paper, subject: Subject, sampled: _Sampled, findings: Sequence[Finding]) -> int:
    counts = Counter(one.outcome for one in findings)
    stale = sorted((one for one in findings if one.outcome is Outcome.STALE), key=lambda one: -one.age)
    paper.data(
        {
            "cache": subject.cache.name,
            "sampled": len(findings),
            "equal": counts[Outcome.EQUAL],
            "stale": len(stale),
            "gone": counts[Outcome.GONE],
            "no_hit": counts[Outcome.ABSENT],
            "failed": counts[Outcome.UNKNOWN],
            "not_comparable": len(sampled.opaque),
            "complete": sampled.complete,
            "errors": sorted({f"{type(error).__name__}: {error}" for error in subject.failures}),
            "findings": [
                {"key": shown(one.tag), "age": one.age, "difference": difference(one.cached, one.loaded)}
                for one in stale
            ],
        }
    )
    _say(paper, subject, sampled, counts, stale)
    return 1 if stale else 0


def _say(
    paper: Paper, subject: Subject, sampled: _Sampled, counts: Counter[Outcome], stale: Sequence[Finding]
) -> None:
    look = "bold red" if stale else "green"
    told = [f"{words.many(counts.total(), 'entry')} sampled", f"{counts[Outcome.EQUAL]:,} equal"]
    rest = [
        f"{number:,} {what}"
        for number, what in (
            (counts[Outcome.GONE], "changed meanwhile"),
            (counts[Outcome.ABSENT], "no hit"),
            (counts[Outcome.UNKNOWN], "not loaded"),
            (len(sampled.opaque), "not comparable"),
        )
        if number
    ]
    paper.say(", ".join(told), ", ", Part(f"{len(stale):,} stale", look), *(f", {one}" for one in rest))
    if stale:
        rows = [
            (
                words.duration(one.age),
                words.safe(shown(one.tag)),
                words.safe(difference(one.cached, one.loaded)),
            )
            for one in stale[:_SHOWN]
        ]
        paper.table(("age", "key", "cached and in the source"), rows, right=(0,), looks=("red", "bold"))
        if len(stale) > _SHOWN:
            paper.say(f"  and {len(stale) - _SHOWN:,} more; --json prints all")
    for text in sorted({f"{type(error).__name__}: {error}" for error in subject.failures})[:3]:
        paper.say(Part(f"  the source failed: {words.safe(text)}", "yellow"))
    if sampled.opaque:
        example = words.safe(sampled.opaque[0])
        paper.say(Part(f"  not comparable: its key does not tell what to load, such as {example}", "dim"))
    if not sampled.complete:
        paper.say(Part("  not all entries were in question; --sample and --limit go further", "dim"))
    if not counts:
        paper.say(Part("  nothing was compared", "yellow"))
