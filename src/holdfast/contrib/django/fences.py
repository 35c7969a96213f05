"""A holder of a lock that has been replaced cannot write any more: the fence in the row."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet  # type: ignore[import-untyped]

from holdfast.errors import ConflictError


def fenced_update(rows: QuerySet[Any], fence: int, /, *, field: str = "fence", **values: Any) -> int:
    """Update `rows` with `values` where the `field` holds no greater fence, and leave ours there; the count.

        with hf.lock("job:7") as lease:
            fenced_update(Job.objects.filter(pk=7), lease.fence, state="done")

    A NULL there counts as no fence. One statement, so nobody comes between.
    Raises: ConflictError if there are rows, and all of them were written under a greater fence: whoever calls
    has been replaced, and nothing was changed.
    """
    lookups: list[dict[str, Any]] = [{f"{field}__isnull": True}, {f"{field}__lte": fence}]
    free = Q(**lookups[0]) | Q(**lookups[1])
    changed: int = rows.filter(free).update(**{field: fence}, **values)
    if not changed and (seen := rows.values_list(field, flat=True).first()) is not None:
        raise ConflictError(f"fence {fence} has been replaced by {seen}", expected=fence, actual=seen)
    return changed
