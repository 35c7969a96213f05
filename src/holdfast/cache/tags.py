"""Tags: names that entries share, so that all that carry one can be invalidated at once. Pure.

Each tag has a version, eight random bytes at a key of its own, and an entry holds those that its tags had
*before* it was loaded. It is a hit while they still are what they were. `invalidate_tags` removes the
versions: in O(1), however many entries there are, and also when memory is full. A version that was evicted
makes misses, never stale hits, since a new one is never an old one again.

A version lives twice as long as the longest entry could that carries it, and is renewed by those that are
filled later, so that tags which nobody uses any more do not stay for ever.

A tag that only the loaded value tells (`tags=["org:{result.org_id}"]`, `current_load().add_tags()`) comes too
late for that. For these there are guards: the tags of a cache are spread over 16 shards, each with a guard
that goes away with every tag of the shard that is invalidated. The guards are read before the load, and a
version is taken afterwards only if the guard is still the same (claim.lua); otherwise nothing is stored.
"""

from __future__ import annotations

import inspect
import re
import string
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from zlib import crc32

from holdfast.errors import ConfigurationError

SHARDS = 16
SHORTEST_LIFE = 86_400_000  # ms, of a version: then a tag that nobody uses any more is gone
LONGEST = 1024  # bytes


def check(tags: Iterable[str]) -> tuple[str, ...]:
    """`tags`, each once, in order. Raises: ConfigurationError for what is no tag."""
    if isinstance(tags, str):
        raise ConfigurationError(f"tags={tags!r} must be several: write tags=[{tags!r}]")
    found: dict[str, None] = {}
    for tag in tags:
        written = tag.encode("utf-8", "replace") if isinstance(tag, str) else b""
        if not 0 < len(written) <= LONGEST or written.decode() != tag:
            raise ConfigurationError(f"tag {tag!r:.80} must be a str of 1 to {LONGEST} bytes")
        found[tag] = None
    return tuple(found)


def life(ttl: float, stale: float) -> int:
    """The ms for which the version of a tag is kept, in a cache of these settings in seconds."""
    return max(SHORTEST_LIFE, int(2000 * (ttl + stale)))


def shard(tag: str) -> int:
    """Which guard watches over `tag`."""
    return crc32(tag.encode("utf-8", "replace")) % SHARDS


def by_shard(tags: Iterable[str]) -> dict[int, list[str]]:
    """`tags` by the guard that watches over them."""
    found: dict[int, list[str]] = {}
    for tag in tags:
        found.setdefault(shard(tag), []).append(tag)
    return found


class TagTemplates:
    """The tags of a function's calls: `TagTemplates(["org:{result.org_id}", "user:{user_id}"], signature)`.

    A field is an argument or `result`, or a part of one, written as `str.format` writes it, so that
    `invalidate_tags(f"org:{org_id}")` names the same tag. (That two values may look alike only makes a tag
    cover more.) Raises: ConfigurationError for a field that is neither.
    """

    def __init__(self, templates: Iterable[str], signature: inspect.Signature) -> None:
        self._names = tuple(signature.parameters)
        self._early: list[str] = []
        self._late: list[str] = []
        for template in check(templates):
            roots = self._roots(template)
            (self._late if "result" in roots else self._early).append(template)

    def __bool__(self) -> bool:
        return bool(self._early or self._late)

    def early(self, values: Sequence[Any]) -> tuple[str, ...]:
        """The tags that the arguments alone tell. Raises: ConfigurationError."""
        return self._write(self._early, values, None)

    def late(self, values: Sequence[Any]) -> Callable[[Any], Iterable[str]] | None:
        """What tells the tags in which the result stands; None where there are none."""
        if not self._late:
            return None
        # A result of None has no parts; what depends on them is not known of it.
        return lambda result: () if result is None else self._write(self._late, values, result)

    def _write(self, templates: Iterable[str], values: Sequence[Any], result: Any) -> tuple[str, ...]:
        told = {**dict(zip(self._names, values, strict=True)), "result": result}
        found = []
        for template in templates:
            try:
                found.append(template.format_map(told))
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                text = f"tag {template!r} leads nowhere: {type(error).__name__}: {error}"
                raise ConfigurationError(text) from error
        return tuple(found)

    def _roots(self, template: str) -> set[str]:
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
        except ValueError as error:
            raise ConfigurationError(f"tag {template!r}: {error}; a brace is written twice") from None
        roots = {re.split(r"[.\[]", field, maxsplit=1)[0] for field in fields}
        if unknown := sorted(roots - {*self._names, "result"}):
            known = ", ".join([*self._names, "result"])
            raise ConfigurationError(f"tag {template!r}: no argument {unknown[0]!r}; there are {known}")
        return roots
