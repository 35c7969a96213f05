"""What happened between two looks at a lock. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from holdfast.cli.cache.words import duration, safe
from holdfast.cli.locks.sight import Sight, as_data


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`event`: held, free, handed (from one holder to the next), wanted. `lasted`: seconds, of what ended."""

    event: str
    now: Sight
    before: Sight | None = None
    lasted: float | None = None

    def data(self) -> dict[str, Any]:
        """For programs."""
        found = {"event": self.event, **as_data(self.now)}
        if self.event in {"free", "handed"} and self.before is not None:
            found |= {"before": self.before.owner, "lasted": self.lasted}
        return found

    def text(self) -> str:
        """For people."""
        name, by = safe(self.now.named.name), safe(self.now.owner)
        if self.event == "wanted":
            reason = self.now.holder.wanted if self.now.holder is not None else None
            return f"{name}: {by} is asked for it back" + (f": {safe(reason)}" if reason else "")
        if self.event == "held" or self.before is None:
            already = "" if self.now.held is None else f", for {duration(self.now.held)} by now"
            return f"{name} is held by {by}{already}"
        was = safe(self.before.owner)
        length = "" if self.lasted is None else duration(self.lasted)
        if self.event == "free":
            return f"{name} is free; {was} had it " + (f"for {length} at most" if length else "until now")
        return f"{name} went from {was} to {by}" + (f" after {length}" if length else "")


def changes(before: Sight | None, now: Sight) -> Iterator[Change]:
    """What happened. Of what came and went between the two looks nothing is known."""
    was_held = before is not None and before.in_use
    if before is not None and was_held and not (now.in_use and now.same_grant(before)):
        # Another program's ended at some time between the two looks: nobody knows since when it was held.
        began = now.at - now.held if now.held is not None else now.at
        lasted = None if before.held is None else max(0.0, before.held + min(began, now.at) - before.at)
        yield Change(event="handed" if now.in_use else "free", now=now, before=before, lasted=lasted)
    elif now.in_use and not was_held:
        yield Change(event="held", now=now)
    wanted = now.holder.wanted if now.holder is not None else None
    known = before.holder.wanted if before is not None and before.holder is not None else None
    if wanted is not None and not (wanted == known and before is not None and before.same_grant(now)):
        yield Change(event="wanted", now=now, before=before)
